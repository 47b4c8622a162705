//! The keys of model APIs: what they become, and every rule with the key it names.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{errors, parse, parse_as, warnings};
use cordon_config::{Agent, ApiOptions, Problem, WebSearch};
use cordon_providers::{Effort, PROVIDERS, Setting, Summary, Verbosity};

/// A file whose only agent has this type and these lines.
fn file(kind: &str, lines: &str) -> String {
    let mut text = format!("agents:\n  - id: a\n    backend:\n      type: {kind}\n      model: m\n");
    for line in lines.lines() {
        text.push_str(&format!("      {line}\n"));
    }
    text
}

#[track_caller]
fn agent(kind: &str, lines: &str) -> Agent {
    agent_of(&file(kind, lines))
}

#[track_caller]
fn agent_of(text: &str) -> Agent {
    let parsed = parse(text);
    assert_eq!(errors(&parsed), Vec::<&Problem>::new(), "{text}");
    parsed.file.unwrap().agents.remove(0)
}

#[track_caller]
fn options(kind: &str, lines: &str) -> ApiOptions {
    agent(kind, lines).api
}

#[track_caller]
fn fails(kind: &str, lines: &str, reason: &str, key: &str, words: &str) {
    let text = file(kind, lines);
    let parsed = parse(&text);
    let errors = errors(&parsed);
    assert_eq!(errors.len(), 1, "{text}\n{errors:#?}");
    let key = format!("agents[0].backend.{key}");
    assert_eq!((errors[0].reason, errors[0].key.as_str()), (reason, key.as_str()), "{:#?}", errors[0]);
    assert!(format!("{} {}", errors[0].message, errors[0].help).contains(words), "{:#?}", errors[0]);
    assert!(errors[0].line >= 4 && errors[0].column > 6 && !errors[0].excerpt.is_empty(), "{:#?}", errors[0]);
}

#[test]
fn settings_of_requests_arrive() {
    let got = options(
        "openai",
        "temperature: 0.3\ntop_p: 0.9\nmax_tokens: 4096\nreasoning: {effort: xhigh, summary: auto}\n\
         text: {verbosity: low}\nenable_web_search: true\nsearch_context_size: high\n\
         enable_code_interpreter: true\nparallel_tool_calls: false",
    );
    let web_search = WebSearch { context: Some("high".to_owned()), ..WebSearch::default() };
    let expected = ApiOptions {
        temperature: Some(0.3),
        top_p: Some(0.9),
        max_tokens: Some(4096),
        effort: Some(Effort::XHigh),
        summary: Some(Summary::Auto),
        verbosity: Some(Verbosity::Low),
        web_search: Some(web_search),
        code: true,
        one_call: true,
        ..ApiOptions::default()
    };
    assert_eq!(got, expected);
    assert_eq!(options("openai", "verbosity: high").verbosity, Some(Verbosity::High));
    assert!(options("grok", "enable_x_search: true").x_search);
    assert_eq!(options("claude", "enable_code_execution: true\ntop_k: 7").top_k, Some(7));
    assert_eq!(options("claude", "reasoning: {effort: none}").effort, Some(Effort::None));
    assert_eq!(options("claude", "model_reasoning_effort: max").effort, Some(Effort::Max));
    assert_eq!(options("zai", "reasoning: true").reasoning_enabled, Some(true));
    assert_eq!(options("openai", ""), ApiOptions::default());
}

#[test]
fn openrouter_has_its_own() {
    let web = |engine: &str, results| {
        Some(WebSearch {
            engine: Some(engine.to_owned()),
            max_results: Some(results),
            context: Some("low".to_owned()),
            prompt: None,
        })
    };
    let lines = "reasoning: {max_tokens: 2000, exclude: true}\nenable_web_search: true\nengine: exa\n\
                 max_results: 3\nsearch_context_size: low\ntop_k: 5\nrepetition_penalty: 1.1";
    for (kind, more) in [("openrouter", ""), ("chatcompletion", "\nbase_url: https://openrouter.ai/api/v1")] {
        let got = options(kind, &format!("{lines}{more}"));
        assert_eq!((got.reasoning_tokens, got.reasoning_exclude), (Some(2000), Some(true)));
        assert_eq!(got.web_search, web("exa", 3));
        assert_eq!((got.top_k, got.repetition_penalty), (Some(5), Some(1.1)));
    }
    let plugin = "plugins: [{id: web, engine: native, max_results: 5}]\nsearch_context_size: low";
    assert_eq!(options("openrouter", plugin).web_search, web("native", 5));
    fails("openrouter", "plugins: [{id: pdf}]", "bad-value", "plugins[0].id", "none of web");
    fails("openrouter", "engine: exa", "conflict", "engine", "enable_web_search: true");
    fails("openrouter", "enable_web_search: true\nengine: google", "bad-value", "engine", "exa, native");
    fails("openrouter", "enable_web_search: true\nmax_results: 0", "bad-value", "max_results", "between 1");
    fails(
        "openrouter",
        "reasoning: {effort: high, max_tokens: 2000}",
        "conflict",
        "reasoning.max_tokens",
        "same already",
    );
}

#[test]
fn self_hosted_models_have_their_own() {
    let lines = "top_k: 50\nrepetition_penalty: 1.2\nseparate_reasoning: true\n\
                 chat_template_kwargs: {enable_thinking: true, deep: {n: 1}}";
    let inside = format!("extra_body:\n  {}", lines.replace('\n', "\n  "));
    for lines in [lines, &inside, &format!("{lines}\n{inside}")] {
        let got = options("sglang", lines);
        assert_eq!((got.top_k, got.repetition_penalty), (Some(50), Some(1.2)), "{lines}");
        assert_eq!(got.separate_reasoning, Some(true));
        let template = serde_json::json!({"enable_thinking": true, "deep": {"n": 1}});
        assert_eq!(serde_json::Value::Object(got.template.unwrap()), template);
    }
    fails("vllm", "top_k: 5\nextra_body: {top_k: 6}", "conflict", "extra_body.top_k", "something else");
    fails("vllm", "extra_body: {guided_json: {}}", "unknown-key", "extra_body.guided_json", "known here");
    fails(
        "grok",
        "extra_body: {search_parameters: {}}",
        "old-key",
        "extra_body.search_parameters",
        "x_search",
    );
    fails("vllm", "chat_template_kwargs: [1]", "wrong-type", "chat_template_kwargs", "expected a map");
    fails("vllm", "separate_reasoning: true", "unsupported-key", "separate_reasoning", "sglang, inference");
    assert_eq!(options("lmstudio", "port: 4321\nlmstudio_start: true").lmstudio.port, Some(4321));
    fails("lmstudio", "port: 70000", "bad-value", "port", "65535");
    fails("lmstudio", "port: 1\nbase_url: http://h:1", "conflict", "port", "base_url");
    fails("vllm", "port: 8000", "unsupported-key", "port", "base_url");
}

#[test]
fn azure_is_reached_by_its_own_keys() {
    let lines = "deployment_name: mine\napi_version: 2025-01-01-preview\nazure_endpoint: https://r.test\n\
                 base_url: https://other.test";
    let got = agent("azure_openai", lines);
    assert_eq!((got.model.as_deref(), got.base_url.as_deref()), (Some("mine"), Some("https://r.test")));
    assert_eq!(got.api.azure_version.as_deref(), Some("2025-01-01-preview"));
    assert_eq!(agent("azure_openai", "base_url: https://b.test").model.as_deref(), Some("m"));
    let text = file("azure_openai", "");
    let of = [("AZURE_OPENAI_ENDPOINT", "https://v.test")];
    let parsed = parse_as("agent.yaml", text.as_bytes(), &of);
    assert_eq!(parsed.file.unwrap().agents[0].base_url, None);
    for name in ["AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_VERSION"] {
        assert!(parsed.variables.iter().any(|v| v == name), "{name}");
    }
    fails("azure_openai", "", "missing-key", "azure_endpoint", "AZURE_OPENAI_ENDPOINT");
    fails("azure_openai", "azure_endpoint: r.test", "bad-value", "azure_endpoint", "URL");
    let bad = "azure_endpoint: https://r.test\ndeployment_name: a/b";
    fails("azure_openai", bad, "bad-value", "deployment_name", "deployment");
    fails(
        "openai",
        "deployment_name: a",
        "unsupported-key",
        "deployment_name",
        "azure_openai, codex, copilot",
    );
    let bad = "azure_endpoint: https://r.test\nprovider: azure";
    fails("azure_openai", bad, "unsupported-key", "provider", "type: azure_openai");
}

#[test]
fn safety_settings_are_read_both_ways() {
    let expected = [("HARM_CATEGORY_HARASSMENT".to_owned(), "BLOCK_NONE".to_owned())];
    for lines in [
        "safety_settings: [{category: HARM_CATEGORY_HARASSMENT, threshold: BLOCK_NONE}]",
        "safety_settings: {HARM_CATEGORY_HARASSMENT: BLOCK_NONE}",
    ] {
        assert_eq!(options("gemini", lines).safety, expected);
    }
    fails(
        "gemini",
        "safety_settings: {HARM_CATEGORY_HARASSMENT: BLOCK_NON}",
        "bad-value",
        "safety_settings.HARM_CATEGORY_HARASSMENT",
        "did you mean `BLOCK_NONE`?",
    );
    let bad = "safety_settings: [{category: HARM_CATEGORY_HARASSMENT}]";
    fails("gemini", bad, "missing-key", "safety_settings[0].threshold", "threshold");
    fails("gemini", "safety_settings: strict", "wrong-type", "safety_settings", "a list or a map");
    let some = "safety_settings: {HARM_CATEGORY_HARASSMENT: OFF}";
    fails("openai", some, "unsupported-key", "safety_settings", "backends that have it: gemini");
}

#[test]
fn values_out_of_range_are_refused() {
    for (lines, key) in [
        ("temperature: 2.1", "temperature"),
        ("temperature: -1", "temperature"),
        ("top_p: 1.5", "top_p"),
        ("max_tokens: 0", "max_tokens"),
        ("max_tokens: 1.5", "max_tokens"),
        ("max_turns: 0", "max_turns"),
        ("max_tokens_total: 0", "max_tokens_total"),
        ("context_window: 5", "context_window"),
        ("max_concurrent_tools: 0", "max_concurrent_tools"),
        ("reasoning: {effort: maximal}", "reasoning.effort"),
        ("reasoning: {summary: short}", "reasoning.summary"),
        ("text: {verbosity: loud}", "text.verbosity"),
    ] {
        fails("openai", lines, "bad-value", key, "");
    }
    fails("openai", "temperature: warm", "wrong-type", "temperature", "a number");
    fails("openai", "reasoning: [high]", "wrong-type", "reasoning", "a map");
    fails("openai", "text: {format: json}", "unknown-key", "text.format", "verbosity");
    fails("claude", "temperature: 1.1", "bad-value", "temperature", "between 0 and 1");
    fails("claude", "reasoning: {effort: minimal}", "bad-value", "reasoning.effort", "none, low");
    fails("gemini", "reasoning: {effort: max}", "bad-value", "reasoning.effort", "xhigh");
    fails("claude", "reasoning: {max_tokens: 5}", "bad-value", "reasoning.max_tokens", "1024");
    let all = "max_tokens: 2000\nreasoning: {max_tokens: 2000}";
    fails("claude", all, "bad-value", "reasoning.max_tokens", "less than");
    fails("openai", "verbosity: low\ntext: {verbosity: high}", "conflict", "text.verbosity", "take one");
    let base = "base_url: 'http://h:1'";
    let parsed = parse(&format!("agents: [{{id: a, backend: {{type: chatcompletion, {base}}}}}]\n"));
    assert_eq!(errors(&parsed)[0].key, "agents[0].backend.model");
    // A server of the user's own is asked.
    for name in ["vllm", "sglang", "lmstudio", "inference"] {
        assert!(errors(&parse(&format!("agents: [{{id: a, backend: {{type: {name}}}}}]\n"))).is_empty());
    }
}

#[test]
fn who_is_asked_is_told_without_the_key() {
    let told = |kind: &str, lines: &str, of: &[(&str, &str)]| {
        let parsed = parse_as("agent.yaml", file(kind, lines).as_bytes(), of);
        let variables = common::variables(of);
        cordon_config::asked(&parsed.file.unwrap().agents[0], &variables).unwrap()
    };
    let key = ("OPENAI_API_KEY", "sk-the-key-itself");
    let got = told("openai", "", &[key, ("OPENAI_BASE_URL", "https://proxy.test/v1")]);
    assert_eq!((got.url.as_deref(), got.url_from), (Some("https://proxy.test/v1"), Some("OPENAI_BASE_URL")));
    assert_eq!((got.key_from, got.key_needed, got.price_known), (Some("OPENAI_API_KEY"), true, false));
    assert!(!format!("{got:?}").contains("the-key-itself"));
    let got = told("chatcompletion", "base_url: https://openrouter.ai/api/v1", &[key]);
    assert_eq!((got.key_from, got.keys, got.price_known), (None, &["OPENROUTER_API_KEY"][..], true));
    let got = told("chatcompletion", "base_url: https://mine.test/v1", &[key]);
    assert_eq!((got.key_from, got.key_needed), (None, false));
    let got = told("lmstudio", "port: 77", &[]);
    assert_eq!((got.url.as_deref(), got.key_needed), (Some("http://localhost:77/v1"), false));
    let got = told("openai", "api_key: ${OPENAI_API_KEY}", &[key]);
    assert_eq!((got.key_from, got.url_from), (Some("api_key"), None));
    let text = file("openai", "").replace("model: m", "model: gpt-5.4");
    let agent = &parse(&text).file.unwrap().agents[0];
    let got = cordon_config::asked(agent, &common::variables(&[])).unwrap();
    assert!(got.figures.is_some_and(|f| f.window > 100_000) && got.price_known);
}

#[test]
fn limits_of_a_turn_arrive() {
    let lines = "max_turns: 12\nmax_tokens_total: 500000\nmax_cost_usd: 1.25\ncontext_window: 200000\n\
                 max_concurrent_tools: 3";
    let got = agent_of(&file("openai", lines).replace("model: m", "model: gpt-5.4")).api.limits;
    assert_eq!((got.answers, got.tokens, got.cost_micros), (12, Some(500_000), Some(1_250_000)));
    assert_eq!((got.window, got.at_once), (Some(200_000), 3));
    fails("openai", "max_cost_usd: 1", "conflict", "max_cost_usd", "max_tokens_total");
    assert_eq!(options("openrouter", "max_cost_usd: 1").limits.cost_micros, Some(1_000_000));
    assert_eq!(options("openai", "concurrent_tool_execution: false").limits.at_once, 1);
}

/// Every setting on every provider: taken, or refused by the names of those that have it.
#[test]
fn a_setting_that_a_backend_lacks_names_those_that_have_it() {
    let lines = |setting: Setting| match setting {
        Setting::TopK => "top_k: 5",
        Setting::RepetitionPenalty => "repetition_penalty: 1.1",
        Setting::Effort => "reasoning: {effort: high}",
        Setting::Summary => "reasoning: {summary: auto}",
        Setting::ReasoningTokens => "reasoning: {max_tokens: 4000}",
        Setting::ReasoningExclude => "reasoning: {exclude: true}",
        Setting::ReasoningEnabled => "reasoning: {enabled: true}",
        Setting::Verbosity => "text: {verbosity: low}",
        Setting::Safety => "safety_settings: {HARM_CATEGORY_HARASSMENT: OFF}",
        Setting::SeparateReasoning => "separate_reasoning: true",
        Setting::Template => "chat_template_kwargs: {a: 1}",
        Setting::WebSearch => "enable_web_search: true",
        Setting::WebSearchEngine => "engine: exa",
        Setting::WebSearchPrompt => "search_prompt: x",
        Setting::WebSearchContext => "search_context_size: low",
        Setting::Code => "enable_code_execution: true",
        Setting::XSearch => "enable_x_search: true",
    };
    for provider in PROVIDERS {
        for setting in Setting::ALL {
            let mut text = file(provider.name, lines(*setting));
            let searches = matches!(
                setting,
                Setting::WebSearchEngine | Setting::WebSearchPrompt | Setting::WebSearchContext
            );
            if searches && provider.takes(Setting::WebSearch) {
                text.push_str("      enable_web_search: true\n");
            }
            if provider.name == "azure_openai" {
                text.push_str("      azure_endpoint: https://r.test\n");
            }
            let parsed = parse(&text);
            let refused: Vec<_> =
                errors(&parsed).into_iter().filter(|p| p.reason == "unsupported-key").collect();
            if provider.takes(*setting) {
                assert_eq!(parsed.problems, [], "{text}");
                continue;
            }
            assert_eq!(refused.len(), 1, "{text}\n{:#?}", parsed.problems);
            assert!(refused[0].help.ends_with(&setting.providers().join(", ")), "{:#?}", refused[0]);
            assert!(refused[0].message.starts_with(provider.name), "{:#?}", refused[0]);
        }
    }
    // What asks for nothing is fine everywhere.
    assert_eq!(
        parse(&file("lmstudio", "enable_web_search: false\nenable_code_execution: false")).problems,
        []
    );
}

#[test]
fn keys_of_model_apis_are_refused_elsewhere_and_the_other_way_round() {
    for kind in ["codex", "claude_code", "gemini_cli", "copilot"] {
        fails(kind, "cwd: w\ntemperature: 0.1", "unsupported-key", "temperature", "cordon backends");
        fails(kind, "cwd: w\ntop_k: 4", "unsupported-key", "top_k", "backends that have it: claude, gemini");
        fails(kind, "cwd: w\nmax_cost_usd: 4", "unsupported-key", "max_cost_usd", "model APIs");
        fails(kind, "cwd: w\nport: 4", "unsupported-key", "port", "");
    }
    for (lines, key) in [
        ("permission_mode: acceptEdits", "permission_mode"),
        ("disallowed_tools: [Bash]", "disallowed_tools"),
        ("cli_path: /bin/x", "cli_path"),
        ("trust_repository: true", "trust_repository"),
    ] {
        fails("openai", lines, "unsupported-key", key, "");
    }
    // Its tools are processes too.
    let parsed = parse(&file("openai", "env: {A: b}"));
    assert_eq!(parsed.problems, []);
}

#[test]
fn keys_are_wanted_by_the_host_that_gets_them() {
    let wanted = |kind: &str, lines: &str| parse(&file(kind, lines)).variables;
    let has = |found: Vec<String>, name: &str| found.iter().any(|v| v == name);
    assert!(has(wanted("openai", ""), "OPENAI_API_KEY"));
    assert!(has(wanted("openai", ""), "OPENAI_BASE_URL"));
    assert!(has(wanted("chatcompletion", ""), "OPENAI_API_KEY"));
    for (url, name) in [
        ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
        ("https://eu.api.z.ai:443/v4", "ZAI_API_KEY"),
    ] {
        let found = wanted("chatcompletion", &format!("base_url: {url}"));
        assert!(has(found.clone(), name) && !has(found, "OPENAI_API_KEY"), "{url}");
    }
    assert_eq!(wanted("chatcompletion", "base_url: https://mine.test/v1"), Vec::<String>::new());
    let media = "enable_multimodal_tools: true\nmultimodal_config: {image: {backend: gemini}}";
    assert!(has(wanted("claude", media), "GEMINI_API_KEY"));
}

#[test]
fn other_models_look_and_draw() {
    let lines = "enable_multimodal_tools: true\n\
                 multimodal_config: {image: {backend: gemini, model: g}, audio: {model: a}}\n\
                 image_generation_backend: openai\nimage_generation_model: i";
    let media = options("claude", lines).media.unwrap();
    let named = |m: &Option<cordon_config::MediaModel>| {
        m.as_ref().map(|m| (m.provider.name, m.model.clone().unwrap_or_default()))
    };
    assert_eq!(named(&media.image), Some(("gemini", "g".to_owned())));
    assert_eq!(named(&media.audio), Some(("claude", "a".to_owned())));
    assert_eq!((named(&media.video), named(&media.speaks)), (None, None));
    assert_eq!(named(&media.draws), Some(("openai", "i".to_owned())));
    // What the orchestrator says holds for those that do not say themselves.
    let shared = "orchestrator: {enable_multimodal_tools: true, image_generation_backend: google}\n";
    let media = |lines: &str| agent_of(&(shared.to_owned() + &file("claude", lines))).api.media;
    assert_eq!(named(&media("").unwrap().draws), Some(("gemini", "gemini-3.1-flash-image".to_owned())));
    assert_eq!(media("enable_multimodal_tools: false"), None);
    let bad = "enable_multimodal_tools: true\nimage_generation_backend: codex";
    fails("claude", bad, "unknown-backend", "image_generation_backend", "no model API");
    let parsed = parse(&file("claude", "image_generation_backend: openai"));
    assert_eq!(warnings(&parsed)[0].reason, "no-effect");
}

#[test]
fn what_an_agent_may_have_made_is_said_and_checked() {
    let on = |kind: &str, lines: &str| {
        let media = options(kind, lines).media;
        media.map(|m| {
            let name = |m: &Option<cordon_config::MediaModel>| {
                m.as_ref()
                    .map_or(String::new(), |m| format!("{} {}", m.provider.name, m.model.clone().unwrap()))
            };
            (m.looks, name(&m.draws), name(&m.speaks))
        })
    };
    let made = |looks: bool, draws: &str, speaks: &str| Some((looks, draws.to_owned(), speaks.to_owned()));
    // It costs money: it has to be asked for.
    assert_eq!(on("openai", "enable_multimodal_tools: true"), made(true, "", ""));
    assert_eq!(on("openai", "enable_image_generation: true"), made(false, "openai gpt-image-2", ""));
    assert_eq!(
        on("gemini", "enable_image_generation: true\nenable_audio_generation: true"),
        made(false, "gemini gemini-3.1-flash-image", "gemini gemini-3.8-flash-tts")
    );
    let off =
        "enable_multimodal_tools: true\nenable_image_generation: false\nimage_generation_model: gpt-image-1";
    assert_eq!(on("openai", off), made(true, "", ""));
    assert_eq!(
        on(
            "claude",
            "enable_audio_generation: true\naudio_generation_backend: openai\naudio_generation_model: tts-1"
        ),
        made(false, "", "openai tts-1")
    );
    let own = "base_url: https://x.test/v1\nenable_image_generation: true\nimage_generation_model: flux";
    assert_eq!(on("chatcompletion", own), made(false, "chatcompletion flux", ""));
    for (kind, key) in
        [("claude", "image"), ("grok", "audio"), ("lmstudio", "image"), ("openrouter", "audio")]
    {
        let key = format!("enable_{key}_generation");
        fails(kind, &format!("{key}: true"), "unsupported-key", &key, "backends that do");
        fails(kind, &format!("{key}: true"), "unsupported-key", &key, "openai, gemini");
    }
    let other = "enable_multimodal_tools: true\nimage_generation_backend: claude";
    fails("openai", other, "unsupported-key", "image_generation_backend", "openai, gemini, grok");
    let nameless = "base_url: https://x.test/v1\nenable_image_generation: true";
    fails("chatcompletion", nameless, "missing-key", "enable_image_generation", "image_generation_model");
    let limited = "max_cost_usd: 1\nenable_image_generation: true";
    let unknown = format!("{limited}\nimage_generation_backend: openai\nimage_generation_model: other");
    fails("openrouter", &unknown, "conflict", "max_cost_usd", "image_generation_model");
    let known = format!("{limited}\nimage_generation_backend: openai");
    for lines in [limited, &known] {
        assert_eq!(parse(&file("openrouter", lines)).problems, []);
    }
    for kind in ["codex", "claude_code"] {
        let lines = "cwd: w\nenable_image_generation: true";
        fails(kind, lines, "unsupported-key", "enable_image_generation", "openai, gemini, grok");
    }
    let video = parse(&file("openai", "enable_video_generation: true"));
    assert!(warnings(&video)[0].message.contains("makes no videos"), "{:#?}", warnings(&video));
}

#[test]
fn planning_mode_holds_for_every_agent_or_is_refused() {
    let plan =
        "orchestrator: {coordination: {enable_planning_mode: true, planning_mode_instruction: Think.}}\n";
    let of = |kind: &str| agent_of(&(plan.to_owned() + &file(kind, "cwd: w")));
    let api = of("openai").api;
    assert!(api.planning);
    assert_eq!(api.planning_words.as_deref(), Some("Think."));
    for kind in ["claude_code", "gemini_cli", "copilot"] {
        assert_eq!(of(kind).program.permission_mode, Some(cordon_config::PermissionMode::Plan));
    }
    let parsed = parse(&(plan.to_owned() + &file("codex", "cwd: w")));
    assert_eq!(errors(&parsed)[0].key, "orchestrator.coordination.enable_planning_mode");
    assert!(!options("openai", "").planning);
}

#[test]
fn a_second_system_message_is_added() {
    let text = file("openai", "")
        .replace("    backend:", "    system_message: One.\n    append_system_prompt: Two.\n    backend:");
    assert_eq!(agent_of(&text).system_message.as_deref(), Some("One.\n\nTwo."));
}
