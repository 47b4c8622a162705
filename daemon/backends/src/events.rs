//! Our events, made from the pieces that programs report.

use crate::text::{MAX_LINE, MAX_OUTPUT, MAX_TEXT, clip};
use cordon_proto::v1::event::Kind;
use cordon_proto::v1::{
    CommandEvent, ErrorEvent, FileChangeEvent, MessageDelta, MessageEvent, ReasoningEvent, SessionEvent,
    ToolCallEvent, UsageEvent, WarningEvent,
};
use cordon_proto::v1::{Denial, RetryEvent};
use serde_json::Value;

/// File changes of one event that are told one by one.
pub(crate) const MAX_FILES: usize = 1000;

pub(crate) fn message(text: &str) -> Option<Kind> {
    (!text.is_empty()).then(|| Kind::Message(MessageEvent { text: clip(text, MAX_TEXT) }))
}

/// A piece of a message that will be told as a whole, too.
pub(crate) fn message_delta(text: &str) -> Option<Kind> {
    (!text.is_empty()).then(|| Kind::MessageDelta(MessageDelta { text: clip(text, MAX_TEXT) }))
}

pub(crate) fn reasoning(text: &str) -> Option<Kind> {
    (!text.is_empty()).then(|| Kind::Reasoning(ReasoningEvent { text: clip(text, MAX_TEXT) }))
}

/// The program's word for its session. What it prints may be an agent's doing, and this becomes an
/// argument of a later turn: only what looks like an id is one.
pub(crate) fn session(id: &str) -> Option<Kind> {
    is_session(id).then(|| Kind::Session(SessionEvent { id: id.to_owned() }))
}

/// Whether this may be given to a program as the session to go on with.
pub(crate) fn is_session(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (8..=64).contains(&id.len()) && id.bytes().all(plain) && !id.starts_with('-')
}

/// What a count of a whole session has more than was told of it before.
pub(crate) fn since(total: &UsageEvent, told: &UsageEvent) -> UsageEvent {
    UsageEvent {
        input_tokens: total.input_tokens.saturating_sub(told.input_tokens),
        cached_input_tokens: total.cached_input_tokens.saturating_sub(told.cached_input_tokens),
        output_tokens: total.output_tokens.saturating_sub(told.output_tokens),
        reasoning_tokens: total.reasoning_tokens.saturating_sub(told.reasoning_tokens),
        cost_usd: None,
    }
}

pub(crate) fn command(id: &str, command: &str, status: &str, exit_code: Option<i32>, output: &str) -> Kind {
    Kind::Command(CommandEvent {
        id: clip(id, MAX_LINE),
        command: clip(command, MAX_OUTPUT),
        status: status.to_owned(),
        exit_code,
        output: clip(output, MAX_OUTPUT),
    })
}

pub(crate) fn tool_call(id: &str, name: &str, arguments: &Value, status: &str, result: &str) -> Kind {
    let arguments = if arguments.is_null() { String::new() } else { arguments.to_string() };
    Kind::ToolCall(ToolCallEvent {
        id: clip(id, MAX_LINE),
        name: clip(name, MAX_LINE),
        arguments: clip(&arguments, MAX_OUTPUT),
        status: status.to_owned(),
        result: clip(result, MAX_OUTPUT),
    })
}

pub(crate) fn file_change(path: &str, change: &str) -> Kind {
    Kind::FileChange(FileChangeEvent {
        path: clip(path, MAX_LINE).into_bytes().into(),
        change: change.to_owned(),
    })
}

pub(crate) fn warning(reason: &str, message: &str) -> Kind {
    Kind::Warning(WarningEvent { reason: reason.to_owned(), message: clip(message, MAX_OUTPUT) })
}

/// The program tries again what failed.
pub(crate) fn retry(reason: &str, attempt: u64, wait_ms: u64) -> Kind {
    let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
    Kind::Retry(RetryEvent { reason: clip(reason, MAX_LINE), attempt, wait_ms })
}

/// What the program itself refused, by the mode that the agent file gave it.
pub(crate) fn refused_by_mode(program: &str, tool: &str, input: &Value) -> Kind {
    let what = ["command", "file_path", "path", "url"].iter().find_map(|key| input[*key].as_str());
    let target = what.map_or_else(|| tool.to_owned(), |what| format!("{tool}: {what}"));
    Kind::Denial(Denial {
        operation: "use".to_owned(),
        target: clip(&target, MAX_LINE),
        rule: "the program asks first, and nobody is there to answer".to_owned(),
        origin: "permission_mode of the agent file".to_owned(),
        layer: program.to_owned(),
        would_allow: "permission_mode: bypassPermissions: the sandbox decides".to_owned(),
    })
}

const NOT_FOUND: (&str, &str) = ("not-found", "check model and base_url");

/// Whether it is the words of a provider that has no such model: some programs show no status
/// with them.
fn names_no_model(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("the model ") && message.contains("does not exist")
}

/// A failure that the provider behind the program reported, with what to do about it.
pub(crate) fn provider_error(status: Option<u64>, message: &str) -> Kind {
    let (reason, fix) = match status.or_else(|| status_in(message)) {
        Some(401 | 403) => {
            ("authentication", "check the API key, or log in again with the program outside Cordon")
        }
        Some(404) => NOT_FOUND,
        None if names_no_model(message) => NOT_FOUND,
        Some(429) => ("rate-limited", "wait, or use an account with a higher limit"),
        Some(500..=599) => ("provider-unavailable", "try again later"),
        _ => ("agent-error", ""),
    };
    Kind::Error(ErrorEvent {
        reason: reason.to_owned(),
        message: clip(message, MAX_OUTPUT),
        fix: fix.to_owned(),
    })
}

/// The HTTP status in a message such as "unexpected status 401 Unauthorized": only to
/// word an advice, nothing is decided by it.
fn status_in(message: &str) -> Option<u64> {
    let words: Vec<&str> =
        message.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    words.windows(2).find_map(|pair| {
        let number = pair[1].parse().ok().filter(|n| (400..600).contains(n));
        number.filter(|_| ["status", "error", "http"].contains(&pair[0].to_ascii_lowercase().as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_only_where_one_is_announced() {
        for (message, status) in [
            ("unexpected status 401 Unauthorized: bad key", Some(401)),
            ("exceeded retry limit, last status: 429 Too Many Requests", Some(429)),
            ("API Error: 500 internal", Some(500)),
            ("took 404 seconds", None),
            ("status 200 OK", None),
        ] {
            assert_eq!(status_in(message), status, "{message}");
        }
    }
}
