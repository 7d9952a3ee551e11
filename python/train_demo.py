"""Trains the demo model: a 2.95 M parameter Qwen2 that tells public-domain tales.

It exists so that a fresh clone can compress and run a real, trained checkpoint
of the Qwen2.5 architecture (live q/k/v biases, grouped heads, tied embeddings)
without a download. Training is on one CPU thread and resumes from --work after
a kill; until the decay begins (60 % of --steps) a resume may change --steps.

    python python/train_demo.py --work /tmp/edgewen-demo --steps 6000

makes fixtures/demo/ (with loss.csv) and docs/demo-loss.svg; check_demo.py
then measures the result.
"""

import argparse
import csv
import signal
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

import demo_text

REPOSITORY = Path(__file__).resolve().parent.parent
VOCAB_SIZE = 3072
CONTEXT_TOKENS = 512
WINDOWS_PER_STEP = 8  # of 512 tokens: 4,096 tokens a step
SHORT_TOKENS = 256  # sequence length before the decay
LEARNING_RATE = 4e-3
WARMUP_STEPS = 150
DECAY_START = 0.6  # of all steps: linear to zero from here, at full length
LOG_STEPS = 25
VALID_STEPS = 250
VALID_WINDOWS = 32  # 16,384 tokens, spread over the held-out books
SAVE_SECONDS = 600


def prepare(corpus: Path, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Tokenizer and token streams; kept in `work`, so a resume is quick."""
    streams = {split: work / f"{split}.npy" for split in ("tales", "valid")}
    if not all(path.exists() for path in streams.values()):
        texts = {s: demo_text.read_documents(corpus / f"{s}.txt.xz") for s in streams}
        tokenizer = demo_text.train_tokenizer(texts["tales"], VOCAB_SIZE)
        demo_text.save_tokenizer(tokenizer, work, CONTEXT_TOKENS)
        end = tokenizer.token_to_id(demo_text.END_OF_TEXT)
        for split, path in streams.items():
            ids = []
            for start in range(0, len(texts[split]), 256):
                for encoding in tokenizer.encode_batch(texts[split][start : start + 256]):
                    ids += [*encoding.ids, end]
            np.save(path, np.array(ids, dtype=np.uint16))
            chars = sum(map(len, texts[split]))
            print(f"{split}: {len(texts[split])} documents, {len(ids)} tokens, "
                  f"{chars / len(ids):.3f} characters a token", flush=True)
    return np.load(streams["tales"]), np.load(streams["valid"])


def windows(tokens: np.ndarray, indices: np.ndarray, length: int) -> tuple:
    """Inputs and next tokens [rows, length] of the 512-token windows `indices`."""
    starts = (indices * CONTEXT_TOKENS)[:, None]
    starts = (starts + np.arange(0, CONTEXT_TOKENS, length)).reshape(-1, 1)
    rows = torch.from_numpy(tokens[starts + np.arange(length + 1)].astype(np.int64))
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def training_batch(tokens: np.ndarray, step: int, length: int, seed: int) -> tuple:
    """Every window once an epoch, in an order that depends on seed and epoch only."""
    per_epoch = ((len(tokens) - 1) // CONTEXT_TOKENS) // WINDOWS_PER_STEP
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(per_epoch * WINDOWS_PER_STEP)
    return windows(tokens, order[place * WINDOWS_PER_STEP :][:WINDOWS_PER_STEP], length)


def learning_rate(step: int, steps: int) -> float:
    if step < WARMUP_STEPS:
        return LEARNING_RATE * (step + 1) / WARMUP_STEPS
    left = (steps - step) / (steps * (1 - DECAY_START))
    return LEARNING_RATE * min(1.0, left)


def build_model(seed: int) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    end = VOCAB_SIZE - len(demo_text.SPECIAL_TOKENS)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=VOCAB_SIZE,
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=6,
            num_attention_heads=3,
            num_key_value_heads=1,
            max_position_embeddings=CONTEXT_TOKENS,
            rope_theta=10000.0,
            rms_norm_eps=1e-6,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def build_optimizer(model: Qwen2ForCausalLM) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95), fused=True)


def export(model: Qwen2ForCausalLM, work: Path, folder: Path) -> None:
    """The bf16 checkpoint as published ones look, with tokenizer and defaults."""
    copy = build_model(0)
    copy.load_state_dict(model.state_dict())
    end = copy.config.eos_token_id
    copy.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.7,
        top_p=0.9,
        repetition_penalty=1.1,
        eos_token_id=end,
        pad_token_id=end,
    )
    copy.to(torch.bfloat16).save_pretrained(folder)
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    demo_text.save_tokenizer(tokenizer, folder, CONTEXT_TOKENS)


def plot(log: Path, image: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "edgewen", "svg.fonttype": "none"})
    from matplotlib import pyplot

    rows = list(csv.DictReader(log.open()))
    figure, axes = pyplot.subplots(figsize=(7, 4))
    millions = [int(row["tokens"]) / 1e6 for row in rows]
    axes.plot(millions, [float(row["train_loss"]) for row in rows], linewidth=0.8, label="training")
    valid = [(m, float(r["valid_loss"])) for m, r in zip(millions, rows) if r["valid_loss"]]
    axes.plot(*zip(*valid), marker="o", markersize=3, label="held-out books")
    axes.set(xlabel="million tokens", ylabel="loss, nats per token", ylim=(3.0, 6.0))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(image, metadata={"Date": None})


def train(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    tales, valid = prepare(arguments.corpus, arguments.work)
    model, checkpoint = build_model(arguments.seed), arguments.work / "checkpoint.pt"
    optimizer = build_optimizer(model)
    step, seconds, log = 0, 0.0, []
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step, seconds, log = saved["step"], saved["seconds"], saved["log"]
        print(f"resumed at step {step}", flush=True)

    def loss_of(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = model(input_ids=inputs, use_cache=False).logits
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    valid_count = (len(valid) - 1) // CONTEXT_TOKENS
    valid_batch = windows(valid, np.linspace(0, valid_count - 1, VALID_WINDOWS, dtype=np.int64), CONTEXT_TOKENS)
    compiled_loss = torch.compile(loss_of, dynamic=False)
    stop_requested = []
    signal.signal(signal.SIGTERM, lambda *_: stop_requested.append(True))

    def save() -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                 "step": step, "seconds": seconds, "log": log}
        torch.save(state, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").rename(checkpoint)

    recent: list[float] = []
    clock = last_save = time.monotonic()
    while step < arguments.steps and not stop_requested:
        rate = learning_rate(step, arguments.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        length = SHORT_TOKENS if step < DECAY_START * arguments.steps else CONTEXT_TOKENS
        with torch.autocast("cpu", torch.bfloat16):
            loss = compiled_loss(*training_batch(tales, step, length, arguments.seed))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent.append(loss.item())
        step += 1
        now = time.monotonic()
        seconds, clock = seconds + now - clock, now
        if step % LOG_STEPS == 0:
            valid_loss = ""
            if step % VALID_STEPS == 0 or step == arguments.steps:
                with torch.no_grad():
                    valid_loss = f"{loss_of(*valid_batch).item():.4f}"
            tokens = step * WINDOWS_PER_STEP * CONTEXT_TOKENS
            log.append([step, tokens, f"{rate:.6f}", f"{np.mean(recent):.4f}", valid_loss, round(seconds)])
            print(*log[-1], flush=True)
            recent = []
        if now - last_save > SAVE_SECONDS:
            save()
            last_save = now
    save()
    if step == arguments.steps:
        arguments.log.parent.mkdir(parents=True, exist_ok=True)
        with arguments.log.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["step", "tokens", "learning_rate", "train_loss", "valid_loss", "seconds"])
            writer.writerows(log)
        plot(arguments.log, arguments.plot)
        export(model, arguments.work, arguments.out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo model from scratch.")
    parser.add_argument("--corpus", type=Path, default=REPOSITORY.parent / "shared/data/third-party/corpus",
                        help="folder with tales.txt.xz and valid.txt.xz")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder: streams and resume point")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "fixtures/demo", help="checkpoint to write")
    parser.add_argument("--log", type=Path, default=REPOSITORY / "fixtures/demo/loss.csv")
    parser.add_argument("--plot", type=Path, default=REPOSITORY / "docs/demo-loss.svg")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=20260801)
    parser.add_argument("--export-only", action="store_true", help="write --out from the resume point as it is")
    arguments = parser.parse_args()
    if arguments.export_only:
        saved = torch.load(arguments.work / "checkpoint.pt", weights_only=True)
        model = build_model(arguments.seed)
        model.load_state_dict(saved["model"])
        export(model, arguments.work, arguments.out)
    else:
        train(arguments)


if __name__ == "__main__":
    main()
