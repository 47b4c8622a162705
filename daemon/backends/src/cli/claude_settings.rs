//! What Claude Code is told of tools: its servers, its filters, its mode.

use crate::servers::{Reach, Server};
use crate::{BackendError, Context};
use cordon_config::PermissionMode;
use cordon_sandbox::SeedFile;
use serde_json::{Map, Value, json};

/// Below the private home.
const SERVERS: &str = ".claude/cordon-mcp.json";
const SETTINGS: &str = ".claude/cordon-settings.json";
/// What answers from the internet, whatever the sandbox may reach.
const WEB: [&str; 2] = ["WebSearch", "WebFetch"];

/// The files that the arguments name.
pub(super) fn seeds(context: &Context, servers: &[Server]) -> Result<Vec<SeedFile>, BackendError> {
    let mut seeds = Vec::new();
    let mut add = |path: &str, value: &Value| {
        seeds.push(SeedFile { path: path.into(), content: value.to_string().into_bytes(), mode: 0o600 });
    };
    if !servers.is_empty() {
        add(SERVERS, &mcp_config(servers)?);
    }
    if let Some(settings) = settings(context, servers) {
        add(SETTINGS, &settings);
    }
    Ok(seeds)
}

/// The arguments about tools.
pub(super) fn arguments(context: &Context, servers: &[Server]) -> Vec<String> {
    let program = &context.agent.program;
    let mut argv = vec![match program.permission_mode {
        None | Some(PermissionMode::BypassPermissions) => "--dangerously-skip-permissions".to_owned(),
        Some(mode) => format!("--permission-mode={}", mode.name()),
    }];
    let file = |path: &str| context.home.join(path).display().to_string();
    if !servers.is_empty() {
        argv.push(format!("--mcp-config={}", file(SERVERS)));
    }
    if settings(context, servers).is_some() {
        argv.push(format!("--settings={}", file(SETTINGS)));
    }
    // One rule an argument: the program cuts at commas and spaces, though not within parentheses.
    let web = WEB.iter().filter(|_| program.web_search != Some(true)).map(|tool| (*tool).to_owned());
    let excluded = servers.iter().flat_map(|s| s.excluded.iter().map(|tool| composed(&s.name, tool)));
    let rules = web.chain(program.disallowed.iter().cloned()).chain(excluded);
    argv.extend(rules.map(|rule| format!("--disallowedTools={rule}")));
    if program.permission_mode.is_some() {
        // What the file allows by name nobody has to be asked for.
        let allowed = servers
            .iter()
            .flat_map(|s| s.allowed.iter().flatten().map(|tool| composed(&s.name, tool)))
            .map(|rule| format!("--allowedTools={rule}"));
        argv.extend(allowed);
    }
    argv
}

/// Variables about servers, which the program has for all of them together.
pub(super) fn environment(servers: &[Server]) -> Vec<(String, String)> {
    let longest = |of: fn(&Server) -> std::time::Duration| servers.iter().map(of).max();
    let all =
        [("MCP_TIMEOUT", longest(|s| s.ready_within)), ("MCP_TOOL_TIMEOUT", longest(|s| s.call_within))];
    all.into_iter()
        .filter_map(|(name, wait)| Some((name.to_owned(), wait?.as_millis().to_string())))
        .collect()
}

fn composed(server: &str, tool: &str) -> String {
    format!("mcp__{server}__{tool}")
}

fn mcp_config(servers: &[Server]) -> Result<Value, BackendError> {
    let mut all = Map::new();
    for server in servers {
        // `${NAME}` in it would be replaced by the program, once more after us.
        let value = match &server.reach {
            Reach::Stdio { env, .. } => {
                let (command, args) = server.without_cwd().unwrap_or_default();
                json!({ "type": "stdio", "command": command, "args": args, "env": env })
            }
            Reach::Http { url, headers } => json!({ "type": "http", "url": url, "headers": headers }),
        };
        if value.to_string().contains("${") {
            return Err(BackendError::Invalid(format!(
                "mcp_servers.{}: claude_code replaces ${{NAME}} in what it is told of a server, and cannot \
                 be told the text itself; take it out",
                server.name
            )));
        }
        all.insert(server.name.clone(), value);
    }
    Ok(json!({ "mcpServers": all }))
}

/// The program has a list of tools that it must not use, and none of the only ones that it may. A
/// hook before every other tool of such a server refuses it, and tells the model so.
fn settings(context: &Context, servers: &[Server]) -> Option<Value> {
    let mut hooks = Vec::new();
    for server in servers {
        let Some(allowed) = &server.allowed else { continue };
        let names: Vec<String> = allowed.iter().map(|tool| escaped(tool)).collect();
        let others = if names.is_empty() { String::new() } else { format!("(?!(?:{})$)", names.join("|")) };
        let command = "echo 'this tool is not among the allowed_tools of the agent file' >&2; exit 2";
        hooks.push(json!({
            "matcher": format!("^mcp__{}__{others}.*$", escaped(&server.name)),
            "hooks": [{ "type": "command", "command": command, "timeout": 10 }],
        }));
    }
    let mut settings = Map::new();
    if !hooks.is_empty() {
        settings.insert("hooks".to_owned(), json!({ "PreToolUse": hooks }));
    }
    if context.agent.program.trust_repository {
        // Else the servers of its .mcp.json wait for somebody to agree.
        settings.insert("enableAllProjectMcpServers".to_owned(), Value::Bool(true));
    }
    (!settings.is_empty()).then_some(Value::Object(settings))
}

/// A text as a part of a regular expression that matches just that.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() && c != '_' && c != '-' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
#[path = "claude_settings_tests.rs"]
mod tests;
