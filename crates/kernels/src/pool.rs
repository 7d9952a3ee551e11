//! Threads of the kernels: a pool that spins for a bounded time and then sleeps.
//!
//! A token is about a hundred short operations, so handing one over must cost less than a microsecond: idle workers
//! watch one atomic word for a while before they sleep. Nobody waits for a worker that has not joined an operation:
//! tasks are handed out one by one, and the caller only waits for workers that hold one. So a core that is busy
//! with something else costs its share of the speed, not all of it, as a barrier over all threads would.

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long an idle worker watches for the next operation before it sleeps: longer than the serial work between
/// two operations of a token, shorter than anything that a laptop's battery notices.
const SPIN: Duration = Duration::from_micros(200);

/// How long the caller watches the last workers before it gives its core away.
const CALLER_SPIN: Duration = Duration::from_micros(50);

/// A fixed set of threads that run the tasks of one operation at a time.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Set while an operation runs, so that a nested or concurrent one runs on its caller alone.
    busy: AtomicBool,
}

/// The tasks of one operation, with the type of its closure erased.
#[derive(Clone, Copy)]
struct Operation {
    closure: *const (),
    call: unsafe fn(*const (), usize),
    tasks: usize,
}

struct Shared {
    /// `generation << 33 | open << 32 | workers inside`: see [`Shared::join`].
    state: AtomicU64,
    /// Written only while the state is closed with nobody inside, read only by those inside.
    operation: UnsafeCell<Operation>,
    next_task: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Threads that sleep, workers and caller, on `wake`.
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    shut_down: AtomicBool,
}

// SAFETY: `operation` is the only field that is not Sync by itself. It is written by the one caller that holds
// `Pool::busy`, while the state is closed and counts nobody inside; it is read by workers only after `join`, whose
// acquire pairs with the release that opened the state. The closure it points to is Sync and outlives the operation.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointers are only followed while the borrow they came from is alive.
unsafe impl Send for Shared {}

const OPEN: u64 = 1 << 32;
const INSIDE: u64 = OPEN - 1;

impl Pool {
    /// A pool of `threads` threads (at least one), of which one is whoever calls [`Self::run`].
    pub fn new(threads: usize) -> Self {
        unsafe fn nothing(_: *const (), _: usize) {}
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            operation: UnsafeCell::new(Operation { closure: std::ptr::null(), call: nothing, tasks: 0 }),
            next_task: AtomicUsize::new(0),
            panic: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            shut_down: AtomicBool::new(false),
        });
        // A thread that the system refuses is done without: every operation also completes on fewer.
        let workers = (1..threads)
            .map_while(|i| {
                let shared = Arc::clone(&shared);
                thread::Builder::new().name(format!("kernels-{i}")).spawn(move || shared.work()).ok()
            })
            .collect();
        Self { shared, workers, busy: AtomicBool::new(false) }
    }

    /// Threads, the calling one included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `f` once for every task 0..tasks, in any order and on any thread, and returns when all are done.
    /// Called from inside a task, or while another thread is running tasks, it runs them on the calling thread.
    ///
    /// # Panics
    /// With the panic of a task, after the tasks that had begun are done; those not begun may be left out.
    pub fn run<F: Fn(usize) + Sync>(&self, tasks: usize, f: F) {
        if tasks <= 1 || self.workers.is_empty() || self.busy.swap(true, Ordering::Acquire) {
            return (0..tasks).for_each(f);
        }
        /// # Safety
        /// `closure` points to a live `F`.
        unsafe fn call<F: Fn(usize)>(closure: *const (), task: usize) {
            // SAFETY: the caller passes the pointer that was made from an `&F` below.
            unsafe { (*closure.cast::<F>())(task) }
        }
        let operation = Operation { closure: (&raw const f).cast(), call: call::<F>, tasks };
        // SAFETY: `busy` is ours, and the previous operation was closed and left by all before `busy` was released.
        unsafe { *self.shared.operation.get() = operation };
        self.shared.next_task.store(0, Ordering::Relaxed);
        self.shared.open();
        // SAFETY: `f` is alive until the end of this function, and `close` returns when no worker is inside.
        unsafe { self.shared.do_tasks(operation) };
        self.shared.close();
        let panic = lock(&self.shared.panic).take();
        self.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            panic::resume_unwind(panic);
        }
    }

    /// Calls `f` with the index and the contents of every chunk of `chunk` elements; the last may be shorter.
    ///
    /// # Panics
    /// If `chunk` is zero, and as [`Self::run`].
    pub fn for_each_chunk<T: Send>(&self, data: &mut [T], chunk: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        struct Base<T>(*mut T);
        // SAFETY: each element is reached by exactly one task, and T may be sent to it.
        unsafe impl<T: Send> Sync for Base<T> {}
        impl<T> Base<T> {
            fn get(&self) -> *mut T {
                self.0
            }
        }
        let len = data.len();
        let base = Base(data.as_mut_ptr());
        self.run(len.div_ceil(chunk), |i| {
            let start = i * chunk;
            // SAFETY: start < len, chunks do not overlap, each index is run once, and `data` is borrowed throughout.
            let part =
                unsafe { std::slice::from_raw_parts_mut(base.get().add(start), chunk.min(len - start)) };
            f(i, part);
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shut_down.store(true, Ordering::SeqCst);
        self.shared.wake_sleepers();
        for worker in self.workers.drain(..) {
            // A worker catches every panic of a task, so that there is none to hear of here.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

impl Shared {
    /// Lets workers join the operation just written. The generation tells them that it is a new one.
    fn open(&self) {
        let generation = self.state.load(Ordering::Relaxed) >> 33;
        self.state.store((generation + 1) << 33 | OPEN, Ordering::SeqCst);
        self.wake_sleepers();
    }

    /// Lets nobody join any more and waits for those inside.
    fn close(&self) {
        self.state.fetch_and(!OPEN, Ordering::SeqCst);
        self.wait(CALLER_SPIN, || self.state.load(Ordering::SeqCst) & INSIDE == 0);
    }

    /// Joins the open operation if there is one later than `seen`.
    fn join(&self, seen: u64) -> Option<u64> {
        let state = self.state.load(Ordering::SeqCst);
        let generation = state >> 33;
        let may_join = state & OPEN != 0 && generation != seen;
        // A lost race against another worker is tried again by the caller's loop.
        (may_join
            && self.state.compare_exchange(state, state + 1, Ordering::SeqCst, Ordering::Relaxed).is_ok())
        .then_some(generation)
    }

    /// A worker's life.
    fn work(&self) {
        let mut seen = 0;
        loop {
            let mut joined = None;
            self.wait(SPIN, || {
                joined = self.join(seen);
                joined.is_some() || self.shut_down.load(Ordering::SeqCst)
            });
            let Some(generation) = joined else { return };
            seen = generation;
            // SAFETY: after `join` and until the subtraction below, the caller neither writes the operation nor
            // lets its closure go.
            unsafe { self.do_tasks(*self.operation.get()) };
            let before = self.state.fetch_sub(1, Ordering::SeqCst);
            if before & (OPEN | INSIDE) == 1 {
                self.wake_sleepers();
            }
        }
    }

    /// Takes tasks until there are none.
    ///
    /// # Safety
    /// The closure of `operation` must be alive.
    unsafe fn do_tasks(&self, operation: Operation) {
        loop {
            let task = self.next_task.fetch_add(1, Ordering::Relaxed);
            if operation.tasks <= task {
                return;
            }
            // SAFETY: the caller's promise.
            let call = AssertUnwindSafe(|| unsafe { (operation.call)(operation.closure, task) });
            if let Err(payload) = panic::catch_unwind(call) {
                self.next_task.store(operation.tasks, Ordering::Relaxed);
                lock(&self.panic).get_or_insert(payload);
            }
        }
    }

    /// Returns when `ready` does: watches it for `spin`, then sleeps between looks.
    fn wait(&self, spin: Duration, mut ready: impl FnMut() -> bool) {
        let mut start = None;
        loop {
            for _ in 0..64 {
                if ready() {
                    return;
                }
                hint::spin_loop();
            }
            if spin < start.get_or_insert_with(Instant::now).elapsed() {
                break;
            }
        }
        let mut guard = lock(&self.sleep);
        // Counted before the look and both in the one order of SeqCst: either this look sees the change, or whoever
        // made the change sees the sleeper, and must take the lock to wake it.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !ready() {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake_sleepers(&self) {
        if self.sleepers.load(Ordering::SeqCst) != 0 {
            let _guard = lock(&self.sleep);
            self.wake.notify_all();
        }
    }
}

/// No code that can panic runs under these locks, so that a poisoned one is still sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
