//! Words of agent files that say how a model answers.

use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As agent files write it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The one of this name.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.name() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

words! {
    /// How much a model thinks.
    Effort {
        /// Not at all.
        None = "none",
        /// Hardly.
        Minimal = "minimal",
        /// Little.
        Low = "low",
        /// As usual.
        Medium = "medium",
        /// Much.
        High = "high",
        /// Very much.
        XHigh = "xhigh",
        /// As much as it can.
        Max = "max",
    }
}

words! {
    /// What is shown of its thoughts.
    Summary {
        /// What the provider thinks best.
        Auto = "auto",
        /// Little.
        Concise = "concise",
        /// Much.
        Detailed = "detailed",
    }
}

words! {
    /// How much a model says.
    Verbosity {
        /// Little.
        Low = "low",
        /// As usual.
        Medium = "medium",
        /// Much.
        High = "high",
    }
}

words! {
    /// Settings that not every provider has; temperature, top_p and max_tokens are taken by all.
    Setting {
        /// `top_k`.
        TopK = "top_k",
        /// `repetition_penalty`.
        RepetitionPenalty = "repetition_penalty",
        /// `reasoning.effort`.
        Effort = "reasoning.effort",
        /// `reasoning.summary`.
        Summary = "reasoning.summary",
        /// `reasoning.max_tokens`.
        ReasoningTokens = "reasoning.max_tokens",
        /// `reasoning.exclude`.
        ReasoningExclude = "reasoning.exclude",
        /// `reasoning.enabled`, or `reasoning: true`.
        ReasoningEnabled = "reasoning.enabled",
        /// `text.verbosity`.
        Verbosity = "text.verbosity",
        /// `safety_settings`.
        Safety = "safety_settings",
        /// `separate_reasoning`.
        SeparateReasoning = "separate_reasoning",
        /// `chat_template_kwargs`.
        Template = "chat_template_kwargs",
        /// `enable_web_search`.
        WebSearch = "enable_web_search",
        /// `engine` and `max_results` of a web search.
        WebSearchEngine = "engine",
        /// `search_prompt`.
        WebSearchPrompt = "search_prompt",
        /// `search_context_size`.
        WebSearchContext = "search_context_size",
        /// `enable_code_execution` and `enable_code_interpreter`.
        Code = "enable_code_execution",
        /// `enable_x_search`.
        XSearch = "enable_x_search",
    }
}

impl Setting {
    /// Providers that have it, by name, in the order of the table.
    #[must_use]
    pub fn providers(self) -> Vec<&'static str> {
        crate::PROVIDERS.iter().filter(|p| p.takes(self)).map(|p| p.name).collect()
    }
}
