//! `bias_buffer` against an array.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use rand_pcg::rand_core::Rng;

#[test]
fn returns_each_row_2_cycles_later() {
    let rows = 64;
    let Some(mut model) = common::model("bias_buffer", &[("Rows", "64")]) else { return };
    let mut random = pipeline::random(8);
    let mut expected = vec![0; rows];
    model.set("write_i", 1);
    for (beat, words) in expected.chunks_mut(4).enumerate() {
        words.fill_with(|| random.next_u32());
        model.set("beat_i", beat as u64);
        model.set_words("data_i", words);
        model.clock();
    }
    model.set("write_i", 0);
    let mut owed = [None; 2];
    for _ in 0..1000 {
        let row = random.next_u32() as usize % (rows + 16);
        let read = (row < rows).then_some(row);
        model.set("read_en_i", u64::from(read.is_some()));
        model.set("row_i", (row % rows) as u64);
        model.clock();
        owed = [read, owed[0]];
        if let Some(row) = owed[1] {
            assert_eq!(model.get("bias_o") as u32, expected[row], "row {row}");
        }
    }
}
