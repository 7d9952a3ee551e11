//! The float reference on quantized checkpoints: the logits that transformers computes with the same weights.
#![allow(clippy::unwrap_used)]

use edgewen_engine::{Batch, Forward, Logits, Reference};
use edgewen_model::Checkpoint;
use edgewen_testing::{QUANTIZED_CASES, quantized_checkpoint, quantized_expected};

#[test]
fn logits_are_those_of_the_dequantized_weights() {
    for case in QUANTIZED_CASES {
        let directory = quantized_checkpoint(case);
        let expected = quantized_expected(case);
        let mut backend = Reference::new(Checkpoint::open(directory.path()).unwrap(), 1).unwrap();
        let batch = Batch::one(0, 0, &expected.tokens);
        let mut forward = Forward::default();
        let logits = forward.run(&mut backend, &batch, Logits::All).unwrap().to_vec();
        let largest = expected.logits.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        assert_eq!(logits.len(), expected.logits.len());
        for (at, (ours, theirs)) in logits.iter().zip(&expected.logits).enumerate() {
            assert!((ours - theirs).abs() <= 2e-6 * largest, "{case} at {at}: {ours}, transformers {theirs}");
        }
        // Again, with the matrices that were kept.
        assert_eq!(forward.run(&mut backend, &batch, Logits::All).unwrap(), logits);
    }
}
