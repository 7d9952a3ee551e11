//! Tokenizers against Hugging Face's own output, streaming against decoding in one go, and what can be wrong.
#![allow(clippy::unwrap_used)]

use edgewen_model::{Tokenizer, TokenizerFiles};
use edgewen_testing::{byte_level_tokenizer, shared};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

const MODELS: [&str; 4] =
    ["stories260k-qwen2", "stories260k-qwen2-pad", "babyllama361-qwen2-bias", "babyllama361-qwen2-bias-f32"];

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> String {
    let mut stream = tokenizer.stream(skip_special);
    let mut text: String = ids.iter().filter_map(|id| stream.push(*id)).collect();
    text.extend(stream.finish());
    text
}

fn lines(path: PathBuf) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn qwen2_5_gives_the_ids_pieces_and_texts_of_transformers() {
    let (Some(dir), Some(refs)) =
        (shared("data/third-party/tokenizer"), shared("data/own/qwen2.5_tokenizer_refs.jsonl"))
    else {
        return;
    };
    let tokenizer = Tokenizer::from_dir(&dir).unwrap();
    tokenizer.check_vocabulary(151_936).unwrap();
    let refs = lines(refs);
    assert_eq!(refs.len(), 76);
    for line in refs {
        let text = line["text"].as_str().unwrap();
        let expected = ids(&line["ids"]);
        assert_eq!(tokenizer.encode(text, true).unwrap(), expected, "{text:?}");
        let pieces: Vec<Value> = expected.iter().map(|id| json!(tokenizer.piece(*id))).collect();
        assert_eq!(Value::from(pieces), line["tokens"], "{text:?}");
        for (key, skip) in [("decoded", false), ("decoded_skip_special", true)] {
            assert_eq!(tokenizer.decode(&expected, skip).unwrap(), line[key], "{text:?}");
            assert_eq!(streamed(&tokenizer, &expected, skip), line[key], "{text:?} streamed");
        }
    }
}

#[test]
fn the_quick_loader_makes_the_tokenizer_that_the_crate_makes() {
    let Some(dir) = shared("data/third-party") else { return };
    let mut dirs = vec![dir.join("tokenizer")];
    for model in MODELS {
        dirs.extend([dir.join("models").join(model), dir.join("models").join(model).join("qwen2tok")]);
    }
    let samples = [
        "",
        " ",
        "Once upon a time,  there\n\nwas 123 \u{1f40b}.",
        "caf\u{e9} \u{4f60}\u{597d}<s>x</s>",
        "\u{0}\u{7f}",
    ];
    for dir in dirs {
        let own = Tokenizer::from_dir(&dir).unwrap();
        let crates = tokenizers::Tokenizer::from_file(dir.join("tokenizer.json")).unwrap();
        assert_eq!(own.vocab_size(), crates.get_vocab_size(true), "{}", dir.display());
        for id in 0..own.vocab_size() as u32 {
            assert_eq!(own.piece(id), crates.id_to_token(id));
        }
        for text in samples {
            assert_eq!(
                own.encode(text, true).unwrap(),
                crates.encode(text, true).unwrap().get_ids(),
                "{text:?}"
            );
            assert_eq!(
                own.encode(text, false).unwrap(),
                crates.encode(text, false).unwrap().get_ids(),
                "{text:?}"
            );
        }
    }
}

#[test]
fn llama_kind_tokenizers_give_the_reference_texts() {
    let Some(reference) = shared("data/third-party/reference/model_refs.json") else { return };
    let reference: Value = serde_json::from_slice(&fs::read(reference).unwrap()).unwrap();
    let stories = shared("data/third-party/eval/tinystories/tinystories_v2_valid_excerpt.txt").unwrap();
    let stories = fs::read_to_string(stories).unwrap();
    for model in MODELS {
        let Some(expected) = reference.get(model) else { continue };
        let dir = shared(&format!("data/third-party/models/{model}")).unwrap();
        let tokenizer = Tokenizer::from_dir(&dir).unwrap();
        let greedy = ids(&expected["greedy_ids"]);
        let text = expected["greedy_text"].as_str().unwrap();
        assert_eq!(tokenizer.decode(&greedy, false).unwrap(), text, "{model}");
        assert_eq!(streamed(&tokenizer, &greedy, false), text, "{model} streamed");
        // The reference ids are the beginning of the first story after BOS.
        let first = stories.split("<|endoftext|>").next().unwrap().trim();
        let encoded = tokenizer.encode(first, true).unwrap();
        let start = ids(&expected["ref_ids"]);
        assert_eq!(encoded[..start.len()], start, "{model}");

        // The Qwen2 kind has the same ids on ASCII text; its BOS and the first space are part of the text.
        let qwen = Tokenizer::from_dir(&dir.join("qwen2tok")).unwrap();
        let ascii: String = first.chars().filter(char::is_ascii).collect();
        assert_eq!(
            qwen.encode(&format!("<s> {ascii}"), true).unwrap(),
            tokenizer.encode(&ascii, true).unwrap()
        );
    }
}

static BYTE_LEVEL: LazyLock<Tokenizer> = LazyLock::new(|| from_json(&byte_level_tokenizer(), None).unwrap());
static LLAMA: LazyLock<Tokenizer> = LazyLock::new(|| from_json(&llama_tokenizer(), None).unwrap());

/// The byte-level decoder as a part of a sequence.
static NESTED: LazyLock<Tokenizer> = LazyLock::new(|| {
    let mut json = byte_level_tokenizer();
    json["decoder"] = json!({"type": "Sequence", "decoders": [json["decoder"], {"type": "Fuse"}]});
    from_json(&json, None).unwrap()
});

fn from_json(json: &Value, config: Option<Value>) -> edgewen_model::Result<Tokenizer> {
    Tokenizer::from_files(&TokenizerFiles {
        tokenizer_json: json.to_string().into_bytes(),
        tokenizer_config: config.map(|config| config.to_string()),
        chat_template: None,
    })
}

/// A Llama-kind tokenizer without merges: specials, 256 byte tokens, a few characters.
fn llama_tokenizer() -> Value {
    let mut pieces = vec!["<unk>".to_owned(), "<s>".to_owned(), "</s>".to_owned()];
    pieces.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    pieces.extend("\u{2581}abcde\u{e9}".chars().map(String::from));
    let vocab: Value = pieces.iter().zip(0..).map(|(piece, id)| (piece.clone(), Value::from(id))).collect();
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u{2581}"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"}]},
        "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocab, "merges": []},
    })
}

proptest! {
    #[test]
    fn streaming_any_ids_equals_decoding_them(ids in prop::collection::vec(0u32..270, 0..40), skip: bool) {
        for tokenizer in [&*BYTE_LEVEL, &*LLAMA, &*NESTED] {
            prop_assert_eq!(streamed(tokenizer, &ids, skip), tokenizer.decode(&ids, skip).unwrap());
        }
    }

    #[test]
    fn streaming_text_gives_it_back(text in "(?s).{0,30}") {
        let ids = BYTE_LEVEL.encode(&text, false).unwrap();
        let expected = BYTE_LEVEL.decode(&ids, false).unwrap();
        prop_assert_eq!(streamed(&BYTE_LEVEL, &ids, false), expected);
    }
}

#[test]
fn a_character_is_never_split() {
    let mut stream = BYTE_LEVEL.stream(false);
    let whale: Vec<Option<String>> = "\u{1f40b}".bytes().map(|byte| stream.push(u32::from(byte))).collect();
    assert_eq!(whale, [None, None, None, Some("\u{1f40b}".to_owned())]);
    assert_eq!(stream.push(0xe4), None);
    assert_eq!(stream.finish().as_deref(), Some("\u{fffd}"));
    assert_eq!(stream.finish(), None);
}

#[test]
fn the_bos_token_of_the_configuration_is_added_once() {
    let config = json!({"add_bos_token": true, "bos_token": {"content": "<s>"}});
    let plain = from_json(&llama_tokenizer(), None).unwrap();
    let without = plain.encode("a", true).unwrap();
    let tokenizer = from_json(&llama_tokenizer(), Some(config.clone())).unwrap();
    assert_eq!(tokenizer.encode("a", true).unwrap(), [&[1], without.as_slice()].concat());
    assert_eq!(tokenizer.encode("a", false).unwrap(), without);
    let mut json = llama_tokenizer();
    json["post_processor"] = json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}});
    let both = from_json(&json, Some(config)).unwrap();
    assert_eq!(both.encode("a", true).unwrap(), tokenizer.encode("a", true).unwrap());
}

#[test]
fn padding_and_truncation_of_the_file_are_ignored() {
    let mut json = byte_level_tokenizer();
    json["truncation"] =
        json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    json["padding"] = json!({"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "!"});
    assert_eq!(from_json(&json, None).unwrap().encode("abc", true).unwrap(), [97, 98, 99]);
}

#[test]
fn special_tokens_are_known() {
    assert!(BYTE_LEVEL.is_special(256) && !BYTE_LEVEL.is_special(97) && !BYTE_LEVEL.is_special(9999));
    assert_eq!(BYTE_LEVEL.id("<|endoftext|>"), Some(256));
    assert_eq!((BYTE_LEVEL.id("nothing"), BYTE_LEVEL.piece(9999)), (None, None));
}

#[test]
fn a_directory_with_only_tokenizer_files_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.json"), byte_level_tokenizer().to_string()).unwrap();
    assert_eq!(Tokenizer::from_dir(dir.path()).unwrap().encode("a", true).unwrap(), [97]);
}

#[test]
fn what_is_wrong_with_a_tokenizer_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
    let problem = |parts: &[&str]| {
        let message = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
    };
    problem(&["no tokenizer.json in", dir.path().to_str().unwrap(), "download"]);
    file("vocab.json", "{}");
    problem(&["no tokenizer.json in", "vocab.json", "save_pretrained"]);
    file("tokenizer.json", "version https://git-lfs.github.com/spec/v1\n");
    problem(&["tokenizer.json", "Git-LFS pointer", "git lfs pull"]);
    for damaged in
        ["", "{\"version\": \"1.0\"", "[]", "{\"version\": \"1.0\", \"model\": {\"type\": \"Magic\"}}"]
    {
        file("tokenizer.json", damaged);
        problem(&["tokenizer.json", "not a usable tokenizer", "download"]);
    }
    file("tokenizer.json", &byte_level_tokenizer().to_string());
    file("tokenizer_config.json", "{");
    problem(&["tokenizer_config.json", "EOF"]);
    file("tokenizer_config.json", r#"{"add_bos_token": true, "bos_token": "<start>"}"#);
    problem(&["tokenizer.json", "\"<start>\"", "tokenizer_config.json", "one model"]);
}

#[test]
fn ids_beyond_the_embedding_are_refused() {
    BYTE_LEVEL.check_vocabulary(257).unwrap();
    let message = BYTE_LEVEL.check_vocabulary(256).unwrap_err().to_string();
    for part in ["<|endoftext|>", "id 256", "256 rows", "0 to 255", "different models"] {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}
