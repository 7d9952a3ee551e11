//! The DDR4 controller and the banks: which request is served next, and when its data moves.
//!
//! First ready, first come, first served: of the requests that wait in a bank, the oldest one to the open row is next,
//! or the oldest if there is none; of the banks that can be read or written now, the one whose request is oldest goes.
//! Reads and writes take turns. A step is a clock of the controller, in which one column command (read, write) and one
//! row command (activate, precharge) can be sent. What the real scheduler does beyond that is not public.

use super::config::{MemoryConfig, PagePolicy, Timing};

const BANKS: usize = 8;
const NO_ROW: u32 = u32::MAX;
const NEVER: u64 = u64::MAX / 2;

/// 64 bytes to be read or written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// Bank, as in [`super::config::Location`].
    pub bank: u8,
    /// Row.
    pub row: u32,
    /// Who wants it.
    pub port: u8,
    /// Which 64 bytes of the slice.
    pub unit: u8,
    /// Which slice of the port.
    pub slice: u32,
    /// Age.
    order: u64,
}

impl Request {
    pub fn new(config: &MemoryConfig, address: u64, port: u8, slice: u32, unit: u8) -> Self {
        let at = config.locate(address);
        Self { bank: at.bank, row: at.row, port, unit, slice, order: 0 }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bank {
    row: u32,
    run: u32,
    activate_at: u64,
    column_at: u64,
    precharge_at: u64,
}

/// The requests of one direction, by bank.
#[derive(Debug, Clone)]
struct Queue {
    banks: [Vec<Request>; BANKS],
    /// Index of the next request of each bank.
    next: [usize; BANKS],
    /// Banks with requests, one bit each.
    waiting: u32,
    /// Banks whose next request is to the open row.
    hits: u32,
    len: usize,
    /// When a request of this direction was last served, or the first one came.
    served_at: u64,
}

impl Queue {
    fn new() -> Self {
        Self {
            banks: std::array::from_fn(|_| Vec::with_capacity(64)),
            next: [0; BANKS],
            waiting: 0,
            hits: 0,
            len: 0,
            served_at: 0,
        }
    }

    fn push(&mut self, request: Request, open_row: u32, now: u64) {
        if self.len == 0 {
            self.served_at = now;
        }
        let bank = usize::from(request.bank);
        let bit = 1 << bank;
        let queue = &mut self.banks[bank];
        queue.push(request);
        self.len += 1;
        if self.waiting & bit == 0 {
            self.waiting |= bit;
            self.next[bank] = 0;
            if request.row == open_row {
                self.hits |= bit;
            }
        } else if self.hits & bit == 0 && request.row == open_row {
            self.hits |= bit;
            self.next[bank] = queue.len() - 1;
        }
    }

    /// After the bank's row or queue changed. `tired`: the row was hit so often that an older request to another row of
    /// the bank goes first.
    fn choose(&mut self, bank: usize, open_row: u32, tired: bool) {
        let bit = 1 << bank;
        let queue = &self.banks[bank];
        self.hits &= !bit;
        self.next[bank] = 0;
        if queue.is_empty() {
            self.waiting &= !bit;
            return;
        }
        let others_first = tired && queue[0].row != open_row;
        if let Some(hit) = queue.iter().position(|request| request.row == open_row)
            && !others_first
        {
            self.hits |= bit;
            self.next[bank] = hit;
        }
    }

    fn pop(&mut self, bank: usize, open_row: u32, tired: bool) -> Request {
        let request = self.banks[bank].remove(self.next[bank]);
        self.len -= 1;
        self.choose(bank, open_row, tired);
        request
    }

    fn peek(&self, bank: usize) -> &Request {
        &self.banks[bank][self.next[bank]]
    }
}

/// Which direction is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Read,
    Write,
}

/// Counts of what happened, for tests and reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// Bursts of 64 bytes read.
    pub reads: u64,
    /// Bursts of 64 bytes written.
    pub writes: u64,
    /// Rows opened.
    pub activates: u64,
    /// Changes between reading and writing, both ways.
    pub turnarounds: u64,
    /// Refreshes.
    pub refreshes: u64,
}

/// The controller with its queues, and the banks.
#[derive(Debug, Clone)]
pub(super) struct Controller {
    timing: Timing,
    starve: u64,
    run_length: u32,
    closed_page: bool,
    row_run: u32,
    gap_every: u32,
    since_gap: u32,
    column_from: u64,
    banks: [Bank; BANKS],
    reads: Queue,
    writes: Queue,
    mode: Mode,
    run: u32,
    order: u64,
    last_column: [u64; 2],
    last_read: u64,
    last_write: [u64; 2],
    last_activate: [u64; 2],
    activates: [u64; 4],
    oldest_activate: usize,
    refresh_at: u64,
    blocked_until: u64,
    activity: Activity,
}

impl Controller {
    pub fn new(config: &MemoryConfig) -> Self {
        // "Long ago" without negative times.
        let start = 0;
        let bank = Bank { run: 0, row: NO_ROW, activate_at: start, column_at: start, precharge_at: start };
        Self {
            timing: config.timing,
            starve: config.starve,
            run_length: config.run_length,
            row_run: config.row_run,
            gap_every: config.gap_every,
            since_gap: 0,
            column_from: 0,
            closed_page: config.page_policy == PagePolicy::Closed,
            banks: [bank; BANKS],
            reads: Queue::new(),
            writes: Queue::new(),
            mode: Mode::Read,
            run: 0,
            order: 0,
            last_column: [start; 2],
            last_read: start,
            last_write: [start; 2],
            last_activate: [start; 2],
            activates: [start; 4],
            oldest_activate: 0,
            refresh_at: config.timing.refresh_interval,
            blocked_until: 0,
            activity: Activity::default(),
        }
    }

    pub fn reads_waiting(&self) -> usize {
        self.reads.len
    }

    pub fn writes_waiting(&self) -> usize {
        self.writes.len
    }

    pub fn activity(&self) -> Activity {
        self.activity
    }

    pub fn push_read(&mut self, mut request: Request, now: u64) {
        self.order += 1;
        request.order = self.order;
        let row = self.banks[usize::from(request.bank)].row;
        self.reads.push(request, row, now);
    }

    pub fn push_write(&mut self, mut request: Request, now: u64) {
        self.order += 1;
        request.order = self.order;
        let row = self.banks[usize::from(request.bank)].row;
        self.writes.push(request, row, now);
    }

    /// A clock of the controller. Gives the read whose command went out, and when its data is complete.
    #[inline]
    pub fn step(&mut self, now: u64) -> Option<(Request, u64)> {
        if now >= self.refresh_at {
            self.refresh(now);
        }
        if now < self.blocked_until || self.reads.len + self.writes.len == 0 {
            return None;
        }
        self.choose_mode(now);
        let served = self.column_command(now);
        self.row_command(now);
        served
    }

    /// Closes all rows and refreshes; nothing else happens until that is done.
    fn refresh(&mut self, now: u64) {
        let mut closed = now;
        for bank in &mut self.banks {
            if bank.row != NO_ROW {
                closed = closed.max(bank.precharge_at);
                bank.row = NO_ROW;
            }
        }
        self.blocked_until = closed + self.timing.precharge + self.timing.refresh;
        for bank in 0..BANKS {
            self.banks[bank].activate_at = self.blocked_until;
            self.reads.choose(bank, NO_ROW, false);
            self.writes.choose(bank, NO_ROW, false);
        }
        self.refresh_at += self.timing.refresh_interval;
        self.activity.refreshes += 1;
    }

    /// Reads go first. Writes go when there are no reads, or when they have waited too long.
    fn choose_mode(&mut self, now: u64) {
        let mode = match self.mode {
            Mode::Read if self.writes.len == 0 => Mode::Read,
            Mode::Read if self.reads.len == 0 => Mode::Write,
            Mode::Read if now < self.writes.served_at + self.starve => Mode::Read,
            Mode::Read => Mode::Write,
            Mode::Write if self.writes.len == 0 => Mode::Read,
            Mode::Write if self.reads.len == 0 || self.run < self.run_length => Mode::Write,
            Mode::Write if now < self.reads.served_at + self.starve => Mode::Write,
            Mode::Write => Mode::Read,
        };
        if mode != self.mode {
            self.mode = mode;
            self.run = 0;
            self.activity.turnarounds += 1;
            match mode {
                Mode::Read => self.reads.served_at = now,
                Mode::Write => self.writes.served_at = now,
            }
        }
    }

    #[inline]
    fn column_command(&mut self, now: u64) -> Option<(Request, u64)> {
        let t = &self.timing;
        if now < self.column_from {
            return None;
        }
        let mut allowed = [false; 2];
        for (group, allowed) in allowed.iter_mut().enumerate() {
            let other = 1 - group;
            *allowed = now >= self.last_column[group] + t.column_long
                && now >= self.last_column[other] + t.column_short
                && match self.mode {
                    Mode::Read => {
                        now >= self.last_write[group] + t.write_to_read_long
                            && now >= self.last_write[other] + t.write_to_read_short
                    }
                    Mode::Write => now >= self.last_read + t.read_to_write,
                };
        }
        let groups = if allowed[0] { 0x0F } else { 0 } | if allowed[1] { 0xF0 } else { 0 };
        let queue = match self.mode {
            Mode::Read => &mut self.reads,
            Mode::Write => &mut self.writes,
        };
        let mut candidates = queue.hits & groups;
        let mut best = usize::MAX;
        let mut best_order = u64::MAX;
        while candidates != 0 {
            let bank = candidates.trailing_zeros() as usize;
            candidates &= candidates - 1;
            if now >= self.banks[bank].column_at {
                let order = queue.peek(bank).order;
                if order < best_order {
                    best = bank;
                    best_order = order;
                }
            }
        }
        if best == usize::MAX {
            return None;
        }
        let bank = &mut self.banks[best];
        bank.run += 1;
        let tired = bank.run >= self.row_run;
        let request = queue.pop(best, bank.row, tired);
        queue.served_at = now;
        self.run += 1;
        self.last_column[best >> 2] = now;
        self.since_gap += 1;
        if self.since_gap == self.gap_every {
            self.since_gap = 0;
            self.column_from = now + t.column_short + 1;
        }
        match self.mode {
            Mode::Read => {
                bank.precharge_at = bank.precharge_at.max(now + t.read_to_precharge);
                self.last_read = now;
                self.activity.reads += 1;
                Some((request, now + t.read_latency + t.column_short))
            }
            Mode::Write => {
                bank.precharge_at = bank.precharge_at.max(now + t.write_to_precharge);
                self.last_write[best >> 2] = now;
                self.activity.writes += 1;
                None
            }
        }
    }

    /// Opens or closes the row for the oldest request that needs it.
    #[inline]
    fn row_command(&mut self, now: u64) {
        let queue = match self.mode {
            Mode::Read => &self.reads,
            Mode::Write => &self.writes,
        };
        let mut misses = queue.waiting & !queue.hits;
        let mut best = usize::MAX;
        let mut best_order = u64::MAX;
        while misses != 0 {
            let bank = misses.trailing_zeros() as usize;
            misses &= misses - 1;
            let state = &self.banks[bank];
            let ready =
                if state.row == NO_ROW { self.can_activate(bank, now) } else { now >= state.precharge_at };
            if ready && queue.peek(bank).order < best_order {
                best = bank;
                best_order = queue.peek(bank).order;
            }
        }
        if best == usize::MAX {
            if self.closed_page {
                self.close_one(now);
            }
            return;
        }
        if self.banks[best].row == NO_ROW {
            let row = queue.peek(best).row;
            self.activate(best, row, now);
        } else {
            self.close(best, now);
        }
    }

    fn can_activate(&self, bank: usize, now: u64) -> bool {
        let t = &self.timing;
        let group = bank >> 2;
        now >= self.banks[bank].activate_at
            && now >= self.last_activate[group] + t.activate_long
            && now >= self.last_activate[1 - group] + t.activate_short
            && now >= self.activates[self.oldest_activate] + t.four_activates
    }

    fn activate(&mut self, bank: usize, row: u32, now: u64) {
        let t = &self.timing;
        self.banks[bank] = Bank {
            run: 0,
            row,
            activate_at: now + t.row_cycle,
            column_at: now + t.activate_to_column,
            precharge_at: now + t.activate_to_precharge,
        };
        self.last_activate[bank >> 2] = now;
        self.activates[self.oldest_activate] = now;
        self.oldest_activate = (self.oldest_activate + 1) % 4;
        self.activity.activates += 1;
        self.reads.choose(bank, row, false);
        self.writes.choose(bank, row, false);
    }

    fn close(&mut self, bank: usize, now: u64) {
        let state = &mut self.banks[bank];
        state.row = NO_ROW;
        state.activate_at = state.activate_at.max(now + self.timing.precharge);
        state.column_at = NEVER;
        self.reads.choose(bank, NO_ROW, false);
        self.writes.choose(bank, NO_ROW, false);
    }

    fn close_one(&mut self, now: u64) {
        let unwanted = (0..BANKS).find(|&bank| {
            let state = &self.banks[bank];
            state.row != NO_ROW
                && now >= state.precharge_at
                && (self.reads.hits | self.writes.hits) & 1 << bank == 0
        });
        if let Some(bank) = unwanted {
            self.close(bank, now);
        }
    }
}
