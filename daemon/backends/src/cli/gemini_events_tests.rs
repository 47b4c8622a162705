use super::*;
use crate::driver::testing::{CLEAN, run};
use crate::testing::exit;
use cordon_proto::v1::Outcome;
use proptest::prelude::*;
use serde_json::json;

const RECORDED: &[u8] = include_bytes!("golden/gemini-0.61.0.jsonl");
const REFUSED: &[u8] = include_bytes!("golden/gemini-0.61.0-401.jsonl");
const SUCCESS: &str =
    r#"{"type":"result","status":"success","stats":{"input_tokens":1360,"output_tokens":90,"cached":200}}"#;

fn events(lines: &[&str]) -> Vec<Kind> {
    run(GeminiParser::new(), &[lines.join("\n").as_bytes()], &CLEAN).0
}

#[test]
fn a_recorded_run_is_understood_whole() {
    let (events, outcome) = run(GeminiParser::new(), &[RECORDED], &CLEAN);
    assert_eq!(outcome.outcome, Outcome::Success);
    assert!(!events.iter().any(|e| matches!(e, Kind::Unknown(_))), "{events:?}");
    let commands: Vec<_> = events
        .iter()
        .filter_map(|e| match e {
            Kind::Command(c) => Some((c.command.as_str(), c.status.as_str(), c.exit_code)),
            _ => None,
        })
        .collect();
    let first = "cat /srv/agent/none; echo from-the-agent > hello.txt";
    assert_eq!(
        commands,
        [
            (first, "started", None),
            (first, "completed", None),
            ("exit 3", "started", None),
            ("exit 3", "completed", None)
        ]
    );
    assert!(events.contains(&file_change("/srv/agent/ws/written.txt", "modified")));
    assert!(
        events
            .iter()
            .any(|e| matches!(e, Kind::ToolCall(t) if t.name == "read_file" && t.status == "failed"))
    );
    let said: Vec<_> = events.iter().filter(|e| matches!(e, Kind::Message(_))).cloned().collect();
    assert_eq!(said, [message("I look.").unwrap(), message("It is done.").unwrap()]);
    let Some(Kind::Usage(usage)) = events.last() else { panic!("no usage") };
    assert_eq!((usage.input_tokens, usage.cached_input_tokens, usage.output_tokens), (400, 80, 40));
}

#[test]
fn a_recorded_refusal_is_told_with_what_to_do() {
    // 401 modulo 256: the exit code is what is left of the status.
    let (events, outcome) = run(GeminiParser::new(), &[REFUSED], &exit(145));
    assert_eq!(outcome.outcome, Outcome::AgentFailed);
    assert!(outcome.message.contains("401"), "{}", outcome.message);
    let Some(Kind::Error(error)) = events.last() else { panic!("{events:?}") };
    assert_eq!(error.reason, "authentication");
}

#[test]
fn a_status_that_only_the_exit_code_has_is_told() {
    let failed = r#"{"type":"result","status":"error","error":{"message":"[API Error: busy]"},"stats":{}}"#;
    for (code, reason) in
        [(173, "rate-limited"), (247, "provider-unavailable"), (1, "agent-error"), (143, "agent-error")]
    {
        let (events, _) = run(GeminiParser::new(), &[failed.as_bytes()], &exit(code));
        let Some(Kind::Error(error)) = events.last() else { panic!("{events:?}") };
        assert_eq!(error.reason, reason, "{code}");
    }
}

#[test]
fn a_message_in_pieces_is_one_message() {
    let piece =
        |text: &str| json!({"type":"message","role":"assistant","content":text,"delta":true}).to_string();
    let told = r#"{"type":"message","role":"user","content":"the prompt"}"#;
    let lines = [told, &piece("It "), &piece("is "), &piece("done."), SUCCESS];
    let events = events(&lines);
    let pieces = ["It ", "is ", "done."].map(|piece| message_delta(piece).unwrap());
    assert_eq!(events[..3], pieces);
    assert_eq!(events[3], message("It is done.").unwrap());
    assert_eq!(events.len(), 5);
}

#[test]
fn what_was_said_last_is_told_even_when_nothing_follows() {
    let line = r#"{"type":"message","role":"assistant","content":"half","delta":true}"#;
    let (events, outcome) = run(GeminiParser::new(), &[line.as_bytes()], &exit(0));
    assert_eq!(events, [message_delta("half").unwrap(), message("half").unwrap()]);
    assert_eq!(outcome.outcome, Outcome::AgentFailed);
}

#[test]
fn only_its_own_success_with_a_clean_exit_counts() {
    let failed = r#"{"type":"result","status":"error","stats":{}}"#;
    let rows = [
        (vec![SUCCESS], exit(0), Outcome::Success),
        (vec![SUCCESS], exit(1), Outcome::AgentFailed),
        // A stop that it was not asked for ends it with 0.
        (vec![], exit(0), Outcome::AgentFailed),
        (vec![failed], exit(0), Outcome::AgentFailed),
        (vec![failed, SUCCESS], exit(0), Outcome::AgentFailed),
        (vec![r#"{"type":"result","status":"aborted"}"#], exit(0), Outcome::AgentFailed),
    ];
    for (lines, exit, expected) in rows {
        let (_, outcome) = run(GeminiParser::new(), &[lines.join("\n").as_bytes()], &exit);
        assert_eq!(outcome.outcome, expected, "{lines:?}");
    }
}

#[test]
fn a_failure_without_a_reason_takes_the_last_error() {
    let error = r#"{"type":"error","severity":"error","message":"The model returned nothing."}"#;
    let failed = r#"{"type":"result","status":"error","stats":{}}"#;
    let (_, outcome) = run(GeminiParser::new(), &[format!("{error}\n{failed}").as_bytes()], &exit(0));
    assert_eq!(outcome.message, "gemini: The model returned nothing.");
}

#[test]
fn what_is_open_and_said_is_bounded() {
    let mut parser = GeminiParser::new();
    let mut out = Vec::new();
    let long = "ä".repeat(MAX_TEXT / 2 + 1);
    for n in 0..10_000 {
        let event = json!({"type":"tool_use","tool_id":format!("t{n}"),"tool_name":"run_shell_command"});
        parser.event(&event, &mut out);
    }
    assert_eq!(parser.open.len(), MAX_OPEN);
    for _ in 0..10 {
        let event = json!({"type":"message","role":"assistant","content":long,"delta":true});
        parser.event(&event, &mut out);
    }
    assert!(parser.said.len() <= 2 * MAX_TEXT);
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
        prop_assert_eq!(run(GeminiParser::new(), &pieces, &CLEAN), run(GeminiParser::new(), &[RECORDED], &CLEAN));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_succeed(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (_, outcome) = run(GeminiParser::new(), &[&bytes], &CLEAN);
        prop_assert_eq!(outcome.outcome, Outcome::AgentFailed);
    }

    #[test]
    fn events_of_any_shape_never_panic(
        kind in prop_oneof![Just("message"), Just("tool_use"), Just("tool_result"), Just("error"), Just("result")],
        value in prop_oneof![Just("null"), Just("-1"), Just("[[]]"), Just("{\"message\":3}"), Just("\"x\"")],
        text in "\\PC{0,40}",
    ) {
        let line = format!(
            r#"{{"type":"{kind}","role":"assistant","content":{value},"tool_id":{value},"tool_name":{value},"parameters":{value},"status":{value},"output":{value},"error":{value},"message":{value},"stats":{value}}}"#
        );
        let (_, outcome) = run(GeminiParser::new(), &[line.as_bytes()], &CLEAN);
        prop_assert_eq!(outcome.outcome, Outcome::AgentFailed);
        let _ = status(&text);
        let _ = status(&format!("\"code\":{text}"));
    }
}
