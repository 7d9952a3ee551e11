//! Descriptors survive the way through their words, and what does not fit is refused.
#![allow(clippy::unwrap_used)]

use edgewen_accel::descriptor::{Descriptor, FIELDS, PORTS, PortBlocks, WORDS};
use proptest::prelude::*;

fn address() -> impl Strategy<Value = u64> {
    any::<u32>().prop_map(|unit| u64::from(unit) * 64)
}

fn descriptors() -> impl Strategy<Value = Descriptor> {
    let port = (address(), 0..=0xffff_u32).prop_map(|(address, blocks)| PortBlocks { address, blocks });
    let sizes = (1..=16_u32, any::<(bool, bool)>(), 0..=0xffff_u32, 0..=0xffff_u32, 0..=0xffff_u32);
    let numbers = (any::<u32>(), any::<u32>(), proptest::array::uniform4(port));
    let places = (address(), address(), address(), address(), proptest::option::of(address()));
    (sizes, numbers, places).prop_map(|(sizes, (rows, tag, ports), places)| {
        let (tokens, (top_k, segments), groups, block_beats, header_beats) = sizes;
        let (activations, activations_stride, results, results_stride, bias) = places;
        Descriptor {
            tokens,
            top_k,
            segments,
            groups,
            block_beats,
            header_beats,
            rows,
            tag,
            ports,
            activations,
            activations_stride,
            results,
            results_stride,
            bias,
        }
    })
}

proptest! {
    #[test]
    fn words_give_back_what_they_were_made_from(descriptor in descriptors()) {
        prop_assert_eq!(Descriptor::decode(&descriptor.encode().unwrap()).unwrap(), descriptor);
    }

    #[test]
    fn bits_that_no_field_has_are_ignored(descriptor in descriptors(), noise in any::<[u32; WORDS]>()) {
        let mut words = descriptor.encode().unwrap();
        for (index, (word, noise)) in words.iter_mut().zip(noise).enumerate() {
            let used = FIELDS.iter().filter(|field| field.word == index);
            let mask = used.fold(0, |mask, field| mask | (u32::MAX >> (32 - field.width)) << field.low);
            *word |= noise & !mask;
        }
        prop_assert_eq!(Descriptor::decode(&words).unwrap(), descriptor);
    }
}

fn plain() -> Descriptor {
    Descriptor {
        tokens: 1,
        top_k: false,
        segments: false,
        groups: 1,
        block_beats: 36,
        header_beats: 4,
        rows: 16,
        tag: 0,
        ports: [PortBlocks::default(); PORTS],
        activations: 0,
        activations_stride: 64,
        results: 0,
        results_stride: 64,
        bias: None,
    }
}

#[test]
fn what_does_not_fit_is_refused_by_the_name_of_the_field() {
    type Change = fn(&mut Descriptor);
    let cases: [(&str, Change); 8] = [
        ("TOKENS_M1", |d| d.tokens = 0),
        ("TOKENS_M1", |d| d.tokens = 17),
        ("GROUPS", |d| d.groups = 0x1_0000),
        ("BLOCKS_3", |d| d.ports[3].blocks = 0x1_0000),
        ("ADDRESS_2", |d| d.ports[2].address = 0x1001),
        ("RESULTS", |d| d.results = 1 << 38),
        ("BIAS", |d| d.bias = Some(32)),
        ("ACTIVATIONS_STRIDE", |d| d.activations_stride = 100),
    ];
    for (name, change) in cases {
        let mut descriptor = plain();
        change(&mut descriptor);
        let message = descriptor.encode().unwrap_err().to_string();
        assert!(message.contains(&format!("{name} is ")), "{name}: {message}");
    }
    assert!(plain().encode().is_ok());
}

#[test]
fn unknown_kinds_are_refused() {
    let mut words = plain().encode().unwrap();
    words[0] = 2 << 28;
    assert!(Descriptor::decode(&words).unwrap_err().to_string().contains("KIND is 2"));
    assert!(Descriptor::decode(&[0; WORDS]).is_err(), "a descriptor that was never written");
}
