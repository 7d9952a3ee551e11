"""Measures the exported demo checkpoint: held-out loss, live biases, samples.

    python python/check_demo.py fixtures/demo

loads the bf16 checkpoint as anybody would (transformers, in float32) and prints
Markdown: the loss over all held-out books in windows of 512 tokens, how far the
logits move when the q/k/v biases are zeroed, whether transformers' tokenizer
agrees with tokenizer.json, and greedy and sampled continuations.
docs/demo-model.md quotes it.
"""

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

import demo_text

REPOSITORY = Path(__file__).resolve().parent.parent
PROMPTS = ["Once upon a time", "The old king", "The little fox"]
SAMPLE_TOKENS = 120
WINDOW_TOKENS = 512
ROWS_AT_ONCE = 8


@torch.no_grad()
def held_out_loss(model, tokenizer: Tokenizer, documents: list[str]) -> tuple[float, int, int]:
    """Mean loss in nats, tokens predicted, and characters of the text."""
    end = tokenizer.token_to_id(demo_text.END_OF_TEXT)
    ids = [i for document in documents for i in (*tokenizer.encode(document).ids, end)]
    rows = torch.tensor(ids[: len(ids) // WINDOW_TOKENS * WINDOW_TOKENS]).view(-1, WINDOW_TOKENS)
    total = 0.0
    for batch in rows.split(ROWS_AT_ONCE):
        logits = model(input_ids=batch, use_cache=False).logits[:, :-1]
        total += F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum").item()
    count = rows.shape[0] * (WINDOW_TOKENS - 1)
    return total / count, count, sum(map(len, documents))


@torch.no_grad()
def bias_effect(model, ids: torch.Tensor, projection: str) -> tuple[float, float]:
    """Largest bias, and the largest change of a logit when they are all zero."""
    before = model(input_ids=ids).logits
    biases = [getattr(layer.self_attn, projection).bias for layer in model.model.layers]
    kept = [bias.clone() for bias in biases]
    for bias in biases:
        bias.zero_()
    change = (model(input_ids=ids).logits - before).abs().max().item()
    for bias, value in zip(biases, kept):
        bias.copy_(value)
    return max(value.abs().max().item() for value in kept), change


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the demo checkpoint.")
    parser.add_argument("checkpoint", type=Path, nargs="?", default=REPOSITORY / "fixtures/demo")
    parser.add_argument("--valid", type=Path,
                        default=REPOSITORY.parent / "shared/data/third-party/corpus/valid.txt.xz")
    parser.add_argument("--seed", type=int, default=7, help="of the sampled texts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(arguments.checkpoint, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(arguments.checkpoint / "tokenizer.json"))
    auto_tokenizer = AutoTokenizer.from_pretrained(arguments.checkpoint)
    documents = demo_text.read_documents(arguments.valid)

    loss, count, characters = held_out_loss(model, tokenizer, documents)
    print(f"Held-out loss {loss:.4f} nats a token over {count} tokens ({characters} characters): "
          f"perplexity {math.exp(loss):.2f}\n")

    sample = documents[0][:1200]
    ids = tokenizer.encode(sample).ids
    agree = auto_tokenizer(sample)["input_ids"] == ids and tokenizer.decode(ids) == sample
    print(f"AutoTokenizer is {type(auto_tokenizer).__name__}; same ids and exact round trip: {agree}")
    messages = [{"role": "system", "content": "A tale."}, {"role": "user", "content": PROMPTS[0]}]
    rendered = auto_tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    print(f"Chat template renders {rendered!r}\n")
    for projection in ("q_proj", "k_proj", "v_proj"):
        largest, change = bias_effect(model, torch.tensor([ids]), projection)
        print(f"- {projection}: largest bias {largest:.2f}; zeroing moves a logit by up to {change:.2f}")

    torch.manual_seed(arguments.seed)
    greedy = dict(do_sample=False, temperature=None, top_p=None)
    for title, options in {
        "Greedy": greedy | {"repetition_penalty": 1.0},
        "Greedy with the default repetition penalty": greedy,
        "Sampled with the defaults of generation_config.json": {},
    }.items():
        print(f"\n### {title}\n")
        for prompt in PROMPTS:
            prompt_ids = torch.tensor([tokenizer.encode(prompt).ids])
            output = model.generate(prompt_ids, attention_mask=torch.ones_like(prompt_ids),
                                    max_new_tokens=SAMPLE_TOKENS, **options)
            text = tokenizer.decode(output[0].tolist())
            print("> " + text.replace("\n\n", "\n>\n> ") + "\n")


if __name__ == "__main__":
    main()
