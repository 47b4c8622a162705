//! What an agent file says to a model API and to the turns that are taken with it.

use cordon_providers::{Effort, Summary, Verbosity};
use serde_json::{Map, Value};

/// Keys of an agent whose backend is a model API, beside the model, its address and its key. What
/// is not set is not sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiOptions {
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
    /// `reasoning.enabled`, or `reasoning: true`.
    pub reasoning_enabled: Option<bool>,
    /// `text.verbosity`, or `verbosity`.
    pub verbosity: Option<Verbosity>,
    /// `safety_settings`: category and threshold.
    pub safety: Vec<(String, String)>,
    /// `separate_reasoning`.
    pub separate_reasoning: Option<bool>,
    /// `chat_template_kwargs`.
    pub template: Option<Map<String, Value>>,
    /// `enable_web_search`.
    pub web_search: Option<WebSearch>,
    /// `enable_code_execution` or `enable_code_interpreter`.
    pub code: bool,
    /// `enable_x_search`.
    pub x_search: bool,
    /// `api_version` of Azure.
    pub azure_version: Option<String>,
    /// Keys of `lmstudio`.
    pub lmstudio: LmStudio,
    /// `parallel_tool_calls: false`: the model asks for one tool at a time.
    pub one_call: bool,
    /// How far a turn may go.
    pub limits: TurnLimits,
    /// `enable_multimodal_tools`: what else a model may look at, through another one.
    pub media: Option<Media>,
    /// `coordination.enable_planning_mode`: nothing is changed, whatever the model asks for.
    pub planning: bool,
    /// `coordination.planning_mode_instruction`: what the model is told of it, in place of
    /// Cordon's own words.
    pub planning_words: Option<String>,
}

/// `enable_web_search`, with what `OpenRouter` adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebSearch {
    /// `engine`.
    pub engine: Option<String>,
    /// `max_results`.
    pub max_results: Option<u32>,
    /// `search_prompt`.
    pub prompt: Option<String>,
    /// `search_context_size`.
    pub context: Option<String>,
}

/// LM Studio on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LmStudio {
    /// `port`, in place of 1234.
    pub port: Option<u16>,
    /// `lmstudio_start`: the server is started, and the model is downloaded and loaded, by the
    /// program `lms` of the one who runs the agent.
    pub start: bool,
}

/// How far a turn may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnLimits {
    /// `max_turns`: answers of the model within one turn.
    pub answers: u32,
    /// `max_tokens_total`: read and written, all answers together.
    pub tokens: Option<u64>,
    /// `max_cost_usd`, in millionths of a dollar.
    pub cost_micros: Option<u64>,
    /// `context_window` in tokens; none: what the table of models says.
    pub window: Option<u64>,
    /// `max_concurrent_tools`: calls of one answer that run at one time.
    pub at_once: u32,
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self { answers: 100, tokens: None, cost_micros: None, window: None, at_once: 8 }
    }
}

/// What an agent has beside words: `enable_multimodal_tools` and `multimodal_config`, and what it
/// may have made. Of those who look, one that is none is the agent's own model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// `enable_multimodal_tools`: it may have models look at things.
    pub looks: bool,
    /// Who looks at pictures.
    pub image: Option<MediaModel>,
    /// Who listens.
    pub audio: Option<MediaModel>,
    /// Who watches.
    pub video: Option<MediaModel>,
    /// Who draws, where something is drawn: `enable_image_generation`, `image_generation_backend` and
    /// `image_generation_model`.
    pub draws: Option<MediaModel>,
    /// Who speaks: the same of `audio`.
    pub speaks: Option<MediaModel>,
}

/// A model of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaModel {
    /// The provider.
    pub provider: &'static cordon_providers::Provider,
    /// The model; none: the provider's.
    pub model: Option<String>,
}
