//! A conversation that outgrows its model's window: the agent goes on from a summary, the journal says so, and what
//! resumes the run begins there.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, Outcome, event::Kind};
use cordon_tests::{
    harness::{Host, KEY, messages, summary},
    provider::{Call, Provider, Recorded, Script, Turn, Usage, When},
};
use std::fs;

/// One for each protocol, and where it wants its provider.
const PROTOCOLS: &[(&str, &str)] =
    &[("openai", "/v1"), ("claude", ""), ("gemini", "/v1beta"), ("chatcompletion", "/v1")];
/// The window of the agent file: four fifths of it are filled in the tenth turn.
const WINDOW: u64 = 40_000;
const FILLED: u64 = 10;
const SUMMARY: &str = "SUMMARY-4711: turns zero to nine are done, more are to come.";

/// A turn with many words and a command; each adds what it says to the model's count, until there is a summary.
fn turn(n: u64) -> Turn {
    let tokens = if n < FILLED { 3_300 * n } else { 12_000 };
    Turn {
        text: format!("words-{n} ").repeat(1_000),
        usage: Usage { input: tokens, cached: 0, output: 3_000, reasoning: 0 },
        ..Turn::calls([Call::Shell(format!("echo {n} >> done.txt"))])
    }
}

fn notes(events: &[Event]) -> Vec<String> {
    let told = events.iter().filter_map(|e| match &e.kind {
        Some(Kind::Warning(w)) if w.reason == "compacted" => Some(w.message.clone()),
        _ => None,
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_goes_on_from_a_summary_and_so_does_what_resumes_it() {
    let host = Host::start();
    let mut turns: Vec<Turn> = (0..FILLED + 2).map(turn).collect();
    turns.push(Turn::text("All twelve are done."));
    let when = |contains: &str, said: &str| When { contains: contains.into(), turns: vec![Turn::text(said)] };
    for (kind, path) in PROTOCOLS {
        let script = Script {
            when: vec![
                when("The conversation has become too long", SUMMARY),
                when("and what now", "Nothing is left."),
            ],
            strict: true,
            // A summary is asked for without tools to call.
            without_tools: true,
            ..Script::of(turns.clone())
        };
        let provider = Provider::start(script).await.unwrap();
        let ws = host.tree(&format!("ws-{kind}"));
        let text = format!(
            "agents:\n  - id: worker\n    backend:\n      type: {kind}\n      model: scripted-model\n      \
             base_url: {}{path}\n      api_key: ${{PLANTED_KEY}}\n      context_window: {WINDOW}\n      cwd: {}\n",
            provider.base_url(),
            ws.display()
        );
        let file = host.agent_file("a.yaml", &text);
        let run = |args: &[&str]| {
            let mut command = host.command("cordon");
            command.arg("run").args(args).env("PLANTED_KEY", KEY);
            host.finish(&mut command)
        };
        let ran = run(&[file.to_str().unwrap(), "do the twelve things"]);
        let mut api = host.api().await;
        let id = api.list().await.into_iter().max_by_key(|r| r.started_unix_ms).unwrap().id;
        let events = api.events(&id, true).await;
        assert_eq!(summary(&events).outcome(), Outcome::Success, "{kind} {}{}", ran.stdout, ran.stderr);
        assert!(messages(&events).iter().any(|m| m == "All twelve are done."), "{kind} {}", ran.stdout);
        let told = notes(&events);
        assert!(
            matches!(&told[..], [one] if one.contains("a summary of the model's own")),
            "{kind} {told:?}"
        );
        let lines: Vec<String> = (0..FILLED + 2).map(|n| n.to_string()).collect();
        let done = fs::read_to_string(ws.join("done.txt")).unwrap();
        assert_eq!(done.lines().collect::<Vec<_>>(), lines, "{kind}: once each, and in order");

        let asked: Vec<String> = provider.requests().iter().map(|r: &Recorded| r.body.to_string()).collect();
        let first = asked.iter().position(|body| body.contains(SUMMARY)).unwrap();
        assert!(asked[first - 1].contains("words-0 "), "{kind}: the summary is of everything");
        for later in &asked[first..] {
            assert!(later.contains("do the twelve things"), "{kind}: the task is kept");
            assert!(!later.contains("words-0 ") && later.len() < 60_000, "{kind} {}", later.len());
        }

        let ran = run(&["--resume", &id, "and what now?"]);
        assert!(ran.stdout.contains("Nothing is left."), "{kind} {}{}", ran.stdout, ran.stderr);
        let last = provider.requests().last().unwrap().body.to_string();
        assert!(last.contains(SUMMARY) && last.contains("All twelve are done."), "{kind} {last}");
        assert!(!last.contains("words-0 "), "{kind}");
    }
}
