//! `edgewen eval wnli`: the Winograd schemas of GLUE, by two protocols.

use edgewen_eval::wnli::{self, Protocol};

use super::tasks::{self, Asked};
use crate::args::{ProtocolArg, WnliArgs};
use crate::model::Model;
use crate::output;

/// Measures and prints.
pub fn run(arguments: &WnliArgs) -> anyhow::Result<()> {
    let bytes = tasks::read_bytes(&arguments.file)?;
    // The file is checked before the model is loaded, by both protocols' rules, which are the same.
    wnli::read(&arguments.file, &bytes, &[Protocol::LmEval])?;
    let mut model = Model::load(&arguments.model, &arguments.context, &arguments.compute)?;
    let template = model.chat_template()?;
    let protocols = match (arguments.protocol, &template) {
        (Some(ProtocolArg::LmEval), _) => vec![Protocol::LmEval],
        (Some(ProtocolArg::Aicas), _) => vec![Protocol::Aicas],
        (None, None) => {
            output::note("the model has no chat template: only the protocol lm-eval is measured");
            vec![Protocol::LmEval]
        }
        (Some(ProtocolArg::Both) | None, _) => vec![Protocol::LmEval, Protocol::Aicas],
    };
    if template.is_none() && protocols.contains(&Protocol::Aicas) {
        return Err(crate::model::no_template(&model.name));
    }
    let trials = wnli::read(&arguments.file, &bytes, &protocols)?;
    let names = protocols.iter().map(|protocol| protocol.name()).collect::<Vec<_>>().join("+");
    let asked = Asked {
        kind: "wnli",
        protocol: serde_json::json!({ "task": "wnli", "protocols": names }),
        text: protocols.iter().map(|protocol| protocol.describe()).collect(),
        // A row is one trial a protocol.
        limit: arguments.run.limit.map(|rows| rows.saturating_mul(protocols.len())),
        trials,
        template,
    };
    let path = &arguments.file;
    tasks::measure(&mut model, &arguments.model.model, path, &bytes, asked, &arguments.run)
}
