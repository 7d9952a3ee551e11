//! Which models the accelerator takes, and that its ports stream what the file's manifest says.
#![allow(clippy::unwrap_used)]

mod common;

use common::{HEAD_4, HEAD_8, awq_macro, cpu, packed, sim};
use edgewen_accel::host::{Accelerator, HostOptions};
use edgewen_accel::image::ModelImage;
use edgewen_accel::program::{Limits, Operation, Program};
use edgewen_layout::GroupSize;
use edgewen_testing::TinySpec;
use edgewen_testing::rtn::Head;

const BASE: u64 = 0x1000_0000;

fn program(spec: &TinySpec, group: GroupSize, head: Head, limits: &Limits) -> edgewen_accel::Result<Program> {
    let file = packed(spec, group, head);
    let image = ModelImage::new(file.clone(), limits.layout)?;
    Program::new(&file, &image, limits, BASE)
}

/// Places of the file that a port streams, in order.
fn streamed(image: &ModelImage, program: &Program, port: usize) -> Vec<[u64; 2]> {
    let place = |operation: &Operation| {
        let addresses = operation.addresses(port);
        let offset = addresses.start - BASE;
        let piece = image.pieces().iter().find(|piece| piece.offset == offset)?;
        assert_eq!(piece.bytes, addresses.end - addresses.start, "{} in one piece", operation.tensor);
        Some([piece.source, piece.bytes])
    };
    program.operations().iter().filter_map(place).collect()
}

#[test]
fn ports_stream_the_ranges_of_the_file_in_its_order() {
    for spec in [
        TinySpec { intermediate: 352, vocab: 299, ..TinySpec::default() },
        TinySpec { hidden: 96, heads: 6, tied: true, ..TinySpec::default() },
    ] {
        let file = packed(&spec, GroupSize::G64, HEAD_4);
        let image = ModelImage::new(file.clone(), Limits::default().layout).unwrap();
        let program = Program::new(&file, &image, &Limits::default(), BASE).unwrap();
        for (port, expected) in file.ports().iter().enumerate() {
            assert_eq!(&streamed(&image, &program, port), expected, "port {port}");
        }
    }
}

#[test]
fn each_port_has_a_region_one_bank_from_the_next_and_moves_only_forward() {
    let spec = TinySpec { intermediate: 352, vocab: 299, tied: false, ..TinySpec::default() };
    let file = packed(&spec, GroupSize::G64, HEAD_4);
    let image = ModelImage::new(file.clone(), Limits::default().layout).unwrap();
    let program = Program::new(&file, &image, &Limits::default(), BASE).unwrap();
    let mut end = program.operations()[0].ports.map(|port| port.address);
    for operation in program.operations() {
        for (port, end) in end.iter_mut().enumerate() {
            let start = operation.ports[port].address;
            let distance = start - operation.ports[0].address;
            assert_eq!(distance % (64 << 10), port as u64 * (16 << 10), "{} port {port}", operation.tensor);
            assert!(*end <= start && start - *end < 16 << 10, "{} port {port}", operation.tensor);
            *end = operation.addresses(port).end;
        }
    }
}

#[test]
fn an_image_reads_the_pieces_of_the_file_and_zeros_between_them() {
    let file = packed(&TinySpec { intermediate: 352, ..TinySpec::default() }, GroupSize::G64, HEAD_4);
    let image = ModelImage::new(file.clone(), Limits::default().layout).unwrap();
    let mut expected = vec![0; image.bytes() as usize];
    for piece in image.pieces() {
        let source = &file.bytes()[piece.source as usize..][..piece.bytes as usize];
        expected[piece.offset as usize..][..source.len()].copy_from_slice(source);
    }
    for (step, len) in [(4096, 4096), (1000, 3001), (64, 16)] {
        for start in (0..expected.len() - len).step_by(step) {
            let mut found = vec![1; len];
            assert!(image.read(start as u64, &mut found));
            assert!(found == expected[start..start + len], "{len} bytes at {start}");
        }
    }
    assert!(!image.read(image.bytes() - 3, &mut [0; 4]) && !image.read(u64::MAX, &mut [0; 4]));
}

#[test]
fn models_that_do_not_fit_are_refused_by_the_name_of_the_tensor() {
    let small = Limits { max_groups: 4, ..Limits::default() };
    let no_bias = Limits { bias_rows: 64, ..Limits::default() };
    let spec = TinySpec { intermediate: 384, ..TinySpec::default() };
    let cases = [
        (GroupSize::G32, Limits::default(), ["layers.0.qkv", "groups of 32", "--group 64"]),
        (GroupSize::G128, Limits::default(), ["layers.0.qkv", "groups of 128", "--device cpu"]),
        (GroupSize::G64, small, ["layers.0.down", "384 inputs", "256"]),
        (GroupSize::G64, no_bias, ["layers.0.qkv", "128 rows with a bias", "64"]),
    ];
    for (group, limits, words) in cases {
        let message = program(&spec, group, HEAD_4, &limits).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "no `{word}` in: {message}");
        }
    }
}

#[test]
fn heads_of_more_bits_stay_with_the_processor_and_it_can_be_asked_why() {
    let spec = TinySpec::default();
    let of = |head| program(&spec, GroupSize::G64, head, &Limits::default()).unwrap();
    let four = of(HEAD_4);
    assert_eq!((four.operations().len(), four.head_on_processor()), (4 * spec.layers + 1, None));
    for (head, reason) in [(HEAD_8, "embed has 8 bits"), (Head::Sixteen, "embed is stored as bf16")] {
        let program = of(head);
        assert_eq!(program.operations().len(), 4 * spec.layers);
        assert!(program.head_on_processor().unwrap().contains(reason));
    }
    let odd = program(&TinySpec { vocab: 299, ..spec }, GroupSize::G64, HEAD_4, &awq_macro()).unwrap();
    assert!(odd.head_on_processor().unwrap().contains("299 rows, AWQ_MACRO needs a multiple of 8"));
}

#[test]
fn buffers_that_hold_no_token_are_refused() {
    let file = packed(&TinySpec::default(), GroupSize::G64, HEAD_4);
    let (_, image) = sim(&file, Limits::default());
    let space = edgewen_accel::host::AddressSpace::with_buffers(image.clone(), 4096);
    let device = edgewen_accel::sim::Sim::new(Limits::default(), space);
    let error = Accelerator::new(device, &image, cpu(&file), HostOptions::default()).err().unwrap();
    assert!(error.to_string().contains("layers.0.qkv has results that do not fit"), "{error}");
}
