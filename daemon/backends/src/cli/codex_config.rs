//! The `config.toml` that Codex finds in its private home.

use crate::endpoint::Endpoint;
use crate::{BackendError, Context};
use serde::Serialize;
use std::collections::BTreeMap;

/// The variable that carries the key; Codex keeps names like it from the shells it starts.
pub(super) const KEY: &str = "CODEX_API_KEY";
const PROVIDER: &str = "cordon";

#[derive(Serialize)]
struct Config<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_reasoning_effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    developer_instructions: Option<&'a str>,
    check_for_update_on_startup: bool,
    cli_auth_credentials_store: &'a str,
    analytics: Switch,
    history: History<'a>,
    features: BTreeMap<&'a str, bool>,
    shell_environment_policy: ShellEnvironment<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    projects: BTreeMap<&'a str, Project<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    model_providers: BTreeMap<&'a str, Provider<'a>>,
}

#[derive(Serialize)]
struct Switch {
    enabled: bool,
}

#[derive(Serialize)]
struct History<'a> {
    persistence: &'a str,
}

#[derive(Serialize)]
struct ShellEnvironment<'a> {
    ignore_default_excludes: bool,
    exclude: [&'a str; 2],
}

#[derive(Serialize)]
struct Project<'a> {
    trust_level: &'a str,
}

#[derive(Serialize)]
struct Provider<'a> {
    name: &'a str,
    base_url: &'a str,
    wire_api: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    env_key: Option<&'a str>,
    request_max_retries: u32,
    stream_max_retries: u32,
}

/// Writes the file. It holds no secret: a key is only named.
pub(super) fn write(
    context: &Context,
    workspace: &str,
    endpoint: Option<&Endpoint>,
    with_key: bool,
) -> Result<String, BackendError> {
    let agent = &context.agent;
    let provider = endpoint.map(|endpoint| Provider {
        name: PROVIDER,
        base_url: &endpoint.url,
        wire_api: "responses",
        env_key: with_key.then_some(KEY),
        request_max_retries: 2,
        stream_max_retries: 4,
    });
    let config = Config {
        model: agent.model.as_deref(),
        model_provider: provider.as_ref().map(|_| PROVIDER),
        model_reasoning_effort: agent.effort.map(|e| e.name()),
        developer_instructions: agent.system_message.as_deref(),
        check_for_update_on_startup: false,
        cli_auth_credentials_store: "file",
        analytics: Switch { enabled: false },
        history: History { persistence: "none" },
        features: BTreeMap::from([
            // It sends the key to a second host, for a list of models.
            ("api_key_model_discovery", false),
            // It offers the services that the person has connected to the login.
            ("apps", false),
            // It fetches a catalogue from hosts that no task needs.
            ("plugins", false),
            // It waits for ever on an endpoint that refuses connections.
            ("unbounded_connection_retries", false),
        ]),
        shell_environment_policy: ShellEnvironment {
            ignore_default_excludes: false,
            exclude: [KEY, "OPENAI_API_KEY"],
        },
        // A repository's own `.codex/config.toml` could name another provider for the key, and it
        // counts only where the project is trusted. One that is said to be untrusted loses its
        // AGENTS.md as well, which are words; so nothing is said of it.
        projects: agent
            .program
            .trust_repository
            .then_some((workspace, Project { trust_level: "trusted" }))
            .into_iter()
            .collect(),
        model_providers: provider.into_iter().map(|p| (PROVIDER, p)).collect(),
    };
    toml::to_string(&config)
        .map_err(|e| BackendError::Invalid(format!("the settings of codex cannot be written: {e}")))
}

#[cfg(test)]
#[path = "codex_config_tests.rs"]
mod tests;
