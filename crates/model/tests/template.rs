//! Chat templates against transformers' own output, and the environment that templates expect.
#![allow(clippy::unwrap_used)]

use edgewen_model::{ChatTemplate, Error, Tokenizer, TokenizerFiles};
use edgewen_testing::shared;
use serde_json::{Value, json};

fn files(config: Value, jinja: Option<&str>) -> TokenizerFiles {
    TokenizerFiles {
        tokenizer_json: Vec::new(),
        tokenizer_config: Some(config.to_string()),
        chat_template: jinja.map(str::to_owned),
    }
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::from_files(&files(json!({"chat_template": source, "eos_token": "</s>"}), None))
        .unwrap()
        .unwrap()
}

fn render(source: &str, messages: Value) -> String {
    template(source).render(messages.as_array().unwrap(), None, false).unwrap()
}

#[test]
fn qwen2_5_conversations_are_rendered_like_transformers_does() {
    let (Some(dir), Some(refs)) =
        (shared("data/third-party/tokenizer"), shared("data/own/qwen2.5_chat_template_refs.jsonl"))
    else {
        return;
    };
    let files = TokenizerFiles::from_dir(&dir).unwrap();
    let tokenizer = Tokenizer::from_files(&files).unwrap();
    let template = ChatTemplate::from_files(&files).unwrap().unwrap();
    let refs = std::fs::read_to_string(refs).unwrap();
    assert!(refs.lines().count() >= 6);
    for line in refs.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let tools = Some(&line["tools"]).filter(|tools| !tools.is_null());
        let generation = line["add_generation_prompt"].as_bool().unwrap();
        let text = template.render(line["messages"].as_array().unwrap(), tools, generation).unwrap();
        assert_eq!(text, line["text"].as_str().unwrap());
        let ids: Vec<Value> = tokenizer.encode(&text, false).unwrap().into_iter().map(Value::from).collect();
        assert_eq!(Value::from(ids), line["ids"]);
    }
}

#[test]
fn wnli_prompts_are_rendered_like_transformers_does() {
    let (Some(dir), Some(refs)) =
        (shared("data/third-party/tokenizer"), shared("data/own/wnli_dev_prompts.jsonl"))
    else {
        return;
    };
    let files = TokenizerFiles::from_dir(&dir).unwrap();
    let tokenizer = Tokenizer::from_files(&files).unwrap();
    let template = ChatTemplate::from_files(&files).unwrap().unwrap();
    for line in std::fs::read_to_string(refs).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let expected = line["aicas_text"].as_str().unwrap();
        let user = expected.split("<|im_start|>user\n").nth(1).unwrap().split("<|im_end|>").next().unwrap();
        let text = template.render(&[json!({"role": "user", "content": user})], None, true).unwrap();
        // The template's default system prompt is the one of the protocol.
        assert_eq!(text, expected);
        let ids: Vec<Value> = tokenizer.encode(&text, false).unwrap().into_iter().map(Value::from).collect();
        assert_eq!(Value::from(ids), line["aicas_ids"]);
    }
}

#[test]
fn templates_of_all_kinds_are_rendered_like_transformers_does() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("data/templates.json")).unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let template = match case["template"].as_str() {
            Some(source) => template(source),
            None => {
                let Some(dir) = shared("data/third-party/tokenizer") else { continue };
                ChatTemplate::from_files(&TokenizerFiles::from_dir(&dir).unwrap()).unwrap().unwrap()
            }
        };
        let tools = Some(&case["tools"]).filter(|tools| !tools.is_null());
        let text = template.render(case["messages"].as_array().unwrap(), tools, true).unwrap();
        assert_eq!(text, case["text"].as_str().unwrap(), "{}", case["name"]);
    }
}

#[test]
fn tools_and_calls_are_written_like_json_dumps() {
    let Some(dir) = shared("data/third-party/tokenizer") else { return };
    let template = ChatTemplate::from_files(&TokenizerFiles::from_dir(&dir).unwrap()).unwrap().unwrap();
    let tools = json!([{"type": "function", "function": {"name": "find", "parameters": {"z": 1, "a": [1.5, "<é>"]}}}]);
    // Arguments as an object and as JSON text give the same.
    let mut texts = Vec::new();
    for arguments in [json!({"zone": "a & b", "n": 1}), json!("{\"zone\": \"a & b\", \"n\": 1}")] {
        let messages = json!([
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": null, "tool_calls": [{"type": "function",
                "function": {"name": "find", "arguments": arguments}}]},
            {"role": "tool", "content": "done"},
        ]);
        texts.push(template.render(messages.as_array().unwrap(), Some(&tools), true).unwrap());
    }
    assert_eq!(texts[0], texts[1]);
    let tool = "{\"type\": \"function\", \"function\": {\"name\": \"find\", \"parameters\": {\"z\": 1, \"a\": [1.5, \"<é>\"]}}}";
    let call =
        "<tool_call>\n{\"name\": \"find\", \"arguments\": {\"zone\": \"a & b\", \"n\": 1}}\n</tool_call>";
    for part in [tool, call, "<tool_response>\ndone\n</tool_response>"] {
        assert!(texts[0].contains(part), "no {part} in {}", texts[0]);
    }
}

#[test]
fn the_environment_is_hugging_faces() {
    let cases = [
        // trim_blocks and lstrip_blocks; the last newline of a template goes.
        ("  {% if true %}\nyes\n  {% endif %}\nend\n", "yes\nend"),
        (
            "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
            "user",
        ),
        (
            "{% for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}{{ m.role }}{% endfor %}",
            "assistant",
        ),
        ("{{ messages[0].content.strip().split(' ')[0].upper() }}", "HELLO"),
        ("{{ messages[0]['content'].startswith('  h') }}", "True"),
        (
            "{{ messages[0] | tojson }}",
            r#"{"role": "user", "content": "  hello <b> & 'c'", "x": [1, 2.0, null, true]}"#,
        ),
        ("{{ messages[0].x | tojson(indent=2) }}", "[\n  1,\n  2.0,\n  null,\n  true\n]"),
        ("{{ {'b': 1e-7, 'a': 1e20} | tojson(sort_keys=true) }}", r#"{"a": 1e+20, "b": 1e-07}"#),
        (
            "{{ tools is none }} {{ documents is none }} {{ nothing is defined }} {{ nothing }}",
            "True True False ",
        ),
        ("{{ eos_token }}{{ bos_token is defined }}", "</s>False"),
        ("{{ messages[0].content[2:] }}", "hello <b> & 'c'"),
        (
            "{%- set ns = namespace(n=0) -%}{%- for m in messages -%}{%- set ns.n = ns.n + 1 -%}{%- endfor -%}{{ ns.n }}",
            "2",
        ),
        ("{{ messages[::-1][0].role }}", "assistant"),
        ("a {%- generation -%}  b\n{% endgeneration %}\nc {% if true %}d{% endif %}", "ab\nc d"),
    ];
    let messages = json!([
        {"role": "user", "content": "  hello <b> & 'c'", "x": [1, 2.0, null, true]},
        {"role": "assistant", "content": "hi"},
    ]);
    for (source, expected) in &cases {
        assert_eq!(render(source, messages.clone()), *expected, "{source}");
    }
    let year = render("{{ strftime_now('%Y-%m-%d') }}", json!([]));
    assert!(year.len() == 10 && year.starts_with("20"), "{year}");
}

#[test]
fn the_jinja_file_wins_and_named_templates_are_chosen_by_tools() {
    let found = |files: &TokenizerFiles, tools: Option<&Value>| {
        ChatTemplate::from_files(files).unwrap().unwrap().render(&[], tools, false).unwrap()
    };
    assert_eq!(found(&files(json!({"chat_template": "config"}), Some("file")), None), "file");
    assert_eq!(found(&files(json!({}), Some("file")), None), "file");
    let named = files(
        json!({"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]}),
        None,
    );
    assert_eq!(found(&named, None), "plain");
    assert_eq!(found(&named, Some(&json!([]))), "tools");
    assert!(ChatTemplate::from_files(&files(json!({}), None)).unwrap().is_none());
}

#[test]
fn a_template_that_raises_gives_its_own_message() {
    let source = "{% if messages[0].role != 'user' %}{{ raise_exception('the first turn must be the user\\'s') }}{% endif %}";
    let messages = [json!({"role": "tool", "content": ""})];
    let error = template(source).render(&messages, None, false).unwrap_err();
    assert!(
        matches!(&error, Error::TemplateRaised { message } if message == "the first turn must be the user's")
    );
    assert!(error.to_string().contains("the chat template refuses the conversation: the first turn must be"));
}

#[test]
fn mistakes_in_templates_are_named() {
    let load = |config: Value| ChatTemplate::from_files(&files(config, None)).unwrap_err().to_string();
    let cases = [
        (load(json!({"chat_template": "a\n{% if x %}"})), vec!["chat template", "syntax error", "line 2"]),
        (load(json!({"chat_template": 3})), vec!["chat_template", "is 3", "named templates"]),
        (load(json!({"chat_template": [{"name": "default"}]})), vec!["lacks \"name\" or \"template\""]),
        (
            template("{{ messages[0].content.nonsense() }}")
                .render(&[json!({"content": "x"})], None, false)
                .unwrap_err()
                .to_string(),
            vec!["chat template", "nonsense", "line 1"],
        ),
        (
            ChatTemplate::from_files(&files(
                json!({"chat_template": [{"name": "rag", "template": "x"}]}),
                None,
            ))
            .unwrap()
            .unwrap()
            .render(&[], None, false)
            .unwrap_err()
            .to_string(),
            vec!["called \"default\""],
        ),
    ];
    for (message, parts) in cases {
        for part in parts {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
    }
}
