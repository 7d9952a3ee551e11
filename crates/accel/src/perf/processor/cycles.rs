//! Cycles of the kernels on a Cortex-A53, from the committed figures of `tools/processor-cycles.sh`.
//!
//! Each kernel was priced at a few sizes; between and beyond them the cost is taken as linear, which a test checks on
//! the sizes that the line does not go through.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// What the script wrote.
static FIGURES: LazyLock<Figures> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../data/processor-cycles.json"))
        .expect("a test reads the committed file")
});

/// Elements of a head in the probes.
const PROBE_HEAD_DIM: f64 = 64.0;

/// The committed figures.
pub fn figures() -> &'static Figures {
    &FIGURES
}

/// Which of the two prices counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// `llvm-mca -mcpu=cortex-a53` over the executed instructions: the higher of the two, and the default.
    Mca,
    /// The script's own in-order model with published issue rules.
    Issue,
}

/// Figures of all probes, and where they come from.
#[derive(Debug, Deserialize)]
pub struct Figures {
    /// What made the file.
    pub command: String,
    /// Compiler of the kernels.
    pub compiler: String,
    /// Version of llvm-mca.
    pub llvm_mca: String,
    probes: BTreeMap<String, Vec<Probe>>,
}

#[derive(Debug, Deserialize)]
struct Probe {
    parameters: Vec<u32>,
    mca: u64,
    issue: u64,
}

impl Probe {
    fn cycles(&self, model: Model) -> f64 {
        match model {
            Model::Mca => self.mca as f64,
            Model::Issue => self.issue as f64,
        }
    }
}

/// A cost that grows with a size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Line {
    /// Cycles at size zero.
    pub fixed: f64,
    /// Cycles for each more.
    pub each: f64,
}

impl Line {
    /// Cycles at a size.
    pub fn at(self, size: f64) -> f64 {
        self.fixed + self.each * size
    }

    /// Through the last two points: the largest sizes are the nearest to a model's.
    fn through(points: &[(f64, f64)]) -> Self {
        let [.., a, b] = points else { panic!("a line needs two points") };
        let each = (b.1 - a.1) / (b.0 - a.0);
        Self { fixed: b.1 - each * b.0, each }
    }
}

impl Figures {
    fn probes(&self, name: &str) -> &[Probe] {
        self.probes.get(name).unwrap_or_else(|| panic!("no probe {name} among the figures"))
    }

    /// Cost of a probe that has one parameter.
    ///
    /// # Panics
    /// If there is no such probe.
    pub fn line(&self, name: &str, model: Model) -> Line {
        let points: Vec<_> = self
            .probes(name)
            .iter()
            .map(|probe| (f64::from(probe.parameters[0]), probe.cycles(model)))
            .collect();
        Line::through(&points)
    }

    /// Cycles of one tile of attention: `rows` queries that share a key-value head, over `positions`.
    ///
    /// Rows between two probes are interpolated. A head of other than 64 elements costs in proportion, which is a
    /// little too much for a larger one, whose softmax does not grow.
    ///
    /// # Panics
    /// If there is no such probe.
    pub fn attention(&self, name: &str, model: Model, rows: u32, positions: u32, head_dim: u32) -> f64 {
        let probes = self.probes(name);
        let line = |rows: u32| {
            let points: Vec<_> = probes
                .iter()
                .filter(|probe| probe.parameters[0] == rows)
                .map(|probe| (f64::from(probe.parameters[1]), probe.cycles(model)))
                .collect();
            Line::through(&points)
        };
        let positions = f64::from(positions);
        let known = |above: bool| {
            let all = probes.iter().map(|probe| probe.parameters[0]);
            if above { all.filter(|&r| rows <= r).min() } else { all.filter(|&r| r <= rows).max() }
        };
        let most = probes.iter().map(|probe| probe.parameters[0]).max().unwrap_or(1);
        let cycles = match (known(false), known(true)) {
            (Some(below), Some(above)) if below < above => {
                let share = f64::from(rows - below) / f64::from(above - below);
                line(below).at(positions) * (1.0 - share) + line(above).at(positions) * share
            }
            (_, Some(same)) => line(same).at(positions),
            _ => line(most).at(positions) * f64::from(rows) / f64::from(most),
        };
        cycles * f64::from(head_dim) / PROBE_HEAD_DIM
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_committed_figures_have_every_probe() {
        for name in [
            "rms_norm",
            "quantize",
            "silu_mul",
            "add",
            "rope",
            "append_f16",
            "append_int8",
            "embedding_row",
            "linear_block",
            "dense_f16_16_rows",
            "weigh",
            "add_scores",
            "add_values",
        ] {
            assert!(figures().line(name, Model::Mca).each > 0.0, "{name}");
        }
        assert_eq!(figures().command, "tools/processor-cycles.sh");
    }

    /// The first of three sizes is not used for the line, so it says how linear the cost is.
    #[test]
    fn costs_are_linear() {
        for model in [Model::Mca, Model::Issue] {
            for (name, probes) in &figures().probes {
                let groups =
                    probes.chunk_by(|a, b| a.parameters.len() == 1 || a.parameters[0] == b.parameters[0]);
                for group in groups {
                    let size = |probe: &Probe| f64::from(*probe.parameters.last().unwrap());
                    let points: Vec<_> =
                        group.iter().map(|probe| (size(probe), probe.cycles(model))).collect();
                    let (at, cycles) = points[0];
                    let line = Line::through(&points).at(at);
                    let tolerance = match name.as_str() {
                        // These take four, two and one heads at a time and are no line. The model has 7 heads or
                        // parts of 4: both were measured.
                        "add_scores" | "add_values" => {
                            assert_eq!((points[1].0, points[2].0), (4.0, 7.0));
                            continue;
                        }
                        // A single token is cut into tasks: the largest size has one more than the others.
                        "quantize" | "silu_mul" => 0.05,
                        _ => 0.03,
                    };
                    assert!(
                        (line / cycles - 1.0).abs() < tolerance,
                        "{name} {at}: {cycles}, the line says {line}"
                    );
                }
            }
        }
    }

    /// The two models differ in what they leave out; where they disagree by more the figures deserve no trust. For
    /// code that mixes scalars and vectors llvm-mca is the more cautious one, since it lets nothing end out of order.
    #[test]
    fn the_two_models_agree_on_attention() {
        for (name, least) in [("attention_f16", 0.95), ("attention_int8", 0.65)] {
            for rows in [4, 7] {
                let mca = figures().attention(name, Model::Mca, rows, 1024, 64);
                let issue = figures().attention(name, Model::Issue, rows, 1024, 64);
                assert!((least..1.05).contains(&(issue / mca)), "{name} {rows}: {mca} and {issue}");
            }
        }
    }

    #[test]
    fn attention_grows_with_rows_positions_and_head() {
        let cost =
            |rows, positions, head| figures().attention("attention_f16", Model::Mca, rows, positions, head);
        assert!(cost(4, 64, 64) < cost(4, 80, 64));
        assert!(cost(12, 64, 64) < cost(16, 64, 64) && cost(8, 64, 64) < cost(12, 64, 64));
        assert_eq!(cost(4, 64, 128), 2.0 * cost(4, 64, 64));
    }
}
