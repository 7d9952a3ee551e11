"""Measures mixed precision on small trained models: `edgewen quantize --bits-budget`, then `edgewen eval kl`.

For each model and calibration text the checkpoint is quantized with 4 bits everywhere and within several budgets. Each
file is compared with the float checkpoint on a text that none of them has seen. One JSON line a file;
docs/mixed-precision.md says what the figures mean.

    python python/mixed_precision.py --edgewen target/release/edgewen --data ../shared/data/third-party \
        --output results/2026-11-21-quality/mixed-precision.jsonl
"""

import argparse
import json
import pathlib
import tempfile

from divergences import corpus_excerpt, run, separator

BUDGETS = [None, 4.6, 5.0, 6.0]
# What the embedding and the head begin with, like all other matrices.
HEAD = "4"
# The end of the text that is cut out of the corpus for the demo model: enough for its statistics, and minutes to measure.
VALID_CHARACTERS = 20_000
TALES_CHARACTERS = 200_000


def texts(data: pathlib.Path, folder: pathlib.Path):
    """For each model its calibration texts and the text it is measured on."""
    tales = corpus_excerpt(data, folder, "tales", TALES_CHARACTERS)
    valid = corpus_excerpt(data, folder, "valid", VALID_CHARACTERS)
    stories = data / "eval/tinystories"
    train, excerpt = stories / "tinystories_train_head_197k.txt", stories / "tinystories_v2_valid_excerpt.txt"
    # Of the kind that the model was trained on, and of another.
    return {
        "stories260k-qwen2-pad": ({"tinystories": train, "built-in": None}, excerpt),
        "babyllama361-qwen2-bias": ({"tinystories": train, "built-in": None}, excerpt),
        "demo": ({"tales": tales, "built-in": None}, valid),
    }


def main():
    """Runs everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edgewen", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--quantize", nargs="*", default=[], help="further flags of edgewen quantize, without dashes")
    parser.add_argument("--models", nargs="*")
    parser.add_argument("--budgets", type=float, nargs="*", help="instead of the usual ones; 0 is 4 bits everywhere")
    arguments = parser.parse_args()
    budgets = [b or None for b in arguments.budgets] if arguments.budgets else BUDGETS
    edgewen = arguments.edgewen.resolve()
    further = [f"--{flag}" for flag in arguments.quantize]
    repository = pathlib.Path(__file__).resolve().parent.parent
    models = {name: arguments.data / "models" / name for name in ["stories260k-qwen2-pad", "babyllama361-qwen2-bias"]}
    models["demo"] = repository / "fixtures/demo"
    with tempfile.TemporaryDirectory() as name, arguments.output.open("w", encoding="utf-8") as output:
        folder = pathlib.Path(name)
        for model, (calibration, text) in texts(arguments.data, folder).items():
            if arguments.models and model not in arguments.models:
                continue
            directory = models[model]
            for calibrated_on, path in calibration.items():
                for budget in budgets:
                    packed, report = folder / "model.ewn", folder / "report.json"
                    command = [edgewen, "quantize", directory, "-o", packed, "--force", "--json"]
                    command += ["--head", HEAD, "--report", report, *further]
                    command += ["--calibration", path] if path else []
                    # Without a budget the text that is held out otherwise is left in: what a user would run.
                    command += ["--bits-budget", budget] if budget else []
                    summary = run(command)
                    kl = run([edgewen, "eval", "kl", "--model", packed, "--reference", directory,
                              "--file", text, *separator(text), "--json"])
                    # Where the files lay on this machine is nobody's business.
                    for place, key in [(kl, "model"), (kl, "reference"), (kl["protocol"], "file")]:
                        place[key] = pathlib.Path(place[key]).name
                    details = json.loads(report.read_text(encoding="utf-8"))
                    line = {
                        "model": model,
                        "calibration": calibrated_on,
                        "budget": budget,
                        "bits_per_weight": summary["bits_per_weight"],
                        "file_bytes": summary["file_bytes"],
                        "seconds": summary["seconds"],
                        "eval": kl,
                        "chosen": details.get("budget"),
                        "command": " ".join(str(part) for part in command[1:]).replace(str(folder) + "/", ""),
                    }
                    output.write(json.dumps(line) + "\n")
                    output.flush()


if __name__ == "__main__":
    main()
