//! Times the float operations of one layer of Qwen2.5-0.5B: `cargo run --release --example float_speed [threads]`.

use std::hint::black_box;
use std::time::Instant;

use edgewen_kernels::attention::attention;
use edgewen_kernels::kv::{KvLayer, KvType};
use edgewen_kernels::rms_norm::rms_norm;
use edgewen_kernels::rope::{RopeTable, rope};
use edgewen_kernels::silu::silu_mul;
use edgewen_kernels::{Compute, Isa};

const HEADS: usize = 14;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 64;
const STRIDE: usize = (HEADS + 2 * KV_HEADS) * HEAD_DIM;
const HIDDEN: usize = 896;
const INTERMEDIATE: usize = 4864;

/// Prints the best of several runs.
fn time(what: &str, mut run: impl FnMut()) {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < 0.3 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("  {what:<32} {:>10.1} us", best * 1e6);
}

fn main() {
    let threads = std::env::args().nth(1).map_or(1, |threads| threads.parse().expect("a number of threads"));
    let noise: Vec<f32> =
        (0..512 * 2 * INTERMEDIATE).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    for isa in Isa::available() {
        println!("{isa}, {threads} threads");
        let compute = Compute::new(isa, threads);
        for kv_type in [KvType::F16, KvType::Int8] {
            let mut kv = KvLayer::new(kv_type, KV_HEADS, HEAD_DIM);
            for _ in 0..2 {
                kv.append(&compute, &noise, &noise, STRIDE, 512);
            }
            let mut out = vec![0.0; 512 * HEADS * HEAD_DIM];
            time(&format!("decode at 1024, {kv_type:?}"), || {
                attention(&compute, &kv, &noise, STRIDE, HEADS, 1, 1023, &mut out[..HEADS * HEAD_DIM]);
            });
            time(&format!("prefill 512, {kv_type:?}"), || {
                attention(&compute, &kv, &noise, STRIDE, HEADS, 512, 0, &mut out);
            });
            time(&format!("append 512, {kv_type:?}"), || {
                kv.truncate(0);
                kv.append(&compute, &noise, &noise, STRIDE, 512);
            });
            black_box(&out);
        }
        for tokens in [1, 512] {
            let mut out = vec![0.0; tokens * INTERMEDIATE];
            time(&format!("silu_mul {tokens}"), || {
                silu_mul(&compute, &noise[..2 * out.len()], INTERMEDIATE, &mut out);
            });
            time(&format!("rms_norm {tokens}"), || {
                let n = tokens * HIDDEN;
                rms_norm(&compute, &noise[..n], &noise[..HIDDEN], 1e-6, &mut out[..n]);
            });
            let table = RopeTable::new(HEAD_DIM, &noise[..HEAD_DIM / 2], 1.0, tokens);
            let positions: Vec<usize> = (0..tokens).collect();
            let mut x = noise[..tokens * STRIDE].to_vec();
            time(&format!("rope {tokens}"), || {
                rope(&compute, &table, &mut x, STRIDE, HEADS + KV_HEADS, &positions);
            });
            black_box((&out, &x));
        }
    }
}
