//! The float operations against `f64` references, and every instruction set against scalar, bit for bit.
#![allow(clippy::unwrap_used)]

mod float_support;

use edgewen_kernels::exp::exp;
use edgewen_kernels::rms_norm::rms_norm;
use edgewen_kernels::rope::{RopeTable, rope};
use edgewen_kernels::silu::{add_assign, silu_mul};
use edgewen_kernels::softmax::softmax;
use edgewen_kernels::{Compute, Isa};
use float_support::{Numbers, assert_close, assert_same_bits};

const SIZES: [usize; 9] = [1, 5, 15, 16, 17, 64, 172, 896, 1000];

/// Runs `operation` on every instruction set and one to three threads, and returns the scalar result.
fn same_everywhere(what: &str, operation: impl Fn(&Compute) -> Vec<f32>) -> Vec<f32> {
    let expected = operation(&Compute::new(Isa::SCALAR, 1));
    for isa in Isa::available() {
        for threads in 1..=3 {
            let result = operation(&Compute::new(isa, threads));
            assert_same_bits(&result, &expected, &format!("{what}, {isa}, {threads} threads"));
        }
    }
    expected
}

/// Distance from the true value in units of the last place of the result's binade.
fn ulp_error(result: f32, truth: f64) -> f64 {
    let ulp = f64::from(f32::EPSILON) * truth.abs().log2().floor().exp2();
    (f64::from(result) - truth).abs() / ulp
}

#[test]
fn exp_is_within_its_stated_error() {
    let (mut worst, mut at) = (0.0, 0.0);
    // Every 61st number between the two ends of the range, of both signs.
    for sign in [0, 1 << 31] {
        for bits in (0..0x42b2_0000_u32).step_by(61) {
            let x = f32::from_bits(bits | sign);
            let (result, truth) = (exp(x), f64::from(x).exp());
            if result == 0.0 {
                assert!(truth < f64::from(f32::MIN_POSITIVE), "exp({x}) vanishes");
            } else if result == f32::INFINITY {
                assert!(truth > f64::from(f32::MAX), "exp({x}) overflows");
            } else if ulp_error(result, truth) > worst {
                (worst, at) = (ulp_error(result, truth), x);
            }
        }
    }
    println!("exp: at most {worst:.3} ULP, at {at}");
    assert!(worst < 1.0, "{worst} ULP at {at}");
}

#[test]
fn exp_at_the_ends_of_its_range() {
    let cases = [
        (0.0, 1.0),
        (-0.0, 1.0),
        (f32::INFINITY, f32::INFINITY),
        (f32::NEG_INFINITY, 0.0),
        (1e30, f32::INFINITY),
        (-1e30, 0.0),
        (88.722_84, f32::INFINITY),
        (-87.336_55, 0.0),
        (1e-40, 1.0),
    ];
    for (x, expected) in cases {
        assert_eq!(exp(x), expected, "exp({x})");
    }
    assert!(exp(f32::NAN).is_nan());
    assert!(exp(88.722_83).is_finite() && exp(-87.336_54) >= f32::MIN_POSITIVE);
}

#[test]
fn exp_does_not_decrease() {
    for start in [-87.3_f32, -1.0, -0.35, 0.34, 1.0, 88.0] {
        let mut x = start;
        for _ in 0..20_000 {
            let next =
                if x < 0.0 { f32::from_bits(x.to_bits() - 1) } else { f32::from_bits(x.to_bits() + 1) };
            // An error of up to 1 ULP cannot promise strict order, only that nothing jumps.
            assert!(f64::from(exp(next)) >= f64::from(exp(x)) * (1.0 - 2.4e-7), "exp at {x} and {next}");
            x = next;
        }
    }
}

#[test]
fn the_lanes_have_the_exponential_of_the_scalar_function() {
    let mut x: Vec<f32> = (0..0xffff_u32).map(|high| f32::from_bits(high << 16 | 0x1234)).collect();
    x.extend([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, 88.722_83, 88.722_84, -87.336_54, -87.336_55]);
    x.retain(|x| !x.is_nan());
    // silu(g) · 1 shows exp(-g) in every lane.
    let gate_up: Vec<f32> = x.iter().copied().chain(x.iter().map(|_| 1.0)).collect();
    let result = same_everywhere("silu of many bit patterns", |compute| {
        let mut out = vec![0.0; x.len()];
        silu_mul(compute, &gate_up, x.len(), &mut out);
        out
    });
    let expected: Vec<f32> = x.iter().map(|g| g / (1.0 + exp(0.0 - g))).collect();
    assert_same_bits(&result, &expected, "silu by the scalar function");
}

#[test]
fn silu_mul_is_close_to_f64() {
    let mut numbers = Numbers::new(1);
    for n in SIZES {
        for tokens in [1, 3] {
            let gate_up = numbers.vec(tokens * 2 * n, 8.0);
            let result = same_everywhere(&format!("silu of {tokens} x {n}"), |compute| {
                let mut out = vec![0.0; tokens * n];
                silu_mul(compute, &gate_up, n, &mut out);
                out
            });
            for (row, out) in gate_up.chunks(2 * n).zip(result.chunks(n)) {
                for i in 0..n {
                    let (g, up) = (f64::from(row[i]), f64::from(row[n + i]));
                    // exp 1 ULP, then three roundings of half an ULP and one product.
                    assert_close(out[i], g / (1.0 + (-g).exp()) * up, 4e-7, 0.0);
                }
            }
        }
    }
}

#[test]
fn a_single_token_is_split_without_a_trace() {
    let (mut numbers, n) = (Numbers::new(8), 2500);
    let mut gate_up = numbers.vec(2 * n, 8.0);
    gate_up.extend_from_within(..);
    for threads in [1, 3] {
        let compute = Compute::new(Isa::best(), threads);
        let (mut both, mut one) = (vec![0.0; 2 * n], vec![0.0; n]);
        silu_mul(&compute, &gate_up, n, &mut both);
        silu_mul(&compute, &gate_up[..2 * n], n, &mut one);
        assert_eq!(both, [one.as_slice(), &one].concat(), "{threads} threads");
    }
}

#[test]
fn rms_norm_is_close_to_f64() {
    let mut numbers = Numbers::new(2);
    for n in SIZES {
        for tokens in [1, 4] {
            let (x, weight) = (numbers.vec(tokens * n, 3.0), numbers.vec(n, 2.0));
            let result = same_everywhere(&format!("norm of {tokens} x {n}"), |compute| {
                let mut out = vec![0.0; tokens * n];
                rms_norm(compute, &x, &weight, 1e-6, &mut out);
                out
            });
            for (x, out) in x.chunks(n).zip(result.chunks(n)) {
                let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n as f64;
                for i in 0..n {
                    let truth = f64::from(x[i]) / (mean + 1e-6).sqrt() * f64::from(weight[i]);
                    // Sixteen lanes of up to 63 squares: relative error of the mean below 64 · 2^-24, halved by the root.
                    assert_close(out[i], truth, 3e-6, 0.0);
                }
            }
        }
    }
}

#[test]
fn rms_norm_of_zeros_is_zero() {
    let mut out = vec![1.0; 20];
    rms_norm(&Compute::new(Isa::best(), 1), &[0.0; 20], &[1.0; 20], 1e-6, &mut out);
    assert_eq!(out, [0.0; 20]);
}

#[test]
fn add_assign_adds() {
    let mut numbers = Numbers::new(3);
    for n in [1, 5, 16, 31, 896, 70_000] {
        let (x, y) = (numbers.vec(n, 1.0), numbers.vec(n, 1.0));
        let result = same_everywhere(&format!("sum of {n}"), |compute| {
            let mut x = x.clone();
            add_assign(compute, &mut x, &y);
            x
        });
        let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
        assert_same_bits(&result, &expected, "sum");
    }
}

#[test]
fn softmax_is_close_to_f64() {
    let mut numbers = Numbers::new(4);
    for n in SIZES {
        let x = numbers.vec(n, 10.0);
        let result = same_everywhere(&format!("softmax of {n}"), |compute| {
            let mut x = x.clone();
            softmax(compute, &mut x);
            x
        });
        let max = f64::from(x.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = x.iter().map(|x| (f64::from(*x) - max).exp()).sum();
        for i in 0..n {
            // The difference of two numbers up to 10 is off by up to 2^-21, which is the relative error of its power.
            assert_close(result[i], (f64::from(x[i]) - max).exp() / sum, 2e-6, 0.0);
        }
    }
}

#[test]
fn softmax_takes_huge_and_infinite_scores() {
    let mut x = [1e30, -1e30, f32::NEG_INFINITY, 1e30];
    softmax(&Compute::new(Isa::best(), 1), &mut x);
    assert_eq!(x, [0.5, 0.0, 0.0, 0.5]);
}

#[test]
fn rope_rotates_pairs_half_a_head_apart() {
    let mut numbers = Numbers::new(5);
    for head_dim in [2, 4, 8, 16, 30, 64, 80, 128] {
        let half = head_dim / 2;
        let inv_freq: Vec<f32> = (0..half).map(|i| 10_000_f32.powf(-(i as f32) / half as f32)).collect();
        let mut table = RopeTable::new(head_dim, &inv_freq, 1.25, 3);
        table.extend(4000);
        assert_eq!(table.positions(), 4000);
        let (heads, stride) = (3, 4 * head_dim + 1);
        let positions = [0, 7, 3999];
        let x = numbers.vec(2 * stride + heads * head_dim, 2.0);
        let result = same_everywhere(&format!("rope of {head_dim}"), |compute| {
            let mut x = x.clone();
            rope(compute, &table, &mut x, stride, heads, &positions);
            x
        });
        for (i, (result, x0)) in result.iter().zip(&x).enumerate() {
            let (token, column) = (i / stride, i % stride);
            if column >= heads * head_dim {
                assert_eq!(result, x0, "beyond the heads");
                continue;
            }
            let (d, pair) = (column % half, if column % head_dim < half { i + half } else { i - half });
            let angle = f64::from(positions[token] as f32 * inv_freq[d]);
            let sign = if pair > i { -1.0 } else { 1.0 };
            let truth = (f64::from(*x0) * angle.cos() + sign * f64::from(x[pair]) * angle.sin()) * 1.25;
            assert_close(*result, truth, 0.0, 1e-6);
        }
    }
}

#[test]
fn a_table_made_at_once_and_in_steps_is_the_same() {
    let inv_freq = [1.0, 0.1, 0.01];
    let at_once = RopeTable::new(6, &inv_freq, 1.0, 50);
    let mut steps = RopeTable::new(6, &inv_freq, 1.0, 0);
    steps.extend(20);
    steps.extend(10);
    steps.extend(50);
    let x = Numbers::new(6).vec(50 * 6, 1.0);
    let positions: Vec<usize> = (0..50).collect();
    let compute = Compute::new(Isa::best(), 1);
    let (mut a, mut b) = (x.clone(), x);
    rope(&compute, &at_once, &mut a, 6, 1, &positions);
    rope(&compute, &steps, &mut b, 6, 1, &positions);
    assert_same_bits(&a, &b, "rope");
}
