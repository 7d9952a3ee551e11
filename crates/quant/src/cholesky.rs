//! The Cholesky factor of a Gram matrix, and what is solved with it.
//!
//! In f64: inputs of language models differ by orders of magnitude, and so do the eigenvalues of their Gram matrix. The
//! work is cut into blocks of a fixed size, so that results do not depend on the number of threads.

use edgewen_kernels::matmul::{View, matmul_add};
use rayon::prelude::*;

/// Columns factored at a time.
const BLOCK: usize = 96;

/// Rows that one task works on.
const ROWS: usize = 96;

/// Replaces the lower triangle of the symmetric `a` [n, n] by that of L, a = L Lᵀ; the rest is not touched. False if
/// the matrix is not positive definite. Runs on rayon's current pool.
pub(crate) fn factor(a: &mut [f64], n: usize) -> bool {
    for start in (0..n).step_by(BLOCK) {
        let width = BLOCK.min(n - start);
        let (top, below) = a.split_at_mut((start + width) * n);
        let diagonal = &mut top[start * n..];
        if !factor_block(diagonal, n, start, width) {
            return false;
        }
        let diagonal = &*diagonal;
        below.par_chunks_mut(n).for_each(|row| {
            for j in 0..width {
                let left = &diagonal[j * n + start..][..j];
                let sum: f64 = left.iter().zip(&row[start..]).map(|(a, b)| a * b).sum();
                row[start + j] = (row[start + j] - sum) / diagonal[j * n + start + j];
            }
        });
        let panel: Vec<f64> =
            below.chunks_exact(n).flat_map(|row| &row[start..start + width]).copied().collect();
        below.par_chunks_mut(ROWS * n).enumerate().for_each(|(task, rows)| {
            let count = rows.len() / n;
            let left = View::new(&panel[task * ROWS * width..], count, width, width);
            let columns = task * ROWS + count;
            let right = View::new(&panel, columns, width, width);
            matmul_add(left, right.t(), -1.0, &mut rows[start + width..], n);
        });
    }
    true
}

/// The same for the block on the diagonal, rows of `n` of which `width` from `start` on count.
fn factor_block(rows: &mut [f64], n: usize, start: usize, width: usize) -> bool {
    for j in 0..width {
        let (before, rest) = rows.split_at_mut(j * n);
        let row = &mut rest[start..start + width];
        for k in 0..j {
            let other = &before[k * n + start..][..width];
            let sum: f64 = other[..k].iter().zip(&row[..k]).map(|(a, b)| a * b).sum();
            row[k] = (row[k] - sum) / other[k];
        }
        let left = row[j] - row[..j].iter().map(|v| v * v).sum::<f64>();
        if !(left > 0.0 && left.is_finite()) {
            return false;
        }
        row[j] = left.sqrt();
    }
    true
}

/// Solves x L Lᵀ = b for each row of `x` [rows, n], which holds b before. `l` is a factor in f32, upper triangle zero.
pub(crate) fn solve(l: &[f32], n: usize, x: &mut [f32]) {
    let rows = x.len() / n;
    if rows == 0 {
        return;
    }
    let starts: Vec<usize> = (0..n).step_by(BLOCK).collect();
    let mut done = vec![0.0f32; rows * n];
    for &start in &starts {
        let width = BLOCK.min(n - start);
        // Of column j: the sum over i < j of z_i L_ji.
        let (l_rows, columns) = (&l[start * n..], start);
        matmul_add(
            View::new(&done, rows, columns, n),
            View::new(l_rows, width, columns, n).t(),
            -1.0,
            &mut x[start..],
            n,
        );
        for (x, done) in x.chunks_exact_mut(n).zip(done.chunks_exact_mut(n)) {
            for j in start..start + width {
                let sum: f32 =
                    l[j * n + start..j * n + j].iter().zip(&done[start..j]).map(|(a, b)| a * b).sum();
                done[j] = (x[j] - sum) / l[j * n + j];
            }
        }
    }
    x.copy_from_slice(&done);
    for &start in starts.iter().rev() {
        let end = n.min(start + BLOCK);
        let mut sums = vec![0.0f32; rows * (end - start)];
        let width = end - start;
        if end < n {
            let right = View::new(&l[end * n + start..], n - end, width, n);
            matmul_add(View::new(&x[end..], rows, n - end, n), right, 1.0, &mut sums, width);
        }
        for (x, sums) in x.chunks_exact_mut(n).zip(sums.chunks_exact_mut(width)) {
            for j in (start..end).rev() {
                x[j] = (x[j] - sums[j - start]) / l[j * n + j];
                let row = &l[j * n + start..j * n + j];
                sums.iter_mut().zip(row).for_each(|(sum, l)| *sum += x[j] * l);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_pcg::Pcg64Mcg;
    use rand_pcg::rand_core::{Rng, SeedableRng};

    /// A Gram matrix of more rows than columns.
    fn gram(n: usize) -> Vec<f64> {
        let mut random = Pcg64Mcg::seed_from_u64(1);
        let x: Vec<f64> =
            (0..2 * n * n).map(|_| f64::from(random.next_u32()) / 2.0f64.powi(31) - 1.0).collect();
        let mut gram = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                gram[i * n + j] = x.chunks_exact(n).map(|x| x[i] * x[j]).sum();
            }
        }
        gram
    }

    #[test]
    fn the_factor_times_its_transpose_is_the_matrix() {
        for n in [1, 5, 96, 97, 250] {
            let h = gram(n);
            let mut l = h.clone();
            assert!(factor(&mut l, n));
            for i in 0..n {
                for j in 0..=i {
                    let product: f64 = (0..=j).map(|k| l[i * n + k] * l[j * n + k]).sum();
                    assert!((product - h[i * n + j]).abs() < 1e-9 * h[0], "{n} {i} {j}");
                }
            }
            for i in 0..n {
                l[i * n + i + 1..(i + 1) * n].fill(0.0);
            }
            let l32: Vec<f32> = l.iter().map(|v| *v as f32).collect();
            let expected: Vec<f32> = (0..3 * n).map(|i| (i % 7) as f32 - 3.0).collect();
            let mut x: Vec<f32> = Vec::new();
            for row in expected.chunks(n) {
                x.extend((0..n).map(|j| {
                    row.iter().enumerate().map(|(i, v)| f64::from(*v) * h[i * n + j]).sum::<f64>() as f32
                }));
            }
            solve(&l32, n, &mut x);
            for (x, expected) in x.iter().zip(&expected) {
                assert!((x - expected).abs() < 0.02, "{n}: {x} {expected}");
            }
        }
    }

    #[test]
    fn says_when_a_matrix_is_not_positive_definite() {
        assert!(!factor(&mut [1.0, 2.0, 2.0, 1.0], 2));
        assert!(!factor(&mut [f64::NAN], 1));
    }
}
