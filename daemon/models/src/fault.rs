//! What went wrong with one attempt, in words without secrets.

use crate::client::Forbidden;
use cordon_backends::{
    Redactor,
    api::{ApiError, Failure, FailureKind},
};
use std::{error::Error, io, time::Duration};
use url::Url;

/// Longest reason that is told.
const LONGEST: usize = 400;

/// Why an attempt has no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The server answered, and it was none.
    Api(ApiError),
    /// There is no server.
    Unreachable {
        why: String,
        /// Whether to try again.
        again: bool,
    },
    /// What it does is not going to change.
    Wrong(ApiError),
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

/// The server sent nothing for this long.
pub(crate) fn silent(within: Duration) -> Fault {
    let message = format!("it sent nothing for {} s", within.as_secs_f32());
    Fault::Api(ApiError::Refused(Box::new(Failure {
        kind: FailureKind::Timeout,
        status: None,
        code: String::new(),
        message,
        retry_after: None,
        told: None,
        request: String::new(),
    })))
}

/// Where a redirect would have led, without what could be secret in it.
pub(crate) fn place(from: &Url, location: &str) -> String {
    let Ok(mut to) = from.join(location) else { return "what is no URL".to_owned() };
    to.set_query(None);
    to.set_fragment(None);
    let _ = to.set_password(None);
    let _ = to.set_username("");
    clipped(to.as_str())
}

/// Before there was a status: the connection was not made, or was lost.
pub(crate) fn of_sending(error: &reqwest::Error) -> Fault {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    let mut io_words = None;
    while let Some(error) = next {
        if let Some(Forbidden(why)) = error.downcast_ref() {
            return Fault::Unreachable { why: (*why).to_owned(), again: false };
        }
        if let Some(hyper) = error.downcast_ref::<hyper::Error>()
            && hyper.is_parse()
        {
            let what = format!("something that is not HTTP ({})", clipped(&hyper.to_string()));
            return ApiError::Unreadable { what }.into();
        }
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            let why = format!("TLS failed: {}", clipped(&tls.to_string()));
            return Fault::Unreachable { why, again: false };
        }
        next = error.source();
        if let Some(io) = error.downcast_ref::<io::Error>() {
            io_words = Some(io.to_string());
            // What it was made of is no source of it.
            if let Some(inner) = io.get_ref() {
                next = Some(inner);
            }
        }
    }
    if error.is_timeout() && error.is_connect() {
        let why = "the connection was not made in time".to_owned();
        return Fault::Unreachable { why, again: true };
    }
    if error.is_connect() {
        let why = io_words.unwrap_or_else(|| "the connection could not be made".to_owned());
        return Fault::Unreachable { why: clipped(&why), again: true };
    }
    if error.is_builder() {
        return Fault::Unreachable { why: "its URL cannot be used".to_owned(), again: false };
    }
    ApiError::Truncated.into()
}

fn clipped(text: &str) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The same without secrets, wherever the server put them.
pub(crate) fn redacted(fault: Fault, redactor: &Redactor) -> Fault {
    match fault {
        Fault::Api(error) => Fault::Api(without(error, redactor)),
        Fault::Wrong(error) => Fault::Wrong(without(error, redactor)),
        Fault::Unreachable { why, again } => Fault::Unreachable { why: redactor.text(&why), again },
    }
}

fn without(error: ApiError, redactor: &Redactor) -> ApiError {
    match error {
        ApiError::Refused(mut failure) => {
            for text in [&mut failure.code, &mut failure.message, &mut failure.request] {
                *text = redactor.text(text);
            }
            ApiError::Refused(failure)
        }
        ApiError::Unreadable { what } => ApiError::Unreadable { what: redactor.text(&what) },
        ApiError::NoStream { began } => ApiError::NoStream { began: redactor.text(&began) },
        error @ (ApiError::Truncated | ApiError::TooMuch { .. }) => error,
    }
}
