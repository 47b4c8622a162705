//! Backends and models, as the protocol tells them.

use cordon_config::{Agent, Asked, BackendInfo};
use cordon_proto::v1;
use cordon_providers::{Figures, MODELS};
use std::collections::BTreeMap;

/// Every backend works behind each of them.
const WALLS: [&str; 2] = ["docker", "local"];

pub(super) fn backend(info: &BackendInfo) -> v1::BackendInfo {
    let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    let provider = info.provider;
    let models = MODELS.iter().filter(|m| provider.is_some_and(|p| p.name == m.provider));
    v1::BackendInfo {
        r#type: info.name.to_owned(),
        other_names: owned(&info.other_names),
        kind: if provider.is_some() { "model-api" } else { "program" }.to_owned(),
        what: info.what.clone(),
        default_url: provider.and_then(|p| p.base_url).unwrap_or_default().to_owned(),
        url_variables: owned(provider.map(|p| p.base_url_variables).unwrap_or_default()),
        key_variables: owned(&info.keys),
        key_needed: provider.is_some_and(|p| p.without_key.is_none()),
        default_model: provider.and_then(|p| p.model).unwrap_or_default().to_owned(),
        models: models.map(figures).collect(),
        has: owned(&info.has),
        walls: owned(&WALLS),
    }
}

fn figures(of: &Figures) -> v1::ModelFigures {
    v1::ModelFigures {
        model: of.model.to_owned(),
        window: of.window,
        output: of.output,
        input_price: of.price.input,
        cached_price: of.price.cached,
        output_price: of.price.output,
    }
}

pub(super) fn model_agent(agent: &Agent, variables: &BTreeMap<String, String>) -> Option<v1::ModelAgent> {
    let asked: Asked = cordon_config::asked(agent, variables)?;
    Some(v1::ModelAgent {
        agent: agent.id.clone(),
        backend: asked.provider.name.to_owned(),
        url: asked.url.as_deref().map(shown).unwrap_or_default(),
        url_from: asked.url_from.unwrap_or_default().to_owned(),
        model: asked.model.clone().unwrap_or_default(),
        key_from: asked.key_from.unwrap_or_default().to_owned(),
        key_variables: asked.keys.iter().map(|k| (*k).to_owned()).collect(),
        key_needed: asked.key_needed,
        tools: tools(agent),
        figures: asked.figures.map(figures),
        price_known: asked.price_known,
    })
}

/// A variable may hold anything: what does not look like a plain URL is not shown.
fn shown(url: &str) -> String {
    let after = url.split_once("://").map(|(_, rest)| rest);
    let plain = after.is_some_and(|rest| !rest.contains(['@', '?', '#']) && !rest.contains(char::is_control));
    if plain { url.to_owned() } else { "(not a usable URL)".to_owned() }
}

fn tools(agent: &Agent) -> Vec<String> {
    let options = &agent.api;
    let count = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let provider = [
        (options.web_search.is_some(), "web search at the provider"),
        (options.code, "code at the provider"),
        (options.x_search, "search of X at the provider"),
        (options.media.is_some(), "pictures, sound and films"),
    ];
    let own = if options.planning { "Cordon's own, that look only" } else { "Cordon's own" };
    std::iter::once(Some(own.to_owned()))
        .chain([
            count(agent.tools.servers.len(), "MCP server"),
            count(agent.tools.custom.len(), "custom tool"),
        ])
        .chain(provider.into_iter().map(|(on, what)| on.then(|| what.to_owned())))
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_is_told_and_has_a_wall() {
        let all: Vec<_> = cordon_config::backends().iter().map(backend).collect();
        let of = |name: &str| all.iter().find(|b| b.r#type == name).unwrap();
        assert!(all.iter().all(|b| !b.walls.is_empty() && !b.what.is_empty()));
        assert_eq!((of("openai").kind.as_str(), of("codex").kind.as_str()), ("model-api", "program"));
        let default = of("claude").default_model.clone();
        assert!(of("claude").models.iter().any(|m| m.model == default && m.window > 0));
        assert!(of("codex").models.is_empty());
    }

    #[test]
    fn what_may_hold_a_password_is_not_shown() {
        assert_eq!(shown("https://a.test/v1"), "https://a.test/v1");
        for bad in ["https://u:p@a.test", "secret", "https://a.test/?key=1", "https://a\u{1b}[2J"] {
            assert_eq!(shown(bad), "(not a usable URL)");
        }
    }
}
