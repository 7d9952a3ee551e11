//! Every verb does what its help says on the demo model and on small random ones.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Scratch, edit_json};
use edgewen_testing::TinySpec;
use safetensors::SafeTensors;
use serde_json::{Value, json};

const GREEDY: [&str; 4] = ["--temperature", "0", "-n", "24"];

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn length(value: &Value) -> usize {
    value.as_array().unwrap().len()
}

#[test]
fn generate_streams_text_and_nothing_else_to_standard_output() {
    let scratch = Scratch::new();
    let text = scratch.run(&[&["generate", "Once upon a time"], &GREEDY[..]].concat()).succeeds().out;
    assert!(text.ends_with('\n') && 20 < text.len(), "{text}");
    let json =
        scratch.run(&[&["generate", "Once upon a time", "--json"], &GREEDY[..]].concat()).succeeds().json();
    assert_eq!(text, format!("{}\n", json["text"].as_str().unwrap()));
    assert_eq!(json["model"], "demo");
    assert_eq!(length(&json["tokens"]), 24);
    assert_eq!(json["finish_reason"], "length");
    assert!(0.0 < json["timings"]["generate_seconds"].as_f64().unwrap());
    assert_eq!(json["settings"]["temperature"], 0.0);
}

#[test]
fn generate_reads_the_prompt_from_argument_file_or_pipe() {
    let scratch = Scratch::new();
    scratch.write("p.txt", "Once upon a time\n");
    let run = |arguments: &[&str], input: &[u8]| {
        scratch.run_with_input(input, &[arguments, &GREEDY[..]].concat()).succeeds().out
    };
    let expected = run(&["generate", "Once upon a time"], b"");
    assert_eq!(run(&["generate", "--prompt-file", "p.txt"], b""), expected);
    assert_eq!(run(&["generate"], b"Once upon a time\n"), expected);
    assert_eq!(run(&["generate", "-"], b"Once upon a time\r\n"), expected);
    assert_eq!(run(&["generate", "--no-stream", "Once upon a time"], b""), expected);
}

#[test]
fn generate_without_a_seed_names_the_one_it_chose_and_repeats_with_it() {
    let scratch = Scratch::new();
    let sampled = ["generate", "The fox", "--temperature", "1.5", "-n", "16", "--ignore-eos", "--json"];
    let first = scratch.run(&sampled).succeeds();
    let seed = first.json()["seed"].to_string();
    assert!(first.err.contains(&seed), "{}", first.err);
    let again = scratch.run(&[&sampled[..], &["--seed", &seed]].concat()).succeeds().json();
    assert_eq!(again["tokens"], first.json()["tokens"]);
}

#[test]
fn generate_takes_the_models_own_sampling_unless_told_otherwise() {
    let scratch = Scratch::new();
    let checkpoint = scratch.checkpoint("c", &TinySpec::default());
    edit_json(&checkpoint.join("generation_config.json"), |config| {
        *config = json!({"do_sample": true, "temperature": 0.5, "top_k": 20, "top_p": 0.8,
            "repetition_penalty": 1.1, "eos_token_id": 256});
    });
    scratch.run(&["quantize", "c", "-o", "m.ewn", "--method", "rtn"]).succeeds();
    let settings = |flags: &[&str]| {
        let arguments = ["generate", "a", "--model", "m.ewn", "-n", "2", "--json"];
        scratch.run(&[&arguments[..], flags].concat()).succeeds().json()["settings"].clone()
    };
    let own = settings(&[]);
    assert_eq!((own["temperature"].as_f64(), own["top_k"].as_u64()), (Some(0.5), Some(20)));
    assert!((own["top_p"].as_f64().unwrap() - 0.8).abs() < 1e-6);
    assert_eq!(settings(&["--temperature", "0"])["temperature"], 0.0);
    assert_eq!(settings(&["--top-k", "3"])["top_k"], 3);
    edit_json(&checkpoint.join("generation_config.json"), |config| config["do_sample"] = json!(false));
    scratch.run(&["quantize", "c", "-o", "m.ewn", "--method", "rtn", "--force"]).succeeds();
    assert_eq!(settings(&[])["temperature"], 0.0);
}

#[test]
fn generate_ends_before_a_stop_text() {
    let scratch = Scratch::new();
    let all = scratch.run(&[&["generate", "Once upon a time"], &GREEDY[..]].concat()).succeeds().out;
    let word = all.split_whitespace().nth(4).unwrap();
    let arguments = ["generate", "Once upon a time", "--json", "--stop", "\u{1}", "--stop", word];
    let json = scratch.run(&[&arguments[..], &GREEDY[..]].concat()).succeeds().json();
    assert_eq!(json["finish_reason"], "stop");
    assert_eq!(json["text"].as_str().unwrap(), &all[..all.find(word).unwrap()]);
}

#[test]
fn generate_of_no_tokens_and_up_to_the_context_ends_well() {
    let scratch = Scratch::new();
    let none = scratch.run(&["generate", "Once", "-n", "0", "--json"]).succeeds().json();
    assert_eq!(length(&none["tokens"]), 0);
    let arguments =
        ["generate", "Once upon a time", "-n", "1000", "--ignore-eos", "--context", "40", "--json"];
    let full = scratch.run(&arguments).succeeds().json();
    assert_eq!(full["finish_reason"], "length");
    assert!(length(&full["tokens"]) + full["prompt_tokens"].as_u64().unwrap() as usize <= 41);
}

#[test]
fn a_checkpoint_directory_runs_on_the_float_path_and_says_so() {
    let scratch = Scratch::new();
    scratch.checkpoint("c", &TinySpec::default());
    let ran = scratch.run(&["generate", "hello", "--model", "c", "-n", "4", "--json"]).succeeds();
    assert_eq!(ran.err.matches("unquantized").count(), 1, "{}", ran.err);
    assert_eq!(ran.json()["model"], "c");
}

#[test]
fn chat_answers_piped_messages_and_knows_its_commands() {
    let scratch = Scratch::new();
    scratch.packed("m.ewn", &TinySpec::default());
    let chat = |input: &str| {
        let arguments =
            ["chat", "--model", "m.ewn", "-n", "8", "--temperature", "0", "--system", "Be brief."];
        scratch.run_with_input(input.as_bytes(), &arguments).succeeds().out
    };
    let once = chat("hello\n");
    assert!(once.ends_with('\n'), "{once}");
    // The same words again are answered in another place of the conversation; after /reset it is the first again.
    let twice = chat("hello\nhello\n");
    assert!(twice.starts_with(&once) && once.len() < twice.len());
    assert_eq!(chat("hello\n/reset\nhello"), format!("{once}{once}"));
    assert_eq!(chat("hello\n/exit\nhello\n"), once);
    assert!(chat("/help\n").is_empty());
    assert!(chat("\n\n").is_empty());
    let unknown = scratch.run_with_input(b"/frobnicate\n", &["chat", "--model", "m.ewn"]).succeeds();
    assert!(unknown.err.contains("/help"), "{}", unknown.err);
}

#[test]
fn chat_needs_a_template_and_names_generate() {
    let scratch = Scratch::new();
    let checkpoint = scratch.checkpoint("c", &TinySpec::default());
    edit_json(&checkpoint.join("tokenizer_config.json"), |config| {
        config.as_object_mut().unwrap().remove("chat_template");
    });
    scratch.run(&["quantize", "c", "-o", "m.ewn", "--method", "rtn"]).succeeds();
    for model in ["c", "m.ewn"] {
        scratch.run(&["chat", "--model", model]).fails_with(&[model, "chat template", "edgewen generate"]);
        scratch.write("messages.json", r#"[{"role": "user", "content": "hi"}]"#);
        let arguments = ["tokenize", "--model", model, "--chat", "messages.json"];
        scratch.run(&arguments).fails_with(&[model, "chat template"]);
    }
}

#[test]
fn tokenize_shows_ids_and_pieces_of_texts_and_conversations() {
    let scratch = Scratch::new();
    scratch.checkpoint("c", &TinySpec::default());
    std::fs::remove_file(scratch.path("c/model.safetensors")).unwrap();
    std::fs::remove_file(scratch.path("c/config.json")).unwrap();
    let json = scratch.run(&["tokenize", "--model", "c", "--json", "a b"]).succeeds().json();
    assert_eq!(json["ids"], json!([97, 32, 98]));
    assert_eq!(json["pieces"], json!(["a", "\u{120}", "b"]));
    let plain = scratch.run(&["tokenize", "--model", "c", "a b"]).succeeds().out;
    assert_eq!(plain, "id  piece\n97  a\n32  \u{120}\n98  b\n");
    assert_eq!(scratch.run_with_input(b"a b\n", &["tokenize", "--model", "c"]).succeeds().out, plain);

    scratch.write("list.json", r#"[{"role": "user", "content": "hi"}]"#);
    scratch.write(
        "object.json",
        r#"{"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": false}"#,
    );
    let text = |file: &str| {
        scratch.run(&["tokenize", "--model", "c", "--chat", file, "--json"]).succeeds().json()["text"].clone()
    };
    assert_eq!(text("list.json"), "user: hi\nassistant: ");
    assert_eq!(text("object.json"), "user: hi\n");
    for (contents, word) in [("{", "JSON"), ("{}", "messages"), ("[{}]", "role"), ("3", "messages")] {
        scratch.write("bad.json", contents);
        scratch.run(&["tokenize", "--model", "c", "--chat", "bad.json"]).fails_with(&["bad.json", word]);
    }
}

#[test]
fn logits_are_a_safetensors_file_with_a_row_a_token() {
    let scratch = Scratch::new();
    let flags = ["logits", "--tokens", "1, 2 3", "-o", "l.safetensors", "--json"];
    let json = scratch.run(&flags).succeeds().json();
    assert_eq!(json["tokens"], 3);
    let bytes = std::fs::read(scratch.path("l.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (logits, tokens) = (file.tensor("logits").unwrap(), file.tensor("tokens").unwrap());
    assert_eq!((logits.dtype(), logits.shape()), (safetensors::Dtype::F32, &[3, 3072][..]));
    assert_eq!((tokens.dtype(), tokens.shape()), (safetensors::Dtype::I64, &[3][..]));
    let ids: Vec<i64> = tokens.data().chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert!(f32s(logits.data()).iter().all(|logit| logit.is_finite()));
    assert_eq!(scratch.names(), ["l.safetensors"]);
    scratch.run(&["logits", "--tokens", "1", "-o", "no/such/folder"]).fails_with(&["no/such"]);
}

#[test]
fn the_greedy_token_is_the_best_logit() {
    let scratch = Scratch::new();
    let spec = TinySpec { tied: false, ..TinySpec::default() };
    scratch.packed("m.ewn", &spec);
    for model in ["m.ewn", "m.ewn.checkpoint"] {
        scratch.run(&["logits", "--model", model, "--prompt", "hello", "-o", "l"]).succeeds();
        let bytes = std::fs::read(scratch.path("l")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let logits = f32s(file.tensor("logits").unwrap().data());
        let last = &logits[logits.len() - 272..];
        let best = (0..272).max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
        let arguments = [
            "generate",
            "hello",
            "--model",
            model,
            "-n",
            "1",
            "--temperature",
            "0",
            "--ignore-eos",
            "--json",
        ];
        assert_eq!(scratch.run(&arguments).succeeds().json()["tokens"], json!([best]), "{model}");
    }
}

#[test]
fn perplexity_prints_its_protocol_with_the_number() {
    let scratch = Scratch::new();
    let story = "Once upon a time there was a king who had a golden bird. ";
    scratch.write("t.txt", format!("{}<|endoftext|>\n{}", story.repeat(3), story.repeat(60)));
    let arguments = ["perplexity", "--file", "t.txt", "--separator", "<|endoftext|>"];
    let json = scratch.run(&[&arguments[..], &["--json"]].concat()).succeeds().json();
    let perplexity = json["perplexity"].as_f64().unwrap();
    assert!(1.0 < perplexity && perplexity < 3072.0, "{perplexity}");
    assert_eq!(json["protocol"]["documents"], 2);
    assert_eq!(json["protocol"]["context"], 512);
    assert_eq!(json["protocol"]["file_sha256"].as_str().unwrap().len(), 64);
    let plain = scratch.run(&arguments).succeeds().out;
    for word in ["perplexity", "context", "stride", "BOS", "SHA-256", "tokens", "documents"] {
        assert!(plain.contains(word), "{word}\n{plain}");
    }
    let short = scratch.run(&[&arguments[..], &["--json", "--context", "64", "--stride", "32"]].concat());
    assert_eq!(short.succeeds().json()["protocol"]["stride"], 32);
}

#[test]
fn bench_measures_and_names_the_machine() {
    let scratch = Scratch::new();
    let json = scratch.run(&["bench", "-p", "32", "-n", "4", "-r", "2", "--json"]).succeeds().json();
    assert_eq!(length(&json["tests"]), 2);
    assert_eq!(json["tests"][0]["name"], "pp32");
    assert_eq!(json["tests"][1]["name"], "tg4");
    for test in json["tests"].as_array().unwrap() {
        assert!(0.0 < test["tokens_per_second"]["median"].as_f64().unwrap());
    }
    for key in ["cpu", "threads", "isa", "version", "commit"] {
        assert!(!json["machine"][key].is_null(), "{key}");
    }
    assert!(0 < json["bytes_per_token"].as_u64().unwrap());
    let plain = scratch.run(&["bench", "-p", "600", "-n", "2", "-r", "1", "--depth", "8"]).succeeds();
    assert!(plain.err.contains("512"), "the prompt is shortened to the context: {}", plain.err);
    assert!(plain.out.contains("tg2"), "{}", plain.out);
    assert!(plain.out.lines().all(|line| line.chars().count() <= 80), "{}", plain.out);
}

#[test]
fn inspect_lists_what_is_in_the_file() {
    let scratch = Scratch::new();
    let plain = scratch.run(&["inspect", "demo"]).succeeds().out;
    assert!(plain.lines().all(|line| line.chars().count() <= 80), "{plain}");
    for word in ["layers.0.qkv", "bits/weight", "total", "group 64", "tied head"] {
        assert!(plain.contains(word), "{word}\n{plain}");
    }
    let json = scratch.run(&["inspect", "demo", "--json", "--verify"]).succeeds().json();
    assert_eq!(json["verify"]["ok"], true);
    assert!(json["file_bytes"].as_u64().unwrap() <= 2_000_000);
    let sum: u64 =
        json["tensors"].as_array().unwrap().iter().map(|tensor| tensor["bytes"].as_u64().unwrap()).sum();
    assert_eq!(json["totals"]["tensor_bytes"], sum);
}

#[test]
fn perplexity_of_trained_models_is_the_one_transformers_gives() {
    let (Some(models), Some(references), Some(stories)) = (
        edgewen_testing::shared("data/third-party/models"),
        edgewen_testing::shared("data/third-party/reference/model_refs.json"),
        edgewen_testing::shared("data/third-party/eval/tinystories/tinystories_v2_valid_excerpt.txt"),
    ) else {
        return;
    };
    let references: Value = serde_json::from_str(&std::fs::read_to_string(references).unwrap()).unwrap();
    let scratch = Scratch::new();
    for (name, key) in
        [("stories260k-qwen2", "ppl_bf16_weights_f32_math"), ("babyllama361-qwen2-bias", "ppl_f64")]
    {
        let model = models.join(name);
        let (model, stories) = (model.to_str().unwrap(), stories.to_str().unwrap());
        let measure = |model: &str| {
            let arguments =
                ["perplexity", "--model", model, "--file", stories, "--separator", "<|endoftext|>", "--json"];
            scratch.run(&arguments).succeeds().json()
        };
        let exact = measure(model);
        assert_eq!(exact["protocol"]["tokens"], references[name]["tokens"], "{name}");
        let stated = references[name][key].as_f64().unwrap();
        let found = exact["perplexity"].as_f64().unwrap();
        assert!((found - stated).abs() < 1e-3, "{name}: {found}, stated {stated}");
        // Four bits cost these tiny models up to a tenth (3.168 becomes 3.50).
        let packed = format!("{name}.ewn");
        scratch.run(&["quantize", model, "-o", &packed]).succeeds();
        let quantized = measure(&packed)["perplexity"].as_f64().unwrap();
        assert!(quantized < 1.15 * stated, "{name}: {quantized}, stated {stated}");
    }
}
