//! What differs between providers, as data: the builders, the validator and the table
//! that users see read it from here.

use crate::{Maker, Protocol, Setting, making};
use Protocol::{Chat, Generate, Messages, Responses};
use Setting::{
    Code, Effort, ReasoningEnabled, ReasoningExclude, ReasoningTokens, RepetitionPenalty, Safety,
    SeparateReasoning, Summary, Template, TopK, Verbosity, WebSearch, WebSearchContext, WebSearchEngine,
    WebSearchPrompt, XSearch,
};

/// A provider.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Provider {
    /// The `type` of the agent file, or a name that a host stands for.
    pub name: &'static str,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Where it is, unless `base_url` says otherwise.
    pub base_url: Option<&'static str>,
    /// Variables with the place where it is, in order.
    pub base_url_variables: &'static [&'static str],
    /// Variables with the key, in order.
    pub keys: &'static [&'static str],
    /// Where the key goes.
    pub auth: Auth,
    /// What is sent as the key when there is none; none: a key has to be there.
    pub without_key: Option<&'static str>,
    /// The model when the agent file names none.
    pub model: Option<&'static str>,
    /// Hosts that are this provider's, with all below them.
    pub hosts: &'static [&'static str],
    /// Settings that it has.
    pub takes: &'static [Setting],
    /// How its chat completions differ.
    pub chat: ChatDialect,
    /// What it makes beside words.
    pub makes: &'static [Maker],
}

/// The header that a key goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Auth {
    /// `authorization: Bearer KEY`.
    Bearer,
    /// A header that holds the key alone.
    Header(&'static str),
}

/// How chat completions differ by provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChatDialect {
    /// The member for `max_tokens`.
    pub max_tokens: &'static str,
    /// How thinking is asked for.
    pub thinking: Thinking,
    /// The member of a message in which thoughts go back; none: they do not.
    pub replay: Replay,
}

/// How thinking is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Thinking {
    /// `reasoning_effort`.
    Effort,
    /// `reasoning` with members.
    Object,
    /// `thinking.type`: enabled or not.
    Switch,
}

/// How thoughts go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replay {
    /// Not at all.
    Never,
    /// As text, under the name under which they came.
    Text,
    /// As they came, with signatures.
    Details,
}

const PLAIN: ChatDialect =
    ChatDialect { max_tokens: "max_tokens", thinking: Thinking::Effort, replay: Replay::Text };
/// Its own servers know the newer name only, and take no thoughts back.
const OPENAI: ChatDialect =
    ChatDialect { max_tokens: "max_completion_tokens", thinking: Thinking::Effort, replay: Replay::Never };

/// What any compatible server is taken to be.
const COMPATIBLE: Provider = Provider {
    name: "chatcompletion",
    protocol: Chat,
    base_url: Some("https://api.openai.com/v1"),
    base_url_variables: &[],
    keys: &[],
    auth: Auth::Bearer,
    without_key: None,
    model: None,
    hosts: &[],
    takes: &[Effort, Verbosity],
    chat: PLAIN,
    makes: &[],
};
/// The same by its own name: whoever names it says which server it is, and what it has.
const ANY: Provider = Provider { makes: making::COMPATIBLE, ..COMPATIBLE };

const fn compatible(
    name: &'static str,
    base_url: &'static str,
    keys: &'static [&'static str],
    hosts: &'static [&'static str],
    takes: &'static [Setting],
) -> Provider {
    Provider { name, base_url: Some(base_url), keys, hosts, takes, ..COMPATIBLE }
}

/// All that are known.
pub static PROVIDERS: &[Provider] = &[
    Provider {
        name: "openai",
        protocol: Responses,
        base_url: Some("https://api.openai.com/v1"),
        base_url_variables: &["OPENAI_BASE_URL"],
        keys: &["OPENAI_API_KEY"],
        model: Some("gpt-5.4"),
        hosts: &["api.openai.com"],
        takes: &[Effort, Summary, Verbosity, WebSearch, WebSearchContext, Code],
        chat: OPENAI,
        makes: making::OPENAI,
        ..COMPATIBLE
    },
    Provider {
        name: "claude",
        protocol: Messages,
        base_url: Some("https://api.anthropic.com"),
        base_url_variables: &["ANTHROPIC_BASE_URL"],
        keys: &["ANTHROPIC_API_KEY"],
        auth: Auth::Header("x-api-key"),
        model: Some("claude-opus-4-6"),
        hosts: &["api.anthropic.com"],
        takes: &[TopK, Effort, Summary, ReasoningTokens, WebSearch, Code],
        ..COMPATIBLE
    },
    Provider {
        name: "gemini",
        protocol: Generate,
        base_url: Some("https://generativelanguage.googleapis.com/v1beta"),
        base_url_variables: &[],
        keys: &["GOOGLE_API_KEY", "GEMINI_API_KEY"],
        auth: Auth::Header("x-goog-api-key"),
        model: Some("gemini-3-flash-preview"),
        hosts: &["generativelanguage.googleapis.com"],
        takes: &[TopK, Effort, Summary, ReasoningTokens, Safety, WebSearch, Code],
        makes: making::GEMINI,
        ..COMPATIBLE
    },
    Provider {
        name: "grok",
        protocol: Responses,
        base_url: Some("https://api.x.ai/v1"),
        base_url_variables: &[],
        keys: &["XAI_API_KEY"],
        model: Some("grok-4.20-0309-reasoning"),
        hosts: &["api.x.ai"],
        takes: &[Effort, Summary, WebSearch, XSearch, Code],
        makes: making::GROK,
        ..COMPATIBLE
    },
    Provider {
        name: "azure_openai",
        base_url: None,
        base_url_variables: &["AZURE_OPENAI_ENDPOINT"],
        keys: &["AZURE_OPENAI_API_KEY"],
        auth: Auth::Header("api-key"),
        model: Some("gpt-4o"),
        hosts: &["openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com"],
        chat: OPENAI,
        makes: making::AZURE,
        ..COMPATIBLE
    },
    Provider {
        name: "zai",
        base_url: Some("https://api.z.ai/api/paas/v4"),
        keys: &["ZAI_API_KEY"],
        model: Some("glm-4.5"),
        hosts: &["z.ai", "bigmodel.cn"],
        takes: &[Effort, ReasoningEnabled],
        chat: ChatDialect { thinking: Thinking::Switch, ..PLAIN },
        ..COMPATIBLE
    },
    Provider {
        name: "lmstudio",
        base_url: Some("http://localhost:1234/v1"),
        without_key: Some("lm-studio"),
        takes: &[Effort, TopK, RepetitionPenalty],
        ..COMPATIBLE
    },
    Provider {
        name: "vllm",
        base_url: Some("http://localhost:8000/v1"),
        keys: &["VLLM_API_KEY"],
        without_key: Some("EMPTY"),
        takes: &[Effort, TopK, RepetitionPenalty, Template],
        ..COMPATIBLE
    },
    Provider {
        name: "sglang",
        base_url: Some("http://localhost:30000/v1"),
        keys: &["SGLANG_API_KEY"],
        without_key: Some("EMPTY"),
        takes: &[Effort, TopK, RepetitionPenalty, Template, SeparateReasoning],
        ..COMPATIBLE
    },
    // One of the two above: which, its server is asked.
    Provider {
        name: "inference",
        base_url: Some("http://localhost:8000/v1"),
        without_key: Some("EMPTY"),
        takes: &[Effort, TopK, RepetitionPenalty, Template, SeparateReasoning],
        ..COMPATIBLE
    },
    Provider {
        name: "openrouter",
        base_url: Some("https://openrouter.ai/api/v1"),
        keys: &["OPENROUTER_API_KEY"],
        hosts: &["openrouter.ai"],
        takes: &[
            Effort,
            ReasoningTokens,
            ReasoningExclude,
            ReasoningEnabled,
            Verbosity,
            TopK,
            RepetitionPenalty,
            WebSearch,
            WebSearchEngine,
            WebSearchPrompt,
            WebSearchContext,
        ],
        chat: ChatDialect { thinking: Thinking::Object, replay: Replay::Details, ..PLAIN },
        makes: making::OPENROUTER,
        ..COMPATIBLE
    },
    ANY,
    compatible("cerebras", "https://api.cerebras.ai/v1", &["CEREBRAS_API_KEY"], &["cerebras.ai"], &[Effort]),
    compatible(
        "together",
        "https://api.together.xyz/v1",
        &["TOGETHER_API_KEY"],
        &["together.xyz", "together.ai"],
        &[Effort, TopK, RepetitionPenalty],
    ),
    compatible(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        &["FIREWORKS_API_KEY"],
        &["fireworks.ai"],
        &[Effort, TopK, RepetitionPenalty],
    ),
    compatible("groq", "https://api.groq.com/openai/v1", &["GROQ_API_KEY"], &["groq.com"], &[Effort]),
    compatible(
        "moonshot",
        "https://api.moonshot.cn/v1",
        &["MOONSHOT_API_KEY", "KIMI_API_KEY"],
        &["moonshot.ai", "moonshot.cn"],
        &[],
    ),
    compatible(
        "nvidia_nim",
        "https://integrate.api.nvidia.com/v1",
        &["NGC_API_KEY"],
        &["nvidia.com"],
        &[Effort, TopK, RepetitionPenalty],
    ),
    compatible(
        "nebius",
        "https://api.studio.nebius.ai/v1",
        &["NEBIUS_API_KEY"],
        &["nebius.ai", "nebius.com"],
        &[Effort, TopK, RepetitionPenalty],
    ),
    compatible("poe", "https://api.poe.com/v1", &["POE_API_KEY"], &["poe.com"], &[Effort]),
    compatible(
        "qwen",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        &["QWEN_API_KEY"],
        &["aliyuncs.com"],
        &[TopK, RepetitionPenalty],
    ),
];

/// The provider of this name.
#[must_use]
pub fn provider(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|p| p.name == name)
}

/// The provider whose host this is, or above it: `openrouter.ai` is, `openrouter.ai.example`
/// and `not-openrouter.ai` are not.
#[must_use]
pub fn provider_of_host(host: &str) -> Option<&'static Provider> {
    let host = host.trim_end_matches('.');
    let of = |name: &str| {
        let Some(split) = host.len().checked_sub(name.len()) else { return false };
        host.is_char_boundary(split)
            && host[split..].eq_ignore_ascii_case(name)
            && (split == 0 || host[..split].ends_with('.'))
    };
    PROVIDERS.iter().find(|p| p.hosts.iter().any(|name| of(name)))
}

impl Provider {
    /// Whether it is a program that its user runs: it needs no key, and what it serves, it says.
    #[must_use]
    pub fn is_local_server(&self) -> bool {
        self.without_key.is_some()
    }

    /// Whether it has a setting.
    #[must_use]
    pub fn takes(&self, setting: Setting) -> bool {
        self.takes.contains(&setting)
    }

    /// Whose settings a server of this host has: any compatible server may be one that is known.
    /// What a host has for another protocol it may not have for this one.
    #[must_use]
    pub fn at_host(&'static self, host: Option<&str>) -> &'static Self {
        let known = host.filter(|_| self.name == COMPATIBLE.name).and_then(provider_of_host);
        known.filter(|p| p.protocol == Chat).unwrap_or(self)
    }

    /// Variables with the key for a server of this host. For any compatible server they go by its
    /// host, so that no provider gets the key of another.
    #[must_use]
    pub fn keys_at(&self, host: Option<&str>) -> &'static [&'static str] {
        if self.name == COMPATIBLE.name {
            return host.and_then(provider_of_host).map(|p| p.keys).unwrap_or_default();
        }
        self.keys
    }

    /// Words of `reasoning.effort` that it refuses.
    #[must_use]
    pub fn refuses_effort(&self, effort: crate::Effort) -> bool {
        match self.protocol {
            Messages => effort == crate::Effort::Minimal,
            Generate => effort == crate::Effort::Max,
            Responses | Chat => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_keys_are_each_one_providers() {
        let names: HashSet<_> = PROVIDERS.iter().map(|p| p.name).collect();
        assert_eq!(names.len(), PROVIDERS.len());
        let keys: Vec<_> = PROVIDERS.iter().flat_map(|p| p.keys).collect();
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    }

    #[test]
    fn every_host_is_its_own_providers() {
        for provider in PROVIDERS {
            let Some(url) = provider.base_url else { continue };
            let url = url::Url::parse(url).unwrap();
            let host = url.host_str().unwrap();
            if !provider.hosts.is_empty() {
                assert_eq!(provider_of_host(host).map(|p| p.name), Some(provider.name));
            }
            assert!(url.scheme() == "https" || host == "localhost", "{url}");
        }
    }

    #[test]
    fn a_host_that_only_looks_like_one_is_none() {
        for host in ["openrouter.ai", "eu.openrouter.ai", "OpenRouter.AI", "openrouter.ai."] {
            assert_eq!(provider_of_host(host).map(|p| p.name), Some("openrouter"), "{host}");
        }
        for host in ["openrouter.ai.example", "not-openrouter.ai", "ai", "", "üpenrouter.ai", "xz.ai"] {
            assert!(provider_of_host(host).is_none(), "{host}");
        }
    }
}
