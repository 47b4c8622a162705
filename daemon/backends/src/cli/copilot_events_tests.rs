use super::*;
use crate::driver::testing::{CLEAN, run};
use crate::testing::exit;
use cordon_proto::v1::Outcome;
use proptest::prelude::*;
use serde_json::json;

const RECORDED: &[u8] = include_bytes!("golden/copilot-1.0.102.jsonl");
const REFUSED: &[u8] = include_bytes!("golden/copilot-1.0.102-401.jsonl");
const STREAMED: &[u8] = include_bytes!("golden/copilot-1.0.102-streamed.jsonl");
const MASKED: &[u8] = include_bytes!("golden/copilot-1.0.102-masked.jsonl");
const STOPPED: &[u8] = include_bytes!("golden/copilot-1.0.102-stopped.jsonl");

#[test]
fn a_recorded_run_is_understood_whole() {
    let (events, outcome) = run(CopilotParser::new(), &[RECORDED], &CLEAN);
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
            (first, "completed", Some(0)),
            ("exit 3", "started", None),
            ("exit 3", "failed", Some(3)),
        ]
    );
    assert!(events.contains(&file_change("/srv/agent/ws/written.txt", "added")));
    assert!(events.iter().any(|e| matches!(e, Kind::ToolCall(t) if t.name == "view")));
    let said: Vec<_> = events.iter().filter(|e| matches!(e, Kind::Message(_))).cloned().collect();
    assert_eq!(said, [message("I look.").unwrap(), message("It is done.").unwrap()]);
}

#[test]
fn a_recorded_refusal_is_told_with_what_to_do() {
    let (events, outcome) = run(CopilotParser::new(), &[REFUSED], &exit(1));
    assert_eq!(outcome.outcome, Outcome::AgentFailed);
    assert!(outcome.message.contains("Authentication failed"), "{}", outcome.message);
    let Some(Kind::Error(error)) = events.last() else { panic!("{events:?}") };
    assert_eq!(error.reason, "authentication");
    let retries: Vec<_> = events
        .iter()
        .filter_map(|e| if let Kind::Retry(r) = e { Some((r.reason.as_str(), r.attempt)) } else { None })
        .collect();
    assert_eq!(retries, [("transient_auth_error", 1), ("transient_auth_error", 2)]);
    assert!(!events.iter().any(|e| matches!(e, Kind::Unknown(_))), "{events:?}");
}

#[test]
fn what_it_says_is_told_as_it_comes_and_then_whole() {
    let (events, outcome) = run(CopilotParser::new(), &[STREAMED], &CLEAN);
    assert_eq!(outcome.outcome, Outcome::Success);
    assert!(!events.iter().any(|e| matches!(e, Kind::Unknown(_))), "{events:?}");
    let pieces: String = events
        .iter()
        .filter_map(|e| if let Kind::MessageDelta(d) = e { Some(d.text.as_str()) } else { None })
        .collect();
    assert_eq!(pieces, "done");
    assert!(events.contains(&message("done").unwrap()));
}

#[test]
fn a_one_letter_key_masks_everything_and_breaks_nothing() {
    // It puts stars in place of the key wherever it stands, here a `k`.
    let (events, outcome) = run(CopilotParser::new(), &[MASKED], &CLEAN);
    assert_eq!(outcome.outcome, Outcome::Success);
    assert!(MASKED.windows(6).any(|w| w == b"******"), "the recording shows the quirk");
    assert!(events.iter().any(|e| matches!(e, Kind::Message(_))), "{events:?}");
}

#[test]
fn a_recorded_stop_is_no_success_though_it_ends_with_0() {
    let (events, outcome) = run(CopilotParser::new(), &[STOPPED], &exit(0));
    assert_eq!(outcome.outcome, Outcome::AgentFailed);
    assert!(!events.iter().any(|e| matches!(e, Kind::Unknown(_))), "{events:?}");
}

#[test]
fn only_its_own_success_with_a_clean_exit_counts() {
    let rows = [
        (r#"{"type":"result","exitCode":0}"#, exit(0), Outcome::Success),
        (r#"{"type":"result","exitCode":0}"#, exit(1), Outcome::AgentFailed),
        (r#"{"type":"result","exitCode":0,"aborted":true}"#, exit(0), Outcome::AgentFailed),
        (r#"{"type":"result","exitCode":0,"data":{"aborted":true}}"#, exit(0), Outcome::AgentFailed),
        (r#"{"type":"result","exitCode":1}"#, exit(0), Outcome::AgentFailed),
        (r#"{"type":"result","exitCode":"0"}"#, exit(0), Outcome::AgentFailed),
        (r#"{"type":"result"}"#, exit(0), Outcome::AgentFailed),
        ("", exit(0), Outcome::AgentFailed),
    ];
    for (line, exit, expected) in rows {
        let (_, outcome) = run(CopilotParser::new(), &[line.as_bytes()], &exit);
        assert_eq!(outcome.outcome, expected, "{line}");
    }
}

#[test]
fn only_what_is_not_for_a_screen_is_unknown() {
    let lines = r#"{"type":"session.something_new","data":{},"ephemeral":true}
{"type":"session.something_new","data":{}}
{"type":"result","exitCode":0}"#;
    let (events, outcome) = run(CopilotParser::new(), &[lines.as_bytes()], &CLEAN);
    assert_eq!(events.iter().filter(|e| matches!(e, Kind::Unknown(_))).count(), 1);
    assert_eq!(outcome.outcome, Outcome::Success);
}

#[test]
fn a_masked_stream_is_still_read() {
    // It hides the provider's key wherever it stands, in the names of members too.
    let line = r#"{"type":"model.call_final_result","data":{"isByo******":true},"ephemeral":true}
{"type":"result","exitCode":0,"usage":{"pr******":0}}"#;
    let (events, outcome) = run(CopilotParser::new(), &[line.as_bytes()], &CLEAN);
    assert_eq!((events.len(), outcome.outcome), (0, Outcome::Success));
}

#[test]
fn open_tools_are_bounded() {
    let mut parser = CopilotParser::new();
    let mut out = Vec::new();
    for n in 0..10_000 {
        let data = json!({"toolCallId":format!("t{n}"),"toolName":"bash","arguments":{"command":"x"}});
        parser.event(&json!({"type":"tool.execution_start","data":data}), &mut out);
    }
    assert_eq!(parser.open.len(), MAX_OPEN);
}

proptest! {
    #[test]
    fn however_the_output_is_cut_the_events_are_the_same(
        cuts in proptest::collection::vec(0..RECORDED.len(), 0..20),
    ) {
        let mut cuts = cuts;
        cuts.extend([0, RECORDED.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &RECORDED[w[0]..w[1]]).collect();
        prop_assert_eq!(run(CopilotParser::new(), &pieces, &CLEAN), run(CopilotParser::new(), &[RECORDED], &CLEAN));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_succeed(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (_, outcome) = run(CopilotParser::new(), &[&bytes], &CLEAN);
        prop_assert_eq!(outcome.outcome, Outcome::AgentFailed);
    }

    #[test]
    fn events_of_any_shape_never_panic(
        kind in prop_oneof![Just("assistant.message"), Just("tool.execution_start"), Just("tool.execution_complete"),
            Just("session.error"), Just("result"), Just("assistant.turn_retry")],
        value in prop_oneof![Just("null"), Just("-1"), Just("[[]]"), Just("{\"message\":3}"), Just("\"x\"")],
    ) {
        let line = format!(
            r#"{{"type":"{kind}","exitCode":{value},"data":{{"toolCallId":{value},"toolName":{value},"arguments":{value},"success":{value},"result":{value},"error":{value},"fileEdits":{value},"shellExecution":{value},"content":{value},"message":{value},"statusCode":{value}}}}}"#
        );
        let (_, outcome) = run(CopilotParser::new(), &[line.as_bytes()], &CLEAN);
        prop_assert_eq!(outcome.outcome, Outcome::AgentFailed);
    }
}
