//! Chat templates, rendered by `minijinja` in Hugging Face's environment.

use crate::{Result, TokenizerFiles};
use serde_json::Value;

/// A checkpoint's chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {}

impl ChatTemplate {
    /// The template of chat_template.jinja or tokenizer_config.json; `None` if there is none.
    pub fn from_files(_files: &TokenizerFiles) -> Result<Option<Self>> {
        unimplemented!()
    }

    /// The text of a conversation. `messages` are objects with `role` and `content` (and `tool_calls`); `tools` is a
    /// list of function signatures.
    pub fn render(
        &self,
        _messages: &[Value],
        _tools: Option<&Value>,
        _add_generation_prompt: bool,
    ) -> Result<String> {
        unimplemented!()
    }
}
