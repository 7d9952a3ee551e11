"""Runs yosys on the accelerator and reads back its netlist.

Every instance becomes a module of its own in the reader (read_slang), so equal ones are merged before anything is
mapped: a PE array that is there four times is synthesized once. Module boundaries stay until the netlist is mapped;
only then is it flattened, for the paths that cross them.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

MAP = "synth_xilinx -noiopad -noclkbuf -uram"

# yosys packs registers and adders into the DSP blocks of the 7 series only. Those of UltraScale+ have all they have
# (and 27 instead of 25 bits for one operand), so the DSP step, and only it, runs for the 7 series.
MAP_STEPS = ("-family xcup -run begin:map_dsp", "-family xc7 -run map_dsp:coarse", "-family xcup -run coarse:")

# Stands in a module's name before its number, if its instances have different parameters.
VARIANT = "__"

_MODULE = re.compile(r"^(?:attribute [^\n]*\n)*module (\S+)\n.*?^end\n", re.M | re.S)
_CELL = re.compile(r"^(\s*cell )(\\\S+)( )", re.M)
_SOURCE = re.compile(
    r"^\s*attribute \\(?:src|hdlname|scopename|top|initial_top|dynports|cells_not_processed) .*\n", re.M
)
_NUMBER = re.compile(r"(?<=\$)\d+")


class SynthesisError(Exception):
    """Something a report must not be made of."""


def merge_equal_modules(text):
    """RTLIL with one module for all instances that have the same contents. The name is that of the definition."""
    modules = {match.group(1): match.group(0) for match in _MODULE.finditer(text)}
    canonical, bodies, counts = {}, {}, {}

    def visit(name):
        if name in canonical:
            return canonical[name]
        body = _CELL.sub(
            lambda cell: cell[1] + (visit(cell[2]) if cell[2] in modules else cell[2]) + cell[3], modules[name]
        )
        key = _contents(body.replace(f"module {name}\n", "module\n"))
        definition = name.split("$", 1)[0]
        if (definition, key) not in bodies:
            index = counts[definition] = counts.get(definition, 0) + 1
            unique = definition if index == 1 else f"{definition}{VARIANT}{index}"
            bodies[definition, key] = (unique, body.replace(f"module {name}\n", f"module {unique}\n"))
        canonical[name] = bodies[definition, key][0]
        return canonical[name]

    for name in modules:
        visit(name)
    return "autoidx 1000000\n" + "".join(body for _, body in bodies.values())


def _contents(text):
    """The statements of a module without their order and the numbers in generated names, which both differ between
    instances. Two instances of one definition that agree in it have the same parameters, so they are equal."""
    return tuple(sorted(_NUMBER.sub("#", _SOURCE.sub("", text)).splitlines()))


def synthesize(sources, top, parameters, work, flat=False):
    """Maps a design; returns (modules, flat module) as yosys' JSON has them."""
    work.mkdir(parents=True, exist_ok=True)
    log = work / f"{top}.log"
    job = json.dumps([[str(source) for source in sources], top, parameters, str(work), flat])
    # A process of its own: yosys ends it on an error, and its output belongs into a file.
    with log.open("w") as output:
        done = subprocess.run([sys.executable, __file__, job], stdout=output, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        last = "\n".join(log.read_text().splitlines()[-20:])
        raise SynthesisError(f"yosys failed on {top}, see {log}:\n{last}")
    modules = json.loads((work / f"{top}.json").read_text())["modules"]
    flattened = json.loads((work / f"{top}-flat.json").read_text())["modules"][top]
    _check(modules, top)
    return modules, flattened


def _map(sources, top, parameters, work, flat):
    """What the process of its own does: leaves TOP.json and TOP-flat.json in `work`."""
    from pyosys import libyosys as yosys

    design = yosys.Design()
    hierarchy = "" if flat else "--best-effort-hierarchy"
    # A memory is what the source says is one (ram_style); other arrays are registers, which DSP blocks can take in.
    values = " ".join(f"-G {name}={value}" for name, value in parameters.items())
    design.run_pass(f"read_slang -j 1 --no-implicit-memories {hierarchy} {values} --top {top} {' '.join(sources)}")
    if not flat:
        read, merged = work / f"{top}.il", work / f"{top}-merged.il"
        design.run_pass(f"write_rtlil {read}")
        merged.write_text(merge_equal_modules(read.read_text()))
        design = yosys.Design()
        design.run_pass(f"read_rtlil {merged}")
        # What holds no register has no edge of its own: it is mapped with the module around it, so that a DSP block
        # finds its registers. Everything else stays a module.
        design.run_pass("select -set kept t:$*dff* t:$mem* %u %m")
        design.run_pass(f"select -set kept @kept {top} %u")
        design.run_pass("setattr -mod -set keep_hierarchy 1 @kept")
        design.run_pass("flatten")
        design.run_pass("setattr -mod -unset keep_hierarchy")
    for step in MAP_STEPS:
        design.run_pass(f"{MAP} -top {top}{' -flatten' if flat else ''} {step}")
    # What is selected by default leaves out the cells of the library.
    design.run_pass(f"write_json -selected {work / top}.json")
    design.run_pass("flatten")
    design.run_pass("clean")
    design.run_pass(f"write_json -selected {work / top}-flat.json")


def _check(modules, top):
    """A flow whose mapper died half-way leaves generic cells behind and looks green."""
    kinds = {cell["type"] for module in modules.values() for cell in module["cells"].values()}
    left = sorted(kind for kind in kinds if kind.startswith("$") and kind != "$scopeinfo")
    if left:
        raise SynthesisError(f"{top}: not mapped: {', '.join(left)}")


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    _map(job[0], job[1], job[2], Path(job[3]), job[4])
