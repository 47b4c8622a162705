use super::Build;
use crate::{
    BackendKind, ExecutionMode,
    check::{Item, Value},
    keys::{DECLINED_KINDS, OTHER_NAMES, PROGRAMS, kinds},
    mask,
    report::Quoted,
    suggest, variables,
};
use std::collections::BTreeMap;

/// Set by the wall or the backend itself: a file that set them would undo that.
pub(super) const OWN_NAMES: [&str; 14] = [
    "HOME",
    "TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "CODEX_HOME",
    "CLAUDE_CONFIG_DIR",
    "GEMINI_CLI_HOME",
    "COPILOT_HOME",
];

impl Build<'_, '_> {
    pub(super) fn kind(&mut self, backend: &Item) -> Option<BackendKind> {
        let Some(item) = backend.get("type") else {
            let help = one_of();
            self.missing(backend, "type", "the backend has no `type`".to_owned(), help);
            return None;
        };
        let name = item.text()?;
        let name = OTHER_NAMES.into_iter().find(|(other, _)| *other == name).map_or(name, |(_, name)| name);
        let kind = match name {
            "codex" => BackendKind::Codex,
            "claude_code" => BackendKind::ClaudeCode,
            "gemini_cli" => BackendKind::GeminiCli,
            "copilot" => BackendKind::Copilot,
            "command" => BackendKind::Command,
            "replay" => BackendKind::Replay,
            "ag2" => BackendKind::Ag2,
            api if cordon_providers::provider(api).is_some() => {
                BackendKind::Api(cordon_providers::provider(api)?)
            }
            other if let Some((_, why)) = DECLINED_KINDS.into_iter().find(|(name, _)| *name == other) => {
                let message = format!("Cordon has no backend type {}", Quoted(&item.written));
                self.report.error(&item.at(), "unsupported-backend", message, why);
                return None;
            }
            _ => {
                let message = format!("unknown backend type {}", Quoted(&item.written));
                let mut help = suggest::did_you_mean(&item.written, kinds());
                if help.is_empty() {
                    help = one_of();
                }
                self.report.error(&item.at(), "unknown-backend", message, help);
                return None;
            }
        };
        // Asked for whether or not the file gives a key: a client sends what is wanted.
        if let BackendKind::Api(provider) = kind {
            provider.base_url_variables.iter().for_each(|k| self.variables.want(k));
        }
        keys_of(kind).iter().for_each(|k| self.variables.want(k));
        Some(kind)
    }

    pub(super) fn model(&mut self, item: &Item) -> Option<String> {
        let model = item.text()?;
        // It becomes an argument of the program: it must not become an option.
        if model.is_empty()
            || model.len() > 256
            || model.starts_with('-')
            || model.chars().any(|c| c.is_control())
        {
            let message = format!("{} is no name of a model", Quoted(&item.written));
            self.report.error(&item.at(), "bad-value", message, "");
            return None;
        }
        Some(model.to_owned())
    }

    pub(super) fn base_url(&mut self, item: &Item) -> Option<String> {
        let url = item.text()?;
        match url_fault(url) {
            None => Some(url.to_owned()),
            Some(fault) => {
                let message = format!("not a usable URL: {fault}");
                self.report.error(&item.at(), "bad-value", message, "for instance https://host.example/v1");
                None
            }
        }
    }

    pub(super) fn env(&mut self, item: &Item) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let Value::Map(entries) = &item.value else { return env };
        for (name, value) in entries {
            if !variables::is_name(name) {
                let message = format!("{} is no name of a variable", Quoted(name));
                self.report.error(
                    &value.at(),
                    "bad-value",
                    message,
                    "letters, digits and `_`, no digit first",
                );
                continue;
            }
            if OWN_NAMES.contains(&name.as_str()) || name.starts_with("CORDON_") {
                let message = format!("{} is set by Cordon itself", Quoted(name));
                self.report.error(&value.at(), "conflict", message, "take it out");
                continue;
            }
            if mask::names_a_secret(name) {
                let message = format!(
                    "{} looks like a secret, and every process of the agent sees `env`",
                    Quoted(name)
                );
                self.report.warn(
                    &value.at(),
                    "literal-secret",
                    message,
                    "use `api_key` for the backend's own key",
                );
            }
            if let Some(text) = value.text() {
                env.insert(name.clone(), text.to_owned());
            }
        }
        env
    }

    /// Keys that mean nothing behind this wall.
    pub(super) fn without_effect(&mut self, backend: &Item, mode: Option<ExecutionMode>) {
        let get = |key: &str| backend.get(key);
        if mode == Some(ExecutionMode::Local) {
            if let Some(item) = get("command_line_docker_network_mode")
                && matches!(item.text(), Some("bridge" | "host"))
            {
                let message = "the local sandbox has a network of its own with nothing in it: this mode \
                               holds in docker only";
                self.no_effect(item, message, "name what may be reached under `egress.allow`");
            }
            if let Some(item) = get("command_line_docker_packages") {
                let message = "nothing is installed for the local wall: it shows this machine's programs";
                self.no_effect(item, message, "install the packages here, or use docker");
            }
            if let Some(item) = get("command_line_docker_runtime").filter(|r| r.text() == Some("runsc")) {
                let message = "gVisor is a runtime of containers: it holds in docker only";
                self.no_effect(item, message, "use command_line_execution_mode: docker");
            }
        }
        if let (Some(ExecutionMode::Docker), Some(item)) = (mode, get("cli_path")) {
            let message = "a container has the program of its image: `cli_path` holds in the local wall only";
            self.no_effect(item, message, "use command_line_docker_image");
        }
    }

    fn no_effect(&mut self, item: &Item, message: &str, help: &str) {
        self.report.warn(&item.at(), "no-effect", message.to_owned(), help);
    }
}

/// Variables with the key of a backend, in order.
pub(crate) fn keys_of(kind: BackendKind) -> &'static [&'static str] {
    match kind {
        BackendKind::Codex => &["OPENAI_API_KEY", "CODEX_API_KEY"],
        BackendKind::ClaudeCode => &["CLAUDE_CODE_API_KEY", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"],
        BackendKind::GeminiCli => &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        BackendKind::Copilot => &["COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"],
        BackendKind::Api(provider) => provider.keys,
        BackendKind::Ag2 => &AG2_KEYS,
        BackendKind::Command | BackendKind::Replay => &[],
    }
}

/// Of all the providers that agents of `type: ag2` may have.
const AG2_KEYS: [&str; 11] = [
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GOOGLE_GEMINI_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "MISTRAL_API_KEY",
    "GROQ_API_KEY",
    "TOGETHER_API_KEY",
    "DEEPSEEK_API_KEY",
    "CEREBRAS_API_KEY",
    "AZURE_OPENAI_API_KEY",
];

fn one_of() -> String {
    format!("use one of {}, or a model API: `cordon backends` lists them", PROGRAMS.join(", "))
}

/// The host of an http URL that was found good.
pub(crate) fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => authority.split(':').next(),
    }
}

/// What is wrong with an http URL. It never repeats the URL, which may hold a password.
pub(super) fn url_fault(url: &str) -> Option<&'static str> {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return Some("it begins with neither https:// nor http://");
    };
    if url.len() > 2048 || url.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return Some("it is too long, or has characters that no URL has");
    }
    if url.contains(['?', '#']) {
        return Some("it has a query or a fragment");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Some("it has a user or a password in it");
    }
    // A host rule is a host and an optional port, nothing else.
    match authority.parse::<cordon_policy::HostRule>() {
        Ok(_) if !authority.starts_with("*.") => None,
        _ => Some("it has no valid host and port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_http_with_a_plain_host() {
        for good in
            ["https://api.example.test/v1", "http://127.0.0.1:8080", "http://[::1]:9/v1", "https://host"]
        {
            assert_eq!(url_fault(good), None, "{good}");
        }
        for bad in [
            "",
            "api.example.test",
            "ftp://host/",
            "https://",
            "https:///v1",
            "https://user:pw@host/",
            "https://ho st/",
            "https://host:0/",
            "https://host:99999",
            "https://*.example.test/",
            "https://host/?q",
            "https://host\\@evil/",
            "https://host\n/",
        ] {
            assert!(url_fault(bad).is_some(), "{bad}");
        }
    }
}
