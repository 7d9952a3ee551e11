"""AutoAWQ 0.2.9 itself, from PyPI, on the CPU: 4 bits with zero points, `gemm`.

    python python/rivals/run_autoawq.py --work WORK [--group 64]

Its algorithm is not touched. It runs in float32 rather than float16, which can
only help it. Three things are put right from outside. On a GPU its `.cpu()`
calls make copies; on the CPU they do not, and the search then multiplies the
weights it wants to restore, and divides the inputs of q, k and v three times
(KL 10 instead of 0.03): so copies are made where it relies on them. And its
clip search takes output rows in batches of 64, so matrices of 32 rows are
padded with zero rows for that call. stories260k-qwen2 cannot be done: 172 inputs are no multiple of a
group and 172 outputs no multiple of 8. The packed checkpoint is kept too, in
`packed/` beside model.safetensors.
"""

import argparse

import common

import torch
from awq import AutoAWQForCausalLM
from awq.modules.linear import WQLinear_GEMM
from awq.quantize.quantizer import AwqQuantizer
from awq.utils.packing_utils import reverse_awq_order, unpack_awq
from transformers import PreTrainedTokenizerFast

ROWS = 64
compute_best_clip = AwqQuantizer._compute_best_clip
compute_best_scale = AwqQuantizer._compute_best_scale
get_input_feat = AwqQuantizer._get_input_feat


def padded_search(self, w, input_feat, **settings):
    """The original search on rows padded to a multiple of its batch."""
    rows = w.shape[0]
    w = torch.nn.functional.pad(w, (0, 0, 0, -rows % ROWS))
    return compute_best_clip(self, w, input_feat, **settings)[:rows]


def copying_search(self, x, w_mean, x_mean, module2inspect, *rest):
    """The original search, with a copy of the weights to restore."""
    original = module2inspect.state_dict

    def state_dict(*args, **settings):
        state = original(*args, **settings)
        return {name: tensor.clone() for name, tensor in state.items()}

    module2inspect.state_dict = state_dict
    try:
        return compute_best_scale(self, x, w_mean, x_mean, module2inspect, *rest)
    finally:
        del module2inspect.state_dict


def copied_features(self, layer, named_linears):
    """The original inputs, each linear layer's its own copy."""
    features = get_input_feat(self, layer, named_linears)
    return {name: tensor.clone() for name, tensor in features.items()}


def dequantize(layer: WQLinear_GEMM) -> torch.Tensor:
    """[outputs, inputs] in float32, by AutoAWQ's own unpacking."""
    codes, zeros = unpack_awq(layer.qweight, layer.qzeros, layer.w_bit)
    codes, zeros = reverse_awq_order(codes, zeros, layer.w_bit)
    zeros = (zeros & 15).repeat_interleave(layer.group_size, dim=0).float()
    scales = layer.scales.float().repeat_interleave(layer.group_size, dim=0)
    return (((codes & 15).float() - zeros) * scales).t()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    common.add_arguments(parser)
    parser.add_argument("--group", type=int, default=64)
    arguments = parser.parse_args()
    AwqQuantizer._compute_best_clip = padded_search
    AwqQuantizer._compute_best_scale = copying_search
    AwqQuantizer._get_input_feat = copied_features
    method = f"autoawq-g{arguments.group}"
    for model, text, seed in common.jobs(arguments):
        path = common.candidate_path(arguments.work, model, method, text, seed)
        if (path / "info.json").exists() and not arguments.force:
            continue
        original = common.reference(model)
        linears = common.linear_names(original)
        odd = [n for n in linears if original[n].shape[1] % arguments.group]
        if odd:
            print(f"{model}: AutoAWQ cannot: {odd[0]} has {original[odd[0]].shape}")
            continue
        windows = common.calibration_windows(model, text, seed)
        folder = str(common.model_path(model))
        awq = AutoAWQForCausalLM.from_pretrained(
            folder, torch_dtype=torch.float32, device_map="cpu"
        )
        config = {
            "zero_point": True,
            "q_group_size": arguments.group,
            "w_bit": 4,
            "version": "GEMM",
        }
        awq.quantize(
            PreTrainedTokenizerFast.from_pretrained(folder),
            quant_config=config,
            calib_data=[window.ids for window in windows],
            max_calib_samples=len(windows),
            max_calib_seq_len=len(windows[0].ids),
        )
        state = awq.model.state_dict()
        tensors = {name: state.get(name, original[name]) for name in original}
        bits = common.Bits()
        for name, layer in awq.model.named_modules():
            if isinstance(layer, WQLinear_GEMM):
                weight = f"{name}.weight"
                tensors[weight] = dequantize(layer)
                shape = original[weight].shape
                bits.add(weight, shape, common.grouped_bits(shape, arguments.group))
        assert bits.linear_weights == sum(original[n].numel() for n in linears)
        embedding = original[common.EMBEDDING]
        bits.add(common.EMBEDDING, embedding.shape, embedding.numel() * 16)
        info = {
            "tool": "autoawq 0.2.9",
            "group": arguments.group,
            "head": 16,
            "calibration_tokens": sum(len(window.ids) for window in windows),
        }
        awq.save_quantized(str(path / "packed"))
        common.write_candidate(path, tensors, bits, info)
        print(path, flush=True)


if __name__ == "__main__":
    main()
