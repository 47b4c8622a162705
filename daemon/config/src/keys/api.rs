//! Keys of agents whose backend is a model API.

use crate::shape::{Scope, Shape, gone, on};

pub(crate) const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];
const SUMMARIES: &[&str] = &["auto", "concise", "detailed"];
pub(crate) const VERBOSITIES: &[&str] = &["low", "medium", "high"];
pub(crate) const ENGINES: &[&str] = &["exa", "native"];
pub(crate) const CONTEXT_SIZES: &[&str] = &["low", "medium", "high"];
const THRESHOLDS: &[&str] = &[
    "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
    "BLOCK_LOW_AND_ABOVE",
    "BLOCK_MEDIUM_AND_ABOVE",
    "BLOCK_ONLY_HIGH",
    "BLOCK_NONE",
    "OFF",
];
const CATEGORIES: &[&str] = &[
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
    "HARM_CATEGORY_CIVIC_INTEGRITY",
    "HARM_CATEGORY_JAILBREAK",
];

/// `backend.reasoning`: a map, or `true` for as much as the model thinks best.
pub(crate) const REASONING: Shape = Shape::OneOf(&[Shape::Flag, Shape::Map(&REASONING_MAP)]);

pub(crate) static REASONING_MAP: Scope = Scope {
    name: "backend.reasoning",
    keys: &[&[
        on("effort", Shape::Words(EFFORTS), "How hard the model thinks. Not every model knows every word."),
        on("summary", Shape::Words(SUMMARIES), "What is shown of its thoughts; nothing when absent."),
        on("max_tokens", Shape::Number, "Thoughts of one answer, in tokens."),
        on("exclude", Shape::Flag, "The model thinks, and its thoughts are not sent."),
        on("enabled", Shape::Flag, "Whether it thinks at all."),
    ]],
    required: &[],
};

/// `backend.text`.
pub(crate) static TEXT: Scope = Scope {
    name: "backend.text",
    keys: &[&[on("verbosity", Shape::Words(VERBOSITIES), "How much the model says.")]],
    required: &[],
};

/// `backend.safety_settings`, in both ways of writing it.
pub(crate) const SAFETY: Shape =
    Shape::OneOf(&[Shape::List(&Shape::Map(&SAFETY_SETTING)), Shape::Map(&SAFETY_BY_CATEGORY)]);

static SAFETY_SETTING: Scope = Scope {
    name: "safety_settings[]",
    keys: &[&[
        on("category", Shape::Words(CATEGORIES), "What may be harmful."),
        on("threshold", Shape::Words(THRESHOLDS), "How harmful an answer must be to be withheld."),
    ]],
    required: &["category", "threshold"],
};

const WITHHELD: &str = "How harmful an answer must be to be withheld.";

static SAFETY_BY_CATEGORY: Scope = Scope {
    name: "safety_settings",
    keys: &[&[
        on("HARM_CATEGORY_HARASSMENT", Shape::Words(THRESHOLDS), WITHHELD),
        on("HARM_CATEGORY_HATE_SPEECH", Shape::Words(THRESHOLDS), WITHHELD),
        on("HARM_CATEGORY_SEXUALLY_EXPLICIT", Shape::Words(THRESHOLDS), WITHHELD),
        on("HARM_CATEGORY_DANGEROUS_CONTENT", Shape::Words(THRESHOLDS), WITHHELD),
        on("HARM_CATEGORY_CIVIC_INTEGRITY", Shape::Words(THRESHOLDS), WITHHELD),
        on("HARM_CATEGORY_JAILBREAK", Shape::Words(THRESHOLDS), WITHHELD),
    ]],
    required: &[],
};

const SEARCHES: &str = "use `enable_web_search` and `enable_x_search`";

/// `backend.extra_body`: what Cordon knows to say by a key of its own, and nothing else. What goes
/// to a provider unseen could undo what the rest of the file says.
pub(crate) static EXTRA_BODY: Scope = Scope {
    name: "backend.extra_body",
    keys: &[&[
        on("top_k", Shape::Number, "The same as `top_k` of the backend."),
        on("repetition_penalty", Shape::Number, "The same as `repetition_penalty` of the backend."),
        on("chat_template_kwargs", Shape::Any, "The same as `chat_template_kwargs` of the backend."),
        on("separate_reasoning", Shape::Flag, "The same as `separate_reasoning` of the backend."),
        on("reasoning", REASONING, "The same as `reasoning` of the backend."),
        on("plugins", Shape::List(&Shape::Map(&PLUGIN)), "The same as `plugins` of the backend."),
        gone("search_parameters", SEARCHES),
    ]],
    required: &[],
};

/// `backend.plugins[]` of OpenRouter.
pub(crate) static PLUGIN: Scope = Scope {
    name: "plugins[]",
    keys: &[&[
        on("id", Shape::Words(&["web"]), "Only `web`: the same as `enable_web_search`."),
        on("engine", Shape::Words(ENGINES), "Who searches."),
        on("max_results", Shape::Number, "Pages that are looked at."),
        on("search_prompt", Shape::Text, "What the model is told of what was found."),
    ]],
    required: &["id"],
};

/// `multimodal_config`.
pub(crate) static MULTIMODAL: Scope = Scope {
    name: "multimodal_config",
    keys: &[&[
        on(
            "image",
            Shape::Map(&MEDIA),
            "Who looks at pictures and draws them; the agent's own model when absent.",
        ),
        on("audio", Shape::Map(&MEDIA), "Who listens and speaks."),
        on("video", Shape::Map(&MEDIA), "Who watches."),
    ]],
    required: &[],
};

static MEDIA: Scope = Scope {
    name: "multimodal_config.*",
    keys: &[&[
        on("backend", Shape::Text, "A model API, by its type."),
        on("model", Shape::Text, "Its model; its own default when absent."),
    ]],
    required: &[],
};
