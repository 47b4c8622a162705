use super::{Build, backend::host_of};
use crate::{
    BackendKind,
    check::{Item, Value},
    honour,
    report::Quoted,
};
use cordon_providers::{Provider, Setting};

impl Build<'_, '_> {
    /// Keys that this type of backend cannot honour are never quietly left out.
    pub(super) fn honoured(&mut self, agent: &Item, backend: &Item, kind: Option<BackendKind>) {
        let Some(kind) = kind else { return };
        for row in honour::ROWS {
            let map = if row.key == "system_message" { agent } else { backend };
            let Some(item) = map.get(row.key) else { continue };
            let asks = asks(item) && row.value.is_none_or(|value| item.text() == Some(value));
            let honour::How::Not(instead) = row.of(kind) else { continue };
            if asks {
                let what = match row.value {
                    Some(value) => format!("{}: {}", row.key, value),
                    None => row.key.to_owned(),
                };
                let message = format!("{} cannot honour {}", kind.name(), Quoted(&what));
                self.report.error(&item.at(), "unsupported-key", message, *instead);
            }
        }
        match kind {
            BackendKind::Api(provider) => self.able(backend, provider),
            _ => self.only_apis(backend, kind),
        }
    }

    /// Of a model API: what its provider has not.
    fn able(&mut self, backend: &Item, provider: &'static Provider) {
        let url = backend.get("azure_endpoint").or_else(|| backend.get("base_url")).and_then(Item::text);
        let server = provider.at_host(url.or(provider.base_url).and_then(host_of));
        let mut check = |item: Option<&Item>, what: &str, setting: Option<Setting>| {
            let (Some(item), Some(setting)) = (item, setting) else { return };
            if !asks(item) || server.takes(setting) {
                return;
            }
            let message = format!("{} cannot honour {}", server.name, Quoted(what));
            let help = format!("backends that have it: {}", setting.providers().join(", "));
            self.report.error(&item.at(), "unsupported-key", message, help);
        };
        let extra = backend.get("extra_body");
        for row in honour::API_ROWS {
            for item in [Some(backend), extra].into_iter().flatten() {
                check(item.get(row.key), row.key, row.setting);
            }
        }
        check(backend.get("enable_web_search"), "enable_web_search", Some(Setting::WebSearch));
        check(backend.get("model_reasoning_effort"), "model_reasoning_effort", Some(Setting::Effort));
        for reasoning in [Some(backend), extra].into_iter().flatten().filter_map(|b| b.get("reasoning")) {
            if reasoning.flag().is_some() {
                check(Some(reasoning), "reasoning: true", Some(Setting::ReasoningEnabled));
            }
            for row in &honour::REASONING_ROWS {
                let what = format!("reasoning.{}", row.key);
                // That it thinks as it likes is what every model does.
                let item = reasoning.get(row.key).filter(|i| row.key != "exclude" || asks(i));
                check(item, &what, row.setting);
            }
        }
        if provider.name != "lmstudio" {
            for key in ["port", "lmstudio_start"] {
                let Some(item) = backend.get(key).filter(|i| asks(i)) else { continue };
                let message = format!("{} cannot honour {}", provider.name, Quoted(key));
                self.report.error(
                    &item.at(),
                    "unsupported-key",
                    message,
                    "only lmstudio has it; use `base_url`",
                );
            }
        }
        if provider.name != "azure_openai" {
            for key in honour::AZURE_KEYS {
                let Some(item) = backend.get(key) else { continue };
                let message = format!("{} cannot honour {}", provider.name, Quoted(key));
                let help = "backends that have it: azure_openai, codex, copilot";
                self.report.error(&item.at(), "unsupported-key", message, help);
            }
        }
    }

    /// Of a backend that is no model API: what only those know.
    fn only_apis(&mut self, backend: &Item, kind: BackendKind) {
        let all = honour::API_ROWS.iter().map(|row| (row.key, row.able()));
        for (key, able) in all.chain([("port", None), ("lmstudio_start", None)]) {
            let Some(item) = backend.get(key).filter(|i| asks(i)) else { continue };
            let message = format!("{} cannot honour {}", kind.name(), Quoted(key));
            let help = match able {
                Some(able) => format!("backends that have it: {}", able.join(", ")),
                None => "only backends that are model APIs have it: `cordon backends` lists them".to_owned(),
            };
            self.report.error(&item.at(), "unsupported-key", message, help);
        }
        let Some(reasoning) = backend.get("reasoning").filter(|_| kind != BackendKind::Ag2) else { return };
        for (key, item) in
            [("max_tokens", reasoning.get("max_tokens")), ("enabled", reasoning.get("enabled"))]
        {
            let Some(item) = item else { continue };
            let message = format!("{} cannot honour `reasoning.{key}`", kind.name());
            self.report.error(&item.at(), "unsupported-key", message, "use `reasoning.effort`");
        }
        for key in ["summary", "exclude"] {
            let Some(item) = reasoning.get(key).filter(|i| asks(i)) else { continue };
            let message = format!("{} shows of its thoughts what it likes: `reasoning.{key}`", kind.name());
            self.report.warn(&item.at(), "no-effect", message, "take it out to be rid of this warning");
        }
        if let Some(flag) = reasoning.flag().filter(|f| *f) {
            let message = format!("{} cannot honour `reasoning: {flag}`", kind.name());
            self.report.error(&reasoning.at(), "unsupported-key", message, "use `reasoning.effort`");
        }
    }
}

/// What asks for nothing is fine everywhere.
fn asks(item: &Item) -> bool {
    item.flag() != Some(false) && !matches!(item.value, Value::Null | Value::Bad)
}
