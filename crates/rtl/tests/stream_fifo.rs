//! `stream_fifo` against a queue.

mod common;
#[path = "common/fifo.rs"]
mod fifo;

use fifo::{Bench, Load};

#[test]
fn passes_every_word_once_and_in_order() {
    // Not a power of two, and as small as the words behind the memory.
    for (depth, latency) in [(100, 2), (9, 3), (28, 1)] {
        let (depth_text, latency) = (depth.to_string(), latency.to_string());
        let parameters = [("Depth", depth_text.as_str()), ("ReadLatency", &latency)];
        let Some(model) = common::model("stream_fifo", &parameters) else { return };
        let mut bench = Bench::new(model, 4, true);
        bench.all_loads(3000);
        assert!((depth..=depth + 8).contains(&bench.most), "{} of {depth}", bench.most);
    }
}

#[test]
fn holds_the_depth_of_the_board_and_gives_a_word_a_cycle() {
    let Some(model) = common::model("stream_fifo", &[]) else { return };
    let mut bench = Bench::new(model, 4, true);
    assert_eq!(bench.run(28_672, Load { write: 256, read: 0 }), 0);
    assert_eq!(bench.inside.len(), 28_672);
    assert_eq!(bench.run(28_672, Load { write: 0, read: 256 }), 28_672);
    // From empty: four cycles of latency, then every cycle.
    assert_eq!(bench.run(10_000, Load { write: 256, read: 256 }), 10_000 - 4);
}
