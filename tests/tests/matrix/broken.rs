//! What goes wrong around an agent: its provider, and more output than anybody reads.

use crate::place::{Done, Place};
use cordon_proto::v1::{Outcome, OutputStream, event::Kind};
use cordon_tests::{
    harness::{More, output, summary},
    provider::{Failure, Script, Turn},
};

#[track_caller]
fn says(done: &Done, reason: &str) {
    let errors = done.errors();
    let found = errors.iter().find(|e| e.reason == reason);
    let error = found.unwrap_or_else(|| panic!("no error {reason}: {errors:?}"));
    assert!(!error.fix.is_empty(), "what to do is not said: {error:?}");
    let said = format!("{}{}", done.ran.stdout, done.ran.stderr);
    assert!(said.contains(&error.fix), "the user was not told: {said}");
}

/// Nobody listens: the program does not wait for ever.
pub(crate) fn refused(place: &Place<'_>) {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (file, _) = place.file("refused", &format!("http://{dead}"), More::default());
    let done = place.run(&file, "x");
    done.expect(Outcome::AgentFailed);
    assert!(!done.errors().is_empty(), "{:?}", done.events);
}

fn failing(place: &Place<'_>, name: &str, failure: Failure, reason: &str) {
    let provider = place.provider(Script::failing(failure));
    let (file, _) = place.file(name, &provider.base_url(), More::default());
    let done = place.run(&file, "x");
    done.expect(Outcome::AgentFailed);
    says(&done, reason);
    let asked = provider.requests().iter().filter(|r| r.method == "POST").count();
    assert!(asked <= 8, "it asked {asked} times");
}

/// The key is wrong.
pub(crate) fn unauthorized(place: &Place<'_>) {
    failing(place, "unauthorized", Failure::Refuse, "authentication");
}

/// The provider wants less, for ever.
pub(crate) fn rate_limited(place: &Place<'_>) {
    failing(place, "rate-limited", Failure::RateLimit, "rate-limited");
}

/// A command that prints 30 MB costs nobody the turn, the journal or the memory.
pub(crate) fn flood(place: &Place<'_>) {
    let provider = place.provider(Script::of([
        Turn::shell("yes 0123456789012345678901234567890123456789 | head -c 30000000; echo end-of-flood"),
        Turn::shell("echo after > after.txt"),
        Turn::text("It goes on."),
    ]));
    let (file, ws) = place.file("flood", &provider.base_url(), More::default());
    // The model answers at once: what the program printed is taken from it as fast as it ends.
    let done = place.run(&file, "x");
    let said = format!("{}{}", done.ran.stdout, done.ran.stderr);
    assert_eq!(summary(&done.events).outcome(), Outcome::Success, "{said}");
    assert_eq!(std::fs::read_to_string(ws.join("after.txt")).unwrap(), "after\n");
    // What is told of it is an excerpt; the line that the program printed is kept as it was.
    let commands = done.commands();
    assert!(commands.iter().any(|c| c.command.contains("after.txt")), "{commands:?}");
    assert!(commands.iter().all(|c| c.output.len() < 128 << 10), "too much is told");
    let too_long = |k: &Kind| matches!(k, Kind::Warning(w) if w.reason == "event-too-long");
    // Gemini CLI prints up to 16 MiB of it in one event, which nobody has to read to go on.
    assert!(commands.len() == 2 || done.kinds().any(too_long), "{commands:?}");
    assert!(output(&done.events, OutputStream::Stdout).len() < 128 << 20);
}
