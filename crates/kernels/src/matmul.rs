//! A safe front of the `gemm` crate: f32 and f64 matrix products over checked views, for the quantizer.
//!
//! This one operation promises no particular bits: a library sums in the order that suits the CPU. No model runs on it.
//! Each call runs on one thread; callers split the work into pieces whose size does not depend on the number of
//! threads, so that results do not either.

/// What matrices are made of: f32 or f64.
pub trait Element: Copy + std::fmt::Debug + 'static {
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
}

impl Element for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
}

/// A matrix in a slice, with any strides.
#[derive(Debug, Clone, Copy)]
pub struct View<'a, T = f32> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> View<'a, T> {
    /// `[rows, cols]`, row-major, a row starting every `stride` elements.
    ///
    /// # Panics
    /// If the slice is too short.
    pub fn new(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        let view = View { data, rows, cols, row_stride: stride, col_stride: 1 };
        let end = match (rows, cols) {
            (0, _) | (_, 0) => 0,
            _ => (rows - 1) * stride + cols,
        };
        assert!(end <= data.len(), "a view of [{rows}, {cols}] by {stride} needs {end} of {}", data.len());
        view
    }

    /// The transpose.
    pub fn t(self) -> Self {
        View {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// `out`, rows of `a` by columns of `b`, row-major by `stride`, becomes the product of `a` and `b`.
///
/// # Panics
/// If the shapes do not fit.
pub fn matmul<T: Element>(a: View<'_, T>, b: View<'_, T>, out: &mut [T], stride: usize) {
    product(a, b, None, out, stride);
}

/// Adds `factor` times the product of `a` and `b` to `out`, as [`matmul`] writes it.
///
/// # Panics
/// If the shapes do not fit.
pub fn matmul_add<T: Element>(a: View<'_, T>, b: View<'_, T>, factor: T, out: &mut [T], stride: usize) {
    product(a, b, Some(factor), out, stride);
}

/// `out` = a b, or with a factor `out` + factor a b.
fn product<T: Element>(a: View<'_, T>, b: View<'_, T>, factor: Option<T>, out: &mut [T], stride: usize) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner dimensions agree");
    assert!(n <= stride && View::new(out, m, n, stride).rows == m);
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: `View::new` has checked that every element of the three matrices lies in its slice; `out` is borrowed
    // mutably, so it overlaps neither input, and its rows do not overlap each other (n <= stride). Strides of slices
    // fit isize.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            factor.is_some(),
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            if factor.is_some() { T::ONE } else { T::ZERO },
            factor.unwrap_or(T::ONE),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_plain_sum() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (17, 33, 65), (4, 4, 0)] {
            let a: Vec<f32> = (0..m * k).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
            let b: Vec<f32> = (0..n * k).map(|i| (i * 5 % 13) as f32 - 6.0).collect();
            let mut out = vec![f32::NAN; m * (n + 2)];
            matmul(View::new(&a, m, k, k), View::new(&b, n, k, k).t(), &mut out, n + 2);
            for i in 0..m {
                for j in 0..n {
                    let expected: f32 = (0..k).map(|l| a[i * k + l] * b[j * k + l]).sum();
                    assert_eq!(out[i * (n + 2) + j], expected, "[{m}, {n}, {k}] at {i}, {j}");
                }
            }
        }
    }

    #[test]
    fn adds_a_multiple_in_f64() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.5, -1.0, 2.0]);
        let mut out = [10.0f64; 4];
        matmul_add(View::new(&a, 2, 2, 2), View::new(&b, 2, 2, 2), -2.0, &mut out, 2);
        assert_eq!(out, [12.0, 1.0, 12.0, -9.0]);
    }

    #[test]
    #[should_panic(expected = "needs")]
    fn refuses_a_view_outside_its_slice() {
        View::new(&[0.0; 5], 2, 3, 3);
    }
}
