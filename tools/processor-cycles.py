"""Prices the operations of the forward pass for a Cortex-A53: called by tools/processor-cycles.sh.

The probe (crates/kernels/examples/processor_probe.rs) runs under QEMU, which writes down the blocks it executes. The
instructions between the probe's marks, in the order of execution, are given to llvm-mca as one straight piece of code.
So every loop, tail, call and branch counts as often as it is executed, and nothing is guessed about loop counts.

llvm-mca knows nothing of caches and mispredicted branches, and its A53 model issues a 128-bit load in one cycle beside
arithmetic, where the processor takes two and issues nothing beside it. The second column, `issue`, is a small in-order
model of this script with the issue rules that others measured on the processor; see `Pipeline`.
"""

import argparse
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PIECE = 20_000  # instructions a call of llvm-mca gets: it keeps all of them in memory
BRANCH = re.compile(r"^(b|bl|br|blr|ret|b\.\w+|cbn?z|tbn?z)\b")


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def disassemble(binary):
    """Address -> instruction, branch targets and page addresses made harmless for the assembler."""
    code = {}
    for line in run("llvm-objdump", "-d", "--no-show-raw-insn", binary).splitlines():
        match = re.match(r"^\s*([0-9a-f]+):\s+(\S.*)$", line)
        if not match:
            continue
        text = match[2].split("<")[0].split("//")[0].strip().replace("\t", " ")
        if text.startswith(("adrp", "adr ")):
            text = re.sub(r"0x[0-9a-f]+$|#?-?\d+$", "#0", text)
        elif BRANCH.match(text):
            text = re.sub(r"#?0x[0-9a-f]+$", "#8", text)
        code[int(match[1], 16)] = text
    return code


def marks(binary):
    """Addresses of probe_begin and probe_end."""
    found = {}
    for line in run("llvm-nm", binary).splitlines():
        for name in ("probe_begin", "probe_end"):
            if re.search(rf"processor_probe\d+{name}", line):
                found[name] = int(line.split()[0], 16)
    return found["probe_begin"], found["probe_end"]


def traces(binary, log, code):
    """The blocks executed between each pair of marks: instructions, and whether the last one jumped."""
    begin, end = marks(binary)
    sizes, current, recording = {}, None, None
    for line in open(log, encoding="ascii", errors="replace"):
        if line.startswith("Trace"):
            pc = int(line.split("/")[1], 16)
            if pc == begin:
                recording = []
            elif pc == end:
                yield [
                    ([code[at + 4 * i] for i in range(sizes[at])], at + 4 * sizes[at] != following)
                    for at, following in zip(recording, recording[1:] + [pc])
                ]
                recording = None
            elif recording is not None:
                recording.append(pc)
        elif line.startswith("IN:"):
            current = None
        elif line.startswith("0x"):
            address = int(line.split(":")[0], 16)
            current = address if current is None else current
            sizes[current] = (address - current) // 4 + 1


def mca(instructions, cpu):
    """Cycles according to llvm-mca."""
    total = 0
    for start in range(0, len(instructions), PIECE):
        piece = "\n".join(instructions[start : start + PIECE]) + "\n"
        text = run("llvm-mca", "-mtriple=aarch64", f"-mcpu={cpu}", "-iterations=1", "-all-views=0",
                   "-summary-view", input=piece)
        total += int(re.search(r"Total Cycles:\s+(\d+)", text)[1])
    return total


class Pipeline:
    """In order, two instructions a cycle, with these rules for the Cortex-A53:

    - one load or store a cycle; a 128-bit load occupies the 64-bit read path for two cycles (ldp q: four), a 128-bit
      store one; neither is issued together with vector arithmetic (ncnn, docs/developer-guide/arm-a53-a55-dual-issue;
      qsdr, qsdr-benchmarks: instruction benchmarks on a Cortex-A53);
    - one 128-bit vector operation a cycle, result after 4 cycles (same sources; fadd, fmul, fmla 8);
    - integer operations: result after 1 cycle, loads after 3 (a loaded vector after 4), multiplications after 3;
    - division: 13 cycles for one f32, 28 for four; square root 13 (GCC's cortex-a53.md; four lanes take twice two);
    - one branch a cycle; a taken one ends the group, and the next instruction comes one cycle later.
    Caches always hit and branches are predicted.
    """

    def __init__(self):
        self.now, self.slots = 0, 2
        self.ready = {}
        self.memory = self.vector = self.divider = 0  # first cycle in which the unit is free
        self.vector_cycle = self.memory_vector_cycle = -1  # last cycle of arithmetic, of a vector load or store

    def wait(self, cycle):
        if cycle > self.now:
            self.now, self.slots = cycle, 2

    def issue(self, text, taken):
        name, _, rest = text.partition(" ")
        operands = [part.strip() for part in rest.split(",")] if rest else []
        registers = [normal(r) for r in re.findall(r"\b(?:[xwqdshbv]\d+|sp|wsp)\b", rest)]
        load, store = name.startswith("ld"), name.startswith("st")
        if name in ("nop", "prfm") or name.startswith("hint"):
            load, registers = name == "prfm", []
        vector = any(re.match(r"[{]?\s*[qdshbv]\d", part) for part in operands)
        branch = bool(BRANCH.match(text))
        no_result = store or branch or name in ("cmp", "cmn", "tst", "fcmp", "ccmp", "fccmp", "fcmpe", "prfm")
        results = 0 if no_result else (rest.split("[")[0].count("q") + rest.split("[")[0].count("v")
                                       + len(re.findall(r"\b[xwdshb]\d+", rest.split("[")[0])) if load else 1)
        sources = registers[results:] if not accumulates(name) else registers
        flags = branch and name.startswith("b.") or name.startswith(("cs", "cinc", "cset", "ccmp", "fcsel", "adc"))
        for register in sources + (["flags"] if flags else []):
            self.wait(self.ready.get(register, 0))
        if self.slots == 0:
            self.wait(self.now + 1)
        if load or store:
            self.wait(self.memory)
            if vector and self.vector_cycle == self.now:
                self.wait(self.now + 1)
            wide = len(re.findall(r"\bq\d|\bv\d+\.(?:16b|8h|4s|2d)", rest))
            replicating = name.startswith("ld1r")
            busy = max(1, (1 if replicating else 2) * wide) if load else max(1, wide)
            if name in ("ldp", "ldnp") and not vector and re.search(r"\bx\d", operands[0]):
                busy = 2
            self.memory = self.now + busy
            if vector:
                self.memory_vector_cycle = self.now + busy - 1
            latency = (4 if vector else 3) + busy - 1
        elif vector:
            self.wait(self.vector)
            if self.memory_vector_cycle >= self.now:
                self.wait(self.memory_vector_cycle + 1)
            latency = 8 if name in ("fmla", "fmls", "fmadd", "fmsub") else 4
            if name in ("fdiv", "fsqrt"):
                self.wait(self.divider)
                latency = 28 if ".4s" in rest else 13
                self.divider = self.now + latency
            self.vector, self.vector_cycle = self.now + 1, self.now
        else:
            latency = 3 if name in ("mul", "madd", "msub", "mneg", "umulh", "smulh", "umaddl", "smaddl", "umull",
                                    "smull") else 1
            if name in ("udiv", "sdiv"):
                latency = 12
        self.slots -= 1
        for register in registers[:results]:
            self.ready[register] = self.now + latency
        if load or store:
            for base in re.findall(r"\[(\w+)[^\]]*\](?:!|, )", rest):
                self.ready[normal(base)] = self.now + 1
        if name in ("cmp", "cmn", "tst", "ccmp") or (name.endswith("s") and name in ("adds", "subs", "ands", "bics")):
            self.ready["flags"] = self.now + 1
        elif name.startswith(("fcmp", "fccmp")):
            self.ready["flags"] = self.now + 4
        if branch and taken:
            self.wait(self.now + 2)


def normal(register):
    """One name for all widths of a register."""
    if register in ("sp", "wsp"):
        return "sp"
    return ("r" if register[0] in "xw" else "v") + register[1:]


def accumulates(name):
    """Whether the destination is read, too."""
    return name in ("bsl", "bit", "bif", "fmla", "fmls", "ins", "movk", "bfi", "bfxil", "tbx", "sli", "sri", "mla",
                    "mls") or name.endswith(("mlal", "mlal2", "adalp", "xtn2", "rn2", "tn2", "tl2x"))


def issue_cycles(blocks):
    """Cycles according to `Pipeline`."""
    pipeline = Pipeline()
    for block, jumped in blocks:
        for index, text in enumerate(block):
            pipeline.issue(text, jumped and index == len(block) - 1)
    return pipeline.now + 1


def price(blocks):
    instructions = [text for block, _ in blocks for text in block]
    return {
        "instructions": len(instructions),
        "wide_loads": sum(len(re.findall(r"\bq\d", text.split("[")[0])) for text in instructions
                          if text.startswith("ld")),
        "mca": mca(instructions, "cortex-a53"),
        "issue": issue_cycles(blocks),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--trace", required=True, help="log of qemu -d exec,nochain,in_asm")
    parser.add_argument("--probes", required=True, help="standard output of the probe")
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--command", required=True)
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()

    code = disassemble(arguments.binary)
    names = [line.split() for line in Path(arguments.probes).read_text().splitlines()]
    with ThreadPoolExecutor(2) as pool:
        prices = list(pool.map(price, traces(arguments.binary, arguments.trace, code)))
    if len(prices) != len(names):
        sys.exit(f"{len(names)} probes but {len(prices)} traces: the marks were not found in the log")
    probes = {}
    for (name, *parameters), cost in zip(names, prices):
        probes.setdefault(name, []).append({"parameters": [int(p) for p in parameters], **cost})
    version = re.search(r"version (\S+)", run("llvm-mca", "--version"))[1]
    document = {
        "command": arguments.command,
        "compiler": arguments.compiler,
        "llvm_mca": version,
        "probes": probes,
    }
    text = json.dumps(document, indent=1)
    # One probe a line, so that a change of the kernels is a readable diff.
    text = re.sub(r"\{\s+(\"parameters\"[^{}]*?)\s+\}", lambda m: "{" + re.sub(r"\s+", " ", m[1]) + "}", text)
    Path(arguments.output).write_text(text + "\n")


main()
