//! `beat_sequencer`: what each beat of a block is, and which ports take part. `stream_front` tests it with real data.

mod common;
#[path = "common/stream.rs"]
mod stream;

use stream::{Layout, TileControl, set_config};

/// What a beat is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Scale(u64),
    Zero(u64),
    Nothing,
    Tile(usize, usize, usize),
}

/// The uses of the beats of a block, from the descriptions of the layouts.
fn block(layout: Layout, groups: usize) -> Vec<Use> {
    let tiles =
        |group: usize, quads: usize| (0..8 * quads).map(move |i| Use::Tile(group, i / quads, i % quads));
    match layout {
        Layout::RowBlock => {
            let scales = (0..2 * groups as u64).map(Use::Scale);
            let zeros = (0..groups.div_ceil(2) as u64).map(Use::Zero);
            let mut uses: Vec<Use> = scales.chain(zeros).collect();
            uses.resize(layout.header_beats(groups as u64) as usize, Use::Nothing);
            uses.extend((0..groups).flat_map(|group| tiles(group, 4)));
            uses
        }
        Layout::Segments => (0..groups)
            .flat_map(|group| {
                let scales = [2 * group as u64, 2 * group as u64 + 1].map(Use::Scale);
                let header = scales.into_iter().chain([Use::Zero(group as u64), Use::Nothing]);
                header.chain(tiles(group, 4)).chain(tiles(group, 4))
            })
            .collect(),
        Layout::AwqMacro => (0..groups)
            .flat_map(|group| {
                // A pair of beats is shown with its second one, as the first tile of the two.
                let pairs = (0..8).flat_map(move |line| [Use::Nothing, Use::Tile(group, line, 0)]);
                [Use::Zero(group as u64), Use::Scale(group as u64)].into_iter().chain(pairs)
            })
            .collect(),
    }
}

#[test]
fn names_every_beat_of_every_block() {
    for layout in [Layout::RowBlock, Layout::Segments, Layout::AwqMacro] {
        let Some(mut model) = common::model("beat_sequencer", &[("Layout", layout.parameter())]) else {
            return;
        };
        model.reset(2);
        model.set("bank_free_i", 1);
        model.set("valid_i", 0b1111);
        let mut bank = false;
        for (groups, blocks) in [(1, [2, 2, 2, 2]), (3, [0, 1, 2, 3]), (14, [1, 1, 1, 0]), (96, [1, 1, 1, 2])]
        {
            set_config(&mut model, layout, groups as u64, blocks);
            model.set("start_i", 1);
            model.clock();
            model.set("start_i", 0);
            model.clock();
            for round in 0..blocks.into_iter().max().unwrap() {
                let active = (0..4).fold(0, |bits, port| bits | u64::from(round < blocks[port]) << port);
                for (beat, what) in block(layout, groups).into_iter().enumerate() {
                    let context = format!("{layout:?} {groups} groups, round {round}, beat {beat}");
                    model.eval();
                    assert_eq!(model.get("ready_o"), active, "{context}");
                    // One port has nothing for a moment: no port is taken from.
                    if beat % 37 == 5 {
                        model.set("valid_i", 0b1111 ^ active);
                        model.eval();
                        assert_eq!(model.get("ready_o"), 0, "{context}");
                        model.clock();
                        assert_eq!(model.get("stall_o"), active, "{context}");
                        assert!(!TileControl::read(&model).valid, "{context}");
                        model.set("valid_i", 0b1111);
                    }
                    model.clock();
                    let control = TileControl::read(&model);
                    assert_eq!(control.bank, bank, "{context}");
                    assert_eq!(u64::from(control.active), active, "{context}");
                    let found = match (model.get("scale_we_o"), model.get("zero_we_o"), control.valid) {
                        (1, 0, false) => Use::Scale(model.get("header_index_o")),
                        (0, 1, false) => Use::Zero(model.get("header_index_o")),
                        (0, 0, true) => Use::Tile(control.group, control.line, control.quad),
                        (0, 0, false) => Use::Nothing,
                        other => panic!("{context}: {other:?}"),
                    };
                    assert_eq!(found, what, "{context}");
                }
                bank = !bank;
            }
            assert_eq!(model.get("done_o"), 1);
            model.eval();
            assert_eq!(model.get("ready_o"), 0);
        }
    }
}

#[test]
fn an_operation_without_blocks_is_done_at_once() {
    let Some(mut model) = common::model("beat_sequencer", &[]) else { return };
    model.reset(2);
    set_config(&mut model, Layout::RowBlock, 1, [0; 4]);
    model.set("start_i", 1);
    model.clock();
    model.set("start_i", 0);
    model.clock();
    assert_eq!(model.get("done_o"), 1);
    model.clock();
    assert_eq!(model.get("done_o"), 0);
}
