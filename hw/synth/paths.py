"""The longest register-to-register paths of a flat netlist, in levels of logic.

There is no open place and route for UltraScale+, so there is no timing to sign off. Levels of logic are what can be
counted, and they move when the design gets worse. A level is a LUT, the way into a carry chain, or the asynchronous
read of a LUT memory; wide multiplexers and inverters are part of the LUT they sit beside. What a DSP block does
behind its last register costs levels too (DSP_LEVELS). The nanoseconds beside them are a guess: typical delays of
the fabric, and the same net delay for every level.
"""

import re
from collections import namedtuple

# Logic delays in ns by inputs of the LUT, and of what else lies on a path; rough values for speed grade -2 at 0.72 V.
LUT_NS = (0.0, 0.05, 0.09, 0.10, 0.11, 0.12, 0.13)
CARRY_IN_NS, CARRY_NEXT_NS, MUX_NS, LUT_RAM_NS = 0.12, 0.02, 0.06, 0.15
NET_NS = 0.35
CLOCK_TO_OUT_NS = {"RAMB36E2": 0.9, "RAMB18E2": 0.9, "URAM288": 1.0, "DSP48E1": 0.35, "LUT_RAM": 0.6}
SETUP_NS = 0.06

# Levels that an input of a DSP block costs when its own register is not used: through the multiplier, to the adder.
DSP_LEVELS = {"A": 4, "B": 4, "D": 5, "C": 2, "PCIN": 1}
DSP_LEVEL_NS = 0.4

REGISTERS = {"FDRE", "FDSE", "FDCE", "FDPE", "SRL16E", "SRLC32E"}
MEMORIES = {"RAMB36E2", "RAMB18E2", "URAM288"}
CLOCK_PINS = {"C", "CLK", "CLKARDCLK", "CLKBWRCLK", "WCLK"}

# Pins that address the read port of a memory of LUTs.
_ADDRESS = re.compile(r"ADDR|^(?:DP)?R?A\d*$")

Path = namedtuple("Path", "levels ns start end cells")
# Indices of bits and instances, and the numbers of the cells of one memory.
_INDEX = re.compile(r"\[\d+\]|(?<=\.)\d+\b")


def is_lut_ram(kind):
    return kind.startswith("RAM") and not kind.startswith("RAMB")


def _number(cell, name, default=1):
    value = cell["parameters"].get(name)
    return default if value is None else int(str(value), 2)


def _is_register(cell):
    kind = cell["type"]
    return kind in REGISTERS or kind in MEMORIES or (kind == "DSP48E1" and _number(cell, "PREG") != 0)


class Netlist:
    """Who drives which bit, and what a bit is called in the source."""

    def __init__(self, module):
        self.cells = module["cells"]
        self.driver = {}
        for name, cell in self.cells.items():
            directions = cell["port_directions"]
            for pin, bits in cell["connections"].items():
                if directions[pin] == "output":
                    for index, bit in enumerate(bits):
                        if isinstance(bit, int):
                            self.driver[bit] = (name, pin, index)
        self.names = {}
        for name, net in module["netnames"].items():
            if net["hide_name"]:
                continue
            for index, bit in enumerate(net["bits"]):
                # The deepest name is the register's own; outer ones are ports it goes through.
                if isinstance(bit, int) and name.count(".") >= self.names.get(bit, "").count("."):
                    self.names[bit] = f"{name}[{index}]" if len(net["bits"]) > 1 else name

    def _sources(self, name, pin, index):
        """The bits a combinational output depends on, with levels and ns; None for the output of a register. A
        bit of None is a register inside of the cell."""
        cell = self.cells[name]
        kind, pins, directions = cell["type"], cell["connections"], cell["port_directions"]
        if _is_register(cell):
            return None
        inputs = [
            (input_pin, position, bit)
            for input_pin, bits in pins.items()
            if directions[input_pin] == "input" and input_pin not in CLOCK_PINS
            for position, bit in enumerate(bits)
            if isinstance(bit, int)
        ]
        if kind.startswith("LUT"):
            return [(bit, 1, LUT_NS[int(kind[3])] + NET_NS) for _, _, bit in inputs]
        if kind.startswith("CARRY"):
            steps = []
            for input_pin, position, bit in inputs:
                if input_pin in ("S", "DI") and position > index:
                    continue
                along = input_pin == "CI" and self._drives(bit) == kind
                steps.append((bit, 0, CARRY_NEXT_NS) if along else (bit, 1, CARRY_IN_NS))
            return steps
        if is_lut_ram(kind):
            return [(bit, 1, LUT_RAM_NS + NET_NS) for input_pin, _, bit in inputs if _ADDRESS.search(input_pin)]
        if kind == "DSP48E1":
            return [self._dsp_step(cell, input_pin, bit) for input_pin, _, bit in inputs]
        return [(bit, 0, MUX_NS if kind.startswith("MUXF") else 0.0) for _, _, bit in inputs]

    def _drives(self, bit):
        """The kind of cell that drives a bit; None for a port."""
        return self.cells[self.driver[bit][0]]["type"] if bit in self.driver else None

    def _dsp_step(self, cell, pin, bit):
        levels = DSP_LEVELS.get(pin, 2)
        return (None if _number(cell, f"{pin}REG", 0) else bit, levels, levels * DSP_LEVEL_NS)

    def _arrivals(self):
        """For every bit: (levels, ns) since the last register, and the bit before it on the longest way."""
        arrival, before = {}, {}
        for root in self.driver:
            stack = [root]
            while stack:
                bit = stack[-1]
                if bit in arrival:
                    stack.pop()
                    continue
                if bit not in self.driver:
                    arrival[bit] = None  # a port of the design: no register
                    stack.pop()
                    continue
                name, pin, index = self.driver[bit]
                kind = self.cells[name]["type"]
                sources = self._sources(name, pin, index)
                if sources is None:
                    arrival[bit] = (0, CLOCK_TO_OUT_NS.get(kind, 0.08))
                    stack.pop()
                    continue
                waiting = [source for source, _, _ in sources if source is not None and source not in arrival]
                if waiting:
                    if bit in before:
                        raise ValueError(f"combinational loop through {name}")
                    before[bit] = None
                    stack.extend(waiting)
                    continue
                best = (0, CLOCK_TO_OUT_NS["LUT_RAM"]) if is_lut_ram(kind) else None
                before[bit] = None
                for source, levels, ns in sources:
                    begin = (0, 0.1) if source is None else arrival[source]
                    if begin is not None:
                        candidate = (begin[0] + levels, begin[1] + ns)
                        if best is None or best < candidate:
                            best, before[bit] = candidate, source
                arrival[bit] = best
                stack.pop()
        return arrival, before

    def _ends(self):
        """Every bit that goes into a register, with what is between the pin and the register itself."""
        for name, cell in self.cells.items():
            kind = cell["type"]
            if not (_is_register(cell) or is_lut_ram(kind)):
                continue
            dsp = kind == "DSP48E1"
            for pin, bits in cell["connections"].items():
                if cell["port_directions"][pin] != "input" or pin in CLOCK_PINS:
                    continue
                levels = 0
                if dsp and pin in DSP_LEVELS and _number(cell, f"{pin}REG", 0) == 0:
                    levels = DSP_LEVELS[pin]
                for bit in bits:
                    if isinstance(bit, int):
                        yield name, pin, bit, levels

    def _name_of(self, name, pin=None):
        """What a register or memory is called: its net, or the cell's own name without what the tools put into it."""
        outputs = self.cells[name]["connections"]
        if self.cells[name]["type"] in REGISTERS and outputs["Q"][0] in self.names:
            return self.names[outputs["Q"][0]]
        plain = re.sub(r"\$flatten|\\", "", name)
        plain = re.sub(r"\.?\$(?:auto|abc|techmap|procmux|procdff)\$?.*$", "", plain)
        return f"{plain or name}.{pin}" if pin else plain or name

    def longest(self, count):
        """The longest paths, one for each pair of registers, whatever their indices."""
        arrival, before = self._arrivals()
        worst = {}
        for name, pin, bit, levels in self._ends():
            if arrival.get(bit) is None:
                continue
            total = (arrival[bit][0] + levels, arrival[bit][1] + NET_NS + SETUP_NS + levels * DSP_LEVEL_NS)
            end = _INDEX.sub("#", self._name_of(name))
            if end not in worst or worst[end][0] < total:
                worst[end] = (total, bit, name, pin)
        found = sorted(worst.values(), key=lambda item: item[0], reverse=True)[:count]
        return [self._path(before, *item) for item in found]

    def _path(self, before, total, bit, end, pin):
        kinds = []
        while True:
            driver = self.driver[bit][0]
            if _is_register(self.cells[driver]):
                break
            kinds.append(self.cells[driver]["type"])
            if before.get(bit) is None:
                break
            bit = before[bit]
        start = self.names.get(bit) or self._name_of(self.driver[bit][0])
        return Path(total[0], round(total[1], 2), start, self._name_of(end, pin), kinds[::-1])
