//! The comparison as a page.

use edgewen_eval::Result;
use edgewen_eval::compare::LayerError;
use edgewen_eval::report::{
    Axis, Bar, Cell, Label, Page, Panel, Point, Range, Series, Table, bars, panels, ranges, scatter,
};
use edgewen_eval::stats::Estimate;

use super::{Compared, Comparison};
use crate::output::{self, grouped};
use crate::report_html::{self, Reported};

/// The page. It needs nothing from anywhere else.
pub fn page(comparison: &Comparison) -> anyhow::Result<String> {
    let models = &comparison.models;
    let text = comparison.protocol.file.rsplit('/').next().unwrap_or(&comparison.protocol.file);
    let reference =
        comparison.reference.trim_end_matches('/').rsplit('/').next().unwrap_or(&comparison.reference);
    let mut page = Page::new(
        &format!(
            "{} against {reference}",
            if models.len() == 1 { models[0].name().to_string() } else { format!("{} models", models.len()) }
        ),
        &format!(
            "How far compressed models are from the model they were made from, on {} tokens of {text}. Measured by \
             edgewen {}.",
            grouped(comparison.protocol.tokens as u64),
            comparison.edgewen_version
        ),
    );
    page.table(&table(comparison));
    quality(&mut page, models)?;
    tails(&mut page, models)?;
    layers(&mut page, models)?;
    let reports: Vec<Reported<'_>> =
        models.iter().map(|model| (model.name().to_string(), model.quantization.as_ref())).collect();
    if reports.iter().any(|(_, report)| report.is_some()) {
        report_html::errors(&mut page, &reports)?;
        report_html::scales(&mut page, &reports)?;
        report_html::clipping(&mut page, &reports)?;
    }
    tasks(&mut page, models)?;
    page.heading("How it was measured").fields(&protocol(comparison));
    page.fold("All figures as JSON").verbatim(&serde_json::to_string_pretty(comparison)?).unfold();
    Ok(page.finish())
}

/// Marks the least, or the greatest, of a column.
fn mark(table: &mut Table, column: usize, values: &[f64], greatest: bool) {
    if values.len() < 2 {
        return;
    }
    let better = |a: f64, b: f64| if greatest { b < a } else { a < b };
    let best = values.iter().copied().reduce(|a, b| if better(b, a) { b } else { a });
    for (row, value) in table.rows.iter_mut().zip(values) {
        row[column].best = Some(*value) == best;
    }
}

fn cell(estimate: Estimate, scale: f64, digits: usize) -> Cell {
    Cell {
        text: format!("{:.digits$}", scale * estimate.value),
        aside: format!("± {:.digits$}", scale * estimate.standard_error),
        best: false,
    }
}

fn table(comparison: &Comparison) -> Table {
    let mut table =
        Table::new(&["model", "#size", "#bits", "#perplexity", "#KL, nats", "#same top, %", "#RMS Δp, %"]);
    let models = &comparison.models;
    for model in models {
        let statistics = &model.measured.statistics;
        table.rows.push(vec![
            model.name().into(),
            output::bytes(model.bytes).into(),
            format!("{:.2}", model.bits_per_weight).into(),
            cell(statistics.perplexity, 1.0, 3),
            cell(statistics.kl.mean, 1.0, 5),
            cell(statistics.same_top, 100.0, 2),
            cell(statistics.rms_probability_difference, 100.0, 2),
        ]);
    }
    let of = |value: fn(&Compared) -> f64| models.iter().map(value).collect::<Vec<f64>>();
    mark(&mut table, 1, &of(|model| model.bytes as f64), false);
    mark(&mut table, 2, &of(|model| model.bits_per_weight), false);
    mark(&mut table, 3, &of(|model| model.measured.statistics.perplexity.value), false);
    mark(&mut table, 4, &of(|model| model.measured.statistics.kl.mean.value), false);
    mark(&mut table, 5, &of(|model| model.measured.statistics.same_top.value), true);
    mark(&mut table, 6, &of(|model| model.measured.statistics.rms_probability_difference.value), false);
    if let Some(first) = models.first() {
        let dash = || Cell::from("–");
        let perplexity = cell(first.measured.statistics.reference_perplexity, 1.0, 3);
        table
            .rows
            .insert(0, vec!["the reference".into(), dash(), dash(), perplexity, dash(), dash(), dash()]);
    }
    table
}

fn quality(page: &mut Page, models: &[Compared]) -> Result<()> {
    let points: Vec<Label> = models
        .iter()
        .map(|model| Label {
            name: model.name().to_string(),
            point: Point {
                x: model.bits_per_weight,
                y: model.measured.statistics.kl.mean.value,
                spread: model.measured.statistics.kl.mean.standard_error,
                hollow: false,
            },
        })
        .collect();
    page.heading("Quality against size").figure(
        &scatter(
            "KL divergence against bits a weight",
            &Axis::linear("bits a weight: all matrices with scales, zero points and padding"),
            &Axis::log("KL divergence from the reference, nats a token"),
            &points,
            true,
        )?,
        "Further down is closer to the reference, further left is smaller. The line joins the models that no other one \
         beats in both. Bars: one standard error.",
    );
    Ok(())
}

fn tails(page: &mut Page, models: &[Compared]) -> Result<()> {
    let rows: Vec<Range> = models
        .iter()
        .map(|model| {
            let kl = &model.measured.statistics.kl;
            Range {
                name: model.name().to_string(),
                values: vec![kl.median, kl.p90, kl.p99, kl.p99_9, kl.maximum],
            }
        })
        .collect();
    page.heading("Common and rare errors").figure(
        &ranges(
            "percentiles of the divergence of single tokens",
            &Axis::log("KL divergence of a single token, nats"),
            &["median", "90 %", "99 %", "99.9 %", "greatest"],
            &rows,
        )?,
        "A mean hides rare tokens that go wrong. Half of the tokens are left of the first mark, all but one in a \
         hundred left of the third.",
    );
    Ok(())
}

fn layers(page: &mut Page, models: &[Compared]) -> Result<()> {
    let of = |value: fn(&LayerError) -> f64| -> Vec<Series> {
        let points = |model: &Compared| {
            let all = model.measured.layers.iter().enumerate();
            all.map(|(layer, error)| Point { x: layer as f64, y: value(error), ..Point::default() }).collect()
        };
        models
            .iter()
            .map(|model| Series { name: model.name().to_string(), points: points(model), faint: false })
            .collect()
    };
    page.heading("Error of every layer").figure(
        &panels(
            "relative error of what each layer adds",
            &Axis::linear("layer"),
            &Axis::log("relative error of what the layer adds to the stream"),
            &[
                Panel { title: "attention".into(), series: of(|error| error.attention) },
                Panel { title: "MLP".into(), series: of(|error| error.mlp) },
            ],
        )?,
        "|y - y_ref|² / |y_ref|² of the output of attention and MLP before it is added to the hidden states, over all \
         tokens of the text. A layer's error contains what the layers before it did wrong.",
    );
    Ok(())
}

fn tasks(page: &mut Page, models: &[Compared]) -> Result<()> {
    let mut seen: Vec<(String, String, &str)> = Vec::new();
    for task in models.iter().flat_map(|model| &model.tasks) {
        let key = (task.task.clone(), task.protocol.clone(), task.metric);
        if !seen.contains(&key) {
            seen.push(key);
        }
    }
    if seen.is_empty() {
        return Ok(());
    }
    page.heading("Tasks");
    for (task, protocol, metric) in seen {
        let mut items = 0;
        let all: Vec<Bar> = models
            .iter()
            .filter_map(|model| {
                let found = model.tasks.iter().find(|other| {
                    other.task == task && other.protocol == protocol && other.metric == metric
                })?;
                items = found.items;
                Some(Bar { name: model.name().to_string(), value: found.value, spread: found.standard_error })
            })
            .collect();
        page.figure(
            &bars(&format!("{task}, {metric}"), &Axis::linear(metric), &all)?,
            &format!(
                "{task}, protocol {protocol}, {metric} of {} items. Bars: one standard error.",
                grouped(items as u64)
            ),
        );
    }
    Ok(())
}

fn protocol(comparison: &Comparison) -> Vec<(String, String)> {
    let mut fields = vec![
        ("reference".to_string(), comparison.reference.clone()),
        ("its SHA-256".to_string(), comparison.reference_sha256.clone()),
    ];
    for model in &comparison.models {
        fields.push((model.name().to_string(), format!("{}, SHA-256 {}", model.model, model.sha256)));
    }
    for (name, value) in comparison.protocol.fields() {
        let name = if name == "SHA-256" { "SHA-256 of the file" } else { name };
        fields.push((name.to_string(), value));
    }
    fields.push(("computed".to_string(), comparison.settings.line(comparison.seconds)));
    fields
}
