//! Threads of the kernels.

/// A fixed set of threads.
pub struct Pool {
    threads: usize,
}

impl Pool {
    /// A pool of `threads` threads, of which one is whoever calls [`Self::run`].
    pub fn new(threads: usize) -> Self {
        Self { threads: threads.max(1) }
    }

    /// Threads, the calling one included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `f` once for every task 0..tasks, in any order, and returns when all are done.
    pub fn run(&self, tasks: usize, f: impl Fn(usize) + Sync) {
        (0..tasks).for_each(f);
    }

    /// Calls `f` with the index and the contents of every chunk of `chunk` elements; the last may be shorter.
    pub fn for_each_chunk<T: Send>(&self, data: &mut [T], chunk: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        data.chunks_mut(chunk).enumerate().for_each(|(i, chunk)| f(i, chunk));
    }
}
