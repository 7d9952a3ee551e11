"""What an operation computes, in plain Python: a third opinion, written from docs/packed-format.md alone.

Nothing here is shared with the Rust model or the RTL. A float of Python has 53 bits, more than twice the 24 of f32 and
2, so a product or sum of two f32 that is computed in it and then rounded is rounded once in effect.
"""

import ctypes
import random
import struct

GROUP = 64
CHANNELS = 16


def f32(value):
    """Rounds to the nearest f32, ties to even."""
    return ctypes.c_float(value).value


def bits(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


class Matrix:
    """A random matrix [rows, 64 groups] as codes, zero points and scales, and as row blocks."""

    def __init__(self, rng: random.Random, rows, groups):
        self.rows, self.groups = rows, groups
        self.blocks = -(-rows // CHANNELS)
        padded = self.blocks * CHANNELS
        self.codes = [[rng.randrange(16) for _ in range(groups * GROUP)] for _ in range(padded)]
        self.zeros = [[rng.randrange(16) for _ in range(groups)] for _ in range(padded)]
        # Subnormal, ordinary and large scales.
        self.scales = [[rng.choice([1, 0x3FF, 0x1400, 0x2000 + rng.randrange(512), 0x5000]) for _ in range(groups)]
                       for _ in range(padded)]

    def header_beats(self):
        return -(-self.groups * 40 // 64) * 4

    def block_beats(self):
        return self.header_beats() + self.groups * 32

    def packed(self):
        """All row blocks, one after the other."""
        out = bytearray()
        for block in range(self.blocks):
            rows = range(block * CHANNELS, (block + 1) * CHANNELS)
            header = bytearray()
            for group in range(self.groups):
                header += struct.pack("<16H", *(self.scales[row][group] for row in rows))
            for group in range(self.groups):
                zeros = [self.zeros[row][group] for row in rows]
                header += bytes(zeros[i] | zeros[i + 1] << 4 for i in range(0, CHANNELS, 2))
            out += header.ljust(16 * self.header_beats(), b"\0")
            for line in range(self.groups * GROUP // 8):
                for row in rows:
                    codes = self.codes[row][8 * line:8 * line + 8]
                    out += bytes(codes[j] | codes[j + 4] << 4 for j in range(4))
        return bytes(out)


class Token:
    """The activations of a token."""

    def __init__(self, rng: random.Random, groups):
        self.codes = [rng.randint(-127, 127) for _ in range(groups * GROUP)]
        self.scales = [f32(rng.choice([0.0, 1e-40, rng.random(), 1e3 * rng.random()])) for _ in range(groups)]
        self.sums = [sum(self.codes[GROUP * g:GROUP * g + GROUP]) for g in range(groups)]

    def packed(self):
        out = struct.pack(f"<{len(self.codes)}b", *self.codes)
        for scale, total in zip(self.scales, self.sums):
            out += struct.pack("<fi", scale, total)
        return out.ljust(-(-len(out) // 64) * 64, b"\0")


def product(matrix: Matrix, token: Token, bias=None):
    """The results of the rows, as bits of f32."""
    results = []
    for row in range(matrix.rows):
        total = 0.0
        for group in range(matrix.groups):
            part = range(GROUP * group, GROUP * group + GROUP)
            dot = sum(matrix.codes[row][i] * token.codes[i] for i in part) - matrix.zeros[row][group] * token.sums[group]
            weight_scale = struct.unpack("<e", struct.pack("<H", matrix.scales[row][group]))[0]
            total = f32(total + f32(f32(dot) * f32(weight_scale * token.scales[group])))
        results.append(bits(f32(total + bias[row]) if bias else total))
    return results
