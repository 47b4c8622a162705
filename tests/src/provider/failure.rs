//! How each protocol says that it fails.

use super::{
    body::{Answer, json_answer},
    server::Protocol,
};
use hyper::{
    StatusCode,
    header::{HeaderName, HeaderValue, LOCATION, RETRY_AFTER},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A way to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// 401, as for a wrong key.
    Refuse,
    /// 404: there is no such model.
    UnknownModel,
    /// 400: the request has something that nobody knows.
    BadRequest,
    /// 400: the conversation does not fit in the model's window.
    TooLong,
    /// 429, with a time after which to ask again.
    RateLimit,
    /// 429, and nothing about when to ask again.
    RateLimitBare,
    /// 429: nothing is left to pay with, and asking again does not help.
    Quota,
    /// 500.
    ServerError,
    /// The service has too much to do: 503 or 529.
    Overloaded,
    /// 307, to another port of this machine.
    Redirect(u16),
    /// Reads the request and never answers.
    Hang,
    /// 200, and a body that is no event stream.
    Garbage,
    /// A text of so many bytes in one event.
    Huge(usize),
    /// A text of so many bytes in very many events.
    Flood(usize),
    /// An error in the middle of the answer.
    InStream,
    /// The body ends in the middle of the answer, as if that were its end.
    Truncated,
    /// The connection breaks in the middle of the answer.
    Reset,
    /// A byte of nothing each so many milliseconds, for ever.
    Drip(u64),
}

impl Failure {
    /// The answer of a failure that is an answer of its own.
    pub(super) fn refusal(self, protocol: Protocol, model: &str) -> Option<Answer> {
        let no_model = format!("The model `{model}` does not exist or you do not have access to it.");
        let (status, message) = match self {
            Self::Refuse => (401, "the key is not valid"),
            Self::UnknownModel => (404, no_model.as_str()),
            Self::BadRequest => (400, "there is something wrong with this"),
            Self::TooLong => (400, too_long(protocol)),
            Self::RateLimit | Self::RateLimitBare => (429, "too many requests"),
            Self::Quota => {
                (429, "You exceeded your current quota, please check your plan and billing details.")
            }
            Self::ServerError => (500, "out of order"),
            Self::Overloaded if protocol == Protocol::Messages => (529, "Overloaded"),
            Self::Overloaded => (503, "The model is overloaded. Please try again later."),
            Self::Redirect(port) => {
                let mut answer = Answer::default();
                *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
                let place = HeaderValue::from_str(&format!("http://127.0.0.1:{port}/elsewhere"));
                answer.headers_mut().insert(LOCATION, place.ok()?);
                return Some(answer);
            }
            _ => return None,
        };
        let mut answer = error(protocol, status, self == Self::Quota, message);
        if self == Self::RateLimit {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Some(answer)
    }
}

fn too_long(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Messages => "prompt is too long: 200001 tokens > 200000 maximum",
        Protocol::Gemini => {
            "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."
        }
        Protocol::Responses => {
            "Your input exceeds the context window of this model. Please adjust your input and try again."
        }
        Protocol::Completions => {
            "This model's maximum context length is 128000 tokens. However, your messages resulted in 128001 tokens."
        }
    }
}

/// An error as the services of a protocol shape it.
pub(super) fn error(protocol: Protocol, status: u16, quota: bool, message: &str) -> Answer {
    let mut answer = json_answer(&shaped(protocol, status, quota, message));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let id = match protocol {
        Protocol::Messages => "request-id",
        Protocol::Responses | Protocol::Completions => "x-request-id",
        Protocol::Gemini => return answer,
    };
    answer.headers_mut().insert(HeaderName::from_static(id), HeaderValue::from_static("req_scripted"));
    answer
}

fn shaped(protocol: Protocol, status: u16, quota: bool, message: &str) -> Value {
    match protocol {
        Protocol::Messages => {
            json!({"type": "error", "error": {"type": messages_kind(status), "message": message},
                "request_id": "req_scripted"})
        }
        Protocol::Gemini => {
            let mut error = json!({"code": status, "message": message, "status": google_status(status)});
            let info = |of: &str, more: Value| {
                let mut detail = json!({"@type": format!("type.googleapis.com/google.rpc.{of}")});
                if let (Some(detail), Value::Object(more)) = (detail.as_object_mut(), more) {
                    detail.extend(more);
                }
                json!([detail])
            };
            if status == 401 {
                let domain = json!({"reason": "API_KEY_INVALID", "domain": "googleapis.com"});
                error["details"] = info("ErrorInfo", domain);
            }
            json!({ "error": error })
        }
        Protocol::Responses | Protocol::Completions => {
            let (kind, code) = openai_words(status, quota, message);
            json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
        }
    }
}

fn messages_kind(status: u16) -> &'static str {
    match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}

fn google_status(status: u16) -> &'static str {
    match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        _ => "INTERNAL",
    }
}

fn openai_words(status: u16, quota: bool, message: &str) -> (&'static str, Value) {
    match status {
        401 => ("invalid_request_error", json!("invalid_api_key")),
        404 => ("invalid_request_error", json!("model_not_found")),
        400 if message.contains("context") => ("invalid_request_error", json!("context_length_exceeded")),
        400 => ("invalid_request_error", Value::Null),
        429 if quota => ("insufficient_quota", json!("insufficient_quota")),
        429 => ("requests", json!("rate_limit_exceeded")),
        _ => ("server_error", Value::Null),
    }
}

/// An error in the middle of an answer: name and data of the event.
pub(super) fn in_stream(protocol: Protocol) -> (String, Value) {
    let message = "out of order in the middle";
    match protocol {
        Protocol::Messages => {
            let data = json!({"type": "error", "error": {"type": "overloaded_error", "message": message}});
            ("error".to_owned(), data)
        }
        Protocol::Responses => {
            let error = json!({"code": "server_error", "message": message});
            let mut response =
                super::responses::answer(&json!({}), "resp_broken", &super::Turn::default(), &[]);
            response["status"] = json!("failed");
            response["error"] = error;
            let data = json!({"type": "response.failed", "sequence_number": 99, "response": response});
            ("response.failed".to_owned(), data)
        }
        Protocol::Completions | Protocol::Gemini => (String::new(), shaped(protocol, 500, false, message)),
    }
}
