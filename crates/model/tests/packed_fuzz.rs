//! Damage anywhere in a packed file: never a panic, and never unnoticed.
#![allow(clippy::unwrap_used)]

mod packed_support;

use edgewen_model::packed::PackedFile;
use packed_support::{Kinds, Sample, change_metadata};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| Sample::write(&Kinds::default()));
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| SAMPLE.bytes());
static METADATA: LazyLock<Value> = LazyLock::new(|| SAMPLE.metadata());

/// Uses everything of a file that opens; whether it opened and verified.
fn is_accepted(bytes: Vec<u8>) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.ewn");
    std::fs::write(&path, bytes).unwrap();
    let Ok(file) = PackedFile::open(&path) else { return false };
    for entry in file.tensors() {
        // Errors are fine here; reading out of bounds is not.
        drop((file.matrix(&entry.name), file.dense(&entry.name), file.vector(&entry.name)));
    }
    let tokenizer = file.tokenizer().is_ok() && file.chat_template().is_ok();
    file.verify().unwrap().is_ok() && tokenizer
}

/// JSON pointers to everything in a value.
fn pointers(value: &Value, at: &str, list: &mut Vec<String>) {
    list.push(at.to_owned());
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, inner)| pointers(inner, &format!("{at}/{key}"), list))
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, inner)| pointers(inner, &format!("{at}/{index}"), list));
        }
        _ => {}
    }
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<u64>().prop_map(Value::from),
        (0u64..200).prop_map(Value::from),
        any::<f64>().prop_map(|x| json!(x)),
        any::<bool>().prop_map(Value::from),
        "[a-z0-9_.]{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([u64::MAX, u64::MAX])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_changed_byte_is_noticed(place in any::<prop::sample::Index>(), change in 1u8..) {
        let mut bytes = BYTES.clone();
        let at = place.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(!is_accepted(bytes), "byte {at}");
    }

    #[test]
    fn a_changed_header_is_noticed(at in 0usize..64, change in 1u8..) {
        let mut bytes = BYTES.clone();
        bytes[at] ^= change;
        prop_assert!(!is_accepted(bytes), "byte {at}");
    }

    #[test]
    fn a_truncated_file_is_noticed(place in any::<prop::sample::Index>()) {
        let length = place.index(BYTES.len());
        prop_assert!(!is_accepted(BYTES[..length].to_vec()), "{length} bytes");
    }

    #[test]
    fn no_metadata_makes_the_reader_panic(place in any::<prop::sample::Index>(), value in odd_value()) {
        let mut places = Vec::new();
        pointers(&METADATA, "", &mut places);
        let mut bytes = BYTES.clone();
        change_metadata(&mut bytes, |json| *json.pointer_mut(&places[place.index(places.len())]).unwrap() = value);
        // Informative fields may change unnoticed; that nothing panics is the point.
        is_accepted(bytes);
    }
}
