"""The table of measure.py's JSONL: means over calibration texts and seeds.

    python python/rivals/table.py rivals.jsonl > rivals.md

One table a model and held-out text. `own head`: embedding and head as the tool
stores them, bits over all matrices. `float head`: the original embedding and
head for everyone, bits over the linear layers. Standard deviations are those
between calibration texts and seeds, not the measuring error, which the header
gives. Methods without calibration have one run.
"""

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path

import common


PREAMBLE = """\
# Rivals

KL(original || quantized) in nats, the mean over held-out tokens, and its spread
(standard deviation) over calibration texts and seeds. Every tool ran itself on
the same text; its weights were read back and measured by one float32 forward
pass (python/rivals), so kernels and the rounding of activations do not count.
Bits are those stored: scales, zero points, padding; norms and biases are left
out for all. *Float head*: the original embedding and head for everyone, bits of
the linear layers. *Own head*: as the tool stores it, bits of all matrices.
edgewen makes up for its head's rounding in the layers, so its rows h8 and h4
belong to *own head*, and h16 to *float head*. llama.cpp's Q4_K_M needs rows of
256: on these shapes it becomes Q5_0 and Q8_0, at 5.5 to 6 bits. Block headers of
a packed file are padded, which costs these narrow models more than wide ones:
4.33 to 4.46 bits where a model of 896 inputs has 4.32.
"""


def spread(values: list[float], digits: int) -> str:
    """Mean and, of several, the sample standard deviation."""
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(values):.{digits}f}"


def line(method: str, own: list[dict], floating: list[dict]) -> tuple[float, str]:
    """A method's KL, to sort by, and its line."""
    increase = [100 * (r["perplexity"] / r["reference_perplexity"] - 1) for r in own]
    cells = [
        method,
        str(len(own)),
        f"{own[0]['bits_linear']:.2f}",
        spread([row["kl"] for row in floating], 4),
        f"{statistics.mean(row['bits_all'] for row in own):.2f}",
        spread([row["kl"] for row in own], 4),
        spread(increase, 2),
        spread([100 * row["same_top"] for row in own], 1),
    ]
    key = statistics.mean(row["kl"] for row in floating)
    return key, "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--texts", nargs="+", default=common.TEXTS)
    arguments = parser.parse_args()
    cells: dict[tuple, dict[str, dict[str, list]]] = defaultdict(
        lambda: defaultdict(lambda: {"own": [], "float": []})
    )
    for text in arguments.rows.open():
        row = json.loads(text)
        if row["text"] in [*arguments.texts, "none"]:
            group = cells[row["model"], row["eval"]]
            group[row["method"]][row["head_as"]].append(row)
    print(PREAMBLE)
    for (model, evaluation), methods in cells.items():
        first = next(iter(methods.values()))["own"][0]
        errors = [r["kl_error"] / r["kl"] for m in methods.values() for r in m["own"]]
        print(f"## {model}, {evaluation}\n")
        print(
            f"{first['tokens']:,} predicted tokens, perplexity of the original "
            f"{first['reference_perplexity']:.4f}. Standard error of a KL: "
            f"{100 * statistics.median(errors):.1f} % of it (median).\n"
        )
        print(
            "| method | runs | bits, linear layers | KL, float head | bits, all "
            "| KL, own head | perplexity, % more | same top token, % |"
        )
        print("|---|---|---|---|---|---|---|---|")
        lines = [
            line(method, heads["own"], heads["float"])
            for method, heads in methods.items()
        ]
        print("\n".join(text for _, text in sorted(lines)) + "\n")


if __name__ == "__main__":
    main()
