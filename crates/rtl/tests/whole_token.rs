//! Whole tokens: every linear layer of a model on the simulated RTL, with the bits of the CPU.

mod common;
#[path = "common/system.rs"]
mod system;

use std::sync::Arc;

use edgewen_accel::host::HostOptions;
use edgewen_engine::Backend;
use edgewen_model::packed::PackedFile;
use edgewen_testing::fixture;
use system::{accelerator, cpu, generate, generate_top, options};

fn demo() -> Arc<PackedFile> {
    Arc::new(PackedFile::open(&fixture("demo/demo.ewn")).unwrap())
}

#[test]
fn the_demo_model_generates_the_tokens_of_the_cpu() {
    let file = demo();
    let Some(mut rtl) = accelerator(&file, &options(None), HostOptions::default()) else { return };
    let prompt: Vec<u32> = (1..20).collect();
    let start = std::time::Instant::now();
    let expected = generate(&mut cpu(&file), &prompt, 32).unwrap();
    let found = generate(&mut rtl, &prompt, 32).unwrap();
    eprintln!("{:?} {:?} cycles", start.elapsed(), rtl.driver().device().cycles());
    assert_eq!(found.tokens, expected.tokens);
    assert!(found == expected, "the logits have the same bits");
    let expected = generate_top(&mut cpu(&file), &prompt, 4, 20).unwrap();
    assert_eq!(generate_top(&mut rtl, &prompt, 4, 20).unwrap(), expected);
    assert_eq!(rtl.config().vocab_size, file.config().vocab_size);
}
