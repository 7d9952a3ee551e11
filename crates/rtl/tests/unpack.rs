//! `unpack` against the packing of the layout crate: the tiles of one group, one after the other.

mod common;
#[path = "common/stream.rs"]
mod stream;

use stream::{Layout, beats, random_matrix};

/// The tile of channels 4 quad .. and inputs 8 line .. of the first group, as 4 words of 8 nibbles.
fn tile(matrix: &edgewen_layout::QuantizedMatrix, quad: usize, line: usize) -> [u32; 4] {
    std::array::from_fn(|channel| {
        let at = (4 * quad + channel) * matrix.shape.inputs + 8 * line;
        (0..8).fold(0, |word, i| word | u32::from(matrix.codes[at + i]) << (4 * i))
    })
}

#[test]
fn a_beat_of_a_row_block_is_a_tile() {
    let Some(mut model) = common::model("unpack", &[]) else { return };
    let matrix = random_matrix(Layout::RowBlock, 16, 1, 1);
    let header = Layout::RowBlock.header_beats(1) as usize;
    for (index, beat) in beats(&matrix, Layout::RowBlock)[header..].iter().enumerate() {
        model.set("take_i", 1);
        model.set_words("beat_i", beat);
        model.clock();
        let mut found = [0; 4];
        model.get_words("tile_o", &mut found);
        assert_eq!(found, tile(&matrix, index % 4, index / 4), "beat {index}");
        model.set("take_i", 0);
        model.set_words("beat_i", &[0; 4]);
        model.clock();
        model.get_words("beat_o", &mut found);
        assert_eq!(found, *beat, "it is kept");
    }
}

#[test]
fn two_beats_of_a_macro_are_two_tiles() {
    let Some(mut model) = common::model("unpack", &[("Layout", "1")]) else { return };
    let matrix = random_matrix(Layout::AwqMacro, 8, 1, 1);
    // Cycles between the beats: none, or some.
    for gap in [0, 1, 3] {
        let mut tiles = Vec::new();
        // Which of the two tiles is at the output, counted down from the clock of the second beat.
        let mut second_beat_was = [false; 3];
        let mut clock = |model: &mut edgewen_rtl::Model, take: Option<(usize, &[u32; 4])>| {
            model.set("take_i", u64::from(take.is_some()));
            model.set_words("beat_i", take.map_or(&[0x5555_5555; 4], |(_, beat)| beat));
            model.set("pair_i", u64::from(second_beat_was[0]));
            model.clock();
            second_beat_was = [take.is_some_and(|(i, _)| i % 2 == 1), second_beat_was[0], second_beat_was[1]];
            if second_beat_was[1] || second_beat_was[2] {
                let mut found = [0; 4];
                model.get_words("tile_o", &mut found);
                tiles.push(found);
            }
        };
        for (index, beat) in beats(&matrix, Layout::AwqMacro)[2..].iter().enumerate() {
            clock(&mut model, Some((index, beat)));
            (0..gap).for_each(|_| clock(&mut model, None));
        }
        (0..3).for_each(|_| clock(&mut model, None));
        let expected: Vec<[u32; 4]> = (0..16).map(|i| tile(&matrix, i % 2, i / 2)).collect();
        assert_eq!(tiles, expected, "gap {gap}");
    }
}
