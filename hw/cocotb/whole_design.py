"""accel_top between the bus models of cocotbext-axi: an independent opinion on its AXI and on its arithmetic.

AxiLiteMaster drives the registers, AxiRamRead answers the four weight ports, AxiRam the data port, all with random
pauses on every channel. Results are compared bit for bit with reference.py.
"""

import random
import struct

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam, AxiRamRead, AxiReadBus
from cocotbext.axi.sparse_memory import SparseMemory

import reference

CONTROL, STATUS, TIMEOUT, RING_ENTRIES, STREAM_TAIL, DOORBELL, DONE = 0x20, 0x24, 0x2C, 0x30, 0x34, 0x38, 0x3C
ERROR_CODE, TOPK_COUNT, TOPK, RING = 0x50, 0x70, 0x200, 0x4000
PORT_BEATS, PORT_STRIDE = 0x100, 0x20
ENABLE, SOFT_RESET = 1, 2


def pauses(rng, rate):
    while True:
        yield rng.random() < rate


class Bench:
    """The design, its memory, and what lies in it."""

    def __init__(self, dut, seed, pause):
        self.dut, self.rng = dut, random.Random(seed)
        self.memory = SparseMemory(2**40)
        self.free = 0x7_8000_0000
        cocotb.start_soon(Clock(dut.clk_i, 10, "ns").start())
        reset = {"reset_active_level": False}
        weights = [AxiRamRead(AxiReadBus.from_prefix(dut, f"m_axi_w{port}"), dut.clk_i, dut.rst_ni, size=2**40,
                              mem=self.memory, **reset) for port in range(4)]
        data = AxiRam(AxiBus.from_prefix(dut, "m_axi_d"), dut.clk_i, dut.rst_ni, size=2**40, mem=self.memory, **reset)
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk_i, dut.rst_ni, **reset)
        channels = [channel for ram in [*weights, data.read_if] for channel in (ram.ar_channel, ram.r_channel)]
        write, lite = data.write_if, self.registers
        channels += [write.aw_channel, write.w_channel, write.b_channel]
        channels += [lite.write_if.aw_channel, lite.write_if.w_channel, lite.write_if.b_channel]
        channels += [lite.read_if.ar_channel, lite.read_if.r_channel]
        if pause:
            for channel in channels:
                channel.set_pause_generator(pauses(random.Random(self.rng.random()), pause))

    async def start(self):
        self.dut.rst_ni.value = 0
        await ClockCycles(self.dut.clk_i, 5)
        self.dut.rst_ni.value = 1
        await ClockCycles(self.dut.clk_i, 2)
        await self.write(TIMEOUT, 5000)
        await self.write(CONTROL, ENABLE)

    async def write(self, offset, value):
        await self.registers.write_dword(offset, value)

    async def read(self, offset):
        return await self.registers.read_dword(offset)

    def place(self, data, align=64):
        start = -(-self.free // align) * align
        self.memory[start:start + len(data)] = data
        # A gap that nobody may touch.
        self.free = start + len(data) + 256
        return start

    async def operation(self, entry, rows, groups, tokens, with_bias=False, top_k=False):
        """Puts a random operation into the ring and says where its results go and what they must be."""
        matrix = reference.Matrix(self.rng, rows, groups)
        batch = [reference.Token(self.rng, groups) for _ in range(tokens)]
        bias = [reference.f32(self.rng.uniform(-50, 50)) for _ in range(rows)] if with_bias else None
        packed, block_bytes = matrix.packed(), 16 * matrix.block_beats()
        edges = [matrix.blocks * port // 4 for port in range(5)]
        ports = [self.place(packed[block_bytes * low:block_bytes * high]) for low, high in zip(edges, edges[1:])]
        counts = [high - low for low, high in zip(edges, edges[1:])]
        stride = matrix.blocks * 64
        results = self.place(bytes([0xEE]) * stride * tokens)
        activations = self.place(b"".join(token.packed() for token in batch))
        bias_at = self.place(struct.pack(f"<{rows}f", *bias), 4096) if bias else 0
        words = [
            int(with_bias) | int(top_k) << 1 | tokens - 1 << 4 | 1 << 28,
            groups | matrix.block_beats() << 16, rows, 0xABC0 + entry,
            *(address // 64 for address in ports),
            counts[0] | counts[1] << 16, counts[2] | counts[3] << 16,
            activations // 64, results // 64, bias_at // 64, stride // 64, len(batch[0].packed()) // 64,
            matrix.header_beats(),
        ]
        for index, word in enumerate(words):
            await self.write(RING + 64 * entry + 4 * index, word)
        expected = [reference.product(matrix, token, bias) for token in batch]
        return results, stride, expected, sum(counts) * matrix.block_beats()

    async def finish(self, count):
        while await self.read(DONE) != count:
            assert await self.read(ERROR_CODE) == 0
        assert await self.read(STATUS) & 4 == 0

    def check(self, operation):
        results, stride, expected, _ = operation
        for token, values in enumerate(expected):
            start = results + token * stride
            found = struct.unpack(f"<{len(values)}I", self.memory[start:start + 4 * len(values)])
            assert list(found) == values, f"token {token}"
        end = results + stride * len(expected)
        assert self.memory[end:end + 256] == bytes(256), "written beyond the results"


async def run(bench, shapes, ahead=True):
    """Runs operations of these shapes, the streams of all of them started at once or one by one."""
    operations = [await bench.operation(entry, *shape) for entry, shape in enumerate(shapes)]
    beats = 0
    for index, operation in enumerate(operations):
        if not ahead or index == 0:
            await bench.write(STREAM_TAIL, len(shapes) if ahead else index + 1)
        await bench.write(DOORBELL, index + 1)
        await bench.finish(index + 1)
        bench.check(operation)
        beats += operation[3]
    found = [await bench.read(PORT_BEATS + PORT_STRIDE * port) for port in range(4)]
    assert sum(found) == beats


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def registers_answer_in_any_order(dut):
    bench = Bench(dut, 1, 0.4)
    await bench.start()
    assert await bench.read(0) == 0x45574143
    await bench.write(STREAM_TAIL, 0)
    await bench.registers.write(RING + 0x101, b"\x11\x22")
    await bench.write(RING + 0x104, 0x55667788)
    assert await bench.read(RING + 0x104) == 0x55667788
    assert (await bench.read(RING + 0x100)) >> 8 & 0xFFFF == 0x2211
    assert await bench.read(0x3000) == 0


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def one_token(dut):
    bench = Bench(dut, 2, 0.0)
    await bench.start()
    await run(bench, [(80, 3, 1)])


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def one_and_eight_tokens_with_pauses(dut):
    bench = Bench(dut, 3, 0.3)
    await bench.start()
    await run(bench, [(70, 2, 1, True), (91, 3, 8, True), (64, 1, 8)])


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def operations_one_by_one(dut):
    bench = Bench(dut, 4, 0.15)
    await bench.start()
    await run(bench, [(33, 4, 8), (130, 1, 1)], ahead=False)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def the_best_of_a_matrix(dut):
    bench = Bench(dut, 5, 0.2)
    await bench.start()
    rows = 150
    _, _, expected, _ = await bench.operation(0, rows, 2, 1, False, True)
    await bench.write(STREAM_TAIL, 1)
    await bench.write(DOORBELL, 1)
    await bench.finish(1)
    values = [struct.unpack("<f", struct.pack("<I", value))[0] for value in expected[0]]
    order = sorted(range(rows), key=lambda row: (-values[row], row))
    count = await bench.read(TOPK_COUNT)
    assert count == 32
    for index in range(count):
        assert await bench.read(TOPK + 8 * index) == expected[0][order[index]]
        assert await bench.read(TOPK + 8 * index + 4) == order[index]


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def a_soft_reset_in_mid_stream(dut):
    bench = Bench(dut, 6, 0.3)
    await bench.start()
    for clocks in (40, 130, 400):
        await bench.operation(0, 96, 3, 8, True)
        await bench.write(STREAM_TAIL, 1)
        await bench.write(DOORBELL, 1)
        await ClockCycles(dut.clk_i, clocks)
        await bench.write(CONTROL, SOFT_RESET)
        while await with_timeout(bench.read(CONTROL), 100, "us") & SOFT_RESET:
            pass
        assert await bench.read(STREAM_TAIL) == 0
        # Clears the counters as well: `run` compares them.
        await bench.write(CONTROL, ENABLE | 8)
        await run(bench, [(48, 2, 3)])
        await bench.write(CONTROL, SOFT_RESET)
        while await with_timeout(bench.read(CONTROL), 100, "us") & SOFT_RESET:
            pass
        await bench.write(CONTROL, ENABLE | 8)
