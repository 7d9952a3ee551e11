"""Reads a packed file (.ewn) from its specification, docs/packed-format.md.

Independent of edgewen's own code, so it also checks that a file says what the
document says. Gives the checkpoint's tensors, dequantized to float32, and the
bits that its matrices take in the file, padding included.
"""

import json
import struct
from pathlib import Path

import common

import numpy as np
import torch

BLOCK = 16  # output channels of a row block
LINE = 64  # bytes: 8 inputs of 16 channels


def lines(plane: np.ndarray) -> np.ndarray:
    """[blocks, inputs / 8, 64] bytes to codes [blocks, 16, inputs]."""
    blocks, count, _ = plane.shape
    cells = plane.reshape(blocks, count, BLOCK, 4)
    codes = np.stack([cells & 15, cells >> 4], axis=3)  # [.., channel, half, 4]
    return codes.transpose(0, 2, 1, 3, 4).reshape(blocks, BLOCK, count * 8)


def nibbles(data: np.ndarray) -> np.ndarray:
    """The two 4-bit numbers of every byte, the low one first."""
    return np.stack([data & 15, data >> 4], axis=-1).reshape(*data.shape[:-1], -1)


def matrix(data: np.ndarray, entry: dict) -> np.ndarray:
    """A `row_blocks` or `segments` tensor as float32 [rows, inputs]."""
    rows, inputs = entry["shape"]
    group = entry["group"]
    blocks, groups = -(-rows // BLOCK), -(-inputs // group)
    plane = 8 * group * groups
    low = 0
    if entry["kind"] == "segments":
        part = data.reshape(blocks, groups, LINE + 2 * 8 * group)
        scales = part[:, :, :32].copy().view("<f2").astype(np.float32)
        zeros = nibbles(part[:, :, 32:40])
        high = part[:, :, LINE : LINE + 8 * group].reshape(blocks, -1, LINE)
        low = lines(part[:, :, LINE + 8 * group :].reshape(blocks, -1, LINE))
    else:
        header = -(-40 * groups // LINE) * LINE
        part = data[: blocks * (header + plane)].reshape(blocks, header + plane)
        scales = part[:, : 32 * groups].copy().view("<f2").astype(np.float32)
        scales = scales.reshape(blocks, groups, BLOCK)
        zeros = part[:, 32 * groups : 40 * groups].reshape(blocks, groups, 8)
        zeros = nibbles(zeros)
        high = part[:, header:].reshape(blocks, -1, LINE)
        if entry["bits"] == 8:
            rest = data[blocks * (header + plane) :]
            low = lines(rest.reshape(blocks, -1, LINE)).astype(np.int32)
    codes = lines(high).astype(np.int32)
    zeros = np.repeat(zeros.transpose(0, 2, 1).astype(np.int32), group, axis=2)
    scales = np.repeat(scales.transpose(0, 2, 1), group, axis=2)
    if entry["bits"] == 8:
        weights = (16 * (codes - zeros) + low) * (scales / 16)
    else:
        weights = (codes - zeros) * scales
    return weights.reshape(blocks * BLOCK, -1)[:rows, :inputs].astype(np.float32)


def read(path: Path) -> tuple[dict[str, torch.Tensor], common.Bits, dict]:
    """Tensors under the checkpoint's names, their bits, and the JSON part."""
    data = np.fromfile(path, dtype=np.uint8)
    assert bytes(data[:8]) == b"EDGEWEN\0", f"{path} is no packed file"
    (length,) = struct.unpack("<Q", bytes(data[16:24]))
    header = json.loads(bytes(data[64 : 64 + length]))
    config = header["config"]
    entries = {entry["name"]: entry for entry in header["tensors"]}
    bits = common.Bits()

    def tensor(name: str) -> np.ndarray:
        entry = entries[name]
        stored = data[entry["offset"] : entry["offset"] + entry["bytes"]]
        if entry["kind"] in ("row_blocks", "segments"):
            weights = matrix(stored, entry)
            if f"{name}_order" in entries:
                weights[:, tensor(f"{name}_order")] = weights.copy()
            return weights
        if entry["kind"] == "bf16":
            wide = stored.copy().view("<u2").astype(np.uint32) << 16
            return wide.view(np.float32).reshape(entry["shape"])
        kind = {"f32": "<f4", "f16": "<f2", "u32": "<u4"}[entry["kind"]]
        return stored.copy().view(kind).reshape(entry["shape"])

    def count(name: str, checkpoint_name: str) -> None:
        entry = entries[name]
        bits.add(checkpoint_name, torch.Size(entry["shape"]), entry["bytes"] * 8)

    assert config["tie_word_embeddings"], "only models with a tied head"
    q = config["heads"] * config["head_dim"]
    kv = config["kv_heads"] * config["head_dim"]
    tensors = {
        common.EMBEDDING: tensor("embed"),
        "model.norm.weight": tensor("final_norm"),
    }
    count("embed", common.EMBEDDING)
    for layer in range(config["layers"]):
        of, to = f"layers.{layer}.", f"model.layers.{layer}."
        fused = {
            "qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            "o": ["self_attn.o_proj"],
            "gate_up": ["mlp.gate_proj", "mlp.up_proj"],
            "down": ["mlp.down_proj"],
        }
        for name, parts in fused.items():
            count(of + name, to + name)
            weights = tensor(of + name)
            cuts = [q, q + kv] if name == "qkv" else len(parts)
            for part, rows in zip(parts, np.split(weights, cuts), strict=True):
                tensors[f"{to}{part}.weight"] = rows
        biases = np.split(tensor(of + "qkv_bias"), [q, q + kv])
        for part, rows in zip(fused["qkv"], biases, strict=True):
            tensors[f"{to}{part}.bias"] = rows
        tensors[f"{to}input_layernorm.weight"] = tensor(of + "input_norm")
        tensors[f"{to}post_attention_layernorm.weight"] = tensor(of + "post_norm")
    floats = {
        name: torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
        for name, value in tensors.items()
    }
    return floats, bits, header
