"""The counting: equal modules, cells of the part, levels between registers, limits."""

import pytest

import netlist
import paths
import synth

LEAF = """attribute \\src "leaf.sv:1"
module \\leaf$top.{path}
  wire width {width} input 1 \\a
  wire $procmux${number}_Y
  cell $not ${number}
    connect \\A \\a
    connect \\Y $procmux${number}_Y
  end
end
"""

TOP = """module \\top
  cell \\leaf$top.u0 \\u0
  end
  cell \\leaf$top.u1 \\u1
  end
  cell \\leaf$top.u2 \\u2
  end
end
"""


def test_equal_instances_become_one_module():
    leaves = [
        LEAF.format(path="u0", width=4, number=12),
        LEAF.format(path="u1", width=4, number=345),
        LEAF.format(path="u2", width=8, number=6),
    ]
    merged = netlist.merge_equal_modules("".join(leaves) + TOP)
    assert merged.count("module \\leaf\n") == 1
    assert merged.count("module \\leaf__2\n") == 1
    assert merged.count("cell \\leaf \\u") == 2
    assert "cell \\leaf__2 \\u2" in merged


def cell(kind, inputs, outputs, **parameters):
    directions = dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output")
    return {"type": kind, "parameters": parameters, "port_directions": directions, "connections": inputs | outputs}


def module(cells, **nets):
    names = {name.replace("__", "."): {"hide_name": 0, "bits": bits} for name, bits in nets.items()}
    return {"cells": cells, "netnames": names, "attributes": {}}


def test_levels_are_counted_between_registers():
    cells = {
        "from": cell("FDRE", {"C": [2], "D": [20]}, {"Q": [3]}),
        "lut": cell("LUT2", {"I0": [3], "I1": [3]}, {"O": [4]}),
        "carry0": cell("CARRY4", {"S": [4, 4, 4, 4], "DI": [3, 3, 3, 3], "CI": ["0"]}, {"CO": [5, 6, 7, 8]}),
        "carry1": cell("CARRY4", {"S": [3, 3, 3, 3], "DI": [3, 3, 3, 3], "CI": [8]}, {"O": [9, 10, 11, 12]}),
        "last": cell("LUT3", {"I0": [12], "I1": [3], "I2": [30]}, {"O": [13]}),
        "to": cell("FDRE", {"C": [2], "D": [13]}, {"Q": [14]}),
    }
    found = paths.Netlist(module(cells, u__from_q=[3], u__to_q=[14])).longest(5)
    # LUT2, into the chain, along it for nothing, LUT3. What comes from the port 20 or 30 is no path.
    assert [(path.levels, path.start, path.end) for path in found] == [(3, "u.from_q", "u.to_q")]
    assert found[0].cells == ["LUT2", "CARRY4", "CARRY4", "LUT3"]


def test_a_loop_is_an_error():
    cells = {
        "a": cell("LUT1", {"I0": [5]}, {"O": [4]}),
        "b": cell("LUT1", {"I0": [4]}, {"O": [5]}),
    }
    with pytest.raises(ValueError, match="loop"):
        paths.Netlist(module(cells)).longest(1)


def test_resources_add_up_over_the_hierarchy():
    leaf = {"cells": {"l": {"type": "LUT6"}, "f": {"type": "FDRE"}, "m": {"type": "RAM32M16"}, "r": {"type": "RAMB18E2"}}}
    other = {"cells": {"l": {"type": "LUT2"}, "d": {"type": "DSP48E1"}}}
    middle = {"cells": {"a": {"type": "leaf"}, "b": {"type": "leaf"}, "c": {"type": "leaf__2"}, "u": {"type": "URAM288"}}}
    top = {"cells": {"m0": {"type": "middle"}, "m1": {"type": "middle"}, "l": {"type": "LUT1"}}}
    total, blocks, modules = synth.tally({"leaf": leaf, "leaf__2": other, "middle": middle, "top": top}, "top")
    assert total == {"lut": 2 * (2 * 9 + 1) + 1, "ff": 4, "bram36": 2, "uram": 2, "dsp": 2}
    assert [(entry["module"], entry["instances"], entry["lut"]) for entry in blocks] == [("middle", 2, 38)]
    assert [(entry["module"], entry["instances"]) for entry in modules] == [("leaf", 6), ("top", 1), ("middle", 2)]
    assert sum(entry["lut"] for entry in modules) == total["lut"]
    with pytest.raises(netlist.SynthesisError):
        synth.own_resources({"cells": {"x": {"type": "RAM1024X1D"}}})


def test_generic_cells_are_refused():
    with pytest.raises(netlist.SynthesisError, match="_AND_"):
        netlist._check({"top": {"cells": {"x": {"type": "$_AND_"}}}}, "top")


def test_limits_are_checked():
    path = {"levels": 9, "start": "a_q", "end": "b_q.D"}
    total = {"lut": 82_000, "ff": 0, "bram36": 0, "uram": 57, "dsp": 937}
    assert synth.problems({"total": total, "paths": [path]}) == [
        "LUT: 82,000 of 117,120 is more than 70%",
        "DSP: 937 of 1,248 is more than 75%",
        "9 levels of logic from a_q to b_q.D",
    ]
