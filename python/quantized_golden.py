"""Quantized checkpoints made by the original Python packers, and a check of edgewen's own.

    python python/quantized_golden.py make --packers DIR     # fixtures/golden/quantized
    python python/quantized_golden.py check EXPORT --packers DIR [--logits FILE]

`make` packs the same random integers with the code of AutoAWQ, AutoGPTQ, GPTQModel and
compressed-tensors, lets each library unpack its own words again, and stops if a single
weight is not (q - z) s. Beside the packed tensors it writes the integers (`codes4`,
`codes8`), zero points and scales they were made of, and the logits of a Qwen2 model
with those weights, computed by transformers in float32.

`check` takes a checkpoint that `edgewen export --format autoawq` wrote, unpacks it with
AutoAWQ's code, runs it in float32, loads it with transformers (GPTQModel's CPU kernel),
and compares both with each other and with the `logits` of an `edgewen logits` file.

AutoAWQ and AutoGPTQ want CUDA or an old transformers when they are imported as a whole,
so that only their packing modules are loaded, from unpacked archives in DIR:

    pip download --no-deps -d DIR autoawq==0.2.9 auto-gptq==0.7.1 compressed-tensors==0.9.4
    (unpack them to DIR/autoawq-0.2.9, DIR/auto_gptq-0.7.1, DIR/compressed_tensors-0.9.4)
    pip install -r python/requirements.txt accelerate gptqmodel==7.7.0 compressed-tensors==0.20.0

compressed-tensors 0.9.4 packs columns in the order of g_idx, which 0.20 no longer does.
"""

import argparse
import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

REPOSITORY = Path(__file__).resolve().parent.parent
HIDDEN, INNER, HEADS, KV_HEADS, VOCABULARY = 64, 96, 2, 1, 272
GROUP = 32
TOKENS = 6
HEAD_SIZE = HIDDEN // HEADS

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "max_position_embeddings": 128,
    "num_attention_heads": HEADS,
    "num_hidden_layers": 1,
    "num_key_value_heads": KV_HEADS,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "float16",
    "use_sliding_window": False,
    "vocab_size": VOCABULARY,
    "eos_token_id": 256,
}

# Linear layers in the order in which their weights lie in `codes4` and `codes8`.
SHAPES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KV_HEADS * HEAD_SIZE, HIDDEN),
    "self_attn.v_proj": (KV_HEADS * HEAD_SIZE, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
# Layers that share an input share its order.
ORDER_OF = {
    "self_attn.k_proj": "self_attn.q_proj",
    "self_attn.v_proj": "self_attn.q_proj",
    "mlp.up_proj": "mlp.gate_proj",
}


def bare_package(name: str, folder: Path) -> None:
    """Makes `name` importable from `folder` without running its __init__."""
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package


def autoawq(packers: Path):
    root = packers / "autoawq-0.2.9" / "awq"
    for name, folder in [("awq", root), ("awq.utils", root / "utils"), ("awq.modules", root / "modules"),
                         ("awq.modules.linear", root / "modules" / "linear")]:
        bare_package(name, folder)
    return importlib.import_module("awq.modules.linear.gemm"), importlib.import_module("awq.utils.packing_utils")


def autogptq(packers: Path):
    root = packers / "auto_gptq-0.7.1" / "auto_gptq"
    for name, folder in [("auto_gptq", root), ("auto_gptq.nn_modules", root / "nn_modules"),
                         ("auto_gptq.nn_modules.qlinear", root / "nn_modules" / "qlinear")]:
        bare_package(name, folder)
    return importlib.import_module("auto_gptq.nn_modules.qlinear.qlinear_cuda").QuantLinear


def old_compressed_tensors(packers: Path):
    """Version 0.9.4 in the place of the installed one."""
    for name in [name for name in sys.modules if name.split(".")[0] == "compressed_tensors"]:
        del sys.modules[name]
    sys.path.insert(0, str(packers / "compressed_tensors-0.9.4"))
    module = importlib.import_module("compressed_tensors")
    assert module.__version__.startswith("0.9.4"), module.__version__
    return module


class Values:
    """Integers, scales and groups of all linear layers, and the weights they stand for."""

    def __init__(self, codes: dict, bits: int, group: int | None, symmetric: bool, reordered: bool, seed: int):
        random = np.random.default_rng(seed)
        self.bits, self.group, self.symmetric = bits, group, symmetric
        self.codes, self.zeros, self.scales, self.group_of, self.weights = codes, {}, {}, {}, {}
        middle = 1 << (bits - 1)
        for name, (rows, inputs) in SHAPES.items():
            size = group or inputs
            groups = inputs // size
            # GPTQ's first format cannot hold a zero point of 0.
            low = 1 if reordered else 0
            zeros = random.integers(low, 16, (rows, groups)) if not symmetric else np.full((rows, groups), middle)
            # Five bits of mantissa: exact in f16 and in bfloat16.
            scales = random.integers(16, 32, (rows, groups)) * 2.0**-13 * random.choice([1, 2, 4], (rows, groups))
            scales = scales / (1 if bits == 4 else 16)
            group_of = np.arange(inputs) // size
            if reordered:
                group_of = self.group_of.get(ORDER_OF.get(name), random.permutation(group_of))
            weights = (codes[name].astype(np.float64) - zeros[:, group_of]) * scales[:, group_of]
            assert np.array_equal(weights, weights.astype(np.float32))
            self.zeros[name], self.scales[name], self.group_of[name] = zeros, scales, group_of
            self.weights[name] = torch.tensor(weights, dtype=torch.float32)

    def linear(self, name: str) -> torch.nn.Linear:
        rows, inputs = SHAPES[name]
        linear = torch.nn.Linear(inputs, rows, bias=False, dtype=torch.float32)
        linear.weight.data = self.weights[name].clone()
        return linear

    def tensor(self, what: str, name: str, dtype=torch.float32) -> torch.Tensor:
        return torch.tensor(getattr(self, what)[name]).to(dtype)

    def check(self, name: str, unpacked: torch.Tensor, who: str) -> None:
        assert torch.equal(unpacked.float(), self.weights[name]), f"{who} unpacks {name} to other weights"

    def expected(self, prefix: str) -> dict:
        """For the tests: zero points and scales of all layers, one after the other."""
        flat = lambda part, dtype: torch.tensor(np.concatenate([part[n].ravel() for n in SHAPES])).to(dtype)
        tensors = {f"{prefix}.zeros": flat(self.zeros, torch.uint8), f"{prefix}.scales": flat(self.scales, torch.float32)}
        if any((self.group_of[n] != np.sort(self.group_of[n])).any() for n in SHAPES):
            tensors[f"{prefix}.group_of"] = flat(self.group_of, torch.uint8)
        return tensors


def pack_autoawq(values: Values, packers: Path) -> tuple[dict, dict]:
    gemm, packing = autoawq(packers)
    tensors = {}
    for name in SHAPES:
        linear = values.linear(name)
        scales, zeros = (values.tensor(what, name).t().contiguous() for what in ("scales", "zeros"))
        packed = gemm.WQLinear_GEMM.from_linear(linear, values.bits, values.group, False, scales, zeros)
        state = packed.state_dict()
        unpacked = packing.dequantize_gemm(
            state["qweight"], state["qzeros"], state["scales"].float(), values.bits, values.group)
        values.check(name, unpacked.t(), "AutoAWQ")
        tensors.update({f"{name}.{part}": tensor for part, tensor in state.items()})
    config = {"quant_method": "awq", "zero_point": True, "group_size": values.group, "bits": values.bits,
              "version": "gemm", "modules_to_not_convert": None}
    return tensors, config


def gptq_config(values: Values, reordered: bool, checkpoint_format: str) -> dict:
    return {"quant_method": "gptq", "bits": values.bits, "group_size": values.group, "desc_act": reordered,
            "static_groups": False, "sym": values.symmetric, "true_sequential": True, "lm_head": False,
            "damp_percent": 0.01, "checkpoint_format": checkpoint_format}


def pack_autogptq(values: Values, packers: Path, reordered: bool) -> tuple[dict, dict]:
    layer = autogptq(packers)
    tensors = {}
    for name, (rows, inputs) in SHAPES.items():
        packed = layer(values.bits, values.group, inputs, rows, bias=False)
        packed.pack(values.linear(name), values.tensor("scales", name), values.tensor("zeros", name),
                    values.tensor("group_of", name, torch.int32))
        values.check(name, packed(torch.eye(inputs)).t(), "AutoGPTQ")
        # The packer keeps the type of the weights; a checkpoint has f16.
        state = {**packed.state_dict(), "scales": packed.scales.half()}
        tensors.update({f"{name}.{part}": tensor for part, tensor in state.items()})
    return tensors, gptq_config(values, reordered, "gptq")


def pack_gptqmodel(values: Values, reordered: bool) -> tuple[dict, dict]:
    layer = importlib.import_module("gptqmodel.nn_modules.qlinear.torch").TorchLinear
    tensors = {}
    for name, (rows, inputs) in SHAPES.items():
        packed = layer(bits=values.bits, group_size=values.group, sym=values.symmetric, desc_act=reordered,
                       in_features=inputs, out_features=rows, bias=False)
        packed.pack_original(values.linear(name), values.tensor("scales", name), values.tensor("zeros", name),
                             values.tensor("group_of", name, torch.int32))
        state = {part: getattr(packed, part) for part in ("qweight", "qzeros", "scales", "g_idx")}
        packed.post_init()
        packed.scales = packed.scales.float()
        values.check(name, packed.dequantize_weight().t(), "GPTQModel")
        tensors.update({f"{name}.{part}": tensor for part, tensor in state.items()})
    return tensors, gptq_config(values, reordered, "gptq_v2")


def compressed_arguments(values: Values, quantization, reordered: bool):
    middle = {} if values.group is None else {"group_size": values.group}
    order = {"actorder": "group"} if reordered else {}
    strategy = "channel" if values.group is None else "group"
    return quantization.QuantizationArgs(
        num_bits=values.bits, type="int", symmetric=values.symmetric, strategy=strategy, **middle, **order)


def compressed_config(values: Values, reordered: bool) -> dict:
    weights = {"num_bits": values.bits, "type": "int", "symmetric": values.symmetric, "dynamic": False,
               "strategy": "channel" if values.group is None else "group", "group_size": values.group,
               "actorder": "group" if reordered else None, "block_structure": None, "observer": "minmax"}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": None, "output_activations": None}
    return {"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
            "config_groups": {"group_0": group}, "ignore": ["lm_head"], "kv_cache_scheme": None}


def signed(values: Values, name: str) -> torch.Tensor:
    return values.tensor("zeros", name, torch.int32).sub(1 << (values.bits - 1)).to(torch.int8)


def pack_compressed(values: Values) -> tuple[dict, dict]:
    quantization = importlib.import_module("compressed_tensors.quantization")
    compressor = importlib.import_module("compressed_tensors.compressors").PackedQuantizationCompressor
    arguments = compressed_arguments(values, quantization, False)
    scheme = quantization.QuantizationScheme(targets=["Linear"], weights=arguments)
    tensors = {}
    for name in SHAPES:
        state = {"weight": values.weights[name], "weight_scale": values.tensor("scales", name),
                 "weight_zero_point": signed(values, name)}
        packed = compressor.compress(state, scheme)
        values.check(name, compressor.decompress(packed, scheme)["weight"], "compressed-tensors")
        packed["weight_scale"] = packed["weight_scale"].to(torch.bfloat16)
        tensors.update({f"{name}.{part}": tensor for part, tensor in packed.items()})
    return tensors, compressed_config(values, False)


def pack_compressed_reordered(values: Values, packers: Path) -> tuple[dict, dict]:
    old_compressed_tensors(packers)
    quantization = importlib.import_module("compressed_tensors.quantization")
    pack_quantized = importlib.import_module("compressed_tensors.compressors.quantized_compressors.pack_quantized")
    compressor = pack_quantized.PackedQuantizationCompressor()
    arguments = compressed_arguments(values, quantization, True)
    tensors = {}
    for name, (rows, _) in SHAPES.items():
        scale, order = values.tensor("scales", name), values.tensor("group_of", name, torch.int32)
        packed = compressor.compress_weight(
            values.weights[name], scale, arguments, zero_point=signed(values, name), g_idx=order)
        # 0.9.4 refuses to unpack zero points; its own parts do it.
        codes = pack_quantized.unpack_from_int32(packed["weight_packed"], values.bits, packed["weight_shape"].tolist())
        zeros = pack_quantized.unpack_from_int32(
            packed["weight_zero_point"], values.bits, [rows, scale.shape[1]], packed_dim=0)
        dequantize = importlib.import_module("compressed_tensors.quantization.lifecycle.forward").dequantize
        values.check(name, dequantize(codes, scale, zeros, g_idx=order), "compressed-tensors 0.9.4")
        packed |= {"weight_scale": scale.to(torch.bfloat16), "weight_g_idx": order}
        tensors.update({f"{name}.{part}": tensor for part, tensor in packed.items()})
    return tensors, compressed_config(values, True)


def rest_of_model() -> dict:
    """What no format quantizes, all exact in f16."""
    random = np.random.default_rng(7)
    half = lambda array: torch.tensor(array).to(torch.float16)
    tensors = {
        "model.embed_tokens.weight": half(random.normal(0, 0.5, (VOCABULARY, HIDDEN))),
        "model.norm.weight": half(random.normal(1, 0.2, HIDDEN)),
    }
    for norm in ("input_layernorm", "post_attention_layernorm"):
        tensors[f"model.layers.0.{norm}.weight"] = half(random.normal(1, 0.2, HIDDEN))
    for part in "qkv":
        rows = SHAPES[f"self_attn.{part}_proj"][0]
        tensors[f"model.layers.0.self_attn.{part}_proj.bias"] = half(random.normal(0, 0.5, rows))
    return tensors


def float_logits(config: dict, state: dict, tokens: torch.Tensor) -> torch.Tensor:
    """What transformers computes in float32, on one thread."""
    torch.set_num_threads(1)
    config = {key: value for key, value in config.items() if key not in ("quantization_config", "torch_dtype")}
    model = Qwen2ForCausalLM(Qwen2Config(**config, attn_implementation="eager")).float().eval()
    state = {name: tensor.float() for name, tensor in state.items()}
    if config["tie_word_embeddings"]:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True)
    with torch.no_grad():
        return model(tokens[None]).logits[0]


def make(output: Path, packers: Path) -> None:
    random = np.random.default_rng(11)
    codes = {bits: {name: random.integers(0, 1 << bits, shape) for name, shape in SHAPES.items()} for bits in (4, 8)}
    asymmetric = Values(codes[4], 4, GROUP, False, False, 1)
    symmetric = Values(codes[4], 4, GROUP, True, False, 2)
    eight = Values(codes[8], 8, GROUP, True, False, 3)
    channels = Values(codes[8], 8, None, True, False, 4)
    reordered = Values(codes[4], 4, GROUP, False, True, 5)
    cases = {
        "autoawq": ("asymmetric", pack_autoawq(asymmetric, packers)),
        "gptq-symmetric": ("symmetric", pack_autogptq(symmetric, packers, False)),
        "gptq-8bit": ("eight", pack_autogptq(eight, packers, False)),
        "gptq-reordered": ("reordered", pack_autogptq(reordered, packers, True)),
        "gptq-v2-reordered": ("reordered", pack_gptqmodel(reordered, True)),
        "compressed-asymmetric": ("asymmetric", pack_compressed(asymmetric)),
        "compressed-symmetric": ("symmetric", pack_compressed(symmetric)),
        "compressed-8bit-channels": ("channels", pack_compressed(channels)),
        "compressed-reordered": ("reordered", pack_compressed_reordered(reordered, packers)),
    }
    output.mkdir(parents=True, exist_ok=True)
    for case, (values, (tensors, config)) in cases.items():
        tensors = {f"model.layers.0.{name}": tensor.contiguous() for name, tensor in tensors.items()}
        save_file(tensors, output / f"{case}.safetensors", {"format": "pt"})
        config = {**CONFIG, "quantization_config": config}
        (output / f"{case}.json").write_text(json.dumps({"values": values, "config": config}, indent=1) + "\n")
    rest = rest_of_model()
    save_file(rest, output / "rest.safetensors", {"format": "pt"})
    tokens = torch.tensor(random.integers(0, VOCABULARY, TOKENS))
    expected = {"tokens": tokens}
    for bits in (4, 8):
        flat = np.concatenate([codes[bits][name].ravel() for name in SHAPES])
        expected[f"codes{bits}"] = torch.tensor(flat).to(torch.uint8)
    sets = {"asymmetric": asymmetric, "symmetric": symmetric, "eight": eight, "channels": channels, "reordered": reordered}
    for prefix, values in sets.items():
        expected |= values.expected(prefix)
        weights = {f"model.layers.0.{name}.weight": weight for name, weight in values.weights.items()}
        expected[f"{prefix}.logits"] = float_logits(CONFIG, {**rest, **weights}, tokens)
    save_file(expected, output / "expected.safetensors")
    total = sum(file.stat().st_size for file in output.iterdir())
    print(f"{len(cases)} checkpoints, {total} bytes in {output}")


def check(export: Path, packers: Path, logits: Path | None) -> None:
    config = json.loads((export / "config.json").read_text())
    quantization = config["quantization_config"]
    _, packing = autoawq(packers)
    stored = load_file(export / "model.safetensors")
    state, packed = {}, 0
    for name, tensor in stored.items():
        if name.endswith(".qweight"):
            module = name.removesuffix(".qweight")
            unpacked = packing.dequantize_gemm(tensor, stored[f"{module}.qzeros"], stored[f"{module}.scales"].float(),
                                               quantization["bits"], quantization["group_size"])
            state[f"{module}.weight"] = unpacked.t()
            packed += 1
        elif not name.endswith((".qzeros", ".scales")):
            state[name] = tensor
    if logits is not None:
        ours = load_file(logits)
        tokens, ours = ours["tokens"].long().flatten(), ours["logits"].float()
    else:
        tokens, ours = torch.arange(32) * 37 % config["vocab_size"], None
    reference = float_logits(config, state, tokens)
    print(f"{packed} layers unpacked by AutoAWQ 0.2.9; {len(tokens)} tokens, largest logit {reference.abs().max():.4f}")
    model = AutoModelForCausalLM.from_pretrained(export, dtype=torch.float16, device_map="cpu")
    with torch.no_grad():
        loaded = model(tokens[None]).logits[0].float()
    others = {"transformers and GPTQModel, float16": loaded}
    if ours is not None:
        others["edgewen"] = ours.reshape(reference.shape)
    probabilities = torch.log_softmax(reference.double(), -1)
    for who, found in others.items():
        other = torch.log_softmax(found.double(), -1)
        divergence = (probabilities.exp() * (probabilities - other)).sum(-1).mean()
        same = (found.argmax(-1) == reference.argmax(-1)).float().mean()
        worst = (found - reference).abs().max()
        print(f"{who}: largest difference {worst:.3e}, mean KL divergence {divergence:.3e}, same best token {same:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    maker = verbs.add_parser("make")
    maker.add_argument("--output", type=Path, default=REPOSITORY / "fixtures" / "golden" / "quantized")
    checker = verbs.add_parser("check")
    checker.add_argument("export", type=Path)
    checker.add_argument("--logits", type=Path)
    for verb in (maker, checker):
        verb.add_argument("--packers", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.verb == "make":
        make(arguments.output, arguments.packers)
    else:
        check(arguments.export, arguments.packers, arguments.logits)


if __name__ == "__main__":
    main()
