//! The `config.toml` that Codex finds in its private home.

use crate::endpoint::Endpoint;
use crate::servers::{Reach, Server};
use crate::{BackendError, Context};
use cordon_config::{Agent, Azure};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The variable that carries the key; Codex keeps names like it from the shells it starts.
pub(super) const KEY: &str = "CODEX_API_KEY";
const PROVIDER: &str = "cordon";
const AZURE_KEY: &str = "AZURE_OPENAI_API_KEY";

/// The name that a request has for the model: Azure knows deployments.
pub(super) fn model(agent: &Agent) -> Option<&str> {
    let deployment = agent.program.azure.as_ref().and_then(|azure| azure.deployment.as_deref());
    deployment.or(agent.model.as_deref())
}

/// The URL of Azure's API. With a version it is the one that takes a version, else the newer one.
pub(super) fn azure_url(azure: &Azure) -> String {
    let endpoint = azure.endpoint.trim_end_matches('/');
    match (endpoint.split_once("://").is_some_and(|(_, rest)| rest.contains('/')), &azure.api_version) {
        (true, _) => endpoint.to_owned(),
        (false, Some(_)) => format!("{endpoint}/openai"),
        (false, None) => format!("{endpoint}/openai/v1"),
    }
}

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
    web_search: &'a str,
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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    mcp_servers: BTreeMap<&'a str, McpServer<'a>>,
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
    exclude: Vec<&'a str>,
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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env_http_headers: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_params: BTreeMap<&'a str, &'a str>,
    request_max_retries: u32,
    stream_max_retries: u32,
}

#[derive(Serialize)]
struct McpServer<'a> {
    #[serde(flatten)]
    reach: McpReach<'a>,
    startup_timeout_sec: f64,
    tool_timeout_sec: f64,
    /// Nobody is there to be asked.
    default_tools_approval_mode: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled_tools: Option<&'a BTreeSet<String>>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    disabled_tools: &'a BTreeSet<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum McpReach<'a> {
    Stdio {
        command: &'a str,
        args: &'a [String],
        #[serde(skip_serializing_if = "Option::is_none")]
        cwd: Option<&'a str>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        env: &'a BTreeMap<String, String>,
    },
    Http {
        url: &'a str,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        http_headers: &'a BTreeMap<String, String>,
    },
}

fn server(server: &Server) -> McpServer<'_> {
    McpServer {
        reach: match &server.reach {
            Reach::Stdio { command, args, env, cwd } => {
                McpReach::Stdio { command, args, cwd: cwd.as_deref(), env }
            }
            Reach::Http { url, headers } => McpReach::Http { url, http_headers: headers },
        },
        startup_timeout_sec: server.ready_within.as_secs_f64(),
        tool_timeout_sec: server.call_within.as_secs_f64(),
        default_tools_approval_mode: "approve",
        enabled_tools: server.allowed.as_ref(),
        disabled_tools: &server.excluded,
    }
}

/// What the shells that Codex starts do not get of its environment. By name alone the program
/// keeps everything from them that is called KEY, SECRET or TOKEN; what the file says they shall
/// have is among that.
fn shells<'a>(context: &Context) -> ShellEnvironment<'a> {
    let given = &context.agent.credentials.variables;
    let own = [KEY, "OPENAI_API_KEY", AZURE_KEY].into_iter();
    let is_given = |name: &str| given.contains_key(name) || context.agent.env.contains_key(name);
    ShellEnvironment {
        ignore_default_excludes: !given.is_empty(),
        exclude: own
            .filter(|name| *name == KEY || !given.contains_key(*name))
            // Cordon's own, for the program; the file's is for all.
            .chain((!is_given("RUST_LOG")).then_some("RUST_LOG"))
            .collect(),
    }
}

/// Writes the file. Of keys it holds the name alone; of MCP servers, what the agent file says.
pub(super) fn write(
    context: &Context,
    workspace: &str,
    endpoint: Option<&Endpoint>,
    with_key: bool,
    servers: &[Server],
) -> Result<String, BackendError> {
    let agent = &context.agent;
    let azure = agent.program.azure.as_ref();
    let key = |is_azure: bool| (with_key && is_azure == azure.is_some()).then_some(KEY);
    let provider = endpoint.map(|endpoint| Provider {
        name: PROVIDER,
        base_url: &endpoint.url,
        wire_api: "responses",
        env_key: key(false),
        env_http_headers: key(true).map(|key| ("api-key", key)).into_iter().collect(),
        query_params: azure
            .and_then(|azure| azure.api_version.as_deref())
            .map(|version| ("api-version", version))
            .into_iter()
            .collect(),
        request_max_retries: 2,
        stream_max_retries: 4,
    });
    let config = Config {
        model: model(agent),
        model_provider: provider.as_ref().map(|_| PROVIDER),
        model_reasoning_effort: agent.effort.map(|e| e.name()),
        developer_instructions: agent.system_message.as_deref(),
        // What a search asks for leaves the sandbox through the provider.
        web_search: if agent.program.web_search == Some(true) { "live" } else { "disabled" },
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
        shell_environment_policy: shells(context),
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
        mcp_servers: servers.iter().map(|s| (s.name.as_str(), server(s))).collect(),
    };
    toml::to_string(&config)
        .map_err(|e| BackendError::Invalid(format!("the settings of codex cannot be written: {e}")))
}

#[cfg(test)]
#[path = "codex_config_tests.rs"]
mod tests;
