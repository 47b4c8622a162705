//! What can go wrong with an answer, and what providers say when it does.

use super::value;
use crate::text::{MAX_LINE, clip};
use serde_json::Value;
use std::{
    fmt,
    time::{Duration, SystemTime},
};

/// So much of the body of an error is worth reading; what it says is in its beginning.
pub(super) const BODY: usize = 64 << 10;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The provider says so.
    #[error("{0}")]
    Refused(Box<Failure>),
    /// The stream ended in the middle.
    #[error("the answer of the model API broke off before its end; nothing of it was carried out")]
    Truncated,
    /// Something that the protocol does not have.
    #[error("the model API answered with {what}; check base_url and that it speaks this protocol")]
    Unreadable {
        /// What it was.
        what: String,
    },
    /// A success that is no answer at all, such as a page for people.
    #[error(
        "the model API answered with something that is no stream of events, beginning with {began:?}; check base_url"
    )]
    NoStream {
        /// Its beginning.
        began: String,
    },
    /// More than an answer may be.
    #[error("the answer of the model API has more than {limit} {what} and was refused")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// What it may have.
        limit: u64,
    },
}

impl ApiError {
    pub(super) fn too_much(what: &'static str, limit: usize) -> Self {
        Self::TooMuch { what, limit: limit as u64 }
    }

    pub(super) fn unreadable(what: impl AsRef<str>) -> Self {
        Self::Unreadable { what: clip(what.as_ref(), MAX_LINE) }
    }

    /// Whether asking again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(failure) => failure.is_retryable(),
            Self::Truncated | Self::Unreadable { .. } => true,
            Self::NoStream { .. } | Self::TooMuch { .. } => false,
        }
    }

    /// How long the provider wants not to be asked.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(failure) => failure.retry_after,
            _ => None,
        }
    }
}

/// What a provider said instead of an answer, or in the middle of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind it is.
    pub kind: FailureKind,
    /// HTTP status; none in the middle of a stream.
    pub status: Option<u16>,
    /// The provider's own word for it; may be empty.
    pub code: String,
    /// The provider's message, cut down. It may repeat what was sent: redact it.
    pub message: String,
    /// How long the provider wants not to be asked.
    pub retry_after: Option<Duration>,
    /// Whether to ask again, where the provider decides that itself.
    pub told: Option<bool>,
    /// The provider's id of the request, for its support.
    pub request: String,
}

/// Kinds of failures, by what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The key is wrong or missing.
    Auth,
    /// Nothing is left to pay with.
    Billing,
    /// The key may not do this.
    Permission,
    /// No such model, or no such place.
    NotFound,
    /// The request is wrong.
    BadRequest,
    /// The conversation is longer than the model's window.
    ContextTooLong,
    /// The request has too many bytes.
    TooLarge,
    /// The provider's filter stopped it.
    Filtered,
    /// Too many requests or tokens.
    RateLimit,
    /// The provider has too much to do.
    Overloaded,
    /// The provider took too long.
    Timeout,
    /// The provider failed.
    Server,
    /// The request was sent elsewhere. A key goes to the host that was named, and to no other.
    Redirected,
}

impl Failure {
    /// Whether asking again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        use FailureKind::{Overloaded, RateLimit, Server, Timeout};
        let kind = matches!(self.kind, RateLimit | Overloaded | Timeout | Server);
        // A provider may ask not to be asked again, but not to be asked what cannot help.
        kind && self.told != Some(false)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the model API ")?;
        f.write_str(match self.kind {
            FailureKind::Auth => "did not accept the key",
            FailureKind::Billing => "has nothing left to bill to this key",
            FailureKind::Permission => "does not allow this key to do this",
            FailureKind::NotFound => "has no such model or path",
            FailureKind::BadRequest => "did not accept the request",
            FailureKind::ContextTooLong => "says that the conversation is too long for the model",
            FailureKind::TooLarge => "says that the request is too large",
            FailureKind::Filtered => "stopped this by its content filter",
            FailureKind::RateLimit => "has a rate limit that is used up",
            FailureKind::Overloaded => "is overloaded",
            FailureKind::Timeout => "took too long itself",
            FailureKind::Server => "failed",
            FailureKind::Redirected => "wants the request elsewhere, where the key must not go",
        })?;
        match (self.status, self.code.is_empty()) {
            (Some(status), true) => write!(f, " ({status})")?,
            (Some(status), false) => write!(f, " ({status}, {})", self.code)?,
            (None, false) => write!(f, " ({})", self.code)?,
            (None, true) => {}
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if !self.request.is_empty() {
            write!(f, " [request {}]", self.request)?;
        }
        Ok(())
    }
}

impl Failure {
    /// An answer whose status is none of 2xx. `header` looks up a header by its name in
    /// lower case; of `body` its beginning is enough; `now` is for headers that name a time.
    #[must_use]
    pub fn of_response<'h>(
        status: u16,
        header: &dyn Fn(&str) -> Option<&'h str>,
        body: &[u8],
        now: SystemTime,
    ) -> Self {
        let body = String::from_utf8_lossy(&body[..body.len().min(BODY)]);
        let mut failure = match value::parse(&body, 10_000) {
            Ok(value) => Self::of_body(Some(status), &value),
            Err(_) => Self::new(Some(status), &[], &body),
        };
        failure.retry_after = retry_after(header, now).or(failure.retry_after);
        failure.told = header("x-should-retry").and_then(|v| v.trim().parse().ok());
        if let Some(id) = ["request-id", "x-request-id", "apim-request-id"].into_iter().find_map(header) {
            failure.request = clip(id, 100);
        }
        failure
    }

    /// The same from what stands in a body or in an event, in any protocol's shape.
    pub(super) fn of_body(status: Option<u16>, body: &Value) -> Self {
        // Gemini may send a list of one.
        let body = body.get(0).unwrap_or(body);
        let error = body.get("error").filter(|e| !e.is_null()).unwrap_or(body);
        let mut codes: Vec<String> = Vec::new();
        let mut numeric = None;
        for holder in [error, body] {
            for key in ["code", "type", "status"] {
                match holder.get(key) {
                    Some(Value::String(word)) if !word.is_empty() && word != "error" => {
                        codes.push(clip(word, 100));
                    }
                    Some(Value::Number(n)) => numeric = numeric.or_else(|| u16::try_from(n.as_u64()?).ok()),
                    _ => {}
                }
            }
        }
        let details = value::list(error, "details");
        codes.extend(details.iter().filter_map(|d| Some(clip(value::text(d, "reason")?, 100))));
        let message = [error, body].into_iter().find_map(|holder| {
            holder
                .as_str()
                .or_else(|| ["message", "detail", "msg"].iter().find_map(|k| value::text(holder, k)))
        });
        let detail = body.get("detail").map(Value::to_string);
        let mut failure =
            Self::new(status.or(numeric), &codes, message.or(detail.as_deref()).unwrap_or_default());
        failure.status = status;
        failure.retry_after = details
            .iter()
            .find_map(|d| seconds(value::text(d, "retryDelay")?.strip_suffix('s')?))
            .or(failure.retry_after);
        failure.request = value::text(body, "request_id").map(|id| clip(id, 100)).unwrap_or_default();
        failure
    }

    fn new(status: Option<u16>, codes: &[String], message: &str) -> Self {
        let message = clip(message.trim(), MAX_LINE);
        let kind = kind(status, codes, &message.to_ascii_lowercase());
        let patient = matches!(kind, FailureKind::RateLimit | FailureKind::Overloaded);
        Self {
            kind,
            status,
            code: codes.first().cloned().unwrap_or_default(),
            retry_after: if patient { said_wait(&message) } else { None },
            message,
            told: None,
            request: String::new(),
        }
    }
}

/// Words of the providers for what happened. What is in the upper lines goes first.
const WORDS: &[(FailureKind, &[&str])] = &[
    (FailureKind::ContextTooLong, &["context_length_exceeded", "model_context_window_exceeded"]),
    (
        FailureKind::Billing,
        &["insufficient_quota", "billing_error", "billing_hard_limit_reached", "insufficient_balance"],
    ),
    (
        FailureKind::Auth,
        &["authentication_error", "invalid_api_key", "unauthenticated", "api_key_invalid", "unauthorized"],
    ),
    (FailureKind::Permission, &["permission_error", "permission_denied"]),
    (FailureKind::TooLarge, &["request_too_large"]),
    (
        FailureKind::Overloaded,
        &["overloaded_error", "server_is_overloaded", "slow_down", "engine_overloaded", "unavailable"],
    ),
    (
        FailureKind::RateLimit,
        &["rate_limit_error", "rate_limit_exceeded", "resource_exhausted", "too_many_requests", "429"],
    ),
    (FailureKind::Timeout, &["timeout_error", "deadline_exceeded"]),
    (FailureKind::NotFound, &["not_found_error", "model_not_found", "not_found", "deploymentnotfound"]),
    (
        FailureKind::Filtered,
        &["content_filter", "content_policy_violation", "cyber_policy", "bio_policy", "invalid_prompt"],
    ),
    (
        FailureKind::Server,
        &["api_error", "server_error", "internal_error", "internal", "internalservererror"],
    ),
];

/// Sentences of providers that have no word for it.
const TOO_LONG: &[&str] = &[
    "maximum context length",
    "prompt is too long",
    "exceed context limit",
    "exceeds the context window",
    "context window of this model",
    "context size has been exceeded",
    "exceeds the available context size",
    "input token count",
    "exceeds the maximum number of tokens",
    "maximum prompt length",
    "longer than the model's context length",
];

fn kind(status: Option<u16>, codes: &[String], message: &str) -> FailureKind {
    let wrong = matches!(status, None | Some(400 | 413 | 422));
    if wrong && TOO_LONG.iter().any(|words| message.contains(words)) {
        return FailureKind::ContextTooLong;
    }
    if status == Some(400) && message.contains("api key not valid") {
        return FailureKind::Auth;
    }
    if wrong && message.contains("credit balance is too low") {
        return FailureKind::Billing;
    }
    // Some say this of everything that is their fault, where the status says more.
    let vague = |kind| kind == FailureKind::Server && matches!(status, Some(408 | 503 | 504 | 529));
    for (kind, words) in WORDS.iter().filter(|(kind, _)| !vague(*kind)) {
        if codes.iter().any(|code| words.iter().any(|word| code.eq_ignore_ascii_case(word))) {
            return *kind;
        }
    }
    match status {
        Some(300..=399) => FailureKind::Redirected,
        Some(401) => FailureKind::Auth,
        Some(402) => FailureKind::Billing,
        Some(403) => FailureKind::Permission,
        Some(404) => FailureKind::NotFound,
        Some(408 | 504) => FailureKind::Timeout,
        Some(409 | 425) => FailureKind::Server,
        Some(413) => FailureKind::TooLarge,
        Some(429) => FailureKind::RateLimit,
        Some(503 | 529) => FailureKind::Overloaded,
        Some(400..=499) => FailureKind::BadRequest,
        None if codes.iter().any(|c| c.starts_with("invalid_")) => FailureKind::BadRequest,
        _ => FailureKind::Server,
    }
}

/// What the headers say about waiting; the finer one first.
fn retry_after<'h>(header: &dyn Fn(&str) -> Option<&'h str>, now: SystemTime) -> Option<Duration> {
    let millis = header("retry-after-ms").and_then(|v| seconds(v.trim())).map(|d| d / 1000);
    let after = || {
        let value = header("retry-after")?.trim();
        // A time that has passed says: now.
        let date = || Some(httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default());
        seconds(value).or_else(date)
    };
    millis.or_else(after)
}

/// A number of seconds, with or without a fraction.
fn seconds(text: &str) -> Option<Duration> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    Duration::try_from_secs_f64(text.parse().ok().filter(|_| plain)?).ok()
}

/// `… try again in 1.5s`, `… retry in 20ms`: in the middle of a stream there are no headers.
fn said_wait(message: &str) -> Option<Duration> {
    let lower = message.to_ascii_lowercase();
    let (_, rest) = lower.split_once("try again in ").or_else(|| lower.split_once("retry in "))?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = rest.split_at(end);
    let wait = seconds(number.trim_end_matches('.'))?;
    let unit = unit.trim_start();
    if unit.starts_with("ms") || unit.starts_with("milli") {
        Some(wait / 1000)
    } else if unit.starts_with('s') {
        Some(wait)
    } else if unit.starts_with('m') {
        wait.checked_mul(60)
    } else {
        None
    }
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
