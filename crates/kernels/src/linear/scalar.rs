//! Portable linear layers: the specification of the others.

use std::ops::Range;

use edgewen_layout::BLOCK_ROWS;
use half::f16;

use super::{Block, Group, Job, Token};

/// The blocks times every token.
///
/// # Safety
/// No other thread may be writing the rows of these blocks.
pub(super) unsafe fn few(job: &Job<'_>, blocks: Range<usize>) {
    for block in blocks {
        let weights = job.block(block);
        for token in 0..job.tokens() {
            let sums = block_times_token(job, &weights, &job.token(token));
            // SAFETY: the caller's promise.
            unsafe { job.finish(token, block, &sums) };
        }
    }
}

/// As [`few`]: a panel would not make portable code faster.
///
/// # Safety
/// As [`few`].
pub(super) unsafe fn many(job: &Job<'_>, blocks: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { few(job, blocks) }
}

fn block_times_token(job: &Job<'_>, block: &Block<'_>, x: &Token<'_>) -> [f32; BLOCK_ROWS] {
    let eight = job.eight_bits();
    let (unit, fraction) = if eight { (16, 1.0 / 16.0) } else { (1, 1.0) };
    let mut acc = [0.0_f32; BLOCK_ROWS];
    for group in 0..block.groups() {
        let Group { scales, zeros, quads, low_quads } = block.group::<true>(group);
        let mut dot: [i32; BLOCK_ROWS] =
            std::array::from_fn(|r| -unit * i32::from(zeros[r / 2] >> (4 * (r % 2)) & 15) * x.sums[group]);
        let q = x.q[group * job.quads()..][..job.quads()].as_flattened().as_chunks::<8>().0;
        for (line, q) in quads.as_flattened().iter().zip(q) {
            add_line(&mut dot, line, q, unit);
        }
        if eight {
            for (line, q) in low_quads.as_flattened().iter().zip(q) {
                add_line(&mut dot, line, q, 1);
            }
        }
        for (r, acc) in acc.iter_mut().enumerate() {
            let scale = f16::from_le_bytes([scales[2 * r], scales[2 * r + 1]]).to_f32() * fraction;
            *acc += dot[r] as f32 * (scale * x.scales[group]);
        }
    }
    acc
}

/// Adds `unit` times the products of the eight inputs of a line.
fn add_line(dot: &mut [i32; BLOCK_ROWS], line: &[u8; 64], q: &[i8; 8], unit: i32) {
    for (dot, codes) in dot.iter_mut().zip(line.as_chunks::<4>().0) {
        let mut sum = 0;
        for j in 0..4 {
            sum +=
                i32::from(codes[j] & 15) * i32::from(q[j]) + i32::from(codes[j] >> 4) * i32::from(q[4 + j]);
        }
        *dot += unit * sum;
    }
}
