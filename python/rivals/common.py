"""What every script here shares: models, texts, windows of tokens, results.

A *candidate* is one quantized model: a folder WORK/MODEL/METHOD/TEXT-SEED with
the dequantized weights as an ordinary float32 checkpoint (model.safetensors)
and info.json, which says how it was made and how many bits it stores. All
candidates are measured by measure.py in the same way, so no rival's own
evaluation, kernels or activation rounding enter the comparison.
"""

import json
import lzma
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DATA = REPOSITORY.parent / "shared/data/third-party"
MODELS = [
    "babyllama361-qwen2-bias",
    "babyllama361-qwen2-bias-f32",
    "stories260k-qwen2",
    "stories260k-qwen2-pad",
    "demo",
]
# Calibration texts and the offsets (in characters) that act as seeds. Each
# sample is SAMPLE characters, of which every method uses the same first
# CALIBRATION_TOKENS tokens. The second half of the TinyStories text is kept for
# evaluation; the built-in text is short, so its second sample is a rotation.
TEXTS = ["tinystories", "tales", "builtin", "wikitext"]
SEEDS = [0, 1]
SAMPLE = 49_000
CALIBRATION_TOKENS = 16_384
EVALUATION_TOKENS = 8_192
SEPARATOR = "<|endoftext|>"
# The names of a linear layer's matrices, as they follow model.layers.N.
LINEARS = [f"self_attn.{name}_proj" for name in "qkvo"] + [
    f"mlp.{name}_proj" for name in ("gate", "up", "down")
]
EMBEDDING = "model.embed_tokens.weight"


@dataclass
class Window:
    """Tokens that a model sees together, from an empty context."""

    ids: list[int]


def model_path(name: str) -> Path:
    """The checkpoint directory of a model in MODELS, or of a path."""
    if name == "demo":
        return REPOSITORY / "fixtures/demo"
    path = DATA / "models" / name
    return path if path.is_dir() else Path(name)


def context(name: str) -> int:
    """Positions that the model was made for, at most 512 as in AutoAWQ."""
    config = json.loads((model_path(name) / "config.json").read_text())
    return min(512, config["max_position_embeddings"])


def tokenizer(name: str) -> Tokenizer:
    """The checkpoint's tokenizer.json, verbatim: transformers rebuilds it."""
    return Tokenizer.from_file(str(model_path(name) / "tokenizer.json"))


def calibration_text(text: str, seed: int) -> str:
    """The sample number `seed` of a calibration text, without separators."""
    if text == "tinystories":
        whole = (DATA / "eval/tinystories/tinystories_train_head_197k.txt").read_text()
        sample = whole[seed * SAMPLE : (seed + 1) * SAMPLE]
    elif text == "tales":
        with lzma.open(DATA / "corpus/tales.txt.xz", "rt") as file:
            file.read(1_000_000 * seed)
            sample = file.read(SAMPLE)
    elif text == "wikitext":
        whole = (DATA / "eval/wikitext2/wiki.test.raw").read_text()
        start = 500_000 * seed
        sample = whole[start : start + SAMPLE]
    else:
        whole = (REPOSITORY / "crates/quant/src/calibration.txt").read_text()
        start = len(whole) // 2 * seed
        sample = whole[start:] + whole[:start]
    return sample.replace(SEPARATOR, "\n")


def calibration_windows(model: str, text: str, seed: int) -> list[Window]:
    """The sample as full windows of the model's context, each after BOS."""
    encoder = tokenizer(model)
    prefix = encoder.encode("").ids
    ids = encoder.encode(calibration_text(text, seed), add_special_tokens=False).ids
    size = context(model) - len(prefix)
    ids = ids[:CALIBRATION_TOKENS]
    return [
        Window(prefix + ids[start : start + size])
        for start in range(0, len(ids) - size + 1, size)
    ]


def held_out_books(start: int = 200_000) -> str:
    """A part of the held-out books that the demo model is measured on."""
    with lzma.open(DATA / "corpus/valid.txt.xz", "rt") as file:
        return file.read()[start : start + 60_000]


def evaluation_windows(model: str, text: str) -> list[Window]:
    """Held-out windows: `stories` the ten held-out stories, each after BOS and
    cut to the context; `stories-long` further stories, `books` and `books-other`
    held-out books, EVALUATION_TOKENS of them in full windows. Numbers inside
    edgewen's quantizer were chosen by what it lost on `stories` and `books`;
    nothing was chosen by `stories-long` and `books-other`."""
    encoder = tokenizer(model)
    prefix = encoder.encode("").ids
    size = context(model)
    if text == "stories":
        path = DATA / "eval/tinystories/tinystories_v2_valid_excerpt.txt"
        stories = [story.strip() for story in path.read_text().split(SEPARATOR)]
        return [Window(encoder.encode(story).ids[:size]) for story in stories if story]
    if text == "stories-long":
        whole = (DATA / "eval/tinystories/tinystories_train_head_197k.txt").read_text()
        whole = whole[2 * SAMPLE :].replace(SEPARATOR, "\n")
    else:
        whole = held_out_books(700_000) if text == "books-other" else held_out_books()
    ids = encoder.encode(whole, add_special_tokens=False).ids
    ids = ids[:EVALUATION_TOKENS]
    size -= len(prefix)
    return [
        Window(prefix + ids[start : start + size])
        for start in range(0, len(ids) - size + 1, size)
    ]


def evaluation_texts(model: str) -> list[str]:
    """The held-out texts that fit what a model was trained on."""
    return ["books", "books-other"] if model == "demo" else ["stories", "stories-long"]


def reference(model: str) -> dict[str, torch.Tensor]:
    """The checkpoint's tensors as float32, the tied head only once."""
    tensors = load_file(model_path(model) / "model.safetensors")
    tensors.pop("lm_head.weight", None)
    return {name: tensor.float() for name, tensor in tensors.items()}


def linear_names(tensors: dict[str, torch.Tensor]) -> list[str]:
    """Names of the weights of all linear layers but the head."""
    return [
        name
        for name in tensors
        if any(name.endswith(f".{linear}.weight") for linear in LINEARS)
    ]


def grouped_bits(
    shape: torch.Size, group: int, bits: int = 4, zero_bits: int = 4
) -> int:
    """Bits of a matrix with an f16 scale and a zero point for every group."""
    rows, inputs = shape
    groups = -(-inputs // group)
    return rows * groups * (group * bits + 16 + zero_bits)


@dataclass
class Bits:
    """Stored bits and weights of the linear layers and of the tied head."""

    linear: int = 0
    linear_weights: int = 0
    head: int = 0
    head_weights: int = 0

    def add(self, name: str, shape: torch.Size, bits: int) -> None:
        """Counts one matrix; the weights are those of the original shape."""
        weights = shape[0] * shape[1]
        if name == EMBEDDING:
            self.head += bits
            self.head_weights += weights
        else:
            self.linear += bits
            self.linear_weights += weights

    def summary(self) -> dict[str, float]:
        """Bits a weight: of the linear layers, of the head, and of both."""
        return {
            "bits_linear": self.linear / self.linear_weights,
            "bits_head": self.head / self.head_weights,
            "bits_all": (self.linear + self.head)
            / (self.linear_weights + self.head_weights),
        }


def candidate_path(work: Path, model: str, method: str, text: str, seed: int) -> Path:
    """Where a candidate lies; text `none` for methods without calibration."""
    return work / model / method / f"{text}-{seed}"


def write_candidate(
    path: Path, tensors: dict[str, torch.Tensor], bits: Bits, info: dict
) -> None:
    """Writes the dequantized weights and what is known about them."""
    path.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    text = json.dumps({**info, **bits.summary()}, indent=1)
    (path / "info.json").write_text(text + "\n")


def jobs(arguments) -> list[tuple[str, str, int]]:
    """(model, text, seed) of the command line's choice."""
    return [
        (model, text, seed)
        for model in arguments.models
        for text in arguments.texts
        for seed in arguments.seeds
    ]


def add_arguments(parser, calibrated: bool = True) -> None:
    """The options that all scripts share."""
    parser.add_argument("--work", type=Path, required=True, help="folder of candidates")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--force", action="store_true", help="make existing ones again")
    if calibrated:
        parser.add_argument("--texts", nargs="+", default=TEXTS)
        parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
