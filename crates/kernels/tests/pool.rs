//! The pool runs every task once, whatever happens around it.
#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use edgewen_kernels::Pool;

/// How often each of the tasks ran.
fn counts(pool: &Pool, tasks: usize) -> Vec<usize> {
    let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
    pool.run(tasks, |i| {
        counts[i].fetch_add(1, Ordering::Relaxed);
    });
    counts.into_iter().map(AtomicUsize::into_inner).collect()
}

#[test]
fn every_task_runs_once() {
    for threads in 0..=4 {
        let pool = Pool::new(threads);
        assert_eq!(pool.threads(), threads.max(1));
        for tasks in [0, 1, 2, 3, 100, 1000] {
            assert_eq!(counts(&pool, tasks), vec![1; tasks], "{threads} threads, {tasks} tasks");
        }
    }
}

#[test]
fn many_short_operations_follow_each_other() {
    let pool = Pool::new(3);
    let total = AtomicUsize::new(0);
    for _ in 0..20_000 {
        pool.run(4, |i| {
            total.fetch_add(i, Ordering::Relaxed);
        });
    }
    assert_eq!(total.into_inner(), 20_000 * 6);
}

#[test]
fn sleeping_workers_wake_up() {
    let pool = Pool::new(3);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(counts(&pool, 50), vec![1; 50]);
    }
}

#[test]
fn the_caller_sleeps_until_slow_tasks_are_done() {
    let pool = Pool::new(2);
    let slow = AtomicUsize::new(0);
    pool.run(2, |_| {
        std::thread::sleep(Duration::from_millis(5));
        slow.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(slow.into_inner(), 2);
}

#[test]
fn several_threads_share_the_work() {
    let pool = Pool::new(2);
    let arrived = AtomicUsize::new(0);
    // Each task waits for the other, which only two threads can satisfy.
    pool.run(2, |_| {
        arrived.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        while arrived.load(Ordering::SeqCst) < 2 {
            assert!(start.elapsed() < Duration::from_secs(30), "no second thread came");
            std::thread::yield_now();
        }
    });
}

#[test]
fn chunks_cover_the_data_once() {
    for threads in 1..=3 {
        let pool = Pool::new(threads);
        for len in [0, 1, 9, 10, 11, 100] {
            let mut data = vec![0_usize; len];
            pool.for_each_chunk(&mut data, 10, |i, chunk| {
                chunk.iter_mut().enumerate().for_each(|(j, value)| *value += 1 + 10 * i + j);
            });
            assert_eq!(data, (1..=len).collect::<Vec<_>>());
        }
    }
}

#[test]
fn an_operation_inside_a_task_runs_on_its_thread() {
    let pool = Pool::new(2);
    let total = AtomicUsize::new(0);
    pool.run(4, |_| {
        let thread = std::thread::current().id();
        pool.run(5, |_| {
            assert_eq!(std::thread::current().id(), thread);
            total.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(total.into_inner(), 20);
}

#[test]
fn callers_on_several_threads_do_not_disturb_each_other() {
    let pool = Pool::new(2);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..200).for_each(|_| assert_eq!(counts(&pool, 20), vec![1; 20])));
        }
    });
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
    for threads in 1..=3 {
        let pool = Pool::new(threads);
        let payload = catch_unwind(AssertUnwindSafe(|| {
            pool.run(100, |i| assert!(i != 50, "task fifty"));
        }))
        .unwrap_err();
        assert!(payload.downcast_ref::<&str>().is_some_and(|text| text.contains("task fifty")));
        assert_eq!(counts(&pool, 10), vec![1; 10]);
    }
}
