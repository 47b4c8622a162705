//! The backends as people see them: of the same tables that check agent files.

use crate::{
    Agent, BackendKind,
    build::{host_of, keys_of},
    honour::{self, How},
    keys::OTHER_NAMES,
};
use cordon_providers::{
    Figures, Making, PROVIDERS, Provider, Setting, figures, figures_of_vendor, provider_of_host,
};
use std::collections::BTreeMap;

/// What a backend is and has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendInfo {
    /// `type` of the agent file.
    pub name: &'static str,
    /// What else files call it.
    pub other_names: Vec<&'static str>,
    /// The provider, where it is a model API.
    pub provider: Option<&'static Provider>,
    /// What it is, in a few words.
    pub what: String,
    /// Variables with the key, in order. Without an entry: none is looked for, or they go by the
    /// host of `base_url`.
    pub keys: Vec<&'static str>,
    /// Keys of agent files that it honours and not every backend does.
    pub has: Vec<&'static str>,
}

const PROGRAMS: [(BackendKind, &str); 7] = [
    (BackendKind::Codex, "Codex, a program"),
    (BackendKind::ClaudeCode, "Claude Code, a program"),
    (BackendKind::GeminiCli, "Gemini CLI, a program"),
    (BackendKind::Copilot, "Copilot CLI, a program"),
    (BackendKind::Command, "any program, by `command`"),
    (BackendKind::Replay, "a recorded list of tool calls, by `steps`"),
    (BackendKind::Ag2, "AG2, inside the sandbox"),
];

/// All of them: programs first, then model APIs.
#[must_use]
pub fn backends() -> Vec<BackendInfo> {
    let programs = PROGRAMS.iter().map(|(kind, what)| BackendInfo {
        name: kind.name(),
        other_names: other_names(kind.name()),
        provider: None,
        what: (*what).to_owned(),
        keys: keys_of(*kind).to_vec(),
        has: own_keys(*kind),
    });
    let apis = PROVIDERS.iter().map(|provider| BackendInfo {
        name: provider.name,
        other_names: other_names(provider.name),
        provider: Some(provider),
        what: provider.protocol.to_string(),
        keys: provider.keys_at(provider.base_url.and_then(host_of)).to_vec(),
        has: settings_of(provider),
    });
    programs.chain(apis).collect()
}

fn other_names(name: &str) -> Vec<&'static str> {
    OTHER_NAMES.into_iter().filter(|(_, of)| *of == name).map(|(other, _)| other).collect()
}

/// Keys that some backend refuses and this one does not.
fn own_keys(kind: BackendKind) -> Vec<&'static str> {
    let refuses = |row: &honour::Row, kind: BackendKind| matches!(row.of(kind), How::Not(_));
    let by_some = |row: &honour::Row| PROGRAMS.iter().any(|(other, _)| refuses(row, *other));
    let mut keys: Vec<&str> =
        honour::ROWS.iter().filter(|row| by_some(row) && !refuses(row, kind)).map(|row| row.key).collect();
    keys.dedup();
    keys
}

/// The same for a model API, with what its provider can be told.
fn settings_of(provider: &'static Provider) -> Vec<&'static str> {
    let takes = |setting: Option<Setting>| setting.is_none_or(|s| provider.takes(s));
    let makes = |making: Option<Making>| making.is_none_or(|m| provider.maker(m).is_some());
    let rows =
        honour::API_ROWS.iter().filter(|row| takes(row.setting) && makes(row.making)).map(|row| row.key);
    let inner = Setting::ALL.iter().filter(|s| provider.takes(**s)).map(|s| s.name());
    let own = own_keys(BackendKind::Api(provider)).into_iter();
    let mut keys: Vec<&str> = own.filter(|key| !honour::elsewhere(provider, key)).collect();
    for key in inner.chain(rows) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.retain(|key| *key != "enable_web_search" || provider.takes(Setting::WebSearch));
    keys
}

/// Who is asked for an agent whose backend is a model API, as far as its file and the variables
/// say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The provider.
    pub provider: &'static Provider,
    /// Where it is; none: nothing says it.
    pub url: Option<String>,
    /// Who says where it is: a key of the agent file or a variable; none: it is the provider's own.
    pub url_from: Option<&'static str>,
    /// The model; none: nothing names one.
    pub model: Option<String>,
    /// Who has the key: `api_key`, or a variable; never the key itself.
    pub key_from: Option<&'static str>,
    /// Where a key is looked for, after `api_key`.
    pub keys: &'static [&'static str],
    /// Whether nothing can be asked without a key.
    pub key_needed: bool,
    /// What is known of the model.
    pub figures: Option<&'static Figures>,
    /// Whether it is known what an answer costs.
    pub price_known: bool,
}

/// What is known of a model of this provider at this host, and whether what it costs is.
pub(crate) fn known(
    provider: &'static Provider,
    host: Option<&str>,
    model: Option<&str>,
) -> (Option<&'static Figures>, bool) {
    let any = provider.name == "chatcompletion";
    let of = host.filter(|_| any).and_then(provider_of_host).unwrap_or(provider).name;
    let vendor = of == "openrouter";
    let found = model.and_then(|model| if vendor { figures_of_vendor(model) } else { figures(of, model) });
    // One says with every answer what it cost; those on a machine of one's own cost nothing.
    let told = matches!(of, "openrouter" | "lmstudio" | "vllm" | "sglang" | "inference");
    (found, told || found.is_some())
}

/// Who is asked for this agent; none: its backend is no model API.
#[must_use]
pub fn asked(agent: &Agent, variables: &BTreeMap<String, String>) -> Option<Asked> {
    let BackendKind::Api(provider) = agent.backend else { return None };
    let set = |name: &&&'static str| variables.get(**name).is_some_and(|v| !v.trim().is_empty());
    let by_variable = provider.base_url_variables.iter().find(set).copied();
    let port = agent.api.lmstudio.port;
    let (url, url_from) = match (&agent.base_url, port, by_variable) {
        (Some(url), ..) => (Some(url.clone()), Some("the agent file")),
        (None, Some(port), _) => (Some(format!("http://localhost:{port}/v1")), Some("`port`")),
        (None, None, Some(name)) => (variables.get(name).map(|v| v.trim().to_owned()), Some(name)),
        (None, None, None) => (provider.base_url.map(str::to_owned), None),
    };
    let host = url.as_deref().and_then(host_of);
    let keys = provider.keys_at(host);
    let key_from = if agent.api_key.is_some() { Some("api_key") } else { keys.iter().find(set).copied() };
    let model = agent.model.clone().or_else(|| provider.model.map(str::to_owned));
    let (figures, price_known) = known(provider, host, model.as_deref());
    Some(Asked {
        provider,
        url_from,
        model,
        key_from,
        keys,
        key_needed: provider.without_key.is_none() && !keys.is_empty(),
        figures,
        price_known,
        url,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::kinds;

    #[test]
    fn every_type_that_a_file_may_name_is_listed_once() {
        let listed: Vec<_> = backends().iter().map(|b| b.name).collect();
        assert_eq!(listed, kinds().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_listed_is_what_the_checker_takes() {
        let all = backends();
        let of = |name: &str| all.iter().find(|b| b.name == name).unwrap();
        assert!(
            of("codex").has.contains(&"model_reasoning_effort")
                && !of("codex").has.contains(&"disallowed_tools")
        );
        assert!(!of("command").has.contains(&"model"));
        assert_eq!(of("gemini_cli").other_names, ["gemini-cli"]);
        assert_eq!(of("gemini").keys, ["GOOGLE_API_KEY", "GEMINI_API_KEY"]);
        assert_eq!(of("chatcompletion").keys, ["OPENAI_API_KEY"]);
        assert!(
            of("grok").has.contains(&"enable_x_search") && !of("openai").has.contains(&"enable_x_search")
        );
    }
}
