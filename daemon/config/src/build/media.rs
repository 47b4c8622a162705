//! Which models look, listen, draw and speak for an agent.

use super::{Build, backend::host_of};
use crate::{Media, MediaModel, check::Item, report::Quoted, suggest};
use cordon_providers::{Making, PROVIDERS, Provider, making_price};

/// The orchestrator's keys hold for every agent that does not say itself.
struct Keys<'i> {
    own: &'i Item,
    shared: Option<&'i Item>,
}

impl<'i> Keys<'i> {
    fn get(&self, key: &str) -> Option<&'i Item> {
        self.own.get(key).or_else(|| self.shared.and_then(|s| s.get(key)))
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Item::flag)
    }
}

impl Build<'_, '_> {
    pub(super) fn media(
        &mut self,
        backend: &Item,
        orchestrator: Option<&Item>,
        provider: &'static Provider,
    ) -> Option<Media> {
        let keys = Keys { own: backend, shared: orchestrator };
        let looks = keys.flag("enable_multimodal_tools") == Some(true);
        let of = |kind: &str, key: &str| keys.get("multimodal_config").and_then(|c| c.get(kind)?.get(key));
        let image = self.media_model(of("image", "backend"), of("image", "model"), provider);
        let audio = self.media_model(of("audio", "backend"), of("audio", "model"), provider);
        let video = self.media_model(of("video", "backend"), of("video", "model"), provider);
        let draws = self.made(&keys, Making::Image, looks, provider);
        let speaks = self.made(&keys, Making::Audio, looks, provider);
        if !looks && let Some(item) = backend.get("multimodal_config") {
            let message = "nothing turns on the tools that it is for".to_owned();
            self.report.warn(&item.at(), "no-effect", message, "add `enable_multimodal_tools: true`");
        }
        if !looks && draws.is_none() && speaks.is_none() {
            return None;
        }
        for model in [&image, &audio, &video, &draws, &speaks].into_iter().flatten() {
            let provider = model.provider;
            provider
                .keys
                .iter()
                .chain(provider.base_url_variables)
                .for_each(|name| self.variables.want(name));
        }
        Some(Media { looks, image, audio, video, draws, speaks })
    }

    /// Who makes something for this agent, if anybody is to.
    fn made(
        &mut self,
        keys: &Keys<'_>,
        making: Making,
        looks: bool,
        own: &'static Provider,
    ) -> Option<MediaModel> {
        let name = |end: &str| format!("{}_generation_{end}", making.word());
        let backend = keys.get(&name("backend"));
        let model = keys.get(&name("model"));
        let given = backend.or(model);
        let on = keys.flag(making.key()).unwrap_or(looks && given.is_some());
        let found = self.media_model(backend, model, own);
        if !on {
            let own = ["backend", "model"].into_iter().filter_map(|end| keys.own.get(&name(end)));
            for item in own {
                let message = "nothing turns on the tool that it is for".to_owned();
                let help = format!("add `{}: true`", making.key());
                self.report.warn(&item.at(), "no-effect", message, help);
            }
            return None;
        }
        // A name that is no backend's was told of.
        let found = match (found, backend) {
            (Some(found), _) => found,
            (None, None) => MediaModel { provider: own, model: None },
            (None, Some(_)) => return None,
        };
        let asked = given.or_else(|| keys.get(making.key()))?;
        // Where the agent file puts its own backend is known here; where variables put others is not.
        let url = keys.own.get("azure_endpoint").or_else(|| keys.own.get("base_url")).and_then(Item::text);
        let is_own = found.provider == own;
        let host = url.filter(|_| is_own).or(found.provider.base_url).and_then(host_of);
        let Some(maker) = found.provider.maker_at(host, making) else {
            let message = format!("{} makes no {}", found.provider.name, making.word());
            let able = making.providers().join(", ");
            let help = format!("backends that do, for `{}`: {able}", name("backend"));
            self.report.error(&asked.at(), "unsupported-key", message, help);
            return None;
        };
        let Some(model) = found.model.as_deref().or(maker.model) else {
            let message =
                format!("{} has no model of its own that makes {}", found.provider.name, making.word());
            self.report.error(
                &asked.at(),
                "missing-key",
                message,
                format!("name one with `{}`", name("model")),
            );
            return None;
        };
        let whose = match found.provider.name {
            "chatcompletion" => host.and_then(cordon_providers::provider_of_host).map_or("", |p| p.name),
            name => name,
        };
        let limit = keys.own.get("max_cost_usd").filter(|i| i.number().is_some());
        if let Some(limit) = limit.filter(|_| whose != "openrouter" && making_price(whose, model).is_none()) {
            let message =
                format!("it is not known what {} costs, which makes {}", Quoted(model), making.word());
            let help = format!("name another one with `{}`, or use `max_tokens_total`", name("model"));
            self.report.error(&limit.at(), "conflict", message, help);
        }
        let model = Some(model.to_owned());
        Some(MediaModel { provider: found.provider, model })
    }

    fn media_model(
        &mut self,
        backend: Option<&Item>,
        model: Option<&Item>,
        own: &'static Provider,
    ) -> Option<MediaModel> {
        let provider = match backend {
            None => own,
            Some(item) => {
                // What MassGen calls it here.
                let name = if item.text()? == "google" { "gemini" } else { item.text()? };
                let Some(provider) = cordon_providers::provider(name) else {
                    let message = format!("{} is no model API", Quoted(&item.written));
                    let help = suggest::did_you_mean(name, PROVIDERS.iter().map(|p| p.name));
                    self.report.error(&item.at(), "unknown-backend", message, help);
                    return None;
                };
                provider
            }
        };
        let name = match model {
            Some(item) => Some(self.model(item)?),
            None => None,
        };
        (backend.is_some() || name.is_some()).then_some(MediaModel { provider, model: name })
    }
}
