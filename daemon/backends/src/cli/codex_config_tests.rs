use super::*;
use crate::testing::context;
use cordon_config::{BackendKind, Effort};
use cordon_policy::NetworkMode;
use cordon_sandbox::WallKind;
use proptest::prelude::*;
use std::path::Path;

#[test]
fn a_base_url_makes_a_provider_of_its_own() {
    let mut context = context(BackendKind::Codex, Path::new("/nowhere"));
    context.agent.model = Some("gpt-6".into());
    context.agent.effort = Some(Effort::XHigh);
    let endpoint = Endpoint::new("http://localhost:8080/v1", WallKind::Local, NetworkMode::Bridge).unwrap();
    let text = write(&context, "/w", Some(&endpoint), true, &[]).unwrap();
    let expected: toml::Table = toml::from_str(
        r#"
        model = "gpt-6"
        model_provider = "cordon"
        model_reasoning_effort = "xhigh"
        web_search = "disabled"
        check_for_update_on_startup = false
        cli_auth_credentials_store = "file"
        analytics.enabled = false
        history.persistence = "none"
        features = { api_key_model_discovery = false, apps = false, plugins = false, unbounded_connection_retries = false }
        shell_environment_policy = { ignore_default_excludes = false, exclude = ["CODEX_API_KEY", "OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "RUST_LOG"] }
        [model_providers.cordon]
        name = "cordon"
        base_url = "http://127.0.0.1:8080/v1"
        wire_api = "responses"
        env_key = "CODEX_API_KEY"
        request_max_retries = 2
        stream_max_retries = 4
        "#,
    )
    .unwrap();
    assert_eq!(toml::from_str::<toml::Table>(&text).unwrap(), expected);
}

#[test]
fn without_a_base_url_the_built_in_provider_is_used() {
    let context = context(BackendKind::Codex, Path::new("/nowhere"));
    let text = write(&context, "/w", None, true, &[]).unwrap();
    assert!(!text.contains("model_provider") && !text.contains("env_key"), "{text}");
}

#[test]
fn azure_is_a_provider_with_a_header_and_a_query() {
    let mut context = context(BackendKind::Codex, Path::new("/nowhere"));
    context.agent.model = Some("gpt-6".into());
    let mut azure = cordon_config::Azure {
        endpoint: "https://r.openai.azure.test".into(),
        deployment: Some("mine".into()),
        api_version: Some("2025-04-01-preview".into()),
    };
    assert_eq!(azure_url(&azure), "https://r.openai.azure.test/openai");
    context.agent.program.azure = Some(azure.clone());
    let endpoint = Endpoint::new(&azure_url(&azure), WallKind::Local, NetworkMode::Bridge).unwrap();
    let text = write(&context, "/w", Some(&endpoint), true, &[]).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    let expected: toml::Table = toml::from_str(
        r#"
        name = "cordon"
        base_url = "https://r.openai.azure.test/openai"
        wire_api = "responses"
        env_http_headers = { api-key = "CODEX_API_KEY" }
        query_params = { api-version = "2025-04-01-preview" }
        request_max_retries = 2
        stream_max_retries = 4
        "#,
    )
    .unwrap();
    assert_eq!(table["model"].as_str(), Some("mine"));
    assert_eq!(table["model_providers"]["cordon"].as_table(), Some(&expected));
    azure.api_version = None;
    assert_eq!(azure_url(&azure), "https://r.openai.azure.test/openai/v1");
    azure.endpoint = "https://gate.test/openai/v1".into();
    assert_eq!(azure_url(&azure), "https://gate.test/openai/v1");
}

#[test]
fn servers_are_told_with_their_filters_and_waits() {
    let mut context = context(BackendKind::Codex, Path::new("/nowhere"));
    context.agent.program.web_search = Some(true);
    let of = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    let stdio = Server {
        name: "one".into(),
        reach: Reach::Stdio {
            command: "node".into(),
            args: vec!["s.js".into()],
            env: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
            cwd: Some("/w/sub".into()),
        },
        ready_within: std::time::Duration::from_millis(1500),
        call_within: std::time::Duration::from_secs(300),
        allowed: Some(of(&["a", "b"])),
        excluded: of(&["c"]),
    };
    let http = Server {
        name: "two".into(),
        reach: Reach::Http {
            url: "https://h.test/mcp".into(),
            headers: BTreeMap::from([("X-Key".to_owned(), "v".to_owned())]),
        },
        allowed: None,
        excluded: BTreeSet::new(),
        ..stdio.clone()
    };
    let text = write(&context, "/w", None, true, &[stdio, http]).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    let expected: toml::Table = toml::from_str(
        r#"
        [one]
        command = "node"
        args = ["s.js"]
        cwd = "/w/sub"
        env = { A = "b" }
        startup_timeout_sec = 1.5
        tool_timeout_sec = 300.0
        default_tools_approval_mode = "approve"
        enabled_tools = ["a", "b"]
        disabled_tools = ["c"]
        [two]
        url = "https://h.test/mcp"
        http_headers = { X-Key = "v" }
        startup_timeout_sec = 1.5
        tool_timeout_sec = 300.0
        default_tools_approval_mode = "approve"
        "#,
    )
    .unwrap();
    assert_eq!(table["mcp_servers"].as_table(), Some(&expected));
    assert_eq!(table["web_search"].as_str(), Some("live"));
}

#[test]
fn the_shells_get_what_the_file_passes_and_never_the_key() {
    let mut context = context(BackendKind::Codex, Path::new("/nowhere"));
    let given = ["MY_TOKEN", "OPENAI_API_KEY", "CODEX_API_KEY"]
        .map(|n| (n.to_owned(), cordon_config::Secret::new("x".into())));
    context.agent.credentials.variables = given.into();
    let table: toml::Table = toml::from_str(&write(&context, "/w", None, true, &[]).unwrap()).unwrap();
    let policy = &table["shell_environment_policy"];
    assert_eq!(policy["ignore_default_excludes"].as_bool(), Some(true));
    assert_eq!(policy["exclude"].as_array().unwrap().len(), 3);
    assert_eq!(policy["exclude"][0].as_str(), Some("CODEX_API_KEY"));
}

proptest! {
    /// Whatever a system message holds, it is one text and never another setting.
    #[test]
    fn no_text_breaks_out(
        message in proptest::collection::vec(
            prop_oneof![any::<char>(), Just('"'), Just('\''), Just('\\'), Just('\n'), Just('\u{7f}')], 0..40),
        model in "\\PC{0,20}",
        workspace in "/[ -~]{0,20}",
    ) {
        let message: String = message.into_iter().collect();
        let mut context = context(BackendKind::Codex, Path::new("/nowhere"));
        context.agent.system_message = Some(message.clone());
        context.agent.model = Some(model.clone());
        context.agent.program.trust_repository = true;
        let text = write(&context, &workspace, None, false, &[]).unwrap();
        let table: toml::Table = toml::from_str(&text).unwrap();
        prop_assert_eq!(table["developer_instructions"].as_str(), Some(message.as_str()));
        prop_assert_eq!(table["model"].as_str(), Some(model.as_str()));
        prop_assert!(table["projects"].get(&workspace).is_some());
        prop_assert_eq!(table.len(), 10);
    }
}
