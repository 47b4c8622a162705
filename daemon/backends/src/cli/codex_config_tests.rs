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
    let text = write(&context, "/w", Some(&endpoint), true).unwrap();
    let expected: toml::Table = toml::from_str(
        r#"
        model = "gpt-6"
        model_provider = "cordon"
        model_reasoning_effort = "xhigh"
        check_for_update_on_startup = false
        cli_auth_credentials_store = "file"
        analytics.enabled = false
        history.persistence = "none"
        features = { api_key_model_discovery = false, apps = false, plugins = false, unbounded_connection_retries = false }
        shell_environment_policy = { ignore_default_excludes = false, exclude = ["CODEX_API_KEY", "OPENAI_API_KEY"] }
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
    let text = write(&context, "/w", None, true).unwrap();
    assert!(!text.contains("model_provider") && !text.contains("env_key"), "{text}");
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
        let text = write(&context, &workspace, None, false).unwrap();
        let table: toml::Table = toml::from_str(&text).unwrap();
        prop_assert_eq!(table["developer_instructions"].as_str(), Some(message.as_str()));
        prop_assert_eq!(table["model"].as_str(), Some(model.as_str()));
        prop_assert!(table["projects"].get(&workspace).is_some());
        prop_assert_eq!(table.len(), 9);
    }
}
