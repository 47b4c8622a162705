//! What a model API is told, and how far its turns may go.

use super::{Build, backend::host_of};
use crate::{
    ApiOptions, LmStudio, TurnLimits, WebSearch,
    check::{Item, Value},
    report::Quoted,
};
use cordon_providers::{Effort, Protocol, Provider, Setting, Summary, Thinking, Verbosity};
use serde_json::{Map, Value as Json};

/// Answers of one turn: more is no limit.
const MOST_ANSWERS: f64 = 10_000.0;
const MOST_AT_ONCE: f64 = 64.0;
const MOST_TOKENS: f64 = 1e12;
const MOST_DOLLARS: f64 = 1e6;
/// Longer texts are not what a search is told.
const LONGEST_PROMPT: usize = 16 << 10;
const MOST_TEMPLATE: usize = 64 << 10;

impl Build<'_, '_> {
    pub(super) fn api(
        &mut self,
        backend: &Item,
        provider: &'static Provider,
        orchestrator: Option<&Item>,
    ) -> ApiOptions {
        let url = backend.get("base_url").and_then(Item::text).or(provider.base_url);
        let host = url.and_then(host_of);
        provider.keys_at(host).iter().for_each(|name| self.variables.want(name));
        let server = provider.at_host(host);
        let mut options = ApiOptions {
            temperature: self.within(backend, "temperature", 0.0..=temperatures(provider)),
            top_p: self.within(backend, "top_p", 0.0..=1.0),
            top_k: self.same(backend, "top_k", |b, i| b.integer(i, "top_k", 1.0..=1e6)).map(small),
            max_tokens: self.integer(backend, "max_tokens", 1.0..=1e9).map(small),
            repetition_penalty: self
                .same(backend, "repetition_penalty", |b, i| b.within(i, "repetition_penalty", 0.01..=10.0)),
            safety: self.safety(backend),
            separate_reasoning: self
                .same(backend, "separate_reasoning", |_, i| i.get("separate_reasoning")?.flag()),
            template: self.same(backend, "chat_template_kwargs", Self::template),
            code: flag(backend, "enable_code_execution") || flag(backend, "enable_code_interpreter"),
            x_search: flag(backend, "enable_x_search"),
            verbosity: self.verbosity(backend),
            one_call: backend.get("parallel_tool_calls").and_then(Item::flag) == Some(false),
            lmstudio: self.lmstudio(backend),
            limits: self.limits(backend),
            ..ApiOptions::default()
        };
        self.price(backend, provider, host);
        options.web_search = self.web_search(backend);
        options.media = self.media(backend, orchestrator, provider);
        self.reasoning(backend, server, &mut options);
        let coordination = orchestrator.and_then(|o| o.get("coordination"));
        options.planning = coordination.is_some_and(|c| flag(c, "enable_planning_mode"));
        let words = coordination.and_then(|c| c.get("planning_mode_instruction")).and_then(Item::text);
        options.planning_words = words.filter(|_| options.planning).map(str::to_owned);
        if provider.name == "azure_openai" {
            options.azure_version =
                backend.get("api_version").and_then(|v| self.azure_word(v, "version of an API"));
            self.variables.want("AZURE_OPENAI_API_VERSION");
        }
        options
    }

    /// A value that may stand in `extra_body` too, where both say the same or only one says it.
    fn same<T: PartialEq>(
        &mut self,
        backend: &Item,
        key: &str,
        read: impl Fn(&mut Self, &Item) -> Option<T>,
    ) -> Option<T> {
        let extra = backend.get("extra_body");
        let first = backend.get(key).and_then(|_| read(self, backend));
        let Some(again) = extra.and_then(|e| e.get(key)) else { return first };
        let second = extra.and_then(|e| read(self, e));
        if first.is_some() && second.is_some() && first != second {
            let message = format!("`{key}` of the backend says something else");
            self.report.error(&again.at(), "conflict", message, "take one of them out");
        }
        first.or(second)
    }

    fn integer(&mut self, map: &Item, key: &str, within: std::ops::RangeInclusive<f64>) -> Option<u64> {
        let item = map.get(key)?;
        let number = item.number()?;
        if within.contains(&number) && number.fract() == 0.0 {
            // Exact: it is whole, and far below what a double holds exactly.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            return Some(number as u64);
        }
        let message = format!(
            "{} is not a whole number between {} and {}",
            Quoted(&item.written),
            within.start(),
            within.end()
        );
        self.report.error(&item.at(), "bad-value", message, "");
        None
    }

    fn within(&mut self, map: &Item, key: &str, within: std::ops::RangeInclusive<f64>) -> Option<f64> {
        let item = map.get(key)?;
        let number = item.number()?;
        if within.contains(&number) {
            return Some(number);
        }
        let message =
            format!("{} is not between {} and {}", Quoted(&item.written), within.start(), within.end());
        self.report.error(&item.at(), "bad-value", message, "");
        None
    }

    fn verbosity(&mut self, backend: &Item) -> Option<Verbosity> {
        let of = |item: Option<&Item>| item.and_then(Item::text).and_then(Verbosity::parse);
        let own = backend.get("verbosity");
        let inner = backend.get("text").and_then(|t| t.get("verbosity"));
        if let (Some(one), Some(other), Some(item)) = (of(own), of(inner), inner)
            && one != other
        {
            let message = "`verbosity` is given too and says something else".to_owned();
            self.report.error(&item.at(), "conflict", message, "take one of them out");
        }
        of(inner).or(of(own))
    }

    fn safety(&mut self, backend: &Item) -> Vec<(String, String)> {
        let Some(item) = backend.get("safety_settings") else { return Vec::new() };
        let mut settings: Vec<(String, String)> = Vec::new();
        match &item.value {
            Value::Map(by_category) => {
                for (category, threshold) in by_category {
                    settings.extend(threshold.text().map(|t| (category.clone(), t.to_owned())));
                }
            }
            Value::List(entries) => {
                for entry in entries {
                    let part = |key: &str| entry.get(key).and_then(Item::text).map(str::to_owned);
                    for key in ["category", "threshold"] {
                        if matches!(entry.value, Value::Map(_)) && entry.get(key).is_none() {
                            self.missing(entry, key, format!("the setting has no `{key}`"), "");
                        }
                    }
                    let Some((category, threshold)) = part("category").zip(part("threshold")) else {
                        continue;
                    };
                    if settings.iter().any(|(known, _)| *known == category) {
                        let message = format!("`{category}` is set twice");
                        self.report.error(&entry.at(), "duplicate-id", message, "take one of them out");
                    }
                    settings.push((category, threshold));
                }
            }
            _ => {}
        }
        settings
    }

    fn template(&mut self, map: &Item) -> Option<Map<String, Json>> {
        let item = map.get("chat_template_kwargs")?;
        let Value::Free(value, _) = &item.value else { return None };
        match value {
            Json::Object(map) if value.to_string().len() <= MOST_TEMPLATE => Some(map.clone()),
            Json::Object(_) => {
                let message = format!("it is larger than {MOST_TEMPLATE} bytes");
                self.report.error(&item.at(), "too-large", message, "");
                None
            }
            _ => {
                let message = "expected a map".to_owned();
                self.report.error(
                    &item.at(),
                    "wrong-type",
                    message,
                    "for instance `{enable_thinking: true}`",
                );
                None
            }
        }
    }

    fn web_search(&mut self, backend: &Item) -> Option<WebSearch> {
        let extra = backend.get("extra_body");
        let plugins = backend.get("plugins").or_else(|| extra.and_then(|e| e.get("plugins")));
        let web =
            plugins.and_then(|p| p.items().iter().find(|i| i.get("id").and_then(Item::text) == Some("web")));
        if let Some(second) = plugins.map(Item::items).and_then(|all| all.get(1)) {
            let message = "there is only one plugin, `web`".to_owned();
            self.report.error(&second.at(), "conflict", message, "take the others out");
        }
        for plugin in plugins.map(Item::items).unwrap_or_default() {
            if matches!(plugin.value, Value::Map(_)) && plugin.get("id").is_none() {
                self.missing(plugin, "id", "the plugin has no `id`".to_owned(), "`id: web`");
            }
        }
        let searches = flag(backend, "enable_web_search");
        let keys = ["engine", "max_results", "search_prompt", "search_context_size"];
        if !searches && web.is_none() {
            for item in keys.iter().filter_map(|key| backend.get(key)) {
                let message = "it says something of a web search, which nothing turns on".to_owned();
                self.report.error(&item.at(), "conflict", message, "add `enable_web_search: true`");
            }
            return None;
        }
        let map = |key: &str| [Some(backend), web].into_iter().flatten().find(|m| m.get(key).is_some());
        let text = |key: &str| map(key).and_then(|m| m.get(key)?.text()).map(str::to_owned);
        if let Some(item) = map("search_prompt").and_then(|m| m.get("search_prompt"))
            && item.text().is_some_and(|t| t.len() > LONGEST_PROMPT)
        {
            let message = format!("it is longer than {LONGEST_PROMPT} bytes");
            self.report.error(&item.at(), "too-large", message, "");
        }
        let max_results = map("max_results").and_then(|m| self.integer(m, "max_results", 1.0..=100.0));
        Some(WebSearch {
            engine: text("engine"),
            max_results: max_results.map(small),
            context: text("search_context_size"),
            prompt: text("search_prompt"),
        })
    }

    /// `reasoning`, which may stand in `extra_body`, and `model_reasoning_effort`.
    fn reasoning(&mut self, backend: &Item, server: &'static Provider, options: &mut ApiOptions) {
        let extra = backend.get("extra_body").and_then(|e| e.get("reasoning"));
        let own = backend.get("reasoning");
        if let (Some(_), Some(extra)) = (own, extra) {
            let message = "`reasoning` of the backend is given too".to_owned();
            self.report.error(&extra.at(), "conflict", message, "take one of them out");
        }
        let reasoning = own.or(extra);
        let get = |key: &str| reasoning.and_then(|r| r.get(key));
        let effort = backend.get("model_reasoning_effort").or_else(|| get("effort"));
        options.effort = effort.and_then(Item::text).and_then(Effort::parse);
        options.summary = get("summary").and_then(Item::text).and_then(Summary::parse);
        options.reasoning_exclude = get("exclude").and_then(Item::flag);
        options.reasoning_tokens =
            reasoning.and_then(|r| self.integer(r, "max_tokens", 1.0..=1e9)).map(small);
        options.reasoning_enabled = get("enabled").and_then(Item::flag);
        if options.reasoning_enabled.is_none() {
            options.reasoning_enabled = reasoning.and_then(Item::flag);
        }
        if let (Some(word), Some(item)) = (options.effort, effort)
            && server.refuses_effort(word)
        {
            let message = format!("{} does not know the effort `{word}`", server.name);
            let known: Vec<&str> =
                Effort::ALL.iter().filter(|e| !server.refuses_effort(**e)).map(|e| e.name()).collect();
            self.report.error(&item.at(), "bad-value", message, format!("use one of {}", known.join(", ")));
        }
        let (Some(tokens), Some(item)) = (options.reasoning_tokens, get("max_tokens")) else { return };
        let either = server.protocol == Protocol::Generate || server.chat.thinking == Thinking::Object;
        if either && options.effort.is_some() && server.takes(Setting::ReasoningTokens) {
            let message = "`reasoning.effort` says the same already".to_owned();
            self.report.error(&item.at(), "conflict", message, "take one of them out");
        }
        let too_many = options.max_tokens.is_some_and(|most| tokens >= most);
        if server.protocol == Protocol::Messages && (tokens < 1024 || too_many) {
            let message = format!("{tokens} tokens: it has to be at least 1024 and less than `max_tokens`");
            self.report.error(&item.at(), "bad-value", message, "");
        }
    }

    fn lmstudio(&mut self, backend: &Item) -> LmStudio {
        let port = self.integer(backend, "port", 1.0..=65535.0).and_then(|p| u16::try_from(p).ok());
        if let (Some(item), Some(_)) = (backend.get("port"), backend.get("base_url")) {
            let message = "`base_url` is given too, and has a port".to_owned();
            self.report.error(&item.at(), "conflict", message, "take one of them out");
        }
        LmStudio { port, start: flag(backend, "lmstudio_start") }
    }

    fn limits(&mut self, backend: &Item) -> TurnLimits {
        let mut limits = TurnLimits::default();
        if let Some(answers) = self.integer(backend, "max_turns", 1.0..=MOST_ANSWERS) {
            limits.answers = small(answers);
        }
        limits.tokens = self.integer(backend, "max_tokens_total", 1.0..=MOST_TOKENS);
        limits.window = self.integer(backend, "context_window", 1024.0..=1e9);
        if let Some(dollars) = self.within(backend, "max_cost_usd", 0.000_001..=MOST_DOLLARS) {
            // Between one and 1e12.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let micros = (dollars * 1e6).round() as u64;
            limits.cost_micros = Some(micros);
        }
        if let Some(at_once) = self.integer(backend, "max_concurrent_tools", 1.0..=MOST_AT_ONCE) {
            limits.at_once = small(at_once);
        }
        if backend.get("concurrent_tool_execution").and_then(Item::flag) == Some(false) {
            limits.at_once = 1;
        }
        limits
    }

    /// A limit on what nobody knows is none.
    fn price(&mut self, backend: &Item, provider: &'static Provider, host: Option<&str>) {
        let Some(item) = backend.get("max_cost_usd").filter(|i| i.number().is_some()) else { return };
        let model = backend.get("model").and_then(Item::text).or(provider.model);
        if !crate::backends::known(provider, host, model).1 {
            let message = format!("it is not known what {} costs", Quoted(model.unwrap_or("the model")));
            self.report.error(&item.at(), "conflict", message, "use `max_tokens_total`");
        }
    }

    /// For `azure_openai` the deployment is the model.
    pub(super) fn deployment(&mut self, backend: &Item) -> Option<String> {
        let (one, other) = (backend.get("azure_deployment"), backend.get("deployment_name"));
        if let (Some(one), Some(item)) = (one, other)
            && one.text() != item.text()
        {
            let message = "`azure_deployment` is given too and says something else".to_owned();
            self.report.error(&item.at(), "conflict", message, "take one of them out");
        }
        one.or(other).and_then(|item| self.azure_word(item, "deployment"))
    }

    /// Where Azure is: the key, then `base_url`, then the variable.
    pub(super) fn azure_url(&mut self, backend: &Item) -> Option<String> {
        const NAME: &str = "AZURE_OPENAI_ENDPOINT";
        let key = backend.get("azure_endpoint").or_else(|| backend.get("base_url"));
        if key.is_none() && self.variables.get(NAME).is_none_or(|v| v.trim().is_empty()) {
            let message = format!("neither `azure_endpoint` nor {NAME} says where the resource is");
            self.missing(
                backend,
                "azure_endpoint",
                message,
                "for instance https://RESOURCE.openai.azure.com",
            );
        }
        self.base_url(key?)
    }
}

fn temperatures(provider: &Provider) -> f64 {
    if provider.protocol == Protocol::Messages { 1.0 } else { 2.0 }
}

fn flag(map: &Item, key: &str) -> bool {
    map.get(key).and_then(Item::flag) == Some(true)
}

/// Bounded where it was read.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
