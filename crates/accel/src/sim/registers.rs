//! The registers of the functional model: what a read gives and what a write changes.

use super::execute::{Fault, legal_stream};
use super::stream::{Range, Streams};
use super::top_k::TopK;
use crate::descriptor::{Descriptor, PORTS, WORDS};
use crate::program::Limits;
use crate::registers as map;

/// Everything behind the registers.
pub(super) struct State {
    control: u32,
    irq_status: u32,
    timeout: u32,
    ring_entries: u32,
    stream_tail: u32,
    stream_head: u32,
    doorbell: u32,
    done: u32,
    error: Option<Failure>,
    data_beats: u64,
    ram: Vec<[u32; WORDS]>,
    /// Positions in the ring that belong to the counts: the counts wrap at 2^32, the ring elsewhere.
    head_index: u32,
    done_index: u32,
    pub(super) streams: Streams,
    pub(super) top_k: TopK,
}

/// The latched error.
struct Failure {
    fault: Fault,
    operation: u32,
    tag: u32,
}

impl State {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            control: 0,
            irq_status: 0,
            timeout: map::TIMEOUT_RESET,
            ring_entries: limits.ring_entries,
            stream_tail: 0,
            stream_head: 0,
            doorbell: 0,
            done: 0,
            error: None,
            data_beats: 0,
            ram: vec![[0; WORDS]; limits.ring_entries as usize],
            head_index: 0,
            done_index: 0,
            streams: Streams::default(),
            top_k: TopK::new(limits.top_k as usize),
        }
    }

    pub(super) fn read(&self, limits: &Limits, offset: u32) -> u32 {
        let fifo = u64::from(limits.fifo_beats);
        let fault = self.error.as_ref().map(|failure| failure.fault);
        match offset {
            _ if offset == map::ID.offset => map::ID_VALUE,
            _ if offset == map::VERSION.offset => map::VERSION_VALUE,
            _ if offset == map::CAPS0.offset => {
                map::CAPS0_PORTS.put(PORTS as u32)
                    | map::CAPS0_TOKENS.put(limits.tokens)
                    | map::CAPS0_MAX_GROUPS.put(limits.max_groups)
                    | map::CAPS0_TOP_K.put(limits.top_k)
                    | map::CAPS0_LAYOUT.put(limits.layout.code())
            }
            _ if offset == map::CAPS1.offset => limits.fifo_beats,
            _ if offset == map::CAPS2.offset => {
                map::CAPS2_RING_ENTRIES.put(limits.ring_entries) | map::CAPS2_BIAS_ROWS.put(limits.bias_rows)
            }
            _ if offset == map::CONTROL.offset => self.control,
            _ if offset == map::STATUS.offset => self.status(),
            _ if offset == map::IRQ_STATUS.offset => self.irq_status,
            _ if offset == map::TIMEOUT.offset => self.timeout,
            _ if offset == map::RING_ENTRIES.offset => self.ring_entries,
            _ if offset == map::STREAM_TAIL.offset => self.stream_tail,
            _ if offset == map::DOORBELL.offset => self.doorbell,
            _ if offset == map::DONE.offset => self.done,
            _ if offset == map::STREAM_HEAD.offset => self.stream_head,
            _ if offset == map::ERROR_CODE.offset => fault.map_or(0, |fault| fault.code as u32),
            _ if offset == map::ERROR_PORT.offset => fault.map_or(map::NO_PORT, |fault| fault.port),
            _ if offset == map::ERROR_ADDRESS_LO.offset => fault.map_or(0, |fault| fault.address as u32),
            _ if offset == map::ERROR_ADDRESS_HI.offset => {
                fault.map_or(0, |fault| (fault.address >> 32) as u32)
            }
            _ if offset == map::ERROR_OP.offset => self.error.as_ref().map_or(0, |error| error.operation),
            _ if offset == map::ERROR_TAG.offset => self.error.as_ref().map_or(0, |error| error.tag),
            _ if offset == map::TOPK_COUNT.offset => self.top_k.entries().len() as u32,
            _ => self.read_row(offset, fifo),
        }
    }

    /// The registers that come in rows, and the descriptor RAM.
    fn read_row(&self, offset: u32, fifo: u64) -> u32 {
        if let Some((entry, word)) = ram_place(offset) {
            return self.ram.get(entry).map_or(0, |words| words[word]);
        }
        let index = |row: &map::Register| {
            let distance = offset.checked_sub(row.offset)?;
            (distance.is_multiple_of(row.stride) && distance / row.stride < row.count)
                .then_some((distance / row.stride) as usize)
        };
        if let Some(port) = index(&map::PORT_BEATS) {
            return self.streams.get(port).map_or(self.data_beats, |stream| stream.beats(fifo)) as u32;
        }
        if let Some(port) = index(&map::PORT_LEVEL) {
            return self.streams.get(port).map_or(0, |stream| stream.level(fifo)) as u32;
        }
        if let Some(port) = index(&map::PORT_MAX_LEVEL) {
            return self.streams.get(port).map_or(0, |stream| stream.max_level()) as u32;
        }
        if let Some(entry) = index(&map::TOPK_VALUE) {
            return self.top_k.entries().get(entry).map_or(0, |(_, bits)| *bits);
        }
        if let Some(entry) = index(&map::TOPK_INDEX) {
            return self.top_k.entries().get(entry).map_or(0, |(row, _)| *row);
        }
        0
    }

    fn status(&self) -> u32 {
        // Without a clock an operation runs only as long as it waits for its stream.
        let due = self.error.is_none() && self.doorbell != self.done;
        let busy = due && map::CONTROL_ENABLE.is_set(self.control);
        map::STATUS_IDLE.put(u32::from(!due))
            | map::STATUS_BUSY.put(u32::from(busy))
            | map::STATUS_ERROR.put(u32::from(self.error.is_some()))
    }

    pub(super) fn write(&mut self, limits: &Limits, offset: u32, value: u32) {
        match offset {
            _ if offset == map::CONTROL.offset => self.write_control(limits, value),
            _ if offset == map::IRQ_STATUS.offset => self.irq_status &= !value,
            _ if offset == map::TIMEOUT.offset => self.timeout = value,
            _ if offset == map::RING_ENTRIES.offset => {
                if (1..=limits.ring_entries).contains(&value) {
                    self.ring_entries = value;
                }
            }
            _ if offset == map::STREAM_TAIL.offset => self.stream_tail = value,
            _ if offset == map::DOORBELL.offset => self.doorbell = value,
            _ => {
                if let Some((entry, word)) = ram_place(offset)
                    && let Some(words) = self.ram.get_mut(entry)
                {
                    words[word] = value;
                }
            }
        }
    }

    fn write_control(&mut self, limits: &Limits, value: u32) {
        let fifo = u64::from(limits.fifo_beats);
        self.control = value & (map::CONTROL_ENABLE.mask() | map::CONTROL_IRQ_ENABLE.mask());
        if map::CONTROL_SOFT_RESET.is_set(value) {
            self.streams.iter_mut().for_each(|stream| stream.reset(fifo));
            (self.stream_tail, self.stream_head, self.doorbell, self.done) = (0, 0, 0, 0);
            (self.head_index, self.done_index) = (0, 0);
            self.error = None;
            self.irq_status = 0;
            self.top_k.clear();
        }
        if map::CONTROL_CLEAR_COUNTERS.is_set(value) {
            self.streams.iter_mut().for_each(|stream| stream.clear_counters(fifo));
            self.data_beats = 0;
        }
    }

    fn may_begin(&self) -> bool {
        map::CONTROL_ENABLE.is_set(self.control) && self.error.is_none()
    }

    /// Gives the ports the descriptors that STREAM_TAIL allows, as far as they have room.
    pub(super) fn stream(&mut self, limits: &Limits) {
        let fifo = u64::from(limits.fifo_beats);
        while self.may_begin() && self.stream_head != self.stream_tail {
            if !self.streams.iter().all(|stream| stream.has_room(fifo)) {
                return;
            }
            let words = &self.ram[self.head_index as usize];
            if let Some(descriptor) = Descriptor::decode(words).ok().filter(|d| legal_stream(d, limits)) {
                for (stream, port) in self.streams.iter_mut().zip(&descriptor.ports) {
                    let beats = u64::from(port.blocks) * u64::from(descriptor.block_beats);
                    stream.push(Range { address: port.address, beats }, fifo);
                }
            }
            self.stream_head = self.stream_head.wrapping_add(1);
            self.head_index = (self.head_index + 1) % self.ring_entries;
        }
    }

    /// The descriptor of the operation that is due, if one is.
    pub(super) fn next_operation(&self) -> Option<[u32; WORDS]> {
        (self.may_begin() && self.doorbell != self.done).then(|| self.ram[self.done_index as usize])
    }

    /// The operation ended well and moved so many beats through the data port.
    pub(super) fn finish(&mut self, data_beats: u64) {
        self.data_beats += data_beats;
        self.done = self.done.wrapping_add(1);
        self.done_index = (self.done_index + 1) % self.ring_entries;
        self.irq_status |= map::IRQ_STATUS_DONE.mask();
    }

    /// The operation failed: nothing goes on but by a soft reset.
    pub(super) fn fail(&mut self, fault: Fault, words: &[u32; WORDS]) {
        self.error = Some(Failure { fault, operation: self.done, tag: words[crate::descriptor::TAG_WORD] });
        self.irq_status |= map::IRQ_STATUS_ERROR.mask();
    }
}

/// Entry and word of the descriptor RAM at an offset.
fn ram_place(offset: u32) -> Option<(usize, usize)> {
    let place = offset.checked_sub(map::DESCRIPTOR_RAM)?;
    let (word, inside) = (place as usize / 4, place < map::DESCRIPTOR_RAM_BYTES);
    (inside && offset.is_multiple_of(4)).then_some((word / WORDS, word % WORDS))
}
