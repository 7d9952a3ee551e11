//! Attention and its cache against a naive `f64` implementation, and independence of everything that must not show.
#![allow(clippy::unwrap_used)]

mod float_support;

use edgewen_kernels::attention::attention;
use edgewen_kernels::exp::exp;
use edgewen_kernels::kv::{KvLayer, KvType};
use edgewen_kernels::{Compute, Isa};
use float_support::{Numbers, assert_close, assert_same_bits};
use half::f16;

const TYPES: [KvType; 2] = [KvType::F16, KvType::Int8];

/// A layer's input: rows of [heads queries, kv_heads keys, kv_heads values] and some padding.
struct Case {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    tokens: usize,
    rows: Vec<f32>,
}

impl Case {
    fn new(heads: usize, kv_heads: usize, head_dim: usize, tokens: usize) -> Self {
        let mut case = Self { heads, kv_heads, head_dim, tokens, rows: Vec::new() };
        case.rows = Numbers::new((heads * head_dim + tokens) as u64).vec(tokens * case.stride(), 2.0);
        case
    }

    fn all() -> Vec<Self> {
        [
            (1, 1, 2, 19),
            (2, 1, 4, 40),
            (4, 2, 8, 33),
            (14, 2, 64, 70),
            (3, 3, 16, 49),
            (6, 2, 20, 18),
            (5, 1, 80, 35),
            (4, 1, 128, 37),
        ]
        .map(|(heads, kv_heads, head_dim, tokens)| Self::new(heads, kv_heads, head_dim, tokens))
        .into()
    }

    fn name(&self) -> String {
        format!("{}/{} heads of {}, {} tokens", self.heads, self.kv_heads, self.head_dim, self.tokens)
    }

    fn stride(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim + 3
    }

    fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    fn append(&self, compute: &Compute, kv: &mut KvLayer, first: usize, tokens: usize) {
        let k = &self.rows[first * self.stride() + self.width()..];
        let v = &k[self.kv_heads * self.head_dim..];
        kv.append(compute, k, v, self.stride(), tokens);
    }

    fn cache(&self, compute: &Compute, kv_type: KvType) -> KvLayer {
        let mut kv = KvLayer::new(kv_type, self.kv_heads, self.head_dim);
        self.append(compute, &mut kv, 0, self.tokens);
        kv
    }

    fn attend(&self, compute: &Compute, kv: &KvLayer, first: usize, tokens: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; tokens * self.width()];
        let q = &self.rows[first * self.stride()..];
        attention(compute, kv, q, self.stride(), self.heads, tokens, first, &mut out);
        out
    }

    /// A key or value as a cache of half precision gives it back.
    fn stored(&self, token: usize, column: usize) -> Vec<f64> {
        let x = &self.rows[token * self.stride() + column..][..self.head_dim];
        x.iter().map(|x| f64::from(f16::from_f32(*x).to_f32())).collect()
    }

    fn naive(&self) -> Vec<f64> {
        let d = self.head_dim;
        let mut out = Vec::new();
        for token in 0..self.tokens {
            for head in 0..self.heads {
                let kv_head = head / (self.heads / self.kv_heads);
                let q = &self.rows[token * self.stride() + head * d..][..d];
                let scores: Vec<f64> = (0..=token)
                    .map(|t| {
                        let k = self.stored(t, self.width() + kv_head * d);
                        q.iter().zip(&k).map(|(q, k)| f64::from(*q) * k).sum::<f64>() / (d as f64).sqrt()
                    })
                    .collect();
                let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
                let mut row = vec![0.0; d];
                for (t, score) in scores.iter().enumerate() {
                    let v = self.stored(t, self.width() + (self.kv_heads + kv_head) * d);
                    for (out, v) in row.iter_mut().zip(v) {
                        *out += (score - max).exp() / sum * v;
                    }
                }
                out.extend(row);
            }
        }
        out
    }
}

#[test]
fn attention_is_close_to_a_naive_one() {
    let compute = Compute::new(Isa::SCALAR, 1);
    for case in Case::all() {
        let result = case.attend(&compute, &case.cache(&compute, KvType::F16), 0, case.tokens);
        let rough = case.attend(&compute, &case.cache(&compute, KvType::Int8), 0, case.tokens);
        for ((result, rough), truth) in result.iter().zip(rough).zip(case.naive()) {
            // Weights below one and values below two; scores up to 30 are off by a few units of 2^-20.
            assert_close(*result, truth, 1e-5, 1e-5);
            // Scores of that size are sums of products that are off by half a percent each.
            assert_close(rough, truth, 0.0, 0.25);
        }
    }
}

/// A vector in eight bits, groups of 64: codes and scales.
fn quantized(x: &[f32]) -> (Vec<i32>, Vec<f32>) {
    let (mut codes, mut scales) = (Vec::new(), Vec::new());
    for group in x.chunks(64) {
        let absmax = group.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
        let factor = if absmax == 0.0 { 0.0 } else { 127.0 / absmax };
        codes.extend(group.iter().map(|x| (x * factor).round_ties_even() as i32));
        scales.push(absmax / 127.0);
    }
    (codes, scales)
}

/// The definition of attention in eight bits, one head of one token after the other.
fn eight_bits_naively(case: &Case, token: usize, head: usize) -> Vec<f32> {
    let d = case.head_dim;
    let kv_head = head / (case.heads / case.kv_heads);
    let row = |t: usize, column: usize| &case.rows[t * case.stride() + column..][..d];
    let (q, q_scales) = quantized(row(token, head * d));
    let mut weights = Vec::new();
    for t in 0..=token {
        let k = row(t, case.width() + kv_head * d);
        let absmax = k.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
        let step = f16::from_f32(absmax / 127.0 * 16.0).to_f32() / 16.0;
        let mut score = 0.0;
        for (g, scale) in q_scales.iter().enumerate() {
            let group = g * 64..d.min(g * 64 + 64);
            let code = |x: f32| (x * (1.0 / step)).round_ties_even().clamp(-127.0, 127.0) as i32;
            let dot: i32 = k[group.clone()].iter().zip(&q[group]).map(|(k, q)| code(*k) * q).sum();
            score += dot as f32 * (step * scale);
        }
        weights.push(score * (1.0 / (d as f32).sqrt()));
    }
    let max = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut lanes = [0.0; 16];
    for (t, weight) in weights.iter_mut().enumerate() {
        *weight = exp(*weight - max);
        lanes[t % 16] += *weight;
    }
    for width in [8, 4, 2, 1] {
        (0..width).for_each(|i| lanes[i] += lanes[i + width]);
    }
    let mut values = Vec::new();
    for (t, weight) in weights.iter_mut().enumerate() {
        let v = row(t, case.width() + (case.kv_heads + kv_head) * d);
        let absmax = v.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
        *weight *= absmax / 127.0;
        values.push(v.iter().map(|x| (x * (127.0 / absmax)).round_ties_even() as i32).collect::<Vec<_>>());
    }
    let (codes, scales) = quantized(&weights);
    let mut out = vec![0.0; d];
    for (g, scale) in scales.iter().enumerate() {
        let group = g * 64..codes.len().min(g * 64 + 64);
        for (i, out) in out.iter_mut().enumerate() {
            let dot: i32 = group.clone().map(|t| codes[t] * values[t][i]).sum();
            *out += dot as f32 * (1.0 * scale);
        }
    }
    out.iter().map(|out| out / lanes[0]).collect()
}

#[test]
fn eight_bits_are_multiplied_as_documented() {
    let compute = Compute::new(Isa::best(), 2);
    for case in Case::all() {
        let result = case.attend(&compute, &case.cache(&compute, KvType::Int8), 0, case.tokens);
        for token in 0..case.tokens {
            for head in 0..case.heads {
                let found = &result[token * case.width() + head * case.head_dim..][..case.head_dim];
                let what = format!("{}: token {token} head {head}", case.name());
                assert_same_bits(found, &eight_bits_naively(&case, token, head), &what);
            }
        }
    }
}

#[test]
fn instruction_sets_and_threads_do_not_show() {
    for case in Case::all() {
        for kv_type in TYPES {
            let scalar = Compute::new(Isa::SCALAR, 1);
            let expected = case.attend(&scalar, &case.cache(&scalar, kv_type), 0, case.tokens);
            for isa in Isa::available() {
                for threads in 1..=3 {
                    let compute = Compute::new(isa, threads);
                    let kv = case.cache(&compute, kv_type);
                    let what = format!("{}, {kv_type:?}, {isa}, {threads} threads", case.name());
                    assert_same_bits(&case.attend(&compute, &kv, 0, case.tokens), &expected, &what);
                    let last = case.attend(&compute, &kv, case.tokens - 1, 1);
                    assert_same_bits(&last, &expected[expected.len() - case.width()..], &what);
                }
            }
        }
    }
}

#[test]
fn every_machine_has_the_same_bits() {
    // FNV-1a over the bits, as an x86-64 and an AArch64 machine both compute them.
    for (kv_type, expected) in [(KvType::F16, 0x60c1_ef27_3400_69c8), (KvType::Int8, 0x2f21_3d7c_9ee4_8ca1)] {
        let case = Case::new(14, 2, 64, 70);
        let compute = Compute::new(Isa::best(), 2);
        let result = case.attend(&compute, &case.cache(&compute, kv_type), 0, case.tokens);
        let bytes = result.iter().flat_map(|x| x.to_bits().to_le_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        assert_eq!(hash, expected, "{kv_type:?}: {hash:#x}");
    }
}

#[test]
fn neither_the_queries_at_once_nor_the_pieces_appended_show() {
    for case in Case::all() {
        for kv_type in TYPES {
            let compute = Compute::new(Isa::best(), 2);
            let expected = case.attend(&compute, &case.cache(&compute, kv_type), 0, case.tokens);
            for piece in [1, 2, 7, 16, 23] {
                let mut kv = KvLayer::new(kv_type, case.kv_heads, case.head_dim);
                let mut result = Vec::new();
                for first in (0..case.tokens).step_by(piece) {
                    let tokens = piece.min(case.tokens - first);
                    case.append(&compute, &mut kv, first, tokens);
                    result.extend(case.attend(&compute, &kv, first, tokens));
                }
                let what = format!("{}, {kv_type:?}, {piece} at once", case.name());
                assert_same_bits(&result, &expected, &what);
            }
        }
    }
}

#[test]
fn a_long_context_is_the_same_in_tiles_and_alone() {
    let case = Case::new(14, 2, 64, 700);
    let compute = Compute::new(Isa::best(), 3);
    let kv = case.cache(&compute, KvType::F16);
    let result = case.attend(&compute, &kv, 0, case.tokens);
    for token in [0, 15, 16, 255, 511, 512, 699] {
        let alone = case.attend(&Compute::new(Isa::SCALAR, 1), &kv, token, 1);
        assert_same_bits(&result[token * case.width()..][..case.width()], &alone, &format!("token {token}"));
    }
}

#[test]
fn truncation_leaves_a_correct_cache() {
    for case in Case::all() {
        for kv_type in TYPES {
            let compute = Compute::new(Isa::best(), 1);
            let expected = case.attend(&compute, &case.cache(&compute, kv_type), 0, case.tokens);
            for len in [0, 1, 15, 16, 17] {
                let mut kv = KvLayer::new(kv_type, case.kv_heads, case.head_dim);
                // Other contents than the case's, which must not survive.
                let wrong = vec![1e4; case.tokens * case.stride()];
                case.append(&compute, &mut kv, 0, len);
                kv.append(&compute, &wrong, &wrong, case.stride(), case.tokens);
                kv.truncate(len);
                assert_eq!(kv.len(), len);
                case.append(&compute, &mut kv, len, case.tokens - len);
                let result = case.attend(&compute, &kv, 0, case.tokens);
                assert_same_bits(&result, &expected, &format!("{}, {kv_type:?}, {len} kept", case.name()));
            }
        }
    }
}

#[test]
fn what_a_query_does_not_see_does_not_leak() {
    let mut case = Case::new(7, 1, 24, 40);
    let compute = Compute::new(Isa::best(), 1);
    let expected = TYPES.map(|kv_type| case.attend(&compute, &case.cache(&compute, kv_type), 0, 20));
    for token in 20..40 {
        let (stride, width) = (case.stride(), case.width());
        case.rows[token * stride + width..(token + 1) * stride].fill(if token % 2 == 0 {
            f32::NAN
        } else {
            f32::INFINITY
        });
    }
    for (kv_type, expected) in TYPES.into_iter().zip(expected) {
        let mut kv = case.cache(&compute, kv_type);
        assert_same_bits(&case.attend(&compute, &kv, 0, 20), &expected, "the first twenty tokens");
        // The contents of the positions that truncation dropped are still in their block.
        kv.truncate(20);
        assert_same_bits(&case.attend(&compute, &kv, 0, 20), &expected, "after truncation");
    }
}

#[test]
fn half_precision_saturates() {
    let compute = Compute::new(Isa::best(), 1);
    let (k, v) = ([0.0; 4], [1e6, -1e6, f32::INFINITY, 65_519.0]);
    let mut kv = KvLayer::new(KvType::F16, 1, 4);
    kv.append(&compute, &k, &v, 4, 1);
    let mut out = [0.0; 4];
    attention(&compute, &kv, &k, 4, 1, 1, 0, &mut out);
    assert_eq!(out, [65504.0, -65504.0, 65504.0, 65504.0]);
}

#[test]
fn half_precision_rounds_like_the_half_crate() {
    // Every 1009th bit pattern, subnormal halves and exact ties among them; one position gives a value back as it is.
    let mut x: Vec<f32> =
        (0..u32::MAX).step_by(1009 * 64).map(f32::from_bits).filter(|x| x.abs() < 65504.0).collect();
    x.extend((0..2000_u32).map(|i| i as f32 * 2_f32.powi(-26)));
    x.truncate(x.len() / 16 * 16);
    let expected: Vec<f32> = x.iter().map(|x| f16::from_f32(*x).to_f32() + 0.0).collect();
    for isa in Isa::available() {
        let compute = Compute::new(isa, 1);
        let mut kv = KvLayer::new(KvType::F16, 1, x.len());
        let zeros = vec![0.0; x.len()];
        kv.append(&compute, &zeros, &x, x.len(), 1);
        let mut out = zeros.clone();
        attention(&compute, &kv, &zeros, x.len(), 1, 1, 0, &mut out);
        assert_same_bits(&out, &expected, isa.name());
    }
}

#[test]
fn eight_bits_keep_the_greatest_value_and_zeros() {
    for isa in Isa::available() {
        let compute = Compute::new(isa, 1);
        for (v, expected) in [
            ([0.0; 4], [0.0; 4]),
            ([127.0, -127.0, 0.5, 1.5], [127.0, -127.0, 0.0, 2.0]),
            ([1e-40, 0.0, 0.0, 0.0], [0.0; 4]),
        ] {
            let mut kv = KvLayer::new(KvType::Int8, 1, 4);
            kv.append(&compute, &[0.0; 4], &v, 4, 1);
            let mut out = [1.0; 4];
            attention(&compute, &kv, &[0.0; 4], 4, 1, 1, 0, &mut out);
            assert_eq!(out, expected, "{isa}");
        }
    }
}

#[test]
fn memory_grows_and_shrinks_with_the_sequence() {
    let compute = Compute::new(Isa::best(), 1);
    let rows = vec![1.0; 1000 * 128];
    for (kv_type, bytes) in [(KvType::F16, 2 * 128 * 2), (KvType::Int8, 2 * 136 + 2 * 4)] {
        let mut kv = KvLayer::new(kv_type, 2, 64);
        assert!(kv.is_empty() && kv.bytes() == 0);
        kv.append(&compute, &rows, &rows, 128, 1000);
        let expected = if kv_type == KvType::F16 { 1008 * bytes } else { 1024 * bytes };
        assert!((expected..expected + expected / 10).contains(&kv.bytes()), "{} for {expected}", kv.bytes());
        kv.truncate(16);
        assert!(kv.bytes() < 64 * bytes + 10_000);
    }
}

#[test]
#[should_panic(expected = "queries up to 3, but 2 positions")]
fn refuses_queries_beyond_the_cache() {
    let compute = Compute::new(Isa::SCALAR, 1);
    let mut kv = KvLayer::new(KvType::F16, 1, 4);
    kv.append(&compute, &[0.0; 8], &[0.0; 8], 4, 2);
    attention(&compute, &kv, &[0.0; 4], 4, 1, 1, 2, &mut [0.0; 4]);
}
