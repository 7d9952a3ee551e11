//! `header_buffer` against the packing of the layout crate: both banks full, then read in every order.

mod common;
#[path = "common/stream.rs"]
mod stream;

use stream::{Layout, beats, random_matrix};

#[test]
fn gives_the_scale_and_zero_point_of_every_channel() {
    for layout in [Layout::RowBlock, Layout::Segments, Layout::AwqMacro] {
        for groups in [96, 5] {
            let Some(mut model) = common::model("header_buffer", &[("Layout", layout.parameter())]) else {
                return;
            };
            let matrices = [1, 2].map(|seed| random_matrix(layout, layout.channels(), groups, seed));
            for (bank, matrix) in matrices.iter().enumerate() {
                let beats = beats(matrix, layout);
                model.set("segments_i", u64::from(layout == Layout::Segments));
                model.set("bank_i", bank as u64);
                let mut write = |port: &str, index: usize, beat: &[u32; 4]| {
                    model.set(port, 1);
                    model.set("index_i", index as u64);
                    model.set_words("beat_i", beat);
                    model.clock();
                    model.set(port, 0);
                };
                match layout {
                    Layout::RowBlock => {
                        let (scales, zeros) = beats.split_at(2 * groups);
                        scales.iter().enumerate().for_each(|(i, beat)| write("scale_we_i", i, beat));
                        let zeros = zeros[..groups.div_ceil(2)].iter().enumerate();
                        zeros.for_each(|(i, beat)| write("zero_we_i", i, beat));
                    }
                    Layout::Segments => {
                        for (group, beats) in beats.chunks_exact(68).enumerate() {
                            write("scale_we_i", 2 * group, &beats[0]);
                            write("scale_we_i", 2 * group + 1, &beats[1]);
                            write("zero_we_i", group, &beats[2]);
                        }
                    }
                    Layout::AwqMacro => {
                        for (group, beats) in beats.chunks_exact(18).enumerate() {
                            write("zero_we_i", group, &beats[0]);
                            write("scale_we_i", group, &beats[1]);
                        }
                    }
                }
            }
            // A read a cycle; the answer comes two clocks later and stays.
            let count = 2 * groups * layout.channels();
            let place = |i: usize| (i % 2, i / 2 % groups, i / 2 / groups);
            for i in 0..count + 1 {
                let (bank, group, channel) = place(i % count);
                model.set("req_i", u64::from(i < count));
                model.set("req_bank_i", bank as u64);
                model.set("req_group_i", group as u64);
                model.set("req_channel_i", channel as u64);
                model.clock();
                if i > 0 {
                    let (bank, group, channel) = place(i - 1);
                    let at = channel * groups + group;
                    let expected =
                        (matrices[bank].scales[at].to_bits().into(), matrices[bank].zeros[at].into());
                    assert_eq!(
                        (model.get("scale_o"), model.get("zero_o")),
                        expected,
                        "{bank} {group} {channel}"
                    );
                }
            }
        }
    }
}
