//! The report as text of at most 80 columns.

use edgewen_accel::perf::report::{CONTEXTS, Mode, Report};

use crate::output::{Align, Table, bytes, fields, grouped};

/// Everything, section by section.
pub fn text(report: &Report) -> String {
    let mut sections = vec![head(report), operations(report), ports(report)];
    if report.inputs.mode == Mode::Hybrid {
        sections.push(contexts(report));
        sections.extend(prefill(report));
        sections.push(processor(report));
        sections.push(what_if(report));
    }
    sections.extend([comparisons(report), seed(report), ladder(report)]);
    sections.extend(resources(report));
    sections.push(notes(report));
    sections.join("\n")
}

fn ms(value: f64) -> String {
    format!("{value:.2}")
}

fn thousands(cycles: f64) -> String {
    format!("{:.1}", cycles / 1e3)
}

fn head(report: &Report) -> String {
    let (inputs, decode) = (&report.inputs, &report.decode);
    let parts = decode.breakdown;
    let part = |name: &str, value: f64| format!("{name} {value:.2}");
    fields(&[
        ("model", report.model.name.clone()),
        (
            "machine",
            format!(
                "{}, logic at {} MHz, {} clock(s) a beat, DDR4-{}, run-ahead {}, KV {}, {} threads",
                if inputs.mode == Mode::Seed { "seed" } else { "hybrid" },
                inputs.mhz,
                inputs.interval,
                inputs.data_rate_mts,
                if inputs.run_ahead { "on" } else { "off" },
                inputs.kv,
                inputs.processor.threads
            ),
        ),
        ("kind", report.kind.to_string()),
        (
            "decode",
            format!(
                "{:.1} tokens/s at context {}: {:.2} ms a token",
                decode.tokens_per_second, decode.context, decode.ms
            ),
        ),
        (
            "of that, ms",
            [
                part("beats", parts.compute_ms),
                part("memory", parts.stream_ms),
                part("processor", parts.processor_ms),
                part("load", parts.load_ms),
                part("hold", parts.hold_ms),
                part("drain", parts.drain_ms),
                part("other", parts.other_ms),
            ]
            .join(" + "),
        ),
        (
            "weights",
            format!(
                "{} a token at {:.2} GB/s, {:.1} % of the {:.2} that the memory allows",
                bytes(decode.weight_bytes as u64),
                decode.stream_gbps,
                100.0 * decode.stream_utilization,
                decode.stream_allowed_gbps
            ),
        ),
        (
            "bounds, ms",
            format!("{:.2} weights from memory, {:.2} a beat a clock", decode.stream_ms, decode.compute_ms),
        ),
    ])
}

fn operations(report: &Report) -> String {
    let mut table = Table::new([
        ("operation", Align::Left),
        ("calls", Align::Right),
        ("kclocks", Align::Right),
        ("beats", Align::Right),
        ("memory", Align::Right),
        ("proc.", Align::Right),
        ("load", Align::Right),
        ("hold", Align::Right),
        ("drain", Align::Right),
        ("MB", Align::Right),
    ]);
    for row in &report.decode.operations {
        table.row([
            row.operation.to_string(),
            format!("{:.0}", row.calls),
            thousands(row.cycles),
            thousands(row.compute_cycles),
            thousands(row.wait_cycles),
            thousands(row.processor_cycles),
            thousands(row.load_cycles),
            thousands(row.hold_cycles),
            thousands(row.drain_cycles),
            format!("{:.1}", row.weight_bytes / 1e6),
        ]);
    }
    table.render()
}

fn ports(report: &Report) -> String {
    let mut table = Table::new([
        ("port", Align::Left),
        ("1000 beats", Align::Right),
        ("stalled", Align::Right),
        ("busy", Align::Right),
        ("busy %", Align::Right),
        ("highest level", Align::Right),
    ]);
    for row in &report.decode.ports {
        table.row([
            format!("HP{}", row.port),
            thousands(row.beats),
            thousands(row.stall_cycles),
            thousands(row.busy_cycles),
            format!("{:.1}", 100.0 * row.busy_cycles / report.decode.cycles),
            row.max_level.to_string(),
        ]);
    }
    table.render()
}

fn contexts(report: &Report) -> String {
    let mut table = Table::new([
        ("decode", Align::Left),
        ("context", Align::Right),
        ("tokens/s", Align::Right),
        ("ms", Align::Right),
        ("processor ms", Align::Right),
        ("of the stream %", Align::Right),
    ]);
    for row in &report.contexts {
        table.row([
            format!("DDR4-{}", row.data_rate_mts),
            row.context.to_string(),
            format!("{:.1}", row.tokens_per_second),
            ms(row.ms),
            ms(row.processor_ms),
            format!("{:.1}", 100.0 * row.stream_utilization),
        ]);
    }
    table.render()
}

fn prefill(report: &Report) -> Option<String> {
    let prefill = report.prefill.as_ref()?;
    let mut text = fields(&[
        (
            "prefill",
            format!(
                "{:.0} tokens/s for {} tokens: {:.0} ms, {:.0} of them the accelerator, {:.0} the processor alone",
                prefill.tokens_per_second,
                prefill.tokens,
                prefill.ms,
                prefill.accelerator_ms,
                prefill.processor_ms
            ),
        ),
        (
            "overlapped",
            format!(
                "{:.0} tokens/s if both worked at the same time (not built)",
                prefill.overlapped_tokens_per_second
            ),
        ),
    ]);
    let mut table =
        Table::new([("prefill, processor", Align::Left), ("ms", Align::Right), ("MB", Align::Right)]);
    for part in &prefill.parts {
        table.row([
            part.task.name().to_string(),
            ms(part.ns / 1e6),
            format!("{:.1}", part.bytes as f64 / 1e6),
        ]);
    }
    text.push_str(&table.render());
    Some(text)
}

fn processor(report: &Report) -> String {
    let mut table = Table::new([
        ("processor, us a token", Align::Left),
        ("at 64", Align::Right),
        ("at 256", Align::Right),
        ("at 1024", Align::Right),
        ("1 thread", Align::Right),
        ("2", Align::Right),
        ("4", Align::Right),
        ("other model", Align::Right),
    ]);
    let us = |value: f64| format!("{value:.0}");
    let mut sums = [0.0; CONTEXTS.len() + 4];
    for row in &report.processor {
        let [one, two, _, four] = row.us_by_threads;
        let values = [
            row.us_by_context[0],
            row.us_by_context[1],
            row.us_by_context[2],
            one,
            two,
            four,
            row.us_issue_model,
        ];
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        let [a, b, c, d, e, f, g] = values.map(us);
        table.row([row.task.name().to_string(), a, b, c, d, e, f, g]);
    }
    let [a, b, c, d, e, f, g] = sums.map(us);
    table.row(["sum".to_string(), a, b, c, d, e, f, g]);
    table.render()
}

fn what_if(report: &Report) -> String {
    let mut table = Table::new([
        ("tokens/s, with one change", Align::Left),
        ("at 64", Align::Right),
        ("at 256", Align::Right),
        ("at 1024", Align::Right),
    ]);
    for row in &report.what_if {
        let [a, b, c] = row.tokens_per_second.map(|rate| format!("{rate:.1}"));
        table.row([row.change.to_string(), a, b, c]);
    }
    table.render()
}

fn comparisons(report: &Report) -> String {
    let mut table = Table::new([
        ("us a layer", Align::Left),
        ("seed, 4 cores", Align::Right),
        ("here", Align::Right),
        ("", Align::Left),
    ]);
    for row in &report.table_one {
        table.row([
            row.seed.operation.to_string(),
            format!("{:.0}", row.seed.us),
            format!("{:.1}", row.here_us),
            row.here.to_string(),
        ]);
    }
    table.render()
}

fn seed(report: &Report) -> String {
    let mut table = Table::new([
        ("the seed, tokens/s", Align::Left),
        ("published", Align::Right),
        ("model", Align::Right),
        ("error %", Align::Right),
        ("layers ms", Align::Right),
        ("ARM", Align::Right),
        ("head", Align::Right),
    ]);
    for row in &report.seed {
        table.row([
            row.build.published_as.to_string(),
            format!("{:.3}", row.build.published_tokens_per_second),
            format!("{:.3}", row.tokens_per_second),
            format!("{:+.1}", 100.0 * row.error),
            format!("{:.0}", row.layers_ms),
            format!("{:.1}", row.processor_ms),
            format!("{:.1}", row.head_ms),
        ]);
    }
    table.render()
}

fn ladder(report: &Report) -> String {
    let mut table = Table::new([
        ("from the seed to here, context 64", Align::Left),
        ("ms", Align::Right),
        ("tokens/s", Align::Right),
        ("factor", Align::Right),
    ]);
    for rung in &report.ladder {
        table.row([
            rung.change.to_string(),
            format!("{:.1}", rung.ms),
            format!("{:.2}", rung.tokens_per_second),
            format!("{:.2}", rung.factor),
        ]);
    }
    table.render()
}

/// Synthesis estimates of the whole design, if they were there when this was built.
fn resources(report: &Report) -> Option<String> {
    let resources = report.resources.as_ref()?;
    let mut table = Table::new([
        ("resources (estimate)", Align::Left),
        ("used", Align::Right),
        ("XCK26", Align::Right),
        ("%", Align::Right),
        ("seed", Align::Right),
    ]);
    for (key, used) in resources.get("total")?.as_object()? {
        let (used, part) = (used.as_f64()?, resources.get("part")?.get(key)?.as_f64()?);
        let seed = resources.get("seed_table_2").and_then(|seed| seed.get(key)?.as_u64());
        table.row([
            key.to_uppercase(),
            grouped(used as u64),
            grouped(part as u64),
            format!("{:.1}", 100.0 * used / part),
            seed.map_or("-".to_string(), grouped),
        ]);
    }
    Some(table.render())
}

fn notes(report: &Report) -> String {
    let processor = &report.inputs.processor;
    fields(&[
        (
            "processor",
            format!(
                "kernels priced by llvm-mca {} for a Cortex-A53 at {:.0} MHz over the executed instructions; caches \
                 hit, branches are predicted; the second model differs in the issue rules",
                report.inputs.kernels.llvm_mca, processor.mhz
            ),
        ),
        (
            "assumed",
            format!(
                "memory {} GB/s for the cores ({} for one), register write {} ns, read {} ns, hand-over to threads \
                 {} ns, {} ns a token outside of the kernels; nothing of this overlaps",
                processor.cluster_gbps,
                processor.thread_gbps,
                processor.register_write_ns,
                processor.register_read_ns,
                processor.handover_ns,
                processor.token_ns
            ),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::demo;
    use super::*;

    #[test]
    fn fits_80_columns_and_says_that_it_is_a_projection() {
        for mode in [Mode::Hybrid, Mode::Seed] {
            let text = text(&demo(mode));
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
            assert!(text.contains("projection"));
        }
    }
}
