#!/usr/bin/env python3
"""Estimates what the accelerator needs of the XCK26: LUTs, registers, memories, DSP blocks, and levels of logic.

    synth.py                          the whole design; writes resources.json and resources.md beside this file
    synth.py --top f32_mul            one module; prints its figures and writes nothing
    synth.py --set Tokens=1           another parameter

yosys maps for the 7 series' successors with their carry chains of four; it packs no two small LUTs into one and knows
no placement. So the figures are estimates, on the high side for LUTs; the counts of DSP blocks and memories are exact
for what is inferred. The design fails the check where it needs more than LIMITS of the part.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import paths
from netlist import VARIANT, SynthesisError, synthesize

HERE = Path(__file__).resolve().parent
RTL = HERE.parent / "rtl"
TOP = "accel_top"

RESOURCES = ("lut", "ff", "bram36", "uram", "dsp")
TITLES = {"lut": "LUT", "ff": "FF", "bram36": "BRAM36", "uram": "URAM", "dsp": "DSP"}
# XCK26 (Kria K26), and Table II of arXiv 2504.17376 (an HLS estimate, which leaves memories out).
PART = {"lut": 117_120, "ff": 234_240, "bram36": 144, "uram": 64, "dsp": 1_248}
SEED = {"lut": 96_553, "ff": 110_405, "bram36": None, "uram": None, "dsp": 384}
# Shares of the part that leave room to route, and levels of logic that fit 300 MHz.
LIMITS = {"lut": 0.70, "ff": 0.70, "bram36": 0.90, "uram": 0.90, "dsp": 0.75}
MAX_LEVELS = 8
PATHS = 20

# LUTs of a memory made of LUTs, by the cell's name.
LUT_RAM = {
    "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8,
    "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8,
    "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8,
}  # fmt: skip


def own_resources(module):
    """What a module needs without the modules in it."""
    used = dict.fromkeys(RESOURCES, 0)
    for kind, count in Counter(cell["type"] for cell in module["cells"].values()).items():
        if kind.startswith("LUT") or kind in ("SRL16E", "SRLC32E"):
            used["lut"] += count
        elif kind in LUT_RAM:
            used["lut"] += count * LUT_RAM[kind]
        elif kind in ("FDRE", "FDSE", "FDCE", "FDPE"):
            used["ff"] += count
        elif kind == "DSP48E1":
            used["dsp"] += count
        elif kind == "RAMB36E2":
            used["bram36"] += count
        elif kind == "RAMB18E2":
            used["bram36"] += count / 2
        elif kind == "URAM288":
            used["uram"] += count
        elif kind.startswith("RAM"):
            raise SynthesisError(f"how many LUTs is a {kind}?")
    return used


def tally(modules, top):
    """(what the top needs, by block of the top, by module). A block is counted with all that is in it, a module
    without; the modules' figures add up to the top's."""
    own = {name: own_resources(module) for name, module in modules.items()}
    inside = {
        name: Counter(cell["type"] for cell in module["cells"].values() if cell["type"] in modules)
        for name, module in modules.items()
    }
    whole, instances = {}, Counter()

    def sum_up(name):
        if name not in whole:
            whole[name] = Counter(own[name])
            for part, count in inside[name].items():
                whole[name].update({resource: count * value for resource, value in sum_up(part).items()})
        return whole[name]

    def count_up(name, count):
        instances[name] += count
        for part, times in inside[name].items():
            count_up(part, count * times)

    sum_up(top)
    count_up(top, 1)
    blocks = merged((part, count, whole[part]) for part, count in inside[top].items())
    return dict(whole[top]), blocks, merged((name, count, own[name]) for name, count in instances.items())


def merged(counted):
    """Entries of a table from (module, instances, resources of one): variants of a module together, largest first."""
    table = {}
    for name, count, used in counted:
        definition = name.split(VARIANT)[0]
        entry = table.setdefault(definition, {"module": definition, "instances": 0} | dict.fromkeys(RESOURCES, 0))
        entry["instances"] += count
        for resource in RESOURCES:
            entry[resource] += count * used[resource]
    return sorted(table.values(), key=lambda entry: (-entry["lut"], entry["module"]))


def multiplier_registers(flat):
    """DSP blocks that multiply, and those of them with no register behind the multiplier, which limits their clock."""
    used = [cell["parameters"] for cell in flat["cells"].values() if cell["type"] == "DSP48E1"]
    used = [parameters for parameters in used if parameters["USE_MULT"] != "NONE"]
    return len(used), sum(int(str(parameters["MREG"]), 2) == 0 for parameters in used)


def analyze(sources, top, parameters, work, flat):
    modules, netlist = synthesize(sources, top, parameters, work, flat)
    total, blocks, by_module = tally(modules, top)
    if top == TOP and total["lut"] < 1000:
        raise SynthesisError(f"{top}: {total['lut']} LUTs cannot be all: the mapper failed")
    multipliers, unregistered = multiplier_registers(netlist)
    return {
        "top": top,
        "parameters": parameters,
        "total": total,
        "part": PART,
        "seed_table_2": SEED,
        "limits": LIMITS,
        "blocks": blocks,
        "modules": by_module,
        "dsp_multipliers": multipliers,
        "dsp_without_multiplier_register": unregistered,
        "max_levels": MAX_LEVELS,
        "paths": [path._asdict() for path in paths.Netlist(netlist).longest(PATHS)],
    }


def problems(result):
    found = []
    for resource, limit in LIMITS.items():
        used, there = result["total"][resource], PART[resource]
        if used > limit * there:
            found.append(f"{TITLES[resource]}: {number(used)} of {number(there)} is more than {limit:.0%}")
    for path in result["paths"]:
        if path["levels"] > MAX_LEVELS:
            found.append(f"{path['levels']} levels of logic from {path['start']} to {path['end']}")
    return found


def number(value):
    return "–" if value is None else f"{value:,.1f}".removesuffix(".0")


def row(cells):
    return "| " + " | ".join(cells) + " |"


def head(cells):
    return [row(cells), "|" + "---|" * len(cells)]


def table(entries):
    lines = head(["module", "instances", *TITLES.values()])
    for entry in entries:
        cells = [f"`{entry['module']}`", number(entry["instances"])]
        lines.append(row(cells + [number(entry[resource]) for resource in RESOURCES]))
    return lines


def markdown(result):
    total = result["total"]
    lines = [
        "# Resources, estimated",
        "",
        "Written by `make -C hw synth`, from yosys' netlist; what that is worth: [README](../README.md). A module without",
        "registers is counted with the one around it.",
        "",
        *head(["", *TITLES.values()]),
        row([f"**{result['top']}**"] + [number(total[r]) for r in RESOURCES]),
        row(["the part (XCK26)"] + [number(PART[r]) for r in RESOURCES]),
        row(["share of the part"] + [f"{total[r] / PART[r]:.1%}" for r in RESOURCES]),
        row(["limit"] + [f"{LIMITS[r]:.0%}" for r in RESOURCES]),
        row(["seed, its Table II"] + [number(SEED[r]) for r in RESOURCES]),
        "",
        "Blocks of the design, all instances together, with everything in them:",
        "",
        *table(result["blocks"]),
        "",
        "Modules, all instances together, without the modules inside:",
        "",
        *table(result["modules"]),
        "",
        f"DSP blocks that multiply: {result['dsp_multipliers']}; without a register behind the multiplier:"
        f" {result['dsp_without_multiplier_register']}.",
        "",
        f"Longest paths between registers, one for each register at the end (limit: {MAX_LEVELS} levels;"
        " nanoseconds are a guess, see `paths.py`):",
        "",
        *head(["levels", "ns", "from", "to", "through"]),
    ]
    for path in result["paths"]:
        through = " ".join(shortened(path["cells"]))
        lines.append(row([str(path["levels"]), f"{path['ns']:.2f}", f"`{path['start']}`", f"`{path['end']}`", through]))
    return "\n".join(lines) + "\n"


def shortened(cells):
    """`CARRY4 CARRY4 CARRY4` as `CARRY4x3`."""
    runs = []
    for cell in cells:
        if runs and runs[-1][0] == cell:
            runs[-1][1] += 1
        else:
            runs.append([cell, 1])
    return [cell if count == 1 else f"{cell}x{count}" for cell, count in runs]


def sources(top):
    """What the reader is given: the list of the design, or for a module by itself its file and where others are."""
    listed = RTL / "files.f"
    if top == TOP and listed.exists():
        lines = (line.split("//")[0].strip() for line in listed.read_text().splitlines())
        return [find(line) for line in lines if line and not line.startswith(("-", "+"))]
    return [*sorted(RTL.glob("*_pkg.sv")), RTL / f"{top}.sv", "-y", RTL, "-Y", ".sv"]


def find(line):
    for folder in (RTL, RTL.parent, RTL.parent.parent):
        if (folder / line).exists():
            return folder / line
    raise SystemExit(f"synth: files.f names {line}, which does not exist")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--top", default=TOP, help="module to synthesize")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the top")
    parser.add_argument("--flat", action="store_true", help="map across module boundaries: slower, no table by module")
    parser.add_argument("--work", type=Path, default=HERE.parents[1] / "target" / "hw-synth", help="netlists go here")
    parser.add_argument("--check", action="store_true", help="fail where a limit is exceeded")
    options = parser.parse_args()
    parameters = dict(setting.split("=", 1) for setting in options.set)
    try:
        result = analyze(sources(options.top), options.top, parameters, options.work, options.flat)
    except SynthesisError as error:
        raise SystemExit(f"synth: {error}") from error
    text = markdown(result)
    print(text)
    if options.top == TOP and not parameters and not options.flat:
        (HERE / "resources.json").write_text(json.dumps(result, indent=1) + "\n")
        (HERE / "resources.md").write_text(text)
    found = problems(result)
    for problem in found:
        print(f"synth: {problem}", file=sys.stderr)
    if options.check and found:
        sys.exit(1)


if __name__ == "__main__":
    main()
