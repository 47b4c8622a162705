//! Requests as a whole: where they go, with which key, and what is in them.

use super::{
    Auth, ChatDialect, Conversation, Origin, Protocol, Provider, Setting, Settings, Tool, chat, generate,
    messages, provider, provider_of_host, responses,
};
use cordon_config::Secret;
use serde_json::Value;
use std::{collections::HashSet, fmt};
use url::Url;

/// Why a request cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A setting that the provider does not have.
    #[error("{setting} cannot be used with {provider}; backends that have it: {}", able(*.setting))]
    Unsupported {
        /// Which.
        setting: Setting,
        /// Of the agent file.
        provider: &'static str,
    },
    /// A value that the provider does not take.
    #[error("{setting} cannot be {value} with {provider}: {why}")]
    Value {
        /// Of which setting.
        setting: &'static str,
        /// What it is.
        value: String,
        /// Of the agent file.
        provider: &'static str,
        /// Why not.
        why: String,
    },
    /// Nowhere to send it.
    #[error("{what} {url:?} cannot be used: {why}")]
    Url {
        /// What named it.
        what: &'static str,
        /// What it is, without what could be secret in it.
        url: String,
        /// Why not.
        why: &'static str,
    },
    /// No address at all.
    #[error("{provider} has no address of its own: set base_url{}", or_variables(.provider))]
    NoUrl {
        /// Of the agent file.
        provider: &'static str,
    },
    /// No key.
    #[error("{provider} needs a key: set {}", .variables.join(" or "))]
    NoKey {
        /// Of the agent file.
        provider: &'static str,
        /// Where it is looked for.
        variables: Vec<&'static str>,
    },
    /// A key with what no header can hold.
    #[error("the key for {provider} has characters in it that no key has; check that it was copied whole")]
    Key {
        /// Of the agent file.
        provider: &'static str,
    },
    /// What is ordered is made by others.
    #[error("{provider} makes no {making}; backends that do: {able}")]
    MakesNone {
        /// Of the agent file.
        provider: &'static str,
        /// What.
        making: &'static str,
        /// Who does.
        able: String,
    },
    /// Something that the protocol has no way to say.
    #[error("this cannot be sent as {protocol}: {what}")]
    Conversation {
        /// Which.
        protocol: Protocol,
        /// What it is.
        what: String,
    },
}

fn able(setting: Setting) -> String {
    setting.providers().join(", ")
}

fn or_variables(name: &str) -> String {
    let variables = provider(name).map(|p| p.base_url_variables).unwrap_or_default();
    variables.iter().map(|v| format!(" or the variable {v}")).collect()
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    provider: &'static Provider,
    base: Url,
    /// Whether somebody said where it is.
    named: bool,
    azure: Option<Azure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Azure {
    version: String,
}

/// The version of Azure's interface when nothing names one.
pub const AZURE_VERSION: &str = "2024-12-01-preview";

impl Endpoint {
    /// The place of a provider. `base_url` is what the agent file or a variable says;
    /// `azure_version` only counts for Azure.
    ///
    /// # Errors
    /// When there is no address, or one that is none of a server.
    pub fn new(
        provider: &'static Provider,
        base_url: Option<&str>,
        azure_version: Option<&str>,
    ) -> Result<Self, RequestError> {
        let text = base_url.or(provider.base_url).ok_or(RequestError::NoUrl { provider: provider.name })?;
        let bad = |url: &str, why| RequestError::Url { what: "base_url", url: url.to_owned(), why };
        // What does not parse may have a password anywhere in it.
        let mut base = Url::parse(text).map_err(|_| bad("", "it is no URL"))?;
        let shown = format!("{}://{}", base.scheme(), base.host_str().unwrap_or_default());
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none_or(str::is_empty) {
            return Err(bad(&shown, "it has to begin with https:// or http:// and name a host"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(bad(&shown, "keys and passwords do not belong in it; set api_key"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(bad(&shown, "it must not have a query or a fragment"));
        }
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        let azure = provider.name == "azure_openai" && !path.contains("/openai/v1");
        let version = azure_version.unwrap_or(AZURE_VERSION).to_owned();
        Ok(Self { provider, base, named: base_url.is_some(), azure: azure.then_some(Azure { version }) })
    }

    /// The provider.
    #[must_use]
    pub fn provider(&self) -> &'static Provider {
        self.provider
    }

    /// Whether somebody said where it is; it is where its provider usually is otherwise.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// The same place, which turned out to be this provider's.
    #[must_use]
    pub fn spoken_by(&self, provider: &'static Provider) -> Self {
        Self { provider, ..self.clone() }
    }

    /// A path of the same server, beside its base. Every piece is one segment.
    #[must_use]
    pub fn beside(&self, pieces: &[&str]) -> Url {
        let mut root = self.clone();
        root.base.set_path("");
        root.at(pieces)
    }

    /// A piece below the base.
    #[must_use]
    pub fn below(&self, piece: &str) -> Url {
        self.at(&[piece])
    }

    /// Variables with the key, in order. For any compatible server they go by its host, so
    /// that no provider gets the key of another.
    #[must_use]
    pub fn key_variables(&self) -> &'static [&'static str] {
        self.provider.keys_at(self.base.host_str())
    }

    /// Whose host this is, where any compatible server may be meant.
    fn known(&self) -> Option<&'static Provider> {
        let of_host = self.base.host_str().and_then(provider_of_host);
        of_host.filter(|_| self.provider.name == "chatcompletion")
    }

    /// Whether this server has a setting, as far as is known.
    #[must_use]
    pub fn takes(&self, setting: Setting) -> bool {
        self.provider.at_host(self.base.host_str()).takes(setting)
    }

    /// Whether this is the provider's own server, not one that speaks like it.
    pub(super) fn is_own(&self) -> bool {
        self.base.host_str().and_then(provider_of_host).is_some_and(|p| p.name == self.provider.name)
    }

    pub(super) fn chat(&self) -> ChatDialect {
        self.known().unwrap_or(self.provider).chat
    }

    /// Host and port, for the egress rule of the agent.
    #[must_use]
    pub fn host(&self) -> (&str, u16) {
        let port = self.base.port_or_known_default().unwrap_or(443);
        (self.base.host_str().unwrap_or_default(), port)
    }

    /// Whether what is sent, the key included, can be read on the way.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.base.scheme() != "https"
    }

    /// What the answers of a model of this provider are marked with.
    #[must_use]
    pub fn origin(&self, model: &str) -> Origin {
        let provider = self.provider.name.to_owned();
        Origin { protocol: self.provider.protocol, provider, model: model.to_owned() }
    }

    /// The URL with more of a path. Every piece is one segment, whatever is in it.
    fn at(&self, pieces: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(pieces);
        }
        url
    }

    fn ends_in(&self, names: &[&str]) -> bool {
        self.base.path().rsplit('/').next().is_some_and(|last| names.contains(&last))
    }

    fn url(&self, model: &str) -> Result<Url, RequestError> {
        let model = model.strip_prefix("models/").unwrap_or(model);
        if model.is_empty() || matches!(model, "." | "..") {
            let (setting, value, provider) = ("model", format!("{model:?}"), self.provider.name);
            return Err(RequestError::Value { setting, value, provider, why: "it names no model".into() });
        }
        Ok(match self.provider.protocol {
            Protocol::Responses => self.at(&["responses"]),
            Protocol::Messages if self.ends_in(&["v1"]) => self.at(&["messages"]),
            Protocol::Messages => self.at(&["v1", "messages"]),
            Protocol::Generate => {
                let mut url = self.generate_url(model, "streamGenerateContent");
                url.set_query(Some("alt=sse"));
                url
            }
            Protocol::Chat => self.of_model(model, &["chat", "completions"]),
        })
    }

    /// A method of a model of Gemini's.
    pub(super) fn generate_url(&self, model: &str, method: &str) -> Url {
        let method = format!("{model}:{method}");
        let versions = ["v1beta", "v1", "v1alpha"];
        let pieces: &[&str] =
            if self.ends_in(&versions) { &["models", &method] } else { &["v1beta", "models", &method] };
        self.at(pieces)
    }

    /// A path below the base, or, with Azure, below a deployment.
    pub(super) fn of_model(&self, model: &str, pieces: &[&str]) -> Url {
        let Some(azure) = &self.azure else { return self.at(pieces) };
        let mut url = self.at(&[&["openai", "deployments", model], pieces].concat());
        url.query_pairs_mut().append_pair("api-version", &azure.version);
        url
    }
}

/// A request, ready to be sent with POST. The key is in a header and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Where to; redirects are not to be followed.
    pub url: Url,
    /// Name and value.
    pub headers: Vec<(&'static str, String)>,
    /// The header with the key, apart from the others: never to be shown.
    pub secret: Option<(&'static str, SecretHeader)>,
    /// JSON.
    pub body: Vec<u8>,
}

/// The value of a header that holds a key.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHeader(String);

impl SecretHeader {
    /// The value itself: for the connection only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHeader(…)")
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("url", &self.url.as_str())
            .field("headers", &self.headers)
            .field("secret", &self.secret)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}

/// What builders are given.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) origin: Origin,
    pub(super) conversation: &'a Conversation,
    pub(super) tools: &'a [Tool],
    pub(super) settings: &'a Settings,
}

impl Ask<'_> {
    pub(super) fn cannot(&self, what: impl Into<String>) -> RequestError {
        RequestError::Conversation { protocol: self.origin.protocol, what: what.into() }
    }

    pub(super) fn value(&self, setting: &'static str, value: impl ToString, why: &str) -> RequestError {
        let provider = self.endpoint.provider.name;
        RequestError::Value { setting, value: value.to_string(), provider, why: why.to_owned() }
    }
}

/// Builds a request for a streamed answer.
///
/// # Errors
/// When a setting, the conversation, the address or the key does not fit the provider.
/// Nothing is left out silently.
pub fn request(
    endpoint: &Endpoint,
    key: Option<&Secret>,
    conversation: &Conversation,
    tools: &[Tool],
    settings: &Settings,
) -> Result<Request, RequestError> {
    let provider = endpoint.provider;
    let missing = settings.used().into_iter().find(|s| !endpoint.takes(*s));
    if let Some(setting) = missing {
        return Err(RequestError::Unsupported { setting, provider: provider.name });
    }
    let origin = endpoint.origin(&settings.model);
    let unsound = |what| RequestError::Conversation { protocol: provider.protocol, what };
    conversation.check().map_err(unsound)?;
    check_names(tools).map_err(unsound)?;
    let url = endpoint.url(&settings.model)?;
    let ask = Ask { endpoint, origin, conversation, tools, settings };
    let body: Value = match provider.protocol {
        Protocol::Responses => responses::body(&ask)?,
        Protocol::Chat => chat::body(&ask)?,
        Protocol::Messages => messages::body(&ask)?,
        Protocol::Generate => generate::body(&ask)?,
    };
    let mut headers =
        vec![("content-type", "application/json".to_owned()), ("accept", "text/event-stream".to_owned())];
    if provider.protocol == Protocol::Messages {
        headers.push(("anthropic-version", "2023-06-01".to_owned()));
        if let Some(beta) = messages::beta(settings) {
            headers.push(("anthropic-beta", beta.to_owned()));
        }
    }
    let secret = secret_header(endpoint, key)?;
    Ok(Request { url, headers, secret, body: body.to_string().into_bytes() })
}

/// Names that every provider takes; of two equal ones nobody knows which is called.
fn check_names(tools: &[Tool]) -> Result<(), String> {
    let mut seen = HashSet::new();
    for Tool { name, .. } in tools {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !plain || !begins || name.len() > 64 {
            return Err(format!("the tool name {name:?} is not one of at most 64 letters, digits, _ and -"));
        }
        if !seen.insert(name) {
            return Err(format!("two tools have the name {name}"));
        }
    }
    Ok(())
}

/// The header with the key: for the host of this endpoint, and for no other.
///
/// # Errors
/// When there has to be one and is none, or it has what no header can hold.
pub fn secret_header(
    endpoint: &Endpoint,
    key: Option<&Secret>,
) -> Result<Option<(&'static str, SecretHeader)>, RequestError> {
    let provider = endpoint.provider;
    let key = match (key.map(Secret::reveal).map(str::trim).filter(|k| !k.is_empty()), provider.without_key) {
        (Some(key), _) => key,
        (None, Some(placeholder)) => placeholder,
        // A compatible server that nobody knows may need none.
        (None, None) if endpoint.key_variables().is_empty() => return Ok(None),
        (None, None) => {
            let mut variables = vec!["api_key"];
            variables.extend(endpoint.key_variables());
            return Err(RequestError::NoKey { provider: provider.name, variables });
        }
    };
    if !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(RequestError::Key { provider: provider.name });
    }
    Ok(Some(match provider.auth {
        Auth::Bearer => ("authorization", SecretHeader(format!("Bearer {key}"))),
        Auth::Header(name) => (name, SecretHeader(key.to_owned())),
    }))
}
