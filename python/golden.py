"""Makes expected values for the Rust tests with transformers' Qwen2ForCausalLM.

    python python/golden.py fixtures                      # fixtures/golden/tiny-*
    python python/golden.py standin --checkpoint DIR -o FILE.json

`fixtures` writes three random models, each a way that checkpoints differ in the
wild, and beside each an expected.safetensors: `tokens` [n] i64, `logits`
[n, vocab] f32 of these tokens, and `greedy` [32] i64, the continuation of the
first 8 tokens. `standin` records some of the logits of a checkpoint that is too
large to commit. Everything is computed on the CPU in float32 from the weights as
stored, with the eager attention, on one thread.
"""

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import transformers
from transformers import AutoConfig, Qwen2ForCausalLM

import demo_text

REPOSITORY = Path(__file__).resolve().parent.parent
PROMPT_TOKENS = 8
GREEDY_TOKENS = 32
PADDING_ROWS = 8  # ids of the model that the tokenizer lacks, as in Qwen2.5
SMALLEST_GREEDY_GAP = 0.02  # a greedy step nearer to a tie would test rounding

TOKENIZER_TEXT = [
    "The old miller had three sons, and when he died he left the mill to the first, "
    "the donkey to the second, and to the third nothing but the cat that slept by the stove.",
    "\"What shall I do with a cat?\" said the youngest. \"There's little to eat, and I've no work.\"",
    "The cat heard that, and she said: \"Give me a bag and a pair of boots, and you'll see "
    "that your share isn't as bad as you think.\"",
]

SHAPE = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "max_position_embeddings": 128,
    "num_attention_heads": 4,
    "rms_norm_eps": 1e-06,
    "use_cache": True,
    "use_sliding_window": False,
}


@dataclass
class Case:
    """One folder: its config.json as it is written, and how to fill and store it."""

    name: str
    config: dict
    dtype: torch.dtype
    seed: int
    tokens: int
    key_bias: float
    value_and_query_bias: float
    shard_size: str


CASES = [
    Case(  # YaRN, untied head, several shards, an odd intermediate size, v4 names
        name="tiny-yarn",
        config=SHAPE | {
            "intermediate_size": 176,
            "num_hidden_layers": 3,
            "num_key_value_heads": 2,
            "vocab_size": 384,
            "tie_word_embeddings": False,
            "rope_theta": 1000000.0,
            "rope_scaling": {
                "rope_type": "yarn",
                "type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
            },
            "torch_dtype": "bfloat16",
        },
        dtype=torch.bfloat16,
        seed=1,
        tokens=96,
        key_bias=1.0,
        value_and_query_bias=0.5,
        shard_size="120KB",
    ),
    Case(  # float16, tied head, the names that transformers 5 writes
        name="tiny-f16",
        config=SHAPE | {
            "intermediate_size": 176,
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "vocab_size": 384,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
            "dtype": "float16",
        },
        dtype=torch.float16,
        seed=2,
        tokens=96,
        key_bias=1.0,
        value_and_query_bias=0.5,
        shard_size="1GB",
    ),
    Case(  # float32, one kv head, large biases on the keys alone
        name="tiny-f32",
        config=SHAPE | {
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_key_value_heads": 1,
            "vocab_size": 320,
            "tie_word_embeddings": True,
            "rope_theta": 10000.0,
            "torch_dtype": "float32",
        },
        dtype=torch.float32,
        seed=3,
        tokens=48,
        key_bias=2.0,
        value_and_query_bias=0.0,
        shard_size="1GB",
    ),
]


def fill(model: Qwen2ForCausalLM, case: Case) -> None:
    """Random weights at which every part of the model moves the logits."""
    generator = torch.Generator().manual_seed(case.seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight"):
            value = 1.0 + 0.2 * noise
        elif name.endswith("k_proj.bias"):
            value = case.key_bias * noise
        elif name.endswith("bias"):
            value = case.value_and_query_bias * noise
        elif name.endswith(("embed_tokens.weight", "lm_head.weight")):
            value = 0.25 * noise  # the final norm has size 1 and width 64: logits of std 2
        else:
            value = noise / parameter.shape[1] ** 0.5
        parameter.data.copy_(value)


def load_float32(folder: Path) -> Qwen2ForCausalLM:
    return Qwen2ForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


@torch.no_grad()
def logits_of(model: Qwen2ForCausalLM, tokens: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]


def greedy(model: Qwen2ForCausalLM, prompt: list[int]) -> tuple[list[int], float]:
    """The continuation, and the smallest lead that a chosen token had."""
    tokens, gap = list(prompt), float("inf")
    for _ in range(GREEDY_TOKENS):
        best = logits_of(model, tokens)[-1].topk(2)
        gap = min(gap, (best.values[0] - best.values[1]).item())
        tokens.append(best.indices[0].item())
    return tokens[len(prompt) :], gap


def save_legacy_tokenizer(folder: Path, vocab_size: int, context_tokens: int) -> None:
    """As demo_text saves it, but with merges as "a b", which Qwen2.5's file has."""
    tokenizer = demo_text.train_tokenizer(TOKENIZER_TEXT, vocab_size)
    demo_text.save_tokenizer(tokenizer, folder, context_tokens)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def write_case(case: Case, folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    config_json = json.dumps(case.config, indent=2) + "\n"
    (folder / "config.json").write_text(config_json)
    model = Qwen2ForCausalLM(AutoConfig.from_pretrained(folder))
    fill(model, case)
    model.to(case.dtype).save_pretrained(folder, max_shard_size=case.shard_size)
    (folder / "config.json").write_text(config_json)
    (folder / "generation_config.json").unlink(missing_ok=True)
    vocab_size = case.config["vocab_size"]
    save_legacy_tokenizer(folder, vocab_size - PADDING_ROWS, case.config["max_position_embeddings"])

    model = load_float32(folder)
    tokens = np.random.default_rng(case.seed).integers(0, vocab_size, case.tokens).tolist()
    logits = logits_of(model, tokens)
    continuation, gap = greedy(model, tokens[:PROMPT_TOKENS])
    assert gap >= SMALLEST_GREEDY_GAP, f"{case.name}: greedy lead {gap}; take another seed"
    safetensors.torch.save_file(
        {
            "tokens": torch.tensor(tokens),
            "logits": logits.contiguous(),
            "greedy": torch.tensor(continuation),
        },
        folder / "expected.safetensors",
    )
    rotary = model.model.rotary_emb
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{case.name}: {len(list(folder.glob('model*.safetensors')))} weight files, {size} bytes in all, "
          f"logits std {logits.std():.2f}, smallest greedy lead {gap:.3f}, "
          f"rope {rotary.rope_type} x {rotary.attention_scaling:.4f}")


def write_fixtures(arguments: argparse.Namespace) -> None:
    for case in CASES:
        write_case(case, arguments.out / case.name)


def write_standin(arguments: argparse.Namespace) -> None:
    logits = logits_of(load_float32(arguments.checkpoint), arguments.tokens)
    evenly = torch.linspace(0, logits.shape[1] - 1, arguments.spread).long()
    positions = []
    for row in logits:
        ids = torch.cat([row.topk(arguments.top).indices, evenly]).unique()
        positions.append(
            {"argmax": row.argmax().item(), "ids": ids.tolist(), "logits": row[ids].tolist()}
        )
    result = {"transformers": transformers.__version__, "torch": torch.__version__,
              "tokens": arguments.tokens, "positions": positions}
    arguments.output.write_text(json.dumps(result) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make expected values for the Rust tests.")
    modes = parser.add_subparsers(required=True)
    fixtures = modes.add_parser("fixtures", help="write the three small random models")
    fixtures.add_argument("--out", type=Path, default=REPOSITORY / "fixtures/golden")
    fixtures.set_defaults(run=write_fixtures)
    standin = modes.add_parser("standin", help="record chosen logits of any Qwen2 checkpoint")
    standin.add_argument("--checkpoint", type=Path, required=True, help="folder with config.json")
    standin.add_argument("-o", "--output", type=Path, required=True, help="JSON to write")
    standin.add_argument("--tokens", type=int, nargs="+", default=[9707, 11, 847, 829, 374],
                         help="token ids (default: the first of 'Hello, my name is')")
    standin.add_argument("--top", type=int, default=64, help="highest logits to keep")
    standin.add_argument("--spread", type=int, default=192, help="evenly spaced ids to keep")
    standin.set_defaults(run=write_standin)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
