"""llama.cpp's own converter, llama-imatrix and llama-quantize.

    python python/rivals/run_llama_cpp.py --work WORK --source DIR --bin DIR

--source is llama.cpp's tree (PyPI's llama_cpp_python carries it in vendor/),
--bin where its tools were built. The files are turned back into float32 weights
with its gguf-py, so that all rivals are measured alike: without the rounding of
activations that its kernels do. Bits are those of the tensors in the file, each
with the type that llama-quantize chose for its shape: rows that are no multiple
of 256 (K-quants) or of 32 get another, mostly larger type.
`-pure` gives the embedding, which is the head too, the same type as the rest.
Calibration happens only for `-imatrix`. The tokenizer is the checkpoint's
Qwen2-kind one (qwen2tok/), since llama.cpp splits text for `qwen2` itself.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import common

import numpy as np
import torch

TYPES = ["q4_0", "q4_k_m", "iq4_nl"]
NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def checkpoint_name(name: str) -> str:
    """The checkpoint's name of a GGUF tensor: blk.0.attn_q.weight and so on."""
    if name == "token_embd.weight":
        return common.EMBEDDING
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, kind, suffix = name.split(".")
    return f"model.layers.{layer}.{NAMES[kind]}.{suffix}"


def convert(model: str, source: Path, output: Path) -> None:
    """Writes the checkpoint as a float32 GGUF with llama.cpp's converter, which
    knows pre-tokenizers only by hash and so is told that this one is qwen2's."""
    folder = output.parent / "checkpoint"
    shutil.rmtree(folder, ignore_errors=True)
    original = common.model_path(model)
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns("qwen2tok"))
    if (original / "qwen2tok").is_dir():
        shutil.copytree(original / "qwen2tok", folder, dirs_exist_ok=True)
    script = (
        "import sys, runpy; sys.argv = sys.argv[1:]; sys.path[:0] = [r'%s', r'%s/gguf-py'];"
        "import conversion.base as base;"
        "base.TextModel.get_vocab_base_pre = lambda self, tokenizer: 'qwen2';"
        "base.TextModel._set_vocab_sentencepiece = base.TextModel._set_vocab_gpt2;"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    ) % (source, source)
    command = [sys.executable, "-c", script, str(source / "convert_hf_to_gguf.py")]
    run([*command, str(folder), "--outtype", "f32", "--outfile", str(output)])
    shutil.rmtree(folder)


def run(command: list) -> str:
    """Runs a tool; its output, or an error with it."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-3000:]}")
    return done.stdout


def read(gguf, file: Path, original: dict) -> tuple[dict, common.Bits, dict]:
    """Dequantized tensors, their bits, and how many tensors have which type."""
    tensors, bits, kinds = {}, common.Bits(), {}
    for tensor in gguf.GGUFReader(file).tensors:
        name = checkpoint_name(tensor.name)
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        shape = original[name].shape
        tensors[name] = torch.from_numpy(np.array(values)).reshape(shape)
        if name == common.EMBEDDING or name in common.linear_names(original):
            kinds[tensor.tensor_type.name] = kinds.get(tensor.tensor_type.name, 0) + 1
            bits.add(name, shape, int(tensor.n_bytes) * 8)
    return tensors, bits, kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    common.add_arguments(parser)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--bin", type=Path, required=True)
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.source / "gguf-py"))
    import gguf

    for model in arguments.models:
        folder = arguments.work / model / "gguf"
        folder.mkdir(parents=True, exist_ok=True)
        original = common.reference(model)
        float_file = folder / "f32.gguf"
        if not float_file.exists():
            convert(model, arguments.source, float_file)
        exact, _, _ = read(gguf, float_file, original)
        assert all(torch.equal(exact[name], original[name]) for name in original)
        calibrations = [("none", 0)]
        calibrations += [(t, s) for t in arguments.texts for s in arguments.seeds]
        for text, seed in calibrations:
            matrix = folder / f"imatrix-{text}-{seed}.gguf"
            if text != "none" and not matrix.exists():
                sample = folder / f"{text}-{seed}.txt"
                # <s> is the BOS token that the tokenizer does not add by itself.
                start = "" if model == "demo" else "<s> "
                sample.write_text(start + common.calibration_text(text, seed))
                context = common.context(model)
                run(
                    [arguments.bin / "llama-imatrix", "-m", float_file, "-f", sample]
                    + ["-o", matrix, "-c", context, "-t", 1, "--no-ppl"]
                    + ["--chunks", common.CALIBRATION_TOKENS // context]
                    + ["--parse-special"]
                )
            for kind in TYPES:
                for pure in (False, True):
                    method = f"llama.cpp-{kind}" + "-pure" * pure
                    method += "-imatrix" * (text != "none")
                    path = common.candidate_path(
                        arguments.work, model, method, text, seed
                    )
                    if (path / "info.json").exists() and not arguments.force:
                        continue
                    if pure and kind == "q4_k_m":
                        continue
                    path.mkdir(parents=True, exist_ok=True)
                    file = path / "model.gguf"
                    options = ["--pure"] * pure
                    if text != "none":
                        options += ["--imatrix", matrix]
                    quantize = arguments.bin / "llama-quantize"
                    run([quantize, *options, float_file, file, kind, 1])
                    tensors, bits, kinds = read(gguf, file, original)
                    info = {"tool": "llama.cpp 0c1e57098", "types": kinds}
                    common.write_candidate(path, tensors, bits, info)
                    print(path, json.dumps(kinds), flush=True)


if __name__ == "__main__":
    main()
