//! Several models against one reference, on the same text, in one pass: what each predicts, and what each of its layers
//! adds to the stream of hidden states.
//!
//! The reference's logits and the outputs of its layers are in memory only for the tokens at hand, so the text may be
//! long. The error of a layer is measured where all models mean the same: at the outputs of attention and MLP before they
//! are added to the stream (the scales that a quantizer folds into its weights cancel there). It contains what the layers
//! before it did wrong, since each model runs on its own hidden states.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use edgewen_engine::{Backend, Batch, Linear, Norm};
use edgewen_model::Config;
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::kl::{self, Item, Row, Statistics, Subject};
use crate::rows::{self, Rows};
use crate::stats::log_sum_exp;
use crate::windows::Window;
use crate::{Error, Result, Watch};

/// What was measured of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// What the user called it.
    pub name: String,
    /// Perplexity, divergence and agreement with the reference: those of [`kl::measure`].
    pub statistics: Statistics,
    /// Errors of its layers, from the first to the last.
    pub layers: Vec<LayerError>,
}

/// |y - y_ref|^2 / |y_ref|^2 of what a layer adds to the stream, over all tokens that were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerError {
    /// Of the attention, after its output matrix.
    pub attention: f64,
    /// Of the MLP.
    pub mlp: f64,
}

/// Measures every model on all windows, on `threads` threads beside those of the backends.
///
/// # Errors
/// A model whose vocabulary, layers or hidden size are not the reference's; cancellation, logits that are not finite, and
/// what the backends say.
pub fn compare(
    reference: Subject<'_>,
    models: Vec<Subject<'_>>,
    windows: &[Window],
    watch: &mut Watch<'_>,
    threads: usize,
) -> Result<Vec<Measured>> {
    for model in &models {
        check(model, &reference)?;
    }
    let pool = kl::pool(threads)?;
    let shape = reference.backend.config().clone();
    let outputs: Outputs = Rc::new(RefCell::new(vec![Vec::new(); 2 * shape.layers]));
    let squares: Vec<Squares> =
        models.iter().map(|_| Rc::new(RefCell::new(vec![Sum::default(); 2 * shape.layers]))).collect();

    let reference_name = reference.name;
    let mut tapped = Tapped { inner: reference.backend, tap: Tap::Keep(outputs.clone()) };
    let mut reference_rows = Rows::new(&mut tapped);
    let mut names = Vec::new();
    let mut backends: Vec<Tapped<'_>> = Vec::new();
    for (model, squares) in models.into_iter().zip(&squares) {
        names.push(model.name);
        backends.push(Tapped { inner: model.backend, tap: Tap::Compare(outputs.clone(), squares.clone()) });
    }
    let mut all: Vec<(Rows<'_>, Vec<Item>)> =
        backends.iter_mut().map(|backend| (Rows::new(backend), Vec::new())).collect();

    watch.begin(windows);
    for (index, window) in windows.iter().enumerate() {
        reference_rows.begin();
        for (rows, items) in &mut all {
            rows.begin();
            items.push(Item { window: index, document: window.document, ..Item::default() });
        }
        for piece in rows::pieces(window) {
            // What the reference computes for a piece, all models compute next; then it is not needed any more.
            outputs.borrow_mut().iter_mut().for_each(Vec::clear);
            squares.iter().for_each(|squares| squares.borrow_mut().iter_mut().for_each(|sum| sum.at = 0));
            let expected = reference_rows.get(window, piece.clone(), &mut watch.silent())?;
            for ((rows, items), name) in all.iter_mut().zip(&names) {
                let logits = rows.get(window, piece.clone(), &mut watch.silent())?;
                let compared = rows_of(&pool, shape.vocab_size, expected, logits, window, &piece);
                for (row, place) in compared.into_iter().zip(0..) {
                    let Some(row) = row else {
                        let row = &logits[place * shape.vocab_size..][..shape.vocab_size];
                        let name = if log_sum_exp(row).is_none() { name } else { reference_name };
                        return Err(Error::not_finite(name, index, piece.start + place));
                    };
                    if let Some(item) = items.last_mut() {
                        item.push(row);
                    }
                }
            }
        }
        // A token counts when everybody has read it.
        watch.advance(rows::read(window))?;
    }
    let mut measured = Vec::new();
    for (((mut rows, items), name), squares) in all.into_iter().zip(names).zip(&squares) {
        rows.begin();
        let layers = squares.borrow().chunks_exact(2).map(|pair| LayerError::of(pair[0], pair[1])).collect();
        measured.push(Measured { name: name.to_string(), statistics: Statistics::of(&items)?, layers });
    }
    reference_rows.begin();
    Ok(measured)
}

/// The rows of a piece, compared.
fn rows_of(
    pool: &ThreadPool,
    vocabulary: usize,
    expected: &[f32],
    logits: &[f32],
    window: &Window,
    piece: &Range<usize>,
) -> Vec<Option<Row>> {
    let targets = &window.tokens[piece.start + 1..=piece.end];
    pool.install(|| {
        expected
            .par_chunks_exact(vocabulary)
            .zip(logits.par_chunks_exact(vocabulary))
            .zip(targets)
            .map(|((expected, logits), &target)| Row::of(expected, logits, target))
            .collect()
    })
}

fn check(model: &Subject<'_>, reference: &Subject<'_>) -> Result<()> {
    let (is, should) = (model.backend.config(), reference.backend.config());
    for (what, is, should) in [
        ("vocabularies have", is.vocab_size, should.vocab_size),
        ("numbers of layers are", is.layers, should.layers),
        ("hidden states have", is.hidden_size, should.hidden_size),
    ] {
        if is != should {
            return Err(Error::Incomparable {
                model: model.name.to_string(),
                reference: reference.name.to_string(),
                problem: format!("their {what} {is} and {should}"),
            });
        }
    }
    Ok(())
}

impl LayerError {
    fn of(attention: Sum, mlp: Sum) -> Self {
        // A layer that adds nothing has no error either.
        let share = |sum: Sum| if sum.energy == 0.0 { 0.0 } else { sum.error / sum.energy };
        LayerError { attention: share(attention), mlp: share(mlp) }
    }
}

/// Outputs of the reference's layers for the tokens at hand: attention and MLP in turn.
type Outputs = Rc<RefCell<Vec<Vec<f32>>>>;

/// Sums over one output.
#[derive(Clone, Copy, Default)]
struct Sum {
    /// Squares of the differences.
    error: f64,
    /// Squares of the reference.
    energy: f64,
    /// Values of the reference's output that were compared already.
    at: usize,
}

type Squares = Rc<RefCell<Vec<Sum>>>;

/// What is done with an output.
enum Tap {
    /// The reference's are kept.
    Keep(Outputs),
    /// A model's are compared with the reference's.
    Compare(Outputs, Squares),
}

/// A backend whose layers' outputs are looked at.
struct Tapped<'a> {
    inner: &'a mut dyn Backend,
    tap: Tap,
}

impl Tapped<'_> {
    fn look(&self, index: usize, out: &[f32]) {
        match &self.tap {
            Tap::Keep(outputs) => {
                outputs.borrow_mut()[index].extend_from_slice(out);
            }
            Tap::Compare(outputs, squares) => {
                let outputs = outputs.borrow();
                let sum = &mut squares.borrow_mut()[index];
                for (is, should) in out.iter().zip(&outputs[index][sum.at..]) {
                    let (is, should) = (f64::from(*is), f64::from(*should));
                    sum.error += (is - should) * (is - should);
                    sum.energy += should * should;
                }
                sum.at += out.len();
            }
        }
    }
}

impl Backend for Tapped<'_> {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn config(&self) -> &Config {
        self.inner.config()
    }

    fn embed(&mut self, tokens: &[u32], out: &mut [f32]) -> edgewen_engine::Result<()> {
        self.inner.embed(tokens, out)
    }

    fn rms_norm(&mut self, which: Norm, x: &[f32], out: &mut [f32]) -> edgewen_engine::Result<()> {
        self.inner.rms_norm(which, x, out)
    }

    fn linear(
        &mut self,
        which: Linear,
        x: &[f32],
        tokens: usize,
        out: &mut [f32],
    ) -> edgewen_engine::Result<()> {
        self.inner.linear(which, x, tokens, out)?;
        match which {
            Linear::O(layer) => self.look(2 * layer, out),
            Linear::Down(layer) => self.look(2 * layer + 1, out),
            Linear::Qkv(_) | Linear::GateUp(_) | Linear::Head => {}
        }
        Ok(())
    }

    fn most_top_k(&self) -> usize {
        self.inner.most_top_k()
    }

    fn top_k(&mut self, x: &[f32], k: usize) -> edgewen_engine::Result<Vec<(u32, f32)>> {
        self.inner.top_k(x, k)
    }

    fn rope(&mut self, batch: &Batch, qkv: &mut [f32]) -> edgewen_engine::Result<()> {
        self.inner.rope(batch, qkv)
    }

    fn attention(
        &mut self,
        layer: usize,
        batch: &Batch,
        qkv: &[f32],
        out: &mut [f32],
    ) -> edgewen_engine::Result<()> {
        self.inner.attention(layer, batch, qkv, out)
    }

    fn silu_mul(&mut self, gate_up: &[f32], out: &mut [f32]) -> edgewen_engine::Result<()> {
        self.inner.silu_mul(gate_up, out)
    }

    fn add(&mut self, x: &mut [f32], y: &[f32]) -> edgewen_engine::Result<()> {
        self.inner.add(x, y)
    }

    fn truncate(&mut self, slot: usize, len: usize) {
        self.inner.truncate(slot, len);
    }

    fn kv_bytes(&self) -> usize {
        self.inner.kv_bytes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_layer_without_output_has_no_error() {
        let sum = Sum { error: 1.0, energy: 4.0, at: 7 };
        assert_eq!(LayerError::of(sum, Sum::default()), LayerError { attention: 0.25, mlp: 0.0 });
    }
}
