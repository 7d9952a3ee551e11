//! What the benches share.

// Every bench is a program of its own and uses some of this.
#![allow(dead_code)]

use edgewen_rtl::{Builder, Model};

/// Builds the module, or says why the test is skipped. With `CI=true` nothing is skipped.
pub fn model(top: &str, parameters: &[(&str, &str)]) -> Option<Model> {
    let builder = Model::builder(top);
    start(&parameters.iter().fold(builder, |builder, (name, value)| builder.parameter(name, value)))
}

/// [`model`] for a builder with settings of its own.
pub fn start(builder: &Builder) -> Option<Model> {
    match builder.build() {
        Ok(model) => Some(model),
        Err(error) if error.is_missing_tool() && std::env::var("CI").as_deref() != Ok("true") => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
