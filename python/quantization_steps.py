"""Measures what each step of the quantizer is worth: `edgewen quantize --skip STEP`, then `edgewen eval kl`.

Each model is quantized with each method, with each step left out, with each effort and with a 4-bit head, on several
calibration texts, and compared with the float checkpoint on a text that none of them has seen. One JSON line a file;
docs/quantization.md shows the means.

    python python/quantization_steps.py --edgewen target/release/edgewen --data ../shared/data/third-party \
        --output results/2026-11-21-quality/quantization-steps.jsonl
"""

import argparse
import json
import pathlib
import shutil
import tempfile

from divergences import corpus_excerpt, run, separator

STEPS = ["sequential", "scales", "value-output", "correction", "damping", "clip", "feedback", "descent"]
SHORT = ["--calibration-tokens", "1024"]
VARIANTS = {
    "rtn": ["--method", "rtn"],
    "awq": ["--method", "awq"],
    "awq-gptq": [],
    **{f"without {step}": ["--skip", step] for step in STEPS},
    **{f"{tokens:,} tokens": ["--calibration-tokens", str(tokens)] for tokens in [512, 1024, 2048, 4096, 8192]},
    "1,024 tokens, without damping": [*SHORT, "--skip", "damping"],
    "effort fast": ["--effort", "fast"],
    "effort best": ["--effort", "best"],
    "rtn, head 4": ["--method", "rtn", "--head", "4"],
    "awq-gptq, head 4": ["--head", "4"],
}
# Of the model with outliers only what shows whether they are dealt with.
OUTLIERS = "demo with outliers"
OUTLIER_VARIANTS = ["rtn", "awq", "awq-gptq", "without scales", "without value-output"]
# Characters of a corpus that a text takes: enough for a model's statistics, and minutes to measure.
CHARACTERS = 200_000
VALID_CHARACTERS = 20_000


def texts(data: pathlib.Path, folder: pathlib.Path):
    """For each model its calibration texts and the text it is measured on."""
    tales = corpus_excerpt(data, folder, "tales", CHARACTERS)
    novels = corpus_excerpt(data, folder, "novels", CHARACTERS, first=1_000_000)
    valid = corpus_excerpt(data, folder, "valid", VALID_CHARACTERS)
    stories = data / "eval/tinystories"
    train, excerpt = stories / "tinystories_train_head_197k.txt", stories / "tinystories_v2_valid_excerpt.txt"
    small = {"tinystories": train, "tales": tales, "built-in": None}
    return {
        "babyllama361-qwen2-bias": (small, excerpt),
        "stories260k-qwen2-pad": (small, excerpt),
        "demo": ({"tales": tales, "novels": novels, "built-in": None}, valid),
        OUTLIERS: ({"tales": tales, "novels": novels, "built-in": None}, valid),
    }


def add_outliers(checkpoint: pathlib.Path, folder: pathlib.Path) -> None:
    """The same function with inputs 8 to 64 times as large in some channels of each layer, as large language models
    have them: a norm's weight or a row of `up` is multiplied, the columns that read it are divided."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("*.ewn"))
    tensors = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    random = torch.Generator().manual_seed(1)
    factors = torch.tensor([64.0, 32.0, 16.0, 8.0])
    readers = {"input_layernorm": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]}
    readers |= {"post_attention_layernorm": ["mlp.gate_proj", "mlp.up_proj"], "mlp.up_proj": ["mlp.down_proj"]}
    for name in list(tensors):
        parts = name.split(".")
        layer, source = ".".join(parts[:3]), ".".join(parts[3:-1])
        if source not in readers:
            continue
        channels = torch.randperm(len(tensors[name]), generator=random)[: len(factors)]
        tensors[name][channels] *= factors.reshape(-1, *[1] * (tensors[name].dim() - 1))
        for reader in readers[source]:
            tensors[f"{layer}.{reader}.weight"][:, channels] /= factors
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def main():
    """Runs everything that the output does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edgewen", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--models", nargs="*")
    arguments = parser.parse_args()
    repository = pathlib.Path(__file__).resolve().parent.parent
    done = set()
    if arguments.output.exists():
        for line in arguments.output.read_text().splitlines():
            row = json.loads(line)
            done.add((row["model"], row["calibration"], row["variant"]))
    with tempfile.TemporaryDirectory() as name, arguments.output.open("a") as output:
        folder = pathlib.Path(name)
        for model, (calibrations, text) in texts(arguments.data, folder).items():
            if arguments.models and model not in arguments.models:
                continue
            checkpoint = repository / "fixtures/demo" if model.startswith("demo") else arguments.data / "models" / model
            if model == OUTLIERS:
                add_outliers(checkpoint, folder / "outliers")
                checkpoint = folder / "outliers"
            reference = folder / f"{model}.safetensors"
            store = [arguments.edgewen, "eval", "kl", "--reference", checkpoint, "--save-logits", reference]
            run([*store, "--file", text, *separator(text), "--json"])
            for calibration, source in calibrations.items():
                for variant, flags in VARIANTS.items():
                    if (model, calibration, variant) in done:
                        continue
                    if model == OUTLIERS and variant not in OUTLIER_VARIANTS:
                        continue
                    file = folder / "model.ewn"
                    quantize = [arguments.edgewen, "quantize", checkpoint, "-o", file, "--force", "--json", *flags]
                    if source and "rtn" not in flags:
                        quantize += ["--calibration", source]
                    made = run(quantize)
                    compare = [arguments.edgewen, "eval", "kl", "--model", file, "--reference", reference]
                    measured = run([*compare, "--json"])
                    row = {"model": model, "calibration": calibration, "variant": variant, "flags": flags}
                    keys = ["bits_per_weight", "relative_error", "relative_error_rtn", "seconds", "file_bytes"]
                    row |= {key: made[key] for key in keys}
                    row |= {"kl": measured["kl"]["mean"], "tokens": measured["tokens"]}
                    row |= {key: measured[key] for key in ["same_top", "perplexity", "reference_perplexity"]}
                    output.write(json.dumps(row) + "\n")
                    output.flush()


if __name__ == "__main__":
    main()
