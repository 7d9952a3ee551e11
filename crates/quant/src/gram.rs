//! The Gram matrix H = XᵀX of a layer's inputs, and errors measured with it.
//!
//! The output error of a changed weight matrix on the calibration text, |dW Xᵀ|², is tr(dW H dWᵀ): with H at hand a
//! candidate costs one product of the size of the weights instead of one of the size of the text. H is symmetric, so
//! only the part on and below a block diagonal is kept, the blocks below it doubled: half the work.

use edgewen_kernels::matmul::{View, matmul};
use rayon::prelude::*;

/// Columns of a strip; a multiple of every group size, so that a group never straddles two.
const STRIP: usize = 512;

/// H = XᵀX / tokens of inputs X [tokens, n], and the mean magnitude of each input.
#[derive(Debug, Clone)]
pub(crate) struct Gram {
    inputs: usize,
    tokens: usize,
    /// Strip j has the columns from 512 j and the rows from 512 j to the end, row-major. The rows below its diagonal
    /// block are doubled. Sums, not yet divided by the tokens.
    strips: Vec<Vec<f32>>,
    absolute: Vec<f64>,
}

impl Gram {
    /// Of no tokens.
    pub(crate) fn new(inputs: usize) -> Self {
        let strips = (0..inputs).step_by(STRIP).map(|start| {
            let width = STRIP.min(inputs - start);
            vec![0.0; (inputs - start) * width]
        });
        Gram { inputs, tokens: 0, strips: strips.collect(), absolute: vec![0.0; inputs] }
    }

    /// Adds `x` [tokens, inputs]. Runs on rayon's current pool.
    pub(crate) fn add(&mut self, x: &[f32]) {
        let n = self.inputs;
        let tokens = x.len() / n;
        assert_eq!(x.len(), tokens * n, "whole rows of {n}");
        self.tokens += tokens;
        let blocks = self.strips.iter_mut().enumerate().flat_map(|(j, strip)| {
            let width = STRIP.min(n - j * STRIP);
            strip.chunks_mut(STRIP * width).enumerate().map(move |(i, block)| (j, j + i, width, block))
        });
        blocks.collect::<Vec<_>>().into_par_iter().for_each(|(j, i, width, block)| {
            let height = block.len() / width;
            let left = View::new(&x[(i * STRIP).min(x.len())..], tokens, height, n).t();
            let right = View::new(&x[(j * STRIP).min(x.len())..], tokens, width, n);
            let mut product = vec![0.0; block.len()];
            matmul(left, right, &mut product, width);
            let factor = if i == j { 1.0 } else { 2.0 };
            block.iter_mut().zip(product).for_each(|(h, p)| *h += factor * p);
        });
        self.absolute.par_chunks_mut(64).enumerate().for_each(|(chunk, sums)| {
            for row in x.chunks_exact(n) {
                let row = &row[chunk * 64..][..sums.len()];
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(x.abs()));
            }
        });
    }

    /// Number of inputs.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of tokens.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Mean of |x| of every input.
    pub(crate) fn mean_absolute(&self) -> Vec<f32> {
        let tokens = self.tokens.max(1) as f64;
        self.absolute.iter().map(|&sum| (sum / tokens) as f32).collect()
    }

    /// Whether no input was infinite or NaN, nor its square.
    pub(crate) fn is_finite(&self) -> bool {
        self.strips.iter().flatten().all(|h| h.is_finite())
    }

    /// Mean of the diagonal, not divided by the tokens: the mean energy of an input.
    pub(crate) fn mean_diagonal(&self) -> f32 {
        let sum: f64 = (0..self.inputs).map(|i| f64::from(self.diagonal_block(i..i + 1)[0])).sum();
        (sum / self.inputs.max(1) as f64) as f32
    }

    /// The square block on the diagonal for some inputs of one group, row-major.
    pub(crate) fn diagonal_block(&self, inputs: std::ops::Range<usize>) -> Vec<f32> {
        let strip = inputs.start / STRIP;
        let start = strip * STRIP;
        let width = STRIP.min(self.inputs - start);
        let columns = inputs.start - start..inputs.end - start;
        let rows = columns.clone().map(|row| &self.strips[strip][row * width..][columns.clone()]);
        rows.flatten().copied().collect()
    }

    /// The whole of H / tokens, row-major, as it is for inputs that are divided by `scales`.
    pub(crate) fn scaled(&self, scales: Option<&[f32]>) -> Vec<f32> {
        let n = self.inputs;
        let mut whole = vec![0.0; n * n];
        for (j, strip) in self.strips.iter().enumerate() {
            let start = j * STRIP;
            let width = STRIP.min(n - start);
            for (row, values) in strip.chunks_exact(width).enumerate() {
                // Rows below the diagonal block are doubled.
                let factor = if row < width { 1.0 } else { 0.5 } / self.tokens.max(1) as f32;
                for (column, value) in values.iter().enumerate() {
                    let (row, column) = (start + row, start + column);
                    let scale = scales.map_or(1.0, |s| s[row] * s[column]);
                    let value = value * factor / scale;
                    whole[row * n + column] = value;
                    whole[column * n + row] = value;
                }
            }
        }
        whole
    }

    /// tr(d H dᵀ) / tokens of each row of `d` [rows, inputs]: the mean squared output of these rows.
    pub(crate) fn energies(&self, d: &[f32], rows: usize) -> Vec<f64> {
        let n = self.inputs;
        let mut energies = vec![0.0f64; rows];
        let mut product = vec![0.0; rows * STRIP.min(n)];
        for (j, strip) in self.strips.iter().enumerate() {
            let start = j * STRIP;
            let width = STRIP.min(n - start);
            let left = View::new(&d[start.min(d.len())..], rows, n - start, n);
            matmul(left, View::new(strip, n - start, width, width), &mut product, width);
            for (row, energy) in energies.iter_mut().enumerate() {
                let d = &d[row * n + start..][..width];
                let product = &product[row * width..][..width];
                *energy += dot(d, product);
            }
        }
        // Rounding may leave a tiny negative sum; NaN stays NaN.
        let tokens = self.tokens.max(1) as f64;
        energies.iter_mut().for_each(|e| *e = if *e < 0.0 { 0.0 } else { *e / tokens });
        energies
    }
}

/// Sum of products: eight f32 lanes for 64 elements at a time, then f64.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sum = 0.0f64;
    for (a, b) in a.chunks(64).zip(b.chunks(64)) {
        let mut lanes = [0.0f32; 8];
        let (a8, a_rest) = a.as_chunks::<8>();
        let (b8, b_rest) = b.as_chunks::<8>();
        for (a, b) in a8.iter().zip(b8) {
            for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                *lane += a * b;
            }
        }
        for (lane, (a, b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
            *lane += a * b;
        }
        sum += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| (((i + seed) * 2_654_435_761) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    #[test]
    fn energies_are_those_of_the_outputs() {
        for inputs in [1, 63, 512, 700, 1100] {
            let (tokens, rows) = (30, 5);
            let (x, d) = (values(tokens * inputs, 1), values(rows * inputs, 77));
            let mut gram = Gram::new(inputs);
            gram.add(&x[..10 * inputs]);
            gram.add(&x[10 * inputs..]);
            let energies = gram.energies(&d, rows);
            for (row, energy) in energies.iter().enumerate() {
                let d = &d[row * inputs..][..inputs];
                let output = |x: &[f32]| dot(x, d).powi(2);
                let expected: f64 = x.chunks(inputs).map(output).sum::<f64>() / tokens as f64;
                assert!((energy - expected).abs() <= 1e-4 * expected, "{inputs}: {energy} {expected}");
            }
            let mean = gram.mean_absolute()[inputs - 1];
            let expected = x.chunks(inputs).map(|x| x[inputs - 1].abs()).sum::<f32>() / tokens as f32;
            assert!((mean - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn diagonal_blocks_are_plain_gram_matrices() {
        let (inputs, tokens) = (700, 9);
        let x = values(tokens * inputs, 5);
        let mut gram = Gram::new(inputs);
        gram.add(&x);
        let block = gram.diagonal_block(640..700);
        for i in 0..60 {
            for j in 0..60 {
                let expected: f32 = x.chunks(inputs).map(|x| x[640 + i] * x[640 + j]).sum();
                assert!((block[i * 60 + j] - expected).abs() < 1e-4);
            }
        }
    }
}
