//! What an agent file may say about how a model is asked.

use cordon_providers::{Effort, Setting, Summary, Verbosity};

/// Settings of a call. What is not set is not sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The model, as the provider names it; for Azure the deployment.
    pub model: String,
    /// `temperature`.
    pub temperature: Option<f64>,
    /// `top_p`.
    pub top_p: Option<f64>,
    /// `top_k`.
    pub top_k: Option<u32>,
    /// `max_tokens` of one answer.
    pub max_tokens: Option<u32>,
    /// `repetition_penalty`.
    pub repetition_penalty: Option<f64>,
    /// `reasoning.effort`.
    pub effort: Option<Effort>,
    /// `reasoning.summary`.
    pub summary: Option<Summary>,
    /// `reasoning.max_tokens`.
    pub reasoning_tokens: Option<u32>,
    /// `reasoning.exclude`.
    pub reasoning_exclude: Option<bool>,
    /// `reasoning.enabled`.
    pub reasoning_enabled: Option<bool>,
    /// `text.verbosity`.
    pub verbosity: Option<Verbosity>,
    /// `safety_settings`: category and threshold.
    pub safety: Vec<(String, String)>,
    /// `separate_reasoning`.
    pub separate_reasoning: Option<bool>,
    /// `chat_template_kwargs`.
    pub template: Option<serde_json::Map<String, serde_json::Value>>,
    /// What the provider itself does for the model.
    pub built_in: Vec<BuiltIn>,
    /// Whether calls have to be made, or must not be.
    pub choice: Choice,
    /// At most one call an answer.
    pub one_call: bool,
}

/// Whether the model may call tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// As it likes.
    #[default]
    Auto,
    /// Not now. The tools are named all the same: a conversation that used them needs them.
    None,
    /// It has to.
    Required,
}

/// A tool that the provider runs itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// `enable_web_search`.
    WebSearch {
        /// `engine` of `OpenRouter`.
        engine: Option<String>,
        /// `max_results` of `OpenRouter`.
        max_results: Option<u32>,
        /// `search_context_size`.
        context: Option<String>,
        /// `search_prompt` of `OpenRouter`.
        prompt: Option<String>,
    },
    /// `enable_code_execution`, `enable_code_interpreter`.
    Code,
    /// `enable_x_search`.
    XSearch,
}

impl Settings {
    /// Those that not every provider has and that are set here.
    #[must_use]
    pub fn used(&self) -> Vec<Setting> {
        let mut used = Vec::new();
        let mut note = |set: bool, setting: Setting| {
            if set && !used.contains(&setting) {
                used.push(setting);
            }
        };
        note(self.top_k.is_some(), Setting::TopK);
        note(self.repetition_penalty.is_some(), Setting::RepetitionPenalty);
        note(self.effort.is_some(), Setting::Effort);
        note(self.summary.is_some(), Setting::Summary);
        note(self.reasoning_tokens.is_some(), Setting::ReasoningTokens);
        note(self.reasoning_exclude.is_some(), Setting::ReasoningExclude);
        note(self.reasoning_enabled.is_some(), Setting::ReasoningEnabled);
        note(self.verbosity.is_some(), Setting::Verbosity);
        note(!self.safety.is_empty(), Setting::Safety);
        note(self.separate_reasoning.is_some(), Setting::SeparateReasoning);
        note(self.template.is_some(), Setting::Template);
        for built_in in &self.built_in {
            match built_in {
                BuiltIn::WebSearch { engine, max_results, context, prompt } => {
                    note(true, Setting::WebSearch);
                    note(engine.is_some() || max_results.is_some(), Setting::WebSearchEngine);
                    note(context.is_some(), Setting::WebSearchContext);
                    note(prompt.is_some(), Setting::WebSearchPrompt);
                }
                BuiltIn::Code => note(true, Setting::Code),
                BuiltIn::XSearch => note(true, Setting::XSearch),
            }
        }
        used
    }
}
