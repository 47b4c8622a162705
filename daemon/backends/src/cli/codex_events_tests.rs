use super::*;
use crate::driver::testing::{CLEAN, run};
use crate::testing::exit;
use cordon_proto::v1::{CommandEvent, Outcome};
use proptest::prelude::*;

const RECORDED: &[u8] = include_bytes!("../../tests/fixtures/codex-0.169.0.jsonl");
const DONE: &str = r#"{"type":"turn.completed","usage":{"input_tokens":1360,"cached_input_tokens":200,"cache_write_input_tokens":0,"output_tokens":90,"reasoning_output_tokens":7}}"#;
const FAILED: &str =
    r#"{"type":"turn.failed","error":{"message":"unexpected status 401 Unauthorized: Incorrect API key"}}"#;

fn names(events: &[Kind]) -> Vec<&'static str> {
    events
        .iter()
        .map(|e| match e {
            Kind::Message(_) => "message",
            Kind::Reasoning(_) => "reasoning",
            Kind::Command(_) => "command",
            Kind::FileChange(_) => "file",
            Kind::ToolCall(_) => "tool",
            Kind::Usage(_) => "usage",
            Kind::Error(_) => "error",
            Kind::Warning(_) => "warning",
            Kind::Unknown(_) => "unknown",
            Kind::Session(_) => "session",
            _ => "other",
        })
        .collect()
}

#[test]
fn a_recorded_run_is_understood_whole() {
    let (events, outcome) = run(CodexParser::new(), &[RECORDED], &CLEAN);
    assert_eq!(outcome.outcome, Outcome::Success);
    let expected = [
        "session", "warning", "message", "command", "command", "command", "command", "command", "command",
        "message", "usage",
    ];
    assert_eq!(names(&events), expected);
    assert_eq!(
        events[6],
        Kind::Command(CommandEvent {
            id: "item_3".into(),
            command: "/bin/bash -lc 'cat /srv/agent/canary; env | grep -ci key'".into(),
            status: "failed".into(),
            exit_code: Some(1),
            output: "CANARY-SECRET\n0\n".into(),
        })
    );
}

#[test]
fn every_event_has_its_row() {
    let usage = Kind::Usage(UsageEvent {
        input_tokens: 1360,
        cached_input_tokens: 200,
        output_tokens: 90,
        reasoning_tokens: 7,
        cost_usd: None,
    });
    let rows: [(&str, Vec<Kind>); 15] = [
        (r#"{"type":"thread.started","thread_id":"t"}"#, vec![]),
        (
            r#"{"type":"item.completed","item":{"id":"i","type":"agent_message","text":"hi"}}"#,
            message("hi").into_iter().collect(),
        ),
        (r#"{"type":"item.started","item":{"id":"i","type":"agent_message","text":"h"}}"#, vec![]),
        (
            r#"{"type":"item.completed","item":{"id":"i","type":"reasoning","text":"hm"}}"#,
            reasoning("hm").into_iter().collect(),
        ),
        (
            r#"{"type":"item.started","item":{"id":"i","type":"command_execution","command":"id","aggregated_output":"","exit_code":null,"status":"in_progress"}}"#,
            vec![command("i", "id", "started", None, "")],
        ),
        (
            r#"{"type":"item.completed","item":{"id":"i","type":"command_execution","command":"id","aggregated_output":"","exit_code":null,"status":"declined"}}"#,
            vec![command("i", "id", "failed", None, "")],
        ),
        (
            r#"{"type":"item.completed","item":{"id":"i","type":"file_change","changes":[{"path":"/w/a","kind":"add"},{"path":"/w/b","kind":"delete"},{"path":"/w/c","kind":"update"}],"status":"completed"}}"#,
            vec![
                file_change("/w/a", "added"),
                file_change("/w/b", "removed"),
                file_change("/w/c", "modified"),
            ],
        ),
        (
            r#"{"type":"item.completed","item":{"id":"i","type":"mcp_tool_call","server":"fs","tool":"read","arguments":{"p":1},"result":null,"error":{"message":"no"},"status":"failed"}}"#,
            vec![tool_call("i", "fs.read", &serde_json::json!({"p":1}), "failed", "no")],
        ),
        (r#"{"type":"error","message":"Reconnecting... 2/5"}"#, vec![retry("", 2, 0)]),
        (
            r#"{"type":"error","message":"Reconnecting... 1/2 (We are busy.)"}"#,
            vec![retry("We are busy.", 1, 0)],
        ),
        (
            r#"{"type":"error","message":"Reconnecting... soon"}"#,
            vec![warning("agent-error", "Reconnecting... soon")],
        ),
        (
            r#"{"type":"item.completed","item":{"id":"i","type":"error","message":"w"}}"#,
            vec![warning("agent-warning", "w")],
        ),
        (DONE, vec![usage]),
        (FAILED, vec![provider_error(Some(401), "unexpected status 401 Unauthorized: Incorrect API key")]),
        (r#"{"type":"item.updated","item":{"id":"i","type":"todo_list"}}"#, vec![]),
    ];
    for (line, expected) in rows {
        assert_eq!(run(CodexParser::new(), &[line.as_bytes()], &CLEAN).0, expected, "{line}");
    }
}

#[test]
fn what_is_not_known_is_kept_verbatim() {
    for line in [
        &br#"{"type":"turn.dreamt"}"#[..],
        br#"{"type":"item.completed","item":{"type":"hologram"}}"#,
        br#"{"type":42}"#,
        b"not json",
        b"\xff\xfe",
    ] {
        let (events, outcome) = run(CodexParser::new(), &[line], &CLEAN);
        assert_eq!(outcome.outcome, Outcome::AgentFailed);
        let [Kind::Unknown(unknown)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(&unknown.raw[..], line);
    }
}

#[test]
fn only_its_own_word_and_a_clean_exit_are_success() {
    let started = r#"{"type":"turn.started"}"#;
    let stopped = |change: fn(&mut crate::Exit)| {
        let mut exit = CLEAN.clone();
        change(&mut exit);
        exit
    };
    let killed = stopped(|e| {
        e.code = None;
        e.signal = Some(9);
    });
    let rows = [
        (vec![started, DONE], CLEAN.clone(), Outcome::Success),
        (vec![started], CLEAN.clone(), Outcome::AgentFailed),
        (vec![started, DONE], exit(1), Outcome::AgentFailed),
        (vec![started, DONE], killed, Outcome::AgentFailed),
        (vec![started, FAILED], exit(1), Outcome::AgentFailed),
        (vec![started, DONE, FAILED], CLEAN.clone(), Outcome::AgentFailed),
        (vec![started, FAILED, DONE], CLEAN.clone(), Outcome::AgentFailed),
        (vec![started, FAILED, started, DONE], CLEAN.clone(), Outcome::Success),
        (vec![started, DONE, started], CLEAN.clone(), Outcome::AgentFailed),
        (vec![started, DONE], stopped(|e| e.cancelled = true), Outcome::Cancelled),
        (vec![started, DONE], stopped(|e| e.timed_out = true), Outcome::TimedOut),
        (vec![], stopped(|e| e.code = None), Outcome::Broken),
        (vec![], crate::testing::not_started(2), Outcome::AgentFailed),
        (vec![], crate::testing::not_started(5), Outcome::Broken),
    ];
    for (lines, exit, expected) in rows {
        let text = lines.join("\n");
        let (_, outcome) = run(CodexParser::new(), &[text.as_bytes()], &exit);
        assert_eq!(outcome.outcome, expected, "{text} {exit:?}: {}", outcome.message);
        assert_eq!(outcome.message.is_empty(), expected == Outcome::Success);
    }
}

#[test]
fn a_resumed_thread_tells_what_its_turn_used() {
    let told = UsageEvent { input_tokens: 1300, output_tokens: 90, ..UsageEvent::default() };
    let (events, _) = run(CodexParser::after(told), &[DONE.as_bytes()], &CLEAN);
    let [Kind::Usage(usage)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((usage.input_tokens, usage.output_tokens), (60, 0));
}

#[test]
fn only_an_id_is_a_session() {
    let told = |id: &str| {
        let line = serde_json::json!({"type": "thread.started", "thread_id": id}).to_string();
        run(CodexParser::new(), &[line.as_bytes()], &CLEAN).0
    };
    assert!(matches!(&told("019b0000-0000-7000-8000-000000000000")[..], [Kind::Session(_)]));
    for id in ["", "--last", "-c=x=y-y-y-y", "a/../../b/c/d", "x y z a b c", &"a".repeat(65)] {
        assert!(told(id).is_empty(), "{id:?}");
    }
}

#[test]
fn usage_is_told_as_a_difference() {
    let second = DONE.replace("1360", "1500").replace("90", "100");
    let text = format!("{DONE}\n{{\"type\":\"turn.started\"}}\n{second}\n");
    let (events, _) = run(CodexParser::new(), &[text.as_bytes()], &CLEAN);
    let [Kind::Usage(first), Kind::Usage(second)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((first.input_tokens, second.input_tokens), (1360, 140));
    assert_eq!((first.output_tokens, second.output_tokens), (90, 10));
}

#[test]
fn output_of_a_hundred_megabytes_does_not_end_the_turn() {
    let mut driver =
        crate::driver::CliDriver::new("codex", crate::driver::testing::plan(), CodexParser::new());
    use crate::Driver as _;
    let (mut events, crate::Step::Exec(_)) = driver.next() else { panic!("nothing to run") };
    let begin = br#"{"type":"item.completed","item":{"id":"i","type":"command_execution","command":"yes","aggregated_output":""#;
    let mut tell = |data: &[u8]| events.extend(driver.output(cordon_proto::v1::OutputStream::Stdout, data));
    for size in [10, 100] {
        tell(begin);
        let piece = vec![b'y'; 1 << 20];
        (0..size).for_each(|_| tell(&piece));
        tell(b"\",\"exit_code\":0,\"status\":\"completed\"}}\n");
    }
    tell(DONE.as_bytes());
    events.extend(driver.exited(&CLEAN));
    assert_eq!(names(&events), ["command", "unknown", "warning", "usage"]);
    let Kind::Command(read) = &events[0] else { panic!() };
    assert!(read.output.len() < 70_000 && read.output.contains("left out") && read.exit_code == Some(0));
    let Kind::Unknown(head) = &events[1] else { panic!() };
    assert_eq!(head.raw.len(), crate::lines::HEAD);
    let Kind::Warning(warning) = &events[2] else { panic!() };
    assert!(warning.message.contains("104857"), "{}", warning.message);
    let crate::Step::Done(outcome) = driver.next().1 else { panic!() };
    assert_eq!(outcome.outcome, Outcome::Success);
}

#[test]
fn a_success_event_too_long_to_read_is_no_success() {
    let long = format!("{},\"x\":\"{}\"}}", &DONE[..DONE.len() - 1], "x".repeat(17 << 20));
    let (_, outcome) = run(CodexParser::new(), &[long.as_bytes(), b"\n"], &CLEAN);
    assert_eq!(outcome.outcome, Outcome::AgentFailed);
    assert!(outcome.message.contains("too long to interpret"), "{}", outcome.message);
}

proptest! {
    #[test]
    fn however_the_output_is_cut_the_events_are_the_same(
        cuts in proptest::collection::vec(0..RECORDED.len(), 0..40),
    ) {
        let mut cuts = cuts;
        cuts.extend([0, RECORDED.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &RECORDED[w[0]..w[1]]).collect();
        prop_assert_eq!(run(CodexParser::new(), &pieces, &CLEAN), run(CodexParser::new(), &[RECORDED], &CLEAN));
    }

    #[test]
    fn arbitrary_output_never_panics_and_is_never_success(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (_, outcome) = run(CodexParser::new(), &[&bytes], &CLEAN);
        prop_assert_eq!(outcome.outcome, Outcome::AgentFailed);
    }

    #[test]
    fn events_of_any_shape_never_panic(
        kind in prop_oneof![Just("item.completed"), Just("turn.failed"), Just("turn.completed"), Just("error")],
        item in prop_oneof![Just("command_execution"), Just("file_change"), Just("mcp_tool_call"), Just("error")],
        member in "[a-z_]{1,8}",
        value in prop_oneof![Just("null"), Just("-1"), Just("1e400"), Just("[[]]"), Just("{\"kind\":7}"), Just("\"x\"")],
    ) {
        let line = format!(
            r#"{{"type":"{kind}","{member}":{value},"changes":{value},"usage":{value},"error":{value},"item":{{"type":"{item}","{member}":{value},"changes":{value},"exit_code":{value}}}}}"#
        );
        let _ = run(CodexParser::new(), &[line.as_bytes()], &CLEAN);
    }
}

#[test]
fn the_log_tells_of_servers_that_failed_and_of_nothing_else() {
    let mut parser = CodexParser::new();
    let mut out = Vec::new();
    for line in [
        r#"2026-11-23T14:12:08Z  WARN codex_mcp::rmcp_client: MCP server startup failed server_name="broken" error=connection closed"#,
        r#"MCP server startup failed server_name="cut"#,
        "anything else",
    ] {
        parser.log(line.as_bytes(), &mut out);
    }
    assert_eq!(out, [warning("mcp-server-failed", "codex has no server broken: connection closed")]);
    assert_eq!(parser.verdict(), Verdict::Open);
}
