//! `sync_fifo` against a queue.

mod common;
#[path = "common/fifo.rs"]
mod fifo;

use fifo::{Bench, Load};

#[test]
fn passes_every_word_once_and_in_order() {
    for depth in ["2", "16"] {
        let Some(model) = common::model("sync_fifo", &[("Depth", depth)]) else { return };
        let mut bench = Bench::new(model, 1, true);
        bench.all_loads(2000);
        assert_eq!(bench.most.to_string(), depth, "it was full, and no fuller");
    }
}

#[test]
fn shows_a_word_the_cycle_after_it_was_written() {
    let Some(model) = common::model("sync_fifo", &[("Depth", "2")]) else { return };
    let mut bench = Bench::new(model, 1, true);
    assert_eq!(bench.run(1000, Load { write: 256, read: 256 }), 999);
}
