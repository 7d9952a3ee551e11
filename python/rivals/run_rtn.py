"""Round to nearest, the plain baseline: asymmetric 4 bits, f16 scales.

    python python/rivals/run_rtn.py --work WORK
"""

import argparse

import torch

import common


def round_to_nearest(weight: torch.Tensor, group: int, bits: int) -> torch.Tensor:
    """Rounds [rows, inputs] with one scale and zero point for every group; the
    last group may be shorter. The range includes zero; the scale is an f16."""
    rows, inputs = weight.shape
    padded = torch.nn.functional.pad(weight, (0, -inputs % group))
    padded = padded.view(rows, -1, group)
    low = padded.amin(-1, keepdim=True).clamp(max=0)
    high = padded.amax(-1, keepdim=True).clamp(min=0)
    top = 2**bits - 1
    scale = ((high - low) / top).clamp(min=1e-7).half().float()
    zero = torch.round(-low / scale).clamp(0, top)
    codes = (torch.round(padded / scale) + zero).clamp(0, top)
    return ((codes - zero) * scale).view(rows, -1)[:, :inputs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    common.add_arguments(parser, calibrated=False)
    arguments = parser.parse_args()
    for model in arguments.models:
        original = common.reference(model)
        for group in (32, 64, 128):
            for head in (16, 8, 4):
                tensors = dict(original)
                bits = common.Bits()
                for name in common.linear_names(original):
                    tensors[name] = round_to_nearest(original[name], group, 4)
                    shape = original[name].shape
                    bits.add(name, shape, common.grouped_bits(shape, group))
                embedding = original[common.EMBEDDING]
                stored = embedding.numel() * 16
                if head != 16:
                    tensors[common.EMBEDDING] = round_to_nearest(embedding, group, head)
                    stored = common.grouped_bits(embedding.shape, group, head, head)
                bits.add(common.EMBEDDING, embedding.shape, stored)
                method = f"rtn-g{group}-h{head}"
                info = {"tool": "torch", "group": group, "head": head}
                path = common.candidate_path(arguments.work, model, method, "none", 0)
                common.write_candidate(path, tensors, bits, info)


if __name__ == "__main__":
    main()
