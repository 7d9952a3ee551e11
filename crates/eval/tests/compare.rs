//! Several models in one pass against each of them alone.
#![allow(clippy::unwrap_used)]

mod common;

use common::{documents, model, watched};
use edgewen_engine::Reference as Model;
use edgewen_eval::compare::{LayerError, compare};
use edgewen_eval::kl::{Subject, measure};
use edgewen_eval::reference_logits::Reference;
use edgewen_eval::windows::{Protocol, Window, cut};
use edgewen_eval::{Error, Run};
use edgewen_model::Checkpoint;
use edgewen_testing::conformance::token_ids;
use edgewen_testing::{TinySpec, tiny_checkpoint};

fn other(spec: TinySpec) -> (tempfile::TempDir, Model) {
    let directory = tiny_checkpoint(&TinySpec { max_position: 700, seed: 5, ..spec });
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    (directory, Model::new(checkpoint, 1).unwrap())
}

/// The second text's predictions begin behind its first forward pass of 512 tokens.
fn windows() -> Vec<Window> {
    let mut windows = cut(
        &documents(&[&token_ids(40, 272, 1), &token_ids(600, 272, 2)]),
        &Protocol::Strided { context: 650, stride: 300, first_window_only: false },
        None,
    )
    .unwrap();
    windows.last_mut().unwrap().scored = 540;
    windows
}

#[test]
fn gives_the_figures_of_each_model_alone() {
    let ((_a, mut reference), (_b, mut wrong)) =
        (model(), other(TinySpec { hidden: 32, ..TinySpec::default() }));
    let (_c, mut same) = model();
    let windows = windows();
    let mut alone = |backend: &mut Model| {
        let (model, reference) =
            (Subject { name: "model", backend }, Subject { name: "reference", backend: &mut reference });
        let reference = Reference::Model(reference);
        watched(|watch| measure(model, reference, &windows, &mut Run::in_memory(), watch, 1)).unwrap()
    };
    let expected = [alone(&mut same), alone(&mut wrong)];
    let models =
        vec![Subject { name: "same", backend: &mut same }, Subject { name: "wrong", backend: &mut wrong }];
    let subject = Subject { name: "reference", backend: &mut reference };
    let found = watched(|watch| compare(subject, models, &windows, watch, 2)).unwrap();
    assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["same", "wrong"]);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.statistics, expected);
    }
    assert!(found[0].layers.iter().all(|layer| *layer == LayerError::default()));
    // The outputs of another random model have nothing to do with these: about the energy of both.
    for layer in &found[1].layers {
        for error in [layer.attention, layer.mlp] {
            assert!((0.5..20.0).contains(&error), "{error}");
        }
    }
}

#[test]
fn models_of_another_shape_are_refused_by_name() {
    let ((_a, mut reference), windows) = (model(), windows());
    let (_b, mut wide) = other(TinySpec { hidden: 64, ..TinySpec::default() });
    let subject = Subject { name: "reference", backend: &mut reference };
    let models = vec![Subject { name: "wide", backend: &mut wide }];
    let error = watched(|watch| compare(subject, models, &windows, watch, 1)).unwrap_err();
    assert!(matches!(error, Error::Incomparable { .. }));
    let message = error.to_string();
    assert!(message.contains("wide and reference") && message.contains("hidden states"), "{message}");
}
