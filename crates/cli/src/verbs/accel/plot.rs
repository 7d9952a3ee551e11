//! The plots of the page, as SVG.

use edgewen_accel::perf::ladder::Rung;
use edgewen_accel::perf::report::Breakdown;
use edgewen_accel::perf::roofline::Roofline;
use edgewen_eval::Result;
use edgewen_eval::report::{COLORS, Drawn, FONT, GRAY, svg};
use plotters::prelude::*;

/// The axis of products a byte; one token has about two, eight have sixteen.
const BYTES_AXIS: std::ops::Range<f64> = 0.25..64.0;

/// Products a second against products a byte, both logarithmic.
pub fn roofline(roofline: &Roofline) -> Result<String> {
    svg("products a second against products a byte of weights", 430, |area| {
        let top = roofline.ceilings.iter().map(|ceiling| ceiling.gmacs).fold(1.0, f64::max);
        let lowest = roofline.points.iter().map(|point| point.gmacs).fold(1.0, f64::min);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(45)
            .y_label_area_size(60)
            .build_cartesian_2d(BYTES_AXIS.log_scale(), (lowest / 2.0..top * 3.0).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("products for each byte of weights")
            .y_desc("10^9 products a second")
            .axis_desc_style(FONT)
            .label_style(FONT)
            .draw()?;
        let slope = |x: f64| x * roofline.stream_gbps;
        let corner = |gmacs: f64| (gmacs / roofline.stream_gbps).min(BYTES_AXIS.end);
        let memory = [BYTES_AXIS.start, corner(top)].map(|x| (x, slope(x)));
        chart.draw_series(LineSeries::new(memory, COLORS[1].stroke_width(2)))?;
        let name = format!("memory {:.1} GB/s", roofline.stream_gbps);
        label(&mut chart, (BYTES_AXIS.start * 1.1, slope(BYTES_AXIS.start) * 1.9), name)?;
        for ceiling in &roofline.ceilings {
            let line = [corner(ceiling.gmacs), BYTES_AXIS.end].map(|x| (x, ceiling.gmacs));
            chart.draw_series(LineSeries::new(line, COLORS[0].stroke_width(2)))?;
            let name = format!("{}: {:.0}", ceiling.name, ceiling.gmacs);
            label(&mut chart, (BYTES_AXIS.end / 4.0, ceiling.gmacs * 1.5), name)?;
        }
        // Decode has nearly the same products a byte everywhere: the names go below each other beside the points.
        let mut points: Vec<_> = roofline.points.iter().collect();
        points.sort_by(|a, b| b.gmacs.total_cmp(&a.gmacs));
        for (place, point) in points.iter().enumerate() {
            let at = (point.macs_per_byte, point.gmacs);
            chart.draw_series([Circle::new(at, 4, COLORS[3].filled())])?;
            let name = format!("{} {:.1}", point.name, point.gmacs);
            let beside = (point.macs_per_byte * 1.6, points[0].gmacs * 0.82f64.powi(place as i32));
            chart.draw_series(LineSeries::new([at, beside], GRAY))?;
            label(&mut chart, beside, name)?;
        }
        Ok(())
    })
}

type LogLog<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::combinators::LogCoord<f64>, plotters::coord::combinators::LogCoord<f64>>,
>;

fn label(chart: &mut LogLog<'_, '_>, at: (f64, f64), text: String) -> Drawn {
    chart.draw_series([Text::new(text, at, FONT.into_font())])?;
    Ok(())
}

/// What the time of a token is made of: one bar, left to right.
pub fn breakdown(parts: &Breakdown) -> Result<String> {
    let parts = [
        ("beats", parts.compute_ms),
        ("memory", parts.stream_ms),
        ("processor", parts.processor_ms),
        ("load, hold", parts.load_ms + parts.hold_ms),
        ("drain", parts.drain_ms),
        ("other", parts.other_ms),
    ];
    let total: f64 = parts.iter().map(|(_, ms)| ms).sum();
    svg("what the time of a token is made of", 110, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(40)
            .build_cartesian_2d(0.0..total, 0.0..2.0)?;
        chart
            .configure_mesh()
            .disable_y_axis()
            .disable_y_mesh()
            .x_desc("ms")
            .label_style(FONT)
            .axis_desc_style(FONT)
            .draw()?;
        let mut at = 0.0;
        for ((name, ms), color) in parts.into_iter().zip(COLORS) {
            let bar = Rectangle::new([(at, 0.1), (at + ms, 1.1)], color.filled());
            chart.draw_series([bar])?;
            // A name needs room; the table has those of thin bars.
            if 0.12 * total < ms {
                let text = Text::new(format!("{name} {ms:.2}"), (at, 1.8), FONT.into_font());
                chart.draw_series([text])?;
            }
            at += ms;
        }
        Ok(())
    })
}

/// Tokens a second of each rung, logarithmic.
pub fn ladder(rungs: &[Rung]) -> Result<String> {
    let top = rungs.iter().map(|rung| rung.tokens_per_second).fold(1.0, f64::max);
    let count = rungs.len() as f64;
    let label = "tokens a second, one change after the other";
    svg(label, 60 + 34 * rungs.len() as u32, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(40)
            .build_cartesian_2d((1.0..top * 8.0).log_scale(), 0.0..count)?;
        chart
            .configure_mesh()
            .disable_y_axis()
            .disable_y_mesh()
            .x_desc("tokens a second")
            .label_style(FONT)
            .axis_desc_style(FONT)
            .draw()?;
        for (index, rung) in rungs.iter().enumerate() {
            let y = count - index as f64;
            let rate = rung.tokens_per_second.max(1.0);
            let bar = Rectangle::new([(1.0, y - 0.85), (rate, y - 0.15)], COLORS[0].filled());
            chart.draw_series([bar])?;
            let text = format!("{:.1} (x{:.2}) {}", rung.tokens_per_second, rung.factor, rung.change);
            chart.draw_series([Text::new(text, (rate * 1.05, y - 0.3), FONT.into_font())])?;
        }
        Ok(())
    })
}
