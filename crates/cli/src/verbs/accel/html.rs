//! The report as one page: plots, and under them the same tables as on the terminal.

use edgewen_accel::perf::report::Report;
use edgewen_eval::report::escaped;

use super::{plot, text};

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:820px;margin:2em auto;padding:0 1em;color:#222}\
pre{font-size:12.5px;background:#f6f6f6;padding:1em;overflow-x:auto}svg{max-width:100%;height:auto}h2{margin-top:1.6em}";

const ROOFLINE: &str = "An operation above the slope of the memory takes weights that were streamed ahead while the \
    processor worked; the whole token is under it. Scores and sums of attention have the query heads of a key-value \
    head as tokens.";

/// The page. It needs nothing from anywhere else.
pub fn page(report: &Report) -> anyhow::Result<String> {
    let decode = &report.decode;
    let title =
        format!("{}: {:.1} tokens/s, projected", escaped(&report.model.name), decode.tokens_per_second);
    let json = serde_json::to_string_pretty(report)?;
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n<p>{kind}.</p>\n\
         <h2>A token at context {context}: {ms:.2} ms</h2>\n{breakdown}\n\
         <h2>Roofline</h2>\n{roofline}\n<p>{ROOFLINE}</p>\n<h2>From the seed to here</h2>\n{ladder}\n\
         <h2>Tables</h2>\n<pre>{text}</pre>\n<h2>All figures and inputs</h2>\n\
         <details><summary>JSON</summary><pre>{json}</pre></details>\n</body></html>\n",
        kind = escaped(report.kind),
        context = decode.context,
        ms = decode.ms,
        breakdown = plot::breakdown(&decode.breakdown)?,
        roofline = plot::roofline(&report.roofline)?,
        ladder = plot::ladder(&report.ladder)?,
        text = escaped(&text::text(report)),
        json = escaped(&json),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use edgewen_accel::perf::report::Mode;

    use super::super::demo;
    use super::*;

    #[test]
    fn has_every_plot_and_needs_nothing_else() {
        let page = page(&demo(Mode::Hybrid)).unwrap();
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(page.contains("projection") && page.contains("&quot;schema&quot;: 1"));
        for link in ["href=", "src=", "@import"] {
            assert!(!page.contains(link), "{link}");
        }
    }

    #[test]
    fn names_cannot_break_the_page() {
        let mut report = demo(Mode::Seed);
        report.model.name = "<script>&".to_string();
        let page = page(&report).unwrap();
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;&amp;"));
    }
}
