"""GPTQ, and AWQ with GPTQ, by llm-compressor from PyPI, on the CPU.

    python python/rivals/run_llmcompressor.py --work WORK [--group 64]

GPTQ as its W4A16_ASYM scheme with this group and act-order `static` (columns in
order of importance, groups as stored). `awq-gptq` is the recipe that it gives
for small Qwen models: scales by AWQModifier(duo_scaling="both"), then GPTQ.
Weights are read back through its own fake quantization; scales stay float32 but
are counted as 16 bits, which can only help it. Without a GPU its request for
pinned memory fails and is answered with the tensor itself.
"""

import argparse

import common

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import GPTQModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast


def recipe(kind: str, group: int) -> list:
    """The modifiers of a method: `gptq` or `awq-gptq`."""
    weights = QuantizationArgs(
        num_bits=4, type="int", symmetric=False, strategy="group", group_size=group
    )
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    gptq = GPTQModifier(
        config_groups={"group_0": scheme}, ignore=["lm_head"], actorder="static"
    )
    return [gptq] if kind == "gptq" else [AWQModifier(duo_scaling="both"), gptq]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    common.add_arguments(parser)
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--kinds", nargs="+", default=["gptq", "awq-gptq"])
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        torch.Tensor.pin_memory = lambda self: self
    for model, text, seed in common.jobs(arguments):
        for kind in arguments.kinds:
            method = f"llmcompressor-{kind}-g{arguments.group}"
            path = common.candidate_path(arguments.work, model, method, text, seed)
            if (path / "info.json").exists() and not arguments.force:
                continue
            original = common.reference(model)
            linears = common.linear_names(original)
            odd = [n for n in linears if original[n].shape[1] % arguments.group]
            if odd:
                print(f"{model}: not with {odd[0]} of {original[odd[0]].shape}")
                break
            windows = common.calibration_windows(model, text, seed)
            folder = str(common.model_path(model))
            network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            oneshot(
                model=network,
                processor=PreTrainedTokenizerFast.from_pretrained(folder),
                dataset=Dataset.from_dict(
                    {
                        "input_ids": [window.ids for window in windows],
                        "attention_mask": [[1] * len(window.ids) for window in windows],
                    }
                ),
                recipe=recipe(kind, arguments.group),
                num_calibration_samples=len(windows),
                max_seq_length=len(windows[0].ids),
                shuffle_calibration_samples=False,
            )
            tensors = {n: t for n, t in network.state_dict().items() if n in original}
            bits = common.Bits()
            for name in linears:
                layer = network.get_submodule(name.removesuffix(".weight"))
                tensors[name] = fake_quantize(
                    layer.weight.data,
                    layer.weight_scale,
                    layer.weight_zero_point,
                    layer.quantization_scheme.weights,
                    getattr(layer, "weight_g_idx", None),
                )
                shape = original[name].shape
                bits.add(name, shape, common.grouped_bits(shape, arguments.group))
            embedding = original[common.EMBEDDING]
            bits.add(common.EMBEDDING, embedding.shape, embedding.numel() * 16)
            info = {
                "tool": "llm-compressor 0.14.0.1",
                "group": arguments.group,
                "head": 16,
                "calibration_tokens": sum(len(window.ids) for window in windows),
            }
            common.write_candidate(path, tensors, bits, info)
            print(path, flush=True)


if __name__ == "__main__":
    main()
