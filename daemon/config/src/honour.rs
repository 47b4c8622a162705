//! Which key of an agent file reaches which backend, and how: one table, which refuses the keys
//! that a backend cannot honour, and which the documents show.

use crate::BackendKind;
use cordon_providers::{Making, Setting};
use std::fmt::Write as _;

/// What becomes of a key.
pub(crate) enum How {
    /// How the program is told, or who else sees to it.
    By(&'static str),
    /// It cannot be honoured; what to do instead.
    Not(&'static str),
}

use How::{By, Not};

/// One key, or one value of it, for every backend type that works.
pub(crate) struct Row {
    pub(crate) key: &'static str,
    /// Where only this value is meant.
    pub(crate) value: Option<&'static str>,
    codex: How,
    claude: How,
    gemini: How,
    copilot: How,
    command: How,
    replay: How,
    api: How,
}

impl Row {
    pub(crate) fn of(&self, kind: BackendKind) -> &How {
        match kind {
            BackendKind::Codex => &self.codex,
            BackendKind::ClaudeCode => &self.claude,
            BackendKind::GeminiCli => &self.gemini,
            BackendKind::Copilot => &self.copilot,
            BackendKind::Command => &self.command,
            BackendKind::Replay => &self.replay,
            BackendKind::Api(_) => &self.api,
            BackendKind::Ag2 if AG2_KEYS.contains(&self.key) => &AG2,
            BackendKind::Ag2 => &NOT_AG2,
        }
    }
}

/// What agents of `ag2` know beside their own maps.
const AG2_KEYS: [&str; 11] = [
    "model",
    "api_key",
    "base_url",
    "system_message",
    "cli_path",
    "env",
    "timeout",
    "egress",
    "command_line_docker_credentials",
    "command_line_docker_runtime",
    "command_line_docker_packages",
];
const AG2: How = By("as it stands, or where its own maps say nothing else");
const NOT_AG2: How = Not("say it in `llm_config` or `agent_config`, or take it out: ag2 has no Cordon tools");

const NO_MODEL: &str = "name the model to the program itself, in `command`";
const NO_KEY: &str = "the program reads it itself: use `command_line_docker_credentials`";
const OWN_WORDS: &str = "give the program its own arguments in `command`";
const NO_PROGRAM: &str = "a replay starts no program that could be told: take the key out";
const ONLY_AZURE: &str =
    "only codex, copilot and azure_openai reach a model through Azure: use one of them, or `base_url`";
const CODEX_ASKS: &str = "codex asks somebody, or works in a sandbox of its own, which does not nest in Cordon's: \
                          use `bypassPermissions`, and context_paths with permission: read";
const WALL: &str = "by the wall";
const DAEMON: &str = "by the daemon";
const OWN_TOOLS: &str = "Cordon's own tools: `cordon mcp`, `enable_mcp_command_line`";
const SHOWN: &str = "what the model is shown";
const AZURE: &str = "`azure_openai`: the URL of requests";
const REQUEST: &str = "of the request";
const NO_PROCESS: &str = "a model API has no program of its own in the sandbox: take the key out";
const NOBODY_ASKS: &str = "a model API asks nobody: the sandbox decides; for a plan and no changes use \
                           `orchestrator.coordination.enable_planning_mode`";
const SERVED: &str = "served by `cordon mcp`";

const fn for_all(key: &'static str, how: &'static str) -> Row {
    Row {
        key,
        value: None,
        codex: By(how),
        claude: By(how),
        gemini: By(how),
        copilot: By(how),
        command: By(how),
        replay: By(how),
        api: By(how),
    }
}

const fn azure(key: &'static str, codex: &'static str, copilot: &'static str, api: How) -> Row {
    Row {
        key,
        value: None,
        codex: By(codex),
        claude: Not(ONLY_AZURE),
        gemini: Not(ONLY_AZURE),
        copilot: By(copilot),
        command: Not(OWN_WORDS),
        replay: Not(NO_PROGRAM),
        api,
    }
}

/// A key that the four CLI programs know, and model APIs or not.
const fn cli(key: &'static str, how: [&'static str; 4], command: &'static str, api: How) -> Row {
    let [codex, claude, gemini, copilot] = how;
    Row {
        key,
        value: None,
        codex: By(codex),
        claude: By(claude),
        gemini: By(gemini),
        copilot: By(copilot),
        command: Not(command),
        replay: Not(NO_PROGRAM),
        api,
    }
}

const fn custom(key: &'static str, how: &'static str) -> Row {
    Row {
        key,
        value: None,
        codex: By(how),
        claude: By(how),
        gemini: By(how),
        copilot: By(how),
        command: By(SERVED),
        replay: By(SERVED),
        api: By(SHOWN),
    }
}

const fn mode(value: &'static str, how: [How; 4]) -> Row {
    let [codex, claude, gemini, copilot] = how;
    Row {
        key: "permission_mode",
        value: Some(value),
        codex,
        claude,
        gemini,
        copilot,
        command: Not(OWN_WORDS),
        replay: Not(NO_PROGRAM),
        api: Not(NOBODY_ASKS),
    }
}

const EFFORT: [&str; 4] = [
    "`model_reasoning_effort` of config.toml",
    "`--effort`",
    "thinking level or budget of the model, settings.json",
    "`--reasoning-effort`",
];

/// The table. A key that is in none of its rows is honoured for every type, or checked elsewhere.
pub(crate) const ROWS: &[Row] = &[
    cli("model", ["`--model`", "`--model`", "`--model`", "`--model`"], NO_MODEL, By(REQUEST)),
    cli("model_reasoning_effort", EFFORT, OWN_WORDS, By(REQUEST)),
    cli("reasoning", EFFORT, OWN_WORDS, By(REQUEST)),
    cli(
        "system_message",
        [
            "`developer_instructions` of config.toml",
            "`--append-system-prompt-file`",
            "GEMINI.md of the private home",
            "copilot-instructions.md of the private home",
        ],
        "put it into the prompt, or into an argument of `command`",
        By("the system prompt of every request"),
    ),
    cli(
        "api_key",
        [
            "`CODEX_API_KEY`, kept from the shells it starts",
            "`ANTHROPIC_API_KEY`",
            "`GEMINI_API_KEY`",
            "`COPILOT_GITHUB_TOKEN`, or with `base_url` `COPILOT_PROVIDER_API_KEY`; kept from the shells it starts",
        ],
        NO_KEY,
        By("a header of the request; no process in the sandbox has it"),
    ),
    cli(
        "base_url",
        [
            "a `model_providers` entry of config.toml",
            "`ANTHROPIC_BASE_URL`",
            "`GOOGLE_GEMINI_BASE_URL`",
            "`COPILOT_PROVIDER_BASE_URL`",
        ],
        OWN_WORDS,
        By("where requests go"),
    ),
    azure(
        "provider",
        "a `model_providers` entry with the header `api-key` and the query `api-version`",
        "`COPILOT_PROVIDER_TYPE=azure`",
        Not("use `type: azure_openai`"),
    ),
    azure("azure_endpoint", "its `base_url`", "`COPILOT_PROVIDER_BASE_URL`", By(AZURE)),
    azure("azure_deployment", "`--model`", "`COPILOT_PROVIDER_WIRE_MODEL`", By(AZURE)),
    azure("deployment_name", "`--model`", "`COPILOT_PROVIDER_WIRE_MODEL`", By(AZURE)),
    azure("api_version", "its `query_params`", "`COPILOT_PROVIDER_AZURE_API_VERSION`", By(AZURE)),
    Row {
        api: By("variables of its tools, of what they start and of its MCP servers"),
        ..for_all("env", "variables of the program and of what it starts")
    },
    for_all("timeout", "by the daemon: the turn is stopped"),
    mode(
        "bypassPermissions",
        [
            By("`--dangerously-bypass-approvals-and-sandbox`, as when absent"),
            By("`--dangerously-skip-permissions`, as when absent"),
            By("`--approval-mode=yolo`, as when absent"),
            By("`--yolo`, as when absent"),
        ],
    ),
    mode(
        "acceptEdits",
        [
            Not(CODEX_ASKS),
            By("`--permission-mode=acceptEdits`; what it would ask for is refused"),
            By("`--approval-mode=auto_edit`; what it would ask for is refused"),
            By("`--allow-tool=write`; what it would ask for is refused"),
        ],
    ),
    mode(
        "default",
        [
            Not(CODEX_ASKS),
            By("`--permission-mode=default`; what it would ask for is refused"),
            By("`--approval-mode=default`; what it would ask for is refused"),
            By("no `--yolo`; what it would ask for is refused"),
        ],
    ),
    mode(
        "plan",
        [Not(CODEX_ASKS), By("`--permission-mode=plan`"), By("`--approval-mode=plan`"), By("`--mode=plan`")],
    ),
    cli(
        "enable_web_search",
        [
            "`web_search` of config.toml: `live`, else `disabled`",
            "WebSearch and WebFetch; without it `--disallowedTools`",
            "google_web_search and web_fetch; without it `tools.exclude`",
            "web_search and web_fetch; without it `--excluded-tools`",
        ],
        OWN_WORDS,
        By("the provider's own, where it has one"),
    ),
    Row {
        key: "disallowed_tools",
        value: None,
        codex: Not("codex can turn off no single tool of its own; `exclude_tools` holds for MCP tools"),
        claude: By("`--disallowedTools`"),
        gemini: By("`tools.exclude` of settings.json"),
        copilot: By("`--deny-tool`"),
        command: Not(OWN_WORDS),
        replay: Not("take the steps out"),
        api: Not("a model API has no tools of a program: use `exclude_tools`"),
    },
    Row {
        key: "allowed_tools",
        value: None,
        codex: By("MCP tools: `enabled_tools` of the server"),
        claude: By("MCP tools: a PreToolUse hook in `--settings` refuses the others"),
        gemini: By("MCP tools: `includeTools` of the server"),
        copilot: By("MCP tools: `tools` of the server"),
        command: By(SERVED),
        replay: By(SERVED),
        api: By(SHOWN),
    },
    Row {
        key: "exclude_tools",
        value: None,
        codex: By("MCP tools: `disabled_tools` of the server"),
        claude: By("MCP tools: `--disallowedTools mcp__SERVER__TOOL`"),
        gemini: By("MCP tools: `excludeTools` of the server"),
        copilot: By("MCP tools: `--excluded-tools`"),
        command: By(SERVED),
        replay: By(SERVED),
        api: By(SHOWN),
    },
    Row {
        key: "mcp_servers",
        value: None,
        codex: By("`mcp_servers` of config.toml"),
        claude: By("`--mcp-config`, `--strict-mcp-config`"),
        gemini: By("`mcpServers` of settings.json"),
        copilot: By("`--additional-mcp-config`"),
        command: By(SERVED),
        replay: By(SERVED),
        api: By(SHOWN),
    },
    custom("custom_tools", "MCP server `custom_tools`"),
    custom("custom_tools_python", "by the daemon: its interpreter"),
    cli(
        "enable_mcp_command_line",
        ["MCP server `cordon`", "MCP server `cordon`", "MCP server `cordon`", "MCP server `cordon`"],
        "a program that speaks MCP starts `/run/cordon-guest mcp` itself",
        By("Cordon's own tools are always there"),
    ),
    for_all("command_line_allowed_commands", OWN_TOOLS),
    for_all("command_line_blocked_commands", OWN_TOOLS),
    for_all("enforce_read_before_delete", OWN_TOOLS),
    for_all("exclude_file_operation_mcps", OWN_TOOLS),
    cli(
        "cli_path",
        [
            "in place of `codex` on PATH",
            "in place of `claude` on PATH",
            "in place of `gemini` on PATH",
            "in place of `copilot` on PATH",
        ],
        "the program is the first word of `command`",
        Not(NO_PROCESS),
    ),
    cli(
        "trust_repository",
        [
            "`trust_level` of the workspace in config.toml",
            "`--setting-sources=user,project,local`; .mcp.json is read",
            "`security.folderTrust` of settings.json",
            "`COPILOT_ALLOW_ALL=true`",
        ],
        "a command reads what it likes in the workspace: take the key out",
        Not("a model API reads no settings of the workspace: take the key out"),
    ),
    for_all("command_line_docker_credentials", WALL),
    for_all("command_line_docker_runtime", WALL),
    for_all("command_line_docker_packages", "by the daemon: an image made once"),
    for_all("egress", DAEMON),
];

/// A key that only model APIs know.
pub(crate) struct ApiRow {
    pub(crate) key: &'static str,
    /// What a provider must have for it; none: every one.
    pub(crate) setting: Option<Setting>,
    /// What it must make for it, if no other backend does that for the agent.
    pub(crate) making: Option<Making>,
    /// What becomes of it.
    how: &'static str,
}

const fn api(key: &'static str, setting: Option<Setting>, how: &'static str) -> ApiRow {
    ApiRow { key, setting, making: None, how }
}

const fn makes(key: &'static str, making: Making) -> ApiRow {
    ApiRow { making: Some(making), ..api(key, None, "a tool that the daemon serves") }
}

impl ApiRow {
    /// Backends that have it, by name; none: all.
    pub(crate) fn able(&self) -> Option<Vec<&'static str>> {
        self.setting.map(Setting::providers).or_else(|| self.making.map(Making::providers))
    }
}

/// The keys that say where Azure is, for those that reach a model through it.
pub(crate) const AZURE_KEYS: [&str; 4] =
    ["azure_endpoint", "azure_deployment", "deployment_name", "api_version"];

/// Whether a key of the first table is another provider's.
pub(crate) fn elsewhere(provider: &cordon_providers::Provider, key: &str) -> bool {
    AZURE_KEYS.contains(&key) && provider.name != "azure_openai"
}

const BY_DAEMON: &str = "by the daemon, between two requests";

/// The keys that only model APIs know. Those inside `reasoning` are checked where it is.
pub(crate) const API_ROWS: &[ApiRow] = &[
    api("temperature", None, REQUEST),
    api("max_tokens", None, REQUEST),
    api("top_p", None, REQUEST),
    api("top_k", Some(Setting::TopK), REQUEST),
    api("repetition_penalty", Some(Setting::RepetitionPenalty), REQUEST),
    api("text", Some(Setting::Verbosity), REQUEST),
    api("verbosity", Some(Setting::Verbosity), REQUEST),
    api("safety_settings", Some(Setting::Safety), REQUEST),
    api("chat_template_kwargs", Some(Setting::Template), REQUEST),
    api("separate_reasoning", Some(Setting::SeparateReasoning), REQUEST),
    api("extra_body", None, "by the key of the same name"),
    api("enable_x_search", Some(Setting::XSearch), "a tool that runs at the provider"),
    api("enable_code_execution", Some(Setting::Code), "a tool that runs at the provider"),
    api("enable_code_interpreter", Some(Setting::Code), "a tool that runs at the provider"),
    api("engine", Some(Setting::WebSearchEngine), "of the web search"),
    api("max_results", Some(Setting::WebSearchEngine), "of the web search"),
    api("search_prompt", Some(Setting::WebSearchPrompt), "of the web search"),
    api("search_context_size", Some(Setting::WebSearchContext), "of the web search"),
    api("plugins", Some(Setting::WebSearchEngine), "of the web search"),
    api("parallel_tool_calls", None, "of the request"),
    api("enable_multimodal_tools", None, "tools that the daemon serves"),
    api("multimodal_config", None, "tools that the daemon serves"),
    makes("enable_image_generation", Making::Image),
    makes("enable_audio_generation", Making::Audio),
    api("image_generation_backend", None, "tools that the daemon serves"),
    api("image_generation_model", None, "tools that the daemon serves"),
    api("audio_generation_backend", None, "tools that the daemon serves"),
    api("audio_generation_model", None, "tools that the daemon serves"),
    api("concurrent_tool_execution", None, "by the daemon"),
    api("max_concurrent_tools", None, "by the daemon"),
    api("max_turns", None, BY_DAEMON),
    api("max_tokens_total", None, BY_DAEMON),
    api("max_cost_usd", None, BY_DAEMON),
    api("context_window", None, BY_DAEMON),
];

/// Settings within `reasoning`, by key.
pub(crate) const REASONING_ROWS: [ApiRow; 5] = [
    api("effort", Some(Setting::Effort), REQUEST),
    api("summary", Some(Setting::Summary), REQUEST),
    api("max_tokens", Some(Setting::ReasoningTokens), REQUEST),
    api("exclude", Some(Setting::ReasoningExclude), REQUEST),
    api("enabled", Some(Setting::ReasoningEnabled), REQUEST),
];

/// The table of keys that only model APIs know, as the documents show it.
fn api_table() -> String {
    let mut out = String::from("| key | how | backends that have it |\n|---|---|---|");
    let rows = API_ROWS.iter().map(|row| (String::new(), row));
    let inner = REASONING_ROWS.iter().map(|row| ("reasoning.".to_owned(), row));
    for (before, row) in inner.chain(rows) {
        let able = row.able().map_or_else(|| "all".to_owned(), |all| all.join(", "));
        let _ = write!(out, "\n| `{before}{}` | {} | {able} |", row.key, row.how);
    }
    out.push_str("\n| `port`, `lmstudio_start` | by the daemon | lmstudio |\n");
    out
}

/// The table of keys and backends as the documents show it.
#[must_use]
pub fn table() -> String {
    let kinds = [
        BackendKind::Codex,
        BackendKind::ClaudeCode,
        BackendKind::GeminiCli,
        BackendKind::Copilot,
        BackendKind::Command,
        BackendKind::Replay,
    ];
    let apis = |row: &Row| match row.api {
        By(how) => how,
        Not(_) => "error",
    };
    let mut out = String::from("| key |");
    kinds.iter().for_each(|kind| out.push_str(&format!(" {} |", kind.name())));
    out.push_str(" model APIs |\n|---|---|");
    kinds.iter().for_each(|_| out.push_str("---|"));
    for row in ROWS {
        let value = row.value.map(|v| format!(": {v}")).unwrap_or_default();
        let _ = write!(out, "\n| `{}{value}` |", row.key);
        for kind in kinds {
            let _ = match row.of(kind) {
                By(how) => write!(out, " {how} |"),
                Not(_) => write!(out, " error |"),
            };
        }
        let _ = write!(out, " {} |", apis(row));
    }
    out.push_str("\n\nOnly model APIs know these; with another backend, or with one that has them not, they are errors:\n\n");
    out.push_str(&api_table());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{AGENT, BACKEND};

    #[test]
    fn every_row_is_of_a_key_that_is_honoured() {
        for row in ROWS {
            let key = AGENT.find(row.key).or_else(|| BACKEND.find(row.key));
            assert!(key.is_some_and(|k| matches!(k.status, crate::shape::Status::Supported)), "{}", row.key);
        }
    }

    #[test]
    fn every_key_of_model_apis_is_one() {
        let known = |scope: &crate::shape::Scope, name: &str| {
            scope.find(name).is_some_and(|k| matches!(k.status, crate::shape::Status::Supported))
        };
        for row in API_ROWS {
            assert!(known(&BACKEND, row.key), "{}", row.key);
            assert!(ROWS.iter().all(|r| r.key != row.key), "{}", row.key);
        }
        for row in &REASONING_ROWS {
            assert!(known(&crate::keys::api::REASONING_MAP, row.key), "{}", row.key);
        }
        // Every setting is asked for by some key.
        for setting in Setting::ALL {
            let rows = API_ROWS.iter().chain(&REASONING_ROWS).filter_map(|r| r.setting);
            assert!(*setting == Setting::WebSearch || rows.into_iter().any(|s| s == *setting), "{setting}");
            assert!(!setting.providers().is_empty(), "{setting}");
        }
    }

    #[test]
    fn the_document_has_the_table() {
        const BEGIN: &str = "<!-- keys: begin -->\n";
        const END: &str = "<!-- keys: end -->\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/README.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, after) = text.split_once(BEGIN).expect("a table of keys begins");
        let (found, after) = after.split_once(END).expect("and ends");
        if std::env::var_os("CORDON_WRITE_TABLES").is_some() {
            std::fs::write(path, [before, BEGIN, &table(), END, after].concat()).unwrap();
            return;
        }
        assert_eq!(found, table(), "CORDON_WRITE_TABLES=1 cargo test -p cordon-config honour writes it");
    }
}
