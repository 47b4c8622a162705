//! The `settings.json` that Gemini CLI finds in its private home.

use crate::BackendError;
use crate::process::directories;
use crate::servers::{Reach, Server};
use cordon_config::{Agent, Effort};
use serde_json::{Value, json};
use std::time::Duration;

const SUCCESSORS: [&str; 2] = ["gemini-3.1-pro-preview", "gemini-3.1-pro-preview-customtools"];

/// Its tools that go to the web.
const WEB: [&str; 2] = ["google_web_search", "web_fetch"];

/// Writes the file. It holds no key of a provider; what the servers are given is in it.
pub(super) fn write(agent: &Agent, with_key: bool, servers: &[Server]) -> Result<String, BackendError> {
    let login = if with_key { "gemini-api-key" } else { "oauth-personal" };
    let mut settings = json!({
        "security": {
            "auth": { "selectedType": login },
            "folderTrust": { "enabled": false },
            // The shells that it starts do not see the key.
            "environmentVariableRedaction": {
                "enabled": true, "blocked": ["GEMINI_API_KEY", "GOOGLE_API_KEY"],
            },
        },
        "privacy": { "usageStatisticsEnabled": false },
        "telemetry": { "enabled": false },
        "general": {
            "enableAutoUpdate": false,
            "enableAutoUpdateNotification": false,
            // It otherwise tries again for minutes: ten times, and as long as nothing answers.
            "maxAttempts": 3,
            "retryFetchErrors": false,
        },
        "ide": { "enabled": false },
        // The workspace's `.env` is the user's, not the agent's.
        "advanced": { "ignoreLocalEnv": true },
        "hooksConfig": { "enabled": agent.program.trust_repository },
        // Its file tools refuse any other place by themselves.
        "context": {
            "includeDirectories": directories(agent),
            // What is written there for agents is read, too.
            "loadMemoryFromIncludeDirectories": true,
        },
    });
    let mut excluded: Vec<&str> = agent.program.disallowed.iter().map(String::as_str).collect();
    if agent.program.web_search == Some(false) {
        excluded.extend(WEB);
    }
    if !excluded.is_empty() {
        settings["tools"] = json!({ "exclude": excluded });
    }
    for given in servers {
        settings["mcpServers"][&given.name] = server(given)?;
    }
    if let Some(effort) = agent.effort {
        settings["modelConfigs"] = thinking(agent.model.as_deref(), effort)?;
    }
    serde_json::to_string_pretty(&settings)
        .map_err(|e| BackendError::Invalid(format!("the settings of gemini cannot be written: {e}")))
}

/// One server. Its calls are not asked about: the sandbox is the boundary.
fn server(server: &Server) -> Result<Value, BackendError> {
    let mut config = json!({ "trust": true, "timeout": milliseconds(server.call_within) });
    match &server.reach {
        Reach::Stdio { command, args, env, cwd } => {
            // In these it puts in variables that it has, as a shell would; others stay as they are.
            config["command"] = json!(command);
            config["args"] = json!(args);
            for (name, value) in env {
                config["env"][name] = plain(server, value)?;
            }
            if let Some(cwd) = cwd {
                config["cwd"] = plain(server, cwd)?;
            }
        }
        Reach::Http { url, headers } => {
            config["httpUrl"] = plain(server, url)?;
            for (name, value) in headers {
                config["headers"][name] = plain(server, value)?;
            }
        }
    }
    if let Some(allowed) = &server.allowed {
        config["includeTools"] = json!(allowed);
    }
    if !server.excluded.is_empty() {
        config["excludeTools"] = json!(server.excluded);
    }
    Ok(config)
}

/// A text that the program takes as it is: it puts variables in wherever they are named.
fn plain(server: &Server, text: &str) -> Result<Value, BackendError> {
    let named = |rest: &str| rest.starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphabetic());
    if text.split('$').skip(1).any(named) {
        return Err(BackendError::Invalid(format!(
            "mcp_servers.{}: gemini_cli would put a variable in place of what follows a `$`, and has no way to \
             write one; do without it",
            server.name
        )));
    }
    Ok(json!(text))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The program has no word for effort: it is part of what is sent for one model, and each
/// family of models has another way to say it.
fn thinking(model: Option<&str>, effort: Effort) -> Result<Value, BackendError> {
    let refuse = |why: &str| {
        Err(BackendError::Invalid(format!(
            "model_reasoning_effort {} cannot be honoured by gemini_cli: {why}",
            effort.name()
        )))
    };
    let Some(model) = model else {
        return refuse("it needs a `model` in the agent file, beginning with gemini-2.5 or gemini-3");
    };
    let config = if model.starts_with("gemini-2.5") {
        match effort {
            Effort::Low => json!({ "thinkingBudget": 1024 }),
            Effort::Medium => json!({ "thinkingBudget": 8192 }),
            Effort::High => json!({ "thinkingBudget": 24_576 }),
            Effort::XHigh => return refuse("low, medium and high are what its models have"),
        }
    } else if model.starts_with("gemini-3") {
        match effort {
            Effort::Low => json!({ "thinkingLevel": "LOW" }),
            Effort::Medium => json!({ "thinkingLevel": "MEDIUM" }),
            Effort::High => json!({ "thinkingLevel": "HIGH" }),
            Effort::XHigh => return refuse("low, medium and high are what its models have"),
        }
    } else {
        return refuse("how its model thinks is known for gemini-2.5 and gemini-3 only");
    };
    // The program asks a successor for what was asked of these, and looks under that name.
    let successors: &[&str] = if model.starts_with("gemini-3-pro") { &SUCCESSORS } else { &[] };
    let overrides = std::iter::once(model).chain(successors.iter().copied()).map(|model| {
        json!({
            "match": { "model": model },
            "modelConfig": { "generateContentConfig": { "thinkingConfig": config } },
        })
    });
    Ok(json!({ "overrides": overrides.collect::<Vec<_>>() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;
    use cordon_config::BackendKind;
    use std::path::Path;

    fn agent(model: Option<&str>, effort: Option<Effort>) -> Agent {
        let mut agent = context(BackendKind::GeminiCli, Path::new("/nowhere")).agent;
        agent.model = model.map(str::to_owned);
        agent.effort = effort;
        agent
    }

    fn parsed(model: Option<&str>, effort: Option<Effort>) -> Value {
        serde_json::from_str(&write(&agent(model, effort), true, &[]).unwrap()).unwrap()
    }

    #[test]
    fn the_key_is_kept_from_shells_and_nothing_is_reported() {
        let settings = parsed(None, None);
        assert_eq!(settings["security"]["auth"]["selectedType"], "gemini-api-key");
        assert_eq!(settings["security"]["environmentVariableRedaction"]["enabled"], true);
        assert_eq!(settings["privacy"]["usageStatisticsEnabled"], false);
        assert_eq!(settings["general"]["retryFetchErrors"], false);
        assert_eq!(settings["modelConfigs"], Value::Null);
        let login: Value = serde_json::from_str(&write(&agent(None, None), false, &[]).unwrap()).unwrap();
        assert_eq!(login["security"]["auth"]["selectedType"], "oauth-personal");
    }

    #[test]
    fn effort_is_said_as_the_model_understands_it_or_refused() {
        let config = |model, effort| {
            let over = &parsed(Some(model), Some(effort))["modelConfigs"]["overrides"][0];
            assert_eq!(over["match"]["model"], model);
            over["modelConfig"]["generateContentConfig"]["thinkingConfig"].clone()
        };
        assert_eq!(config("gemini-2.5-pro", Effort::High), json!({ "thinkingBudget": 24_576 }));
        assert_eq!(config("gemini-3.1-pro-preview", Effort::Low), json!({ "thinkingLevel": "LOW" }));
        let old = &parsed(Some("gemini-3-pro-preview"), Some(Effort::Low))["modelConfigs"]["overrides"];
        assert_eq!(old[1]["match"]["model"], "gemini-3.1-pro-preview");
        for (model, effort) in [
            (None, Effort::Low),
            (Some("gemini-1.5-pro"), Effort::Low),
            (Some("gemini-2.5-pro"), Effort::XHigh),
            (Some("gemini-3-pro"), Effort::XHigh),
        ] {
            let error = write(&agent(model, Some(effort)), true, &[]).unwrap_err().to_string();
            assert!(error.contains("model_reasoning_effort"), "{error}");
        }
    }

    #[test]
    fn tools_and_servers_are_told_as_the_program_has_them() {
        let mut agent = agent(None, None);
        agent.program.disallowed = vec!["write_file".into()];
        agent.program.web_search = Some(false);
        let reach = Reach::Stdio {
            command: "npx".into(),
            args: vec!["-y".into(), "costs 5$".into()],
            env: [("TOKEN".to_owned(), "t".to_owned())].into(),
            cwd: Some("/w/sub".into()),
        };
        let given = Server {
            name: "files".into(),
            reach,
            ready_within: Duration::from_secs(3),
            call_within: Duration::from_secs(9),
            allowed: Some(["one".to_owned()].into()),
            excluded: ["two".to_owned()].into(),
        };
        let settings: Value =
            serde_json::from_str(&write(&agent, true, std::slice::from_ref(&given)).unwrap()).unwrap();
        assert_eq!(settings["tools"]["exclude"], json!(["write_file", "google_web_search", "web_fetch"]));
        assert_eq!(
            settings["mcpServers"],
            json!({"files": {
                "trust": true, "timeout": 9000, "command": "npx", "args": ["-y", "costs 5$"],
                "env": {"TOKEN": "t"}, "cwd": "/w/sub", "includeTools": ["one"], "excludeTools": ["two"],
            }})
        );
        let headers = [("authorization".to_owned(), "pa$$word".to_owned())].into();
        let reach = Reach::Http { url: "https://example.com/mcp".into(), headers };
        let error = server(&Server { reach, ..given }).unwrap_err().to_string();
        assert!(error.contains("mcp_servers.files") && !error.contains("word"), "{error}");
    }
}
