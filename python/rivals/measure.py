"""Measures every candidate against its model: KL, perplexity, same top token.

    python python/rivals/measure.py --work WORK --output rivals.jsonl

The forward pass is transformers' in float32 with the dequantized weights, so
only the weights' rounding counts, not how a tool's kernels round activations.
Every candidate is measured twice: `own` with the embedding and head as the tool
leaves them, `float` with the original embedding and head in their place, which
puts tools that leave the head in 16 bits and tools that do not side by side.
Finished measurements are skipped.
"""

import argparse
import json
import math
from itertools import groupby
from pathlib import Path

import common

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

BATCH = 16  # windows


@torch.no_grad()
def log_probabilities(model, windows: list[common.Window]) -> list[torch.Tensor]:
    """Per window [tokens - 1, vocabulary] in float64: the last token predicts
    nothing that could be compared. Windows of one length run together."""
    outputs = {}
    for _, same in groupby(range(len(windows)), lambda at: len(windows[at].ids)):
        places = list(same)
        for start in range(0, len(places), BATCH):
            batch = places[start : start + BATCH]
            logits = model(torch.tensor([windows[at].ids for at in batch])).logits
            rows = torch.log_softmax(logits[:, :-1].double(), -1)
            outputs |= dict(zip(batch, rows, strict=True))
    return [outputs[at] for at in range(len(windows))]


def compare(
    reference: list[torch.Tensor],
    candidate: list[torch.Tensor],
    windows: list[common.Window],
) -> dict:
    """Means over all predicted tokens; KL(reference || candidate) in nats."""
    divergences, same, losses, reference_losses = [], [], [], []
    for p, q, window in zip(reference, candidate, windows, strict=True):
        target = torch.tensor(window.ids[1:])[:, None]
        divergences.append((p.exp() * (p - q)).sum(-1))
        same.append((p.argmax(-1) == q.argmax(-1)).double())
        losses.append(-q.gather(1, target)[:, 0])
        reference_losses.append(-p.gather(1, target)[:, 0])
    divergence, same = torch.cat(divergences), torch.cat(same)
    loss, reference_loss = torch.cat(losses), torch.cat(reference_losses)
    return {
        "tokens": len(divergence),
        "kl": divergence.mean().item(),
        "kl_error": divergence.std().item() / math.sqrt(len(divergence)),
        "perplexity": loss.mean().exp().item(),
        "reference_perplexity": reference_loss.mean().exp().item(),
        "same_top": same.mean().item(),
    }


def key(row: dict) -> tuple:
    """What a measurement is of."""
    return tuple(
        row[name] for name in ("model", "method", "text", "seed", "eval", "head_as")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    common.add_arguments(parser)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", help="only these")
    arguments = parser.parse_args()
    done = set()
    if arguments.output.exists() and not arguments.force:
        done = {key(json.loads(line)) for line in arguments.output.open()}
    for name in arguments.models:
        candidates = sorted((arguments.work / name).glob("*/*/info.json"))
        original = common.reference(name)
        config = AutoConfig.from_pretrained(common.model_path(name))
        model = AutoModelForCausalLM.from_config(config, torch_dtype=torch.float32)
        model.eval()

        def load(tensors: dict[str, torch.Tensor]) -> None:
            missing, unexpected = model.load_state_dict(tensors, strict=False)
            assert set(missing) <= {"lm_head.weight"} and not unexpected
            model.tie_weights()

        load(original)
        texts = {
            text: common.evaluation_windows(name, text)
            for text in common.evaluation_texts(name)
        }
        references = {
            text: log_probabilities(model, windows) for text, windows in texts.items()
        }
        for path in candidates:
            method = path.parent.parent.name
            if arguments.methods and method not in arguments.methods:
                continue
            text, _, seed = path.parent.name.rpartition("-")
            if text not in [*arguments.texts, "none"]:
                continue
            if int(seed) not in arguments.seeds:
                continue
            info = json.loads(path.read_text())
            rows = [
                {
                    "model": name,
                    "method": method,
                    "text": text,
                    "seed": int(seed),
                    "eval": evaluation,
                    "head_as": head_as,
                }
                for head_as in ("own", "float")
                for evaluation in texts
            ]
            rows = [row for row in rows if key(row) not in done]
            tensors = load_file(path.parent / "model.safetensors") if rows else {}
            known: dict[str, dict] = {}  # by text, while the head is the float one
            for row in rows:
                evaluation = row["eval"]
                if evaluation not in known:
                    if row["head_as"] == "float":
                        tensors[common.EMBEDDING] = original[common.EMBEDDING]
                    load(tensors)
                    windows = texts[evaluation]
                    measured = log_probabilities(model, windows)
                    result = compare(references[evaluation], measured, windows)
                    if torch.equal(
                        tensors[common.EMBEDDING], original[common.EMBEDDING]
                    ):
                        known[evaluation] = result
                row |= known.get(evaluation, result) | info
                with arguments.output.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
