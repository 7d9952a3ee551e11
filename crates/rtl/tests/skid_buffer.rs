//! `skid_buffer` against a queue.

mod common;
#[path = "common/fifo.rs"]
mod fifo;

use fifo::{Bench, Load};

#[test]
fn passes_every_word_once_and_in_order() {
    let Some(model) = common::model("skid_buffer", &[]) else { return };
    let mut bench = Bench::new(model, 4, false);
    bench.all_loads(2000);
    assert_eq!(bench.most, 2);
}

#[test]
fn gives_a_word_a_cycle() {
    let Some(model) = common::model("skid_buffer", &[]) else { return };
    let mut bench = Bench::new(model, 4, false);
    assert_eq!(bench.run(1000, Load { write: 256, read: 256 }), 999);
}
