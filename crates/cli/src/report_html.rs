//! The report of a quantization as a page, and the plots that comparisons share with it.

use std::collections::BTreeSet;

use edgewen_eval::Result;
use edgewen_eval::report::{
    Axis, Cell, Label, Page, Panel, Point, Series, Shade, Table, figure, grid, panels, scatter,
};
use edgewen_quant::{BudgetReport, Report, Sensitivity, Step, TensorReport};

use crate::output::{self, grouped};

/// Matrices of a layer in the order of the forward pass, by the names that checkpoints give them.
const KINDS: [&str; 7] = ["q", "k", "v", "o", "gate", "up", "down"];
/// Those with scales of their own: matrices with the same input share them, and the first stands for all.
const SCALED: [&str; 4] = ["q, k, v", "o", "gate, up", "down"];

/// What a page says of the errors in a quantizer's report.
const ERROR: &str =
    "Share of a matrix' output energy that is lost to rounding, measured on the calibration text";

/// A model and its report. One without keeps its place, so that a model has one color on a whole page.
pub type Reported<'a> = (String, Option<&'a Report>);

/// The page of one quantization.
pub fn page(report: &Report) -> anyhow::Result<String> {
    let totals = &report.totals;
    let name = report.source.rsplit('/').next().unwrap_or(&report.source);
    let mut page = Page::new(
        &format!("{name} at {:.2} bits a weight", totals.bits_per_weight),
        &format!(
            "Quantized by edgewen {} with method {}, groups of {}, a head of {} bits{}.",
            report.edgewen_version,
            report.method,
            report.group,
            report.head_bits,
            report.calibration.as_ref().map_or(String::new(), |calibration| format!(
                ", calibrated on {} tokens of {}",
                grouped(calibration.tokens as u64),
                calibration.name
            ))
        ),
    );
    let gain = if totals.error_rtn == 0.0 {
        String::new()
    } else {
        format!("{:.0} % of that", 100.0 * totals.error / totals.error_rtn)
    };
    page.facts(&[
        ("file", output::bytes(report.file_bytes), format!("{} bytes", grouped(report.file_bytes))),
        ("lost output energy", figure(totals.error), "mean of the 4-bit matrices, by weights".to_string()),
        (
            "of plain rounding",
            figure(totals.error_rtn),
            if gain.is_empty() { gain } else { format!("here {gain}") },
        ),
        ("time", output::seconds(report.seconds), format!("{} threads", report.threads)),
        ("peak memory", report.peak_memory_bytes.map_or("unknown".to_string(), output::bytes), String::new()),
    ]);
    if 0 < layers(report) {
        matrices(&mut page, report)?;
        steps(&mut page, report)?;
        scales(&mut page, &[("this model".to_string(), Some(report))])?;
        clipping(&mut page, &[("this model".to_string(), Some(report))])?;
    }
    if let Some(budget) = &report.budget {
        bits(&mut page, budget)?;
    }
    page.fold("All matrices").table(&table(report)).unfold();
    page.fold("The report as JSON").verbatim(&serde_json::to_string_pretty(report)?).unfold();
    Ok(page.finish())
}

/// What 8 bits would gain in each matrix, and where they were spent.
fn bits(page: &mut Page, budget: &BudgetReport) -> Result<()> {
    let mut order: Vec<&Sensitivity> = budget.matrices.iter().collect();
    let worth = |matrix: &Sensitivity| matrix.gain.value / (matrix.extra_bytes.max(1) as f64);
    order.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
    page.heading("Bits where they pay").paragraph(&format!(
        "Allowed {:.2} bits a weight, taken {:.2}; 4 bits everywhere are {:.2}. KL divergence on {} held-out tokens: {} \
         with 4 bits everywhere, {} with 8, {} of the file as written (predicted {}).",
        budget.bits,
        budget.bits_per_weight,
        budget.bits_per_weight_least,
        grouped(budget.held_out_tokens as u64),
        figure(budget.kl_four.value),
        figure(budget.kl_eight.value),
        figure(budget.kl_measured.value),
        figure(budget.kl_predicted.value),
    ));
    let points: Vec<Label> = order
        .iter()
        .map(|matrix| Label {
            name: if matrix.bits == 8 { matrix.name.clone() } else { String::new() },
            point: Point {
                x: matrix.extra_bytes as f64 / 1e3,
                y: matrix.gain.value,
                spread: matrix.gain.standard_error,
                hollow: matrix.bits != 8,
            },
        })
        .collect();
    page.figure(
        &scatter(
            "KL gained against bytes spent",
            &Axis::from_zero("bytes that 8 bits take more than 4, kB"),
            &Axis::linear("KL divergence gained by 8 bits in this matrix alone, nats"),
            &points,
            false,
        )?,
        "Every matrix: what it would gain and what it would cost. Full marks with names took 8 bits. Bars: one standard \
         error.",
    );
    Ok(())
}

/// Error of every matrix beside that of plain rounding.
fn matrices(page: &mut Page, report: &Report) -> Result<()> {
    page.heading("Error of every matrix");
    by_layer(
        page,
        &KINDS,
        &Axis::log("relative error of the output"),
        |kind| {
            let line = |name: &str, value: fn(&TensorReport) -> f64, faint| {
                let points = of_kind(report, kind).map(|(layer, tensor)| point(layer, value(tensor)));
                Series { name: name.into(), points: points.collect(), faint }
            };
            vec![
                line("written", |tensor| tensor.error, false),
                line("plain rounding", |tensor| tensor.error_rtn, true),
            ]
        },
        &format!("{ERROR}. The gray line is plain rounding with the same bits and groups."),
    )?;
    let layers = layers(report);
    let ratio = |kind: &str, layer: usize| {
        let (_, found) = of_kind(report, kind).find(|(of, _)| *of == layer)?;
        (0.0 < found.error_rtn).then(|| found.error / found.error_rtn)
    };
    let values: Vec<Vec<Option<f64>>> =
        KINDS.iter().map(|kind| (0..layers).map(|layer| ratio(kind, layer)).collect()).collect();
    let columns: Vec<String> = (0..layers).map(|layer| layer.to_string()).collect();
    page.figure(
        &grid(
            "error of each matrix over that of plain rounding",
            &KINDS.map(str::to_string),
            &columns,
            &values,
            Shade::AroundOne,
            "error, as a share of plain rounding's",
        )?,
        "The stronger the color, the more was gained over plain rounding: 0.25 means that a quarter of its error is left.",
    );
    Ok(())
}

/// Error of every matrix, a line for each of the models.
pub fn errors(page: &mut Page, reports: &[Reported<'_>]) -> Result<()> {
    page.heading("Error of every matrix");
    by_layer(
        page,
        &KINDS,
        &Axis::log("relative error of the output"),
        |kind| lines_of(reports, kind, |layer, tensor| point(layer, tensor.error)),
        &format!("{ERROR}. From the quantizer's own reports, by each one's calibration."),
    )
}

/// What each step of the quantizer left.
fn steps(page: &mut Page, report: &Report) -> Result<()> {
    let mut names: Vec<Step> = Vec::new();
    for step in report.tensors.iter().flat_map(|tensor| &tensor.steps) {
        if !names.contains(&step.step) {
            names.push(step.step);
        }
    }
    if names.len() < 2 {
        return Ok(());
    }
    page.heading("Step by step");
    by_layer(
        page,
        &SCALED,
        &Axis::log("relative error after the step"),
        |kind| {
            let points = |step: Step| {
                let all = of_kind(report, kind).filter_map(move |(layer, tensor)| {
                    let found = tensor.steps.iter().find(|found| found.step == step)?;
                    Some(point(layer, found.error))
                });
                all.collect()
            };
            let line = |step: &Step| Series { name: step.name().into(), points: points(*step), faint: false };
            names.iter().map(line).collect()
        },
        "The same error of the fused matrices, after each step of the quantizer that was done.",
    )
}

/// The exponents of the scales, a line for each of the models that has any.
pub fn scales(page: &mut Page, reports: &[Reported<'_>]) -> Result<()> {
    let scaled = |report: &&Report| report.tensors.iter().any(|tensor| tensor.alpha != 0.0);
    let reports: Vec<Reported<'_>> =
        reports.iter().map(|(name, report)| (name.clone(), report.filter(scaled))).collect();
    if reports.iter().all(|(_, report)| report.is_none()) {
        return Ok(());
    }
    page.heading("Scales");
    by_layer(
        page,
        &SCALED,
        &Axis::from_zero("alpha"),
        |kind| {
            lines_of(&reports, kind, |layer, tensor| Point {
                hollow: !tensor.duo,
                ..point(layer, tensor.alpha)
            })
        },
        "The exponent alpha of the input channels' scales that lost least; 0 is no scaling. Full marks: the scales \
         also depend on the weights; outlines: on the activations alone.",
    )
}

/// How many groups were clipped, a line for each of the models.
pub fn clipping(page: &mut Page, reports: &[Reported<'_>]) -> Result<()> {
    let mut tensors = reports.iter().filter_map(|(_, report)| *report).flat_map(|report| &report.tensors);
    if !tensors.any(|tensor| 0.0 < tensor.clipped) {
        return Ok(());
    }
    page.heading("Clipping");
    by_layer(
        page,
        &KINDS,
        &Axis::from_zero("share of the groups"),
        |kind| lines_of(reports, kind, |layer, tensor| point(layer, tensor.clipped)),
        "Share of the groups whose range was made smaller than that of their weights.",
    )
}

/// A panel for each of `kinds`, with the lines that `series` gives for the first matrix that it names.
fn by_layer(
    page: &mut Page,
    kinds: &[&str],
    y: &Axis,
    series: impl Fn(&str) -> Vec<Series>,
    caption: &str,
) -> Result<()> {
    let panel = |kinds: &&str| Panel {
        title: (*kinds).to_string(),
        series: series(kinds.split(',').next().unwrap_or(kinds)),
    };
    let all: Vec<Panel> = kinds.iter().map(panel).collect();
    page.figure(&panels(&format!("{} by layer", y.title), &Axis::linear("layer"), y, &all)?, caption);
    Ok(())
}

/// A line a model: one value of the matrices of a kind.
fn lines_of(
    reports: &[Reported<'_>],
    kind: &str,
    value: impl Fn(usize, &TensorReport) -> Point,
) -> Vec<Series> {
    let of = |report: &Report| of_kind(report, kind).map(|(layer, tensor)| value(layer, tensor)).collect();
    let line = |(name, report): &Reported<'_>| Series {
        name: name.clone(),
        points: report.map(of).unwrap_or_default(),
        faint: false,
    };
    reports.iter().map(line).collect()
}

/// The matrices of a kind with their layers.
fn of_kind<'a>(report: &'a Report, kind: &str) -> impl Iterator<Item = (usize, &'a TensorReport)> {
    let all = report.tensors.iter().filter_map(|tensor| Some((place(tensor)?, tensor)));
    all.filter(move |((_, of), _)| *of == kind).map(|((layer, _), tensor)| (layer, tensor))
}

fn point(layer: usize, y: f64) -> Point {
    Point { x: layer as f64, y, ..Point::default() }
}

fn table(report: &Report) -> Table {
    let mut table = Table::new(&[
        "matrix",
        "#bits",
        "#weights",
        "#bytes",
        "#error",
        "#plain rounding",
        "#share",
        "#alpha",
        "scales by",
        "#clipped",
    ]);
    for tensor in &report.tensors {
        let share = if tensor.error_rtn == 0.0 { f64::NAN } else { tensor.error / tensor.error_rtn };
        let cells: [Cell; 10] = [
            short(&tensor.name).into(),
            tensor.bits.to_string().into(),
            grouped(tensor.elements).into(),
            grouped(tensor.bytes).into(),
            figure(tensor.error).into(),
            figure(tensor.error_rtn).into(),
            figure(share).into(),
            format!("{:.2}", tensor.alpha).into(),
            if tensor.alpha == 0.0 {
                "–"
            } else if tensor.duo {
                "both"
            } else {
                "activations"
            }
            .into(),
            format!("{:.1} %", 100.0 * tensor.clipped).into(),
        ];
        table.rows.push(cells.into());
    }
    table
}

/// `model.layers.3.self_attn.q_proj.weight` as `3 q_proj`.
fn short(name: &str) -> String {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    let name = name.strip_prefix("model.").unwrap_or(name);
    match name.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) => format!("{layer} {}", rest.rsplit('.').next().unwrap_or(rest)),
        None => name.to_string(),
    }
}

/// Layer and kind of a layer's matrix.
fn place(tensor: &TensorReport) -> Option<(usize, &str)> {
    let mut parts = tensor.name.strip_suffix(".weight")?.rsplit('.');
    let kind = parts.next()?.strip_suffix("_proj")?;
    let layer = parts.find_map(|part| part.parse().ok())?;
    KINDS.contains(&kind).then_some((layer, kind))
}

fn layers(report: &Report) -> usize {
    let all: BTreeSet<usize> = report.tensors.iter().filter_map(|tensor| Some(place(tensor)?.0)).collect();
    all.last().map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use edgewen_quant::{CalibrationReport, Measure, StepError, Totals};

    use super::*;

    fn report(layers: usize) -> Report {
        let tensor = |layer: usize, kind: &str| TensorReport {
            name: format!("model.layers.{layer}.mlp.{kind}_proj.weight"),
            packed_as: format!("layers.{layer}.{kind}"),
            bits: 4,
            elements: 4096,
            bytes: 2208,
            measure: Measure::Output,
            error_rtn: 0.01,
            error: 0.004,
            alpha: 0.5,
            duo: layer == 0,
            clipped: 0.25,
            steps: vec![
                StepError { step: Step::Clip, error: 0.008 },
                StepError { step: Step::Feedback, error: 0.004 },
            ],
        };
        Report {
            edgewen_version: "0.1.0".into(),
            source: "models/<b>".into(),
            method: "awq-gptq".into(),
            group: 64,
            head_bits: 8,
            calibration: Some(CalibrationReport {
                name: "built-in".into(),
                sha256: "0".into(),
                tokens: 8192,
                segments: 4,
            }),
            file_bytes: 1,
            seconds: 1.0,
            threads: 2,
            peak_memory_bytes: None,
            totals: Totals::default(),
            budget: None,
            tensors: (0..layers).flat_map(|layer| KINDS.map(|kind| tensor(layer, kind))).collect(),
        }
    }

    #[test]
    fn a_page_has_every_plot_and_needs_nothing_else() {
        let page = page(&report(3)).unwrap();
        // Errors, the field of shares, steps, scales, clipping.
        assert_eq!(page.matches("<svg").count(), 5);
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"));
        for word in ["href=", "src=", "@import", "NaN", "<script"] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn a_report_without_layers_is_a_page_too() {
        assert!(!page(&report(0)).unwrap().contains("<svg"));
    }

    #[test]
    fn finds_layer_and_kind() {
        let report = report(12);
        assert_eq!(place(&report.tensors[80]), Some((11, "o")));
        assert_eq!(layers(&report), 12);
        assert_eq!(short("model.layers.11.self_attn.q_proj.weight"), "11 q_proj");
        assert_eq!(short("model.embed_tokens.weight"), "embed_tokens");
    }
}
