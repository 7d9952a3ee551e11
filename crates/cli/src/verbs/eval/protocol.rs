//! From flags to windows: the protocol of a measurement on a text, and how it is printed.

use std::path::Path;

use anyhow::anyhow;
use edgewen_eval::windows::{self, Document, Protocol, Window};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{ProtocolArgs, WindowsArg};
use crate::input::{self, Usage};
use crate::model::Model;
use edgewen_eval::Identity;

/// Longest window that is taken without being asked for: what results are usually published for.
const DEFAULT_CONTEXT: usize = 2048;

/// That of llama-perplexity.
const LLAMA_CPP_CONTEXT: usize = 512;

/// A text that is ready to be measured on.
pub struct Text {
    pub data: Identity,
    pub protocol: Protocol,
    pub separator: Option<String>,
    pub bos: Option<u32>,
    pub documents: Vec<Document>,
    pub windows: Vec<Window>,
}

impl Text {
    /// Reads a text and cuts it as the flags say, for a model that sees at most `most` tokens.
    pub fn read(
        path: &Path,
        arguments: &ProtocolArgs,
        limit: Option<usize>,
        model: &Model,
        most: usize,
    ) -> anyhow::Result<Self> {
        let text = input::read_text(path)?;
        let protocol = protocol(arguments, model, most)?;
        let separator = arguments.separator.clone();
        let documents = windows::documents(&text, separator.as_deref(), &model.tokenizer)?;
        let bos = windows::bos(&model.tokenizer)?;
        let mut windows = windows::cut(&documents, &protocol, bos)
            .map_err(|error| anyhow!("{}: {error}", path.display()))?;
        windows.truncate(limit.unwrap_or(usize::MAX));
        let data = Identity::of_bytes(path.display().to_string(), text.as_bytes());
        Ok(Self { data, protocol, separator, bos, documents, windows })
    }

    /// What a run must agree in to be continued.
    pub fn to_json(&self, kv: &str) -> Value {
        let mut value = serde_json::to_value(&self.protocol).unwrap_or_default();
        value["separator"] = json!(self.separator);
        value["bos"] = json!(self.bos);
        value["kv"] = json!(kv);
        value["window_count"] = json!(self.windows.len());
        value
    }
}

fn protocol(arguments: &ProtocolArgs, model: &Model, most: usize) -> anyhow::Result<Protocol> {
    let windows = arguments.windows.unwrap_or(WindowsArg::Strided);
    let usual = if windows == WindowsArg::LlamaCpp { LLAMA_CPP_CONTEXT } else { DEFAULT_CONTEXT };
    let context = arguments.context.unwrap_or(most.min(usual));
    if arguments.stride.is_some() && windows != WindowsArg::Strided {
        return Err(Usage("--stride belongs to --windows strided".to_string()).into());
    }
    if arguments.separator.is_some() && windows == WindowsArg::LlamaCpp {
        return Err(Usage(
            "--separator does not go with --windows llama-cpp: it cuts the text as one".to_string(),
        )
        .into());
    }
    let protocol = match windows {
        WindowsArg::Strided => Protocol::Strided {
            context,
            stride: arguments.stride.unwrap_or(context.saturating_sub(1)),
            // Documents of their own are compared at the same length of context; one long text is read to its end.
            first_window_only: arguments.separator.is_some() && arguments.stride.is_none(),
        },
        WindowsArg::Rolling => Protocol::Rolling { context, prefix: prefix(model)? },
        WindowsArg::LlamaCpp => Protocol::LlamaCpp { context },
    };
    protocol.check(most)?;
    Ok(protocol)
}

/// The token that stands for nothing before a text.
pub fn prefix(model: &Model) -> anyhow::Result<u32> {
    let of_tokenizer = model.tokenizer.text_prefix();
    of_tokenizer.or(model.generation.bos).or(model.generation.eos.first().copied()).ok_or_else(|| {
        anyhow!(
            "model {} names no BOS and no end token to predict a first token from: add bos_token or eos_token to \
             its tokenizer_config.json",
            model.name
        )
    })
}

/// The part of a report that says how the text was cut.
#[derive(Serialize)]
pub struct ProtocolReport {
    pub file: String,
    pub file_sha256: String,
    pub separator: Option<String>,
    pub documents: usize,
    pub window_count: usize,
    pub tokens: usize,
    pub windows: &'static str,
    pub context: usize,
    pub stride: Option<usize>,
    pub bos: Option<u32>,
    pub prefix: Option<u32>,
    pub long_documents: &'static str,
    /// Tokens of the measured documents beyond their first window, where that is the only one.
    pub tokens_left_out: usize,
}

impl ProtocolReport {
    /// Of windows that were cut like this; `tokens` were predicted.
    pub fn new(text: &Text, tokens: usize) -> Self {
        let mut report = Self {
            file: text.data.name.clone(),
            file_sha256: text.data.sha256.clone(),
            separator: text.separator.clone(),
            documents: text.windows.iter().map(|window| window.document + 1).max().unwrap_or(0),
            window_count: text.windows.len(),
            tokens,
            windows: "strided",
            context: text.protocol.context(),
            stride: None,
            bos: text.bos,
            prefix: None,
            long_documents: "continued in further windows",
            tokens_left_out: 0,
        };
        match text.protocol {
            Protocol::Strided { first_window_only: true, context, .. } => {
                report.long_documents = "cut at the context";
                let measured = text.documents.iter().take(report.documents);
                report.tokens_left_out =
                    measured.map(|document| document.tokens.len().saturating_sub(context)).sum();
            }
            Protocol::Strided { stride, .. } => report.stride = Some(stride),
            Protocol::Rolling { prefix, .. } => (report.windows, report.prefix) = ("rolling", Some(prefix)),
            Protocol::LlamaCpp { .. } => report.windows = "llama-cpp",
        }
        report
    }

    /// Lines for a person.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let bos = match (self.windows, self.prefix, self.bos) {
            (_, Some(id), _) => format!("token {id} before each document; every token is predicted"),
            ("llama-cpp", _, Some(id)) => format!("token {id} in place of the first of each window"),
            (_, _, Some(id)) => format!("token {id} before each document"),
            _ => "none; the first token of a document is not predicted".to_string(),
        };
        let stride = match (self.windows, self.stride) {
            (_, Some(stride)) => stride.to_string(),
            ("strided", None) => "none, one window a document".to_string(),
            ("rolling", None) => "none, disjoint windows".to_string(),
            _ => "none, disjoint windows; their second half is predicted".to_string(),
        };
        let left_out = match self.tokens_left_out {
            0 => String::new(),
            tokens => format!(
                ", {} tokens are left out: --stride N reads them",
                crate::output::grouped(tokens as u64)
            ),
        };
        vec![
            ("file", self.file.clone()),
            ("SHA-256", self.file_sha256.clone()),
            (
                "documents",
                self.separator.as_ref().map_or("1, no separator".to_string(), |separator| {
                    format!("{}, separated by {separator:?}", self.documents)
                }),
            ),
            ("tokens", format!("{} predicted", crate::output::grouped(self.tokens as u64))),
            ("windows", format!("{}, {}", self.window_count, self.windows)),
            ("context", format!("{}; longer documents are {}{left_out}", self.context, self.long_documents)),
            ("stride", stride),
            ("BOS", bos),
        ]
    }
}
