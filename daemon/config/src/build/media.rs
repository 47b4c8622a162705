//! Which models look, listen, draw and speak for an agent.

use super::Build;
use crate::{Media, MediaModel, check::Item, report::Quoted, suggest};
use cordon_providers::{PROVIDERS, Provider};

/// The orchestrator's keys hold for every agent that does not say itself.
struct Keys<'i> {
    own: &'i Item,
    shared: Option<&'i Item>,
}

impl<'i> Keys<'i> {
    fn get(&self, key: &str) -> Option<&'i Item> {
        self.own.get(key).or_else(|| self.shared.and_then(|s| s.get(key)))
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
        let of = |kind: &str, key: &str| keys.get("multimodal_config").and_then(|c| c.get(kind)?.get(key));
        let image = self.media_model(of("image", "backend"), of("image", "model"), provider);
        let audio = self.media_model(of("audio", "backend"), of("audio", "model"), provider);
        let video = self.media_model(of("video", "backend"), of("video", "model"), provider);
        let made = |kind: &str| {
            (keys.get(&format!("{kind}_generation_backend")), keys.get(&format!("{kind}_generation_model")))
        };
        let (drawer, speaker) = (made("image"), made("audio"));
        let draws = self.media_model(drawer.0, drawer.1, provider);
        let speaks = self.media_model(speaker.0, speaker.1, provider);
        let on = keys.get("enable_multimodal_tools").and_then(Item::flag) == Some(true);
        if !on {
            let own = ["multimodal_config", "image_generation_backend", "image_generation_model"];
            let own = own.into_iter().chain(["audio_generation_backend", "audio_generation_model"]);
            for item in own.filter_map(|key| backend.get(key)) {
                let message = "nothing turns on the tools that it is for".to_owned();
                let help = "add `enable_multimodal_tools: true`";
                self.report.warn(&item.at(), "no-effect", message, help);
            }
            return None;
        }
        for kind in ["image", "audio"] {
            let name = |end: &str| format!("{kind}_generation_{end}");
            let given = ["backend", "model"].into_iter().find_map(|end| backend.get(&name(end)));
            if let Some(item) = given {
                let message = format!("Cordon makes no {kind} yet: the agent gets no tool for it");
                self.report.warn(&item.at(), "not-supported-yet", message, "");
            }
        }
        for model in [&image, &audio, &video, &draws, &speaks].into_iter().flatten() {
            let provider = model.provider;
            provider
                .keys
                .iter()
                .chain(provider.base_url_variables)
                .for_each(|name| self.variables.want(name));
        }
        Some(Media { image, audio, video, draws, speaks })
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
                let name = item.text()?;
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
