//! What a CLI program is told in its own words.

use super::{Build, backend::url_fault};
use crate::{
    Azure, BackendKind, ExecutionMode, PermissionMode, ProgramOptions,
    check::Item,
    report::{At, Quoted},
};
use std::path::PathBuf;

const LONGEST_RULE: usize = 1024;

impl Build<'_, '_> {
    pub(super) fn program(
        &mut self,
        backend: &Item,
        kind: Option<BackendKind>,
        mode: Option<ExecutionMode>,
        orchestrator: Option<&Item>,
    ) -> ProgramOptions {
        let asked = backend.get("permission_mode").and_then(Item::text).and_then(permission_mode);
        let planning = self.planning(backend, kind, orchestrator);
        let flag = |key: &str| backend.get(key).and_then(Item::flag);
        ProgramOptions {
            ag2: None,
            web_search: flag("enable_web_search"),
            timeout: backend.get("timeout").and_then(|t| self.seconds(t)),
            disallowed: backend.get("disallowed_tools").map(|l| self.tool_rules(l)).unwrap_or_default(),
            permission_mode: if planning { Some(PermissionMode::Plan) } else { asked },
            path: backend.get("cli_path").and_then(|p| self.cli_path(p, mode)),
            azure: if matches!(kind, Some(BackendKind::Api(_))) { None } else { self.azure(backend) },
            trust_repository: flag("trust_repository").unwrap_or(false),
        }
    }

    /// `coordination.enable_planning_mode`, where it is a program that drives the agent.
    fn planning(&mut self, backend: &Item, kind: Option<BackendKind>, orchestrator: Option<&Item>) -> bool {
        use BackendKind::{ClaudeCode, Copilot, GeminiCli};
        let item = orchestrator.and_then(|o| o.get("coordination")?.get("enable_planning_mode"));
        let (Some(item), Some(kind)) = (item.filter(|i| i.flag() == Some(true)), kind) else { return false };
        match kind {
            BackendKind::Api(_) => false,
            ClaudeCode | GeminiCli | Copilot => {
                let own = backend.get("permission_mode");
                if let Some(own) = own.filter(|i| i.text().is_some_and(|t| t != "plan")) {
                    let message = "planning mode is on for all agents, and holds".to_owned();
                    self.report.warn(&own.at(), "no-effect", message, "take it out, or write `plan`");
                }
                true
            }
            _ => {
                let message = format!("{} has no planning mode", kind.name());
                let help = "use `context_paths` with permission: read, or another backend";
                self.report.error(&item.at(), "unsupported-key", message, help);
                false
            }
        }
    }

    /// Tools in the program's own notation: `Bash(rm *)`, `shell(git push)`.
    fn tool_rules(&mut self, list: &Item) -> Vec<String> {
        let mut rules = Vec::new();
        for item in self.bounded(list) {
            let Some(rule) = item.text() else { continue };
            // It becomes a part of an argument, which the program cuts at commas.
            let balanced = match (rule.find('('), rule.ends_with(')')) {
                (None, false) => !rule.contains([' ', ',']),
                (Some(at), true) => at > 0 && !rule[..at].contains([' ', ',']),
                _ => false,
            };
            let odd =
                rule.len() > LONGEST_RULE || rule.starts_with('-') || rule.chars().any(char::is_control);
            if rule.is_empty() || odd || !balanced {
                let message = format!("{} names no tool of the program", Quoted(&item.written));
                self.report.error(
                    &item.at(),
                    "bad-value",
                    message,
                    "for instance `WebFetch` or `Bash(rm *)`",
                );
                continue;
            }
            rules.push(rule.to_owned());
        }
        rules
    }

    fn cli_path(&mut self, item: &Item, mode: Option<ExecutionMode>) -> Option<PathBuf> {
        let path = self.expand_home(item)?;
        if !path.is_absolute() {
            let message = format!("{} is no absolute path", Quoted(&item.written));
            let help = "write the whole path of the program, for instance ~/.local/bin/codex";
            self.report.error(&item.at(), "bad-value", message, help);
            return None;
        }
        (self.no_parents(item, &path) && mode != Some(ExecutionMode::Docker)).then_some(path)
    }

    fn azure(&mut self, backend: &Item) -> Option<Azure> {
        const KEYS: [&str; 5] =
            ["provider", "azure_endpoint", "azure_deployment", "deployment_name", "api_version"];
        let given = KEYS.iter().find_map(|key| backend.get(key))?;
        if backend.get("provider").is_none() && backend.get("azure_endpoint").is_none() {
            let message = "the key says something of Azure, which nothing chooses".to_owned();
            self.report.error(&given.at(), "conflict", message, "add `provider: azure`");
            return None;
        }
        self.variables.want("AZURE_OPENAI_API_KEY");
        let endpoint = self.azure_endpoint(backend, given)?;
        let deployment = match (backend.get("azure_deployment"), backend.get("deployment_name")) {
            (Some(one), Some(other)) if one.text() != other.text() => {
                let message = "`azure_deployment` is given too and says something else".to_owned();
                self.report.error(&other.at(), "conflict", message, "take one of them out");
                None
            }
            (one, other) => one.or(other).and_then(|item| self.azure_word(item, "deployment")),
        };
        let api_version = match backend.get("api_version") {
            Some(item) => self.azure_word(item, "version of an API"),
            None => {
                let own = self.variables.get("AZURE_OPENAI_API_VERSION").map(str::to_owned);
                own.filter(|version| is_word(version))
            }
        };
        Some(Azure { endpoint, deployment, api_version })
    }

    /// The key, then `base_url`, then the variable.
    fn azure_endpoint(&mut self, backend: &Item, given: &Item) -> Option<String> {
        const NAME: &str = "AZURE_OPENAI_ENDPOINT";
        let help = "for instance https://RESOURCE.openai.azure.com";
        let item = backend.get("azure_endpoint").or_else(|| backend.get("base_url"));
        let (url, at): (String, At<'_>) = match item {
            Some(item) => (item.text()?.to_owned(), item.at()),
            None => {
                let Some(url) = self.variables.get(NAME) else {
                    let message = format!("Azure is chosen, and neither `azure_endpoint` nor {NAME} is set");
                    self.missing(backend, "azure_endpoint", message, help);
                    return None;
                };
                (url.to_owned(), given.at())
            }
        };
        if let Some(fault) = url_fault(&url) {
            // A `base_url` was looked at already.
            if item.is_none() || backend.get("azure_endpoint").is_some() {
                let message = format!("not a usable URL of Azure: {fault}");
                self.report.error(&at, "bad-value", message, help);
            }
            return None;
        }
        Some(url.trim_end_matches('/').to_owned())
    }

    pub(super) fn azure_word(&mut self, item: &Item, what: &str) -> Option<String> {
        let text = item.text()?;
        if is_word(text) {
            return Some(text.to_owned());
        }
        let message = format!("{} is no name of a {what}", Quoted(&item.written));
        self.report.error(&item.at(), "bad-value", message, "letters, digits, `.`, `_` and `-`");
        None
    }
}

/// What can stand in a path and a query of a URL as it is.
fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn permission_mode(word: &str) -> Option<PermissionMode> {
    use PermissionMode::{AcceptEdits, BypassPermissions, Default, Plan};
    [Default, AcceptEdits, BypassPermissions, Plan].into_iter().find(|mode| mode.name() == word)
}
