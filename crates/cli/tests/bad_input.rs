//! Files that are not what they should be: each gives exit code 1 and a message that names the file and what is wrong.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{Scratch, edit_bytes, edit_json};
use edgewen_testing::TinySpec;
use serde_json::{Value, json};

const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 988097824\n";

/// A checkpoint, what is done to it, and words of the message.
struct Case {
    name: &'static str,
    damage: fn(&Path),
    words: &'static [&'static str],
}

fn weights(dir: &Path) -> std::path::PathBuf {
    dir.join("model.safetensors")
}

/// What is done to the bytes of a file.
type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);

/// Rewrites the safetensors header; the data stay as they are.
fn edit_header(path: &Path, change: impl FnOnce(&mut Value)) {
    edit_bytes(path, |bytes| {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        change(&mut header);
        let header = header.to_string();
        let mut changed = (header.len() as u64).to_le_bytes().to_vec();
        changed.extend_from_slice(header.as_bytes());
        changed.extend_from_slice(&bytes[8 + length..]);
        *bytes = changed;
    });
}

/// Puts bf16 `bits` at element `index` of a tensor.
fn poke(path: &Path, tensor: &str, index: usize, bits: u16) {
    edit_bytes(path, |bytes| {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let start = header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
        let at = 8 + length + start + 2 * index;
        bytes[at..at + 2].copy_from_slice(&bits.to_le_bytes());
    });
}

const CASES: &[Case] = &[
    Case { name: "no config", damage: |dir| remove(&dir.join("config.json")), words: &["config.json"] },
    Case {
        name: "config is not JSON",
        damage: |dir| std::fs::write(dir.join("config.json"), "{").unwrap(),
        words: &["config.json"],
    },
    Case {
        name: "not a Qwen2 model",
        damage: |dir| {
            edit_json(&dir.join("config.json"), |config| {
                config["model_type"] = json!("llama");
                config["architectures"] = json!(["LlamaForCausalLM"]);
            })
        },
        words: &["config.json", "llama"],
    },
    Case {
        name: "hidden size 0",
        damage: |dir| edit_json(&dir.join("config.json"), |config| config["hidden_size"] = json!(0)),
        words: &["config.json", "hidden_size"],
    },
    Case {
        name: "heads that do not divide",
        damage: |dir| edit_json(&dir.join("config.json"), |config| config["num_key_value_heads"] = json!(3)),
        words: &["config.json"],
    },
    Case {
        name: "shape differs from the configuration",
        damage: |dir| edit_json(&dir.join("config.json"), |config| config["intermediate_size"] = json!(192)),
        words: &["model.safetensors", "mlp.", "192", "128"],
    },
    Case {
        name: "more layers than tensors",
        damage: |dir| edit_json(&dir.join("config.json"), |config| config["num_hidden_layers"] = json!(3)),
        words: &["layers.2."],
    },
    Case { name: "no weights", damage: |dir| remove(&weights(dir)), words: &["safetensors"] },
    Case {
        name: "Git LFS pointer",
        damage: |dir| std::fs::write(weights(dir), LFS_POINTER).unwrap(),
        words: &["model.safetensors", "LFS", "git lfs pull"],
    },
    Case {
        name: "truncated weights",
        damage: |dir| edit_bytes(&weights(dir), |bytes| bytes.truncate(bytes.len() - 100)),
        words: &["model.safetensors", "bytes"],
    },
    Case {
        name: "overlong weights",
        damage: |dir| edit_bytes(&weights(dir), |bytes| bytes.extend_from_slice(&[0; 10])),
        words: &["model.safetensors", "bytes"],
    },
    Case {
        name: "empty weights",
        damage: |dir| std::fs::write(weights(dir), b"").unwrap(),
        words: &["model.safetensors"],
    },
    Case {
        name: "header longer than the file",
        damage: |dir| edit_bytes(&weights(dir), |bytes| bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes())),
        words: &["model.safetensors", "header"],
    },
    Case {
        name: "tensor absent",
        damage: |dir| {
            edit_header(&weights(dir), |header| {
                let tensor = header.as_object_mut().unwrap().remove("model.norm.weight").unwrap();
                header["model.norm.other"] = tensor;
            })
        },
        words: &["model.norm.weight"],
    },
    Case {
        name: "unknown dtype",
        damage: |dir| {
            edit_header(&weights(dir), |header| {
                header["model.norm.weight"]["dtype"] = json!("I16");
            })
        },
        words: &["model.norm.weight", "I16"],
    },
    Case {
        name: "NaN weight",
        damage: |dir| poke(&weights(dir), "model.layers.1.mlp.down_proj.weight", 5, 0x7fc0),
        words: &["model.layers.1.mlp.down_proj.weight", "5"],
    },
    Case {
        name: "infinite weight",
        damage: |dir| poke(&weights(dir), "model.layers.0.self_attn.k_proj.weight", 7, 0x7f80),
        words: &["model.layers.0.self_attn.k_proj.weight", "7"],
    },
    Case {
        name: "NaN in the embedding",
        damage: |dir| poke(&weights(dir), "model.embed_tokens.weight", 3, 0xffc0),
        words: &["model.embed_tokens.weight", "3"],
    },
    Case {
        name: "no tokenizer",
        damage: |dir| remove(&dir.join("tokenizer.json")),
        words: &["tokenizer.json"],
    },
    Case {
        name: "tokenizer is not a tokenizer",
        damage: |dir| std::fs::write(dir.join("tokenizer.json"), "[]").unwrap(),
        words: &["tokenizer.json"],
    },
    Case {
        name: "token ids beyond the embedding",
        damage: |dir| {
            edit_json(&dir.join("tokenizer.json"), |tokenizer| {
                tokenizer["model"]["vocab"]["A"] = json!(5000);
            })
        },
        words: &["5000", "272"],
    },
];

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

#[test]
fn quantize_refuses_bad_checkpoints_and_leaves_nothing() {
    for case in CASES {
        let scratch = Scratch::new();
        let checkpoint = scratch.checkpoint("bad", &TinySpec::default());
        (case.damage)(&checkpoint);
        println!("{}", case.name);
        for method in ["rtn", "awq"] {
            let arguments =
                ["quantize", "bad", "-o", "x.ewn", "--method", method, "--calibration-tokens", "512"];
            scratch.run(&arguments).fails_with(case.words);
            assert_eq!(scratch.names(), ["bad"], "{}", case.name);
        }
    }
}

#[test]
fn a_missing_shard_is_named() {
    let scratch = Scratch::new();
    let checkpoint = scratch.checkpoint("bad", &TinySpec { shards: 3, ..TinySpec::default() });
    remove(&checkpoint.join("model-00002-of-00003.safetensors"));
    for arguments in [&["quantize", "bad", "-o", "x.ewn"][..], &["generate", "--model", "bad", "a"]] {
        scratch.run(arguments).fails_with(&["model-00002-of-00003.safetensors"]);
    }
}

#[test]
fn running_a_bad_checkpoint_fails_in_the_same_words() {
    for case in CASES.iter().filter(|case| !case.name.contains("NaN") && !case.name.contains("infinite")) {
        let scratch = Scratch::new();
        (case.damage)(&scratch.checkpoint("bad", &TinySpec::default()));
        println!("{}", case.name);
        scratch.run(&["generate", "--model", "bad", "a"]).fails_with(case.words);
    }
}

#[test]
fn damaged_packed_files_are_refused() {
    let scratch = Scratch::new();
    let path = scratch.packed("good.ewn", &TinySpec::default());
    let good = std::fs::read(path).unwrap();
    let damaged = |change: Damage<'_>| {
        let mut bytes = good.clone();
        change(&mut bytes);
        scratch.write("bad.ewn", bytes);
        ["inspect bad.ewn", "generate --model bad.ewn a", "tokenize --model bad.ewn a"]
            .map(|line| scratch.run(&line.split(' ').collect::<Vec<_>>()))
    };
    let cases: [(Damage<'_>, &[&str]); 8] = [
        (&|bytes| bytes[0] = b'X', &["bad.ewn", "not"]),
        (&|bytes| bytes.clear(), &["bad.ewn"]),
        (&|bytes| bytes.truncate(40), &["bad.ewn"]),
        (&|bytes| bytes[8] = 99, &["bad.ewn", "version 99"]),
        (&|bytes| bytes[12] ^= 64, &["bad.ewn", "layout"]),
        (&|bytes| bytes.truncate(bytes.len() - 4096), &["bad.ewn", "bytes"]),
        (&|bytes| bytes.push(0), &["bad.ewn", "bytes"]),
        // A bit of the metadata.
        (&|bytes| bytes[100] ^= 1, &["bad.ewn", "SHA-256"]),
    ];
    for (index, (change, words)) in cases.iter().enumerate() {
        println!("case {index}");
        for ran in damaged(change) {
            ran.fails_with(words);
        }
    }
}

#[test]
fn verify_names_the_tensor_with_a_flipped_bit() {
    let scratch = Scratch::new();
    scratch.packed("model.ewn", &TinySpec::default());
    let contents = scratch.run(&["inspect", "model.ewn", "--json"]).succeeds().json();
    scratch.run(&["inspect", "model.ewn", "--verify"]).succeeds();
    for tensor in contents["tensors"].as_array().unwrap() {
        let name = tensor["name"].as_str().unwrap();
        let at = (tensor["offset"].as_u64().unwrap() + tensor["bytes"].as_u64().unwrap() / 2) as usize;
        edit_bytes(&scratch.path("model.ewn"), |bytes| bytes[at] ^= 16);
        let ran = scratch.run(&["inspect", "model.ewn", "--verify"]).fails_with(&["model.ewn", "damaged"]);
        assert!(ran.out.lines().any(|line| line.starts_with(&format!("{name}: "))), "{name}\n{}", ran.out);
        let json = scratch.run(&["inspect", "model.ewn", "--verify", "--json"]).exits(1).json();
        assert_eq!(json["verify"]["ok"], false);
        edit_bytes(&scratch.path("model.ewn"), |bytes| bytes[at] ^= 16);
    }
}

#[test]
fn things_that_are_no_model_are_named() {
    let scratch = Scratch::new();
    scratch.checkpoint("checkpoint", &TinySpec::default());
    std::fs::create_dir(scratch.path("empty")).unwrap();
    scratch.write("pointer.ewn", LFS_POINTER);
    for (model, words) in [
        ("nowhere.ewn", &["nowhere.ewn", "demo"][..]),
        ("empty", &["empty", "config.json"]),
        ("checkpoint/model.safetensors", &["model.safetensors"]),
        ("pointer.ewn", &["pointer.ewn"]),
    ] {
        scratch.run(&["generate", "--model", model, "a"]).fails_with(words);
    }
    scratch.run(&["inspect", "checkpoint"]).fails_with(&["checkpoint", "directory"]);
    scratch.run(&["quantize", "nowhere", "-o", "x"]).fails_with(&["nowhere"]);
}

#[test]
fn bad_texts_and_ids_are_refused_with_the_figures() {
    let scratch = Scratch::new();
    scratch.write("latin1.txt", b"caf\xe9 au lait");
    scratch.write("empty.txt", "");
    scratch.run(&["generate", "--prompt-file", "latin1.txt"]).fails_with(&["latin1.txt", "UTF-8", "byte 3"]);
    scratch.run(&["generate", "--prompt-file", "absent.txt"]).fails_with(&["absent.txt"]);
    scratch.run(&["perplexity", "--file", "latin1.txt"]).fails_with(&["latin1.txt", "UTF-8"]);
    scratch.run(&["perplexity", "--file", "empty.txt"]).fails_with(&["empty.txt"]);
    scratch.run(&["logits", "--tokens", "1 3072", "-o", "x"]).fails_with(&["3072", "vocabulary"]);
    let long = "word ".repeat(1000);
    scratch.run(&["generate", &long]).fails_with(&["tokens", "512"]);
    scratch.run(&["logits", "--prompt", &long, "-o", "x"]).fails_with(&["tokens", "512"]);
    scratch.run(&["generate", "a b c d e f", "--context", "3"]).fails_with(&["context", "3"]);
    scratch.run(&["generate", "a", "--context", "100000"]).fails_with(&["100000", "512"]);
    assert_eq!(scratch.names(), ["empty.txt", "latin1.txt"]);
}

#[test]
fn a_cause_is_said_once() {
    let scratch = Scratch::new();
    scratch.checkpoint("model", &TinySpec::default());
    let arguments = ["quantize", "model", "-o", "x.ewn", "--calibration", "absent.txt"];
    let ran = scratch.run(&arguments).fails_with(&["absent.txt", "No such file"]);
    assert_eq!(ran.err.matches("No such file").count(), 1, "{}", ran.err);
}

#[test]
fn an_instruction_set_the_cpu_lacks_names_those_it_has() {
    let absent = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
    Scratch::new().run(&["generate", "a", "--isa", absent]).fails_with(&[absent, "scalar"]);
}
