use super::*;
use crate::driver::testing::{CLEAN, run};
use crate::testing::exit;
use cordon_proto::v1::Outcome;
use proptest::prelude::*;
use serde_json::json;

const RECORDED: &[u8] = include_bytes!("../../tests/fixtures/claude-code-2.1.197.jsonl");
const STREAMED: &[u8] = include_bytes!("golden/claude-code-2.1.197-streamed.jsonl");
const RESULT: &str = r#"{"type":"result","subtype":"success","is_error":false,"num_turns":4,"result":"All done.","session_id":"..","total_cost_usd":0.00549,"usage":{"input_tokens":1160,"cache_read_input_tokens":200,"output_tokens":90},"permission_denials":[]}"#;

fn events(lines: &[&str]) -> Vec<Kind> {
    run(ClaudeParser::new(), &[lines.join("\n").as_bytes()], &CLEAN).0
}

#[test]
fn a_recorded_run_is_understood_whole() {
    let (events, outcome) = run(ClaudeParser::new(), &[RECORDED], &CLEAN);
    assert_eq!(outcome.outcome, Outcome::Success);
    assert!(!events.iter().any(|e| matches!(e, Kind::Unknown(_))), "{events:?}");
    let line = "cat /srv/agent/canary; env | grep -ci key";
    assert!(events.contains(&command("toolu_scripted0001x0000", line, "started", None, "")));
    let output = "CANARY-SECRET\n1";
    assert!(events.contains(&command("toolu_scripted0001x0000", line, "completed", Some(0), output)));
    assert!(events.contains(&file_change("/srv/agent/ws/made.txt", "added")));
    assert_eq!(events.iter().filter(|e| matches!(e, Kind::Message(_))).count(), 2);
    let Some(Kind::Usage(usage)) = events.last() else { panic!("no usage") };
    assert_eq!((usage.input_tokens, usage.cached_input_tokens, usage.output_tokens), (480, 80, 40));
    assert_eq!(usage.cost_usd, Some(0.00304));
}

#[test]
fn cached_tokens_are_counted_as_input() {
    let Some(Kind::Usage(usage)) = events(&[RESULT]).pop() else { panic!("no usage") };
    assert_eq!((usage.input_tokens, usage.cached_input_tokens), (1360, 200));
}

#[test]
fn a_result_that_is_an_error_is_no_success_whatever_its_subtype() {
    for (status, reason) in [("401", "authentication"), ("429", "rate-limited"), ("null", "agent-error")] {
        let line = RESULT
            .replace("\"is_error\":false", "\"is_error\":true")
            .replace("\"num_turns\":4", &format!("\"api_error_status\":{status}"));
        let (events, outcome) = run(ClaudeParser::new(), &[line.as_bytes()], &exit(1));
        assert_eq!((outcome.outcome, outcome.message.as_str()), (Outcome::AgentFailed, "claude: All done."));
        let Some(Kind::Error(error)) = events.last() else { panic!("{events:?}") };
        assert_eq!(error.reason, reason);
    }
}

#[test]
fn only_a_true_success_result_counts() {
    let rows = [
        (RESULT.to_owned(), exit(0), Outcome::Success),
        (RESULT.to_owned(), exit(1), Outcome::AgentFailed),
        (RESULT.replace("\"is_error\":false", "\"is_error\":\"false\""), exit(0), Outcome::AgentFailed),
        (RESULT.replace("\"is_error\":false,", ""), exit(0), Outcome::AgentFailed),
        (RESULT.replace("success", "error_max_turns"), exit(0), Outcome::AgentFailed),
        (String::new(), exit(0), Outcome::AgentFailed),
    ];
    for (line, exit, expected) in rows {
        let (_, outcome) = run(ClaudeParser::new(), &[line.as_bytes()], &exit);
        assert_eq!(outcome.outcome, expected, "{line}");
    }
}

#[test]
fn a_failed_command_tells_its_exit_code() {
    let uses = r#"{"type":"assistant","message":{"content":[{"type":"tool_use","id":"t","name":"Bash","input":{"command":"false"}}]}}"#;
    let result = r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","is_error":true,"content":[{"type":"text","text":"Exit code 3\nno"}]}]}}"#;
    let expected = [
        command("t", "false", "started", None, ""),
        command("t", "false", "failed", Some(3), "Exit code 3\nno"),
    ];
    assert_eq!(events(&[uses, result]), expected);
}

#[test]
fn other_tools_and_thoughts_are_told() {
    let uses = r#"{"type":"assistant","message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"tool_use","id":"g","name":"mcp__fs__list","input":{"path":"/w"}},{"type":"tool_use","id":"e","name":"Edit","input":{"file_path":"/w/a"}}]}}"#;
    let results = r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"g","content":"a"},{"type":"tool_result","tool_use_id":"e","is_error":true,"content":"no such text"},{"type":"tool_result","tool_use_id":"stray","content":""}]}}"#;
    let expected = [
        reasoning("hm").unwrap(),
        tool_call("g", "mcp__fs__list", &json!({"path":"/w"}), "started", ""),
        tool_call("e", "Edit", &json!({"file_path":"/w/a"}), "started", ""),
        tool_call("g", "mcp__fs__list", &Value::Null, "completed", "a"),
        tool_call("e", "Edit", &Value::Null, "failed", "no such text"),
        tool_call("stray", "", &Value::Null, "completed", ""),
    ];
    assert_eq!(events(&[uses, results]), expected);
}

#[test]
fn half_a_character_in_the_result_does_not_lose_the_turn() {
    let line = RESULT.replace("All done.", "cut \\ud83d");
    let (_, outcome) = run(ClaudeParser::new(), &[line.as_bytes()], &CLEAN);
    assert_eq!(outcome.outcome, Outcome::Success);
}

#[test]
fn attempts_are_told() {
    let line = r#"{"type":"system","subtype":"api_retry","attempt":1,"max_retries":4,"retry_delay_ms":568.8,"error_status":401,"error":"authentication_failed","session_id":"s"}"#;
    assert_eq!(events(&[line]), [retry("authentication_failed (status 401)", 1, 568)]);
    // Whatever a number is.
    for wait in ["-1", "1e300", "null", "\"x\""] {
        let line = line.replace("568.8", wait);
        assert!(matches!(events(&[&line])[..], [Kind::Retry(_)]), "{wait}");
    }
}

#[test]
fn servers_that_failed_are_told_and_those_that_work_are_not() {
    let line = r#"{"type":"system","subtype":"init","session_id":"","mcp_servers":[{"name":"broken","status":"failed"},{"name":"fine","status":"connected"},{"name":"slow","status":"pending"}]}"#;
    assert_eq!(events(&[line]), [warning("mcp-server-failed", "claude has no server broken: failed")]);
}

#[test]
fn what_the_mode_refused_is_a_denial() {
    let line = r#"{"type":"result","subtype":"success","is_error":false,"result":"done","usage":{},"permission_denials":[{"tool_name":"Bash","tool_use_id":"t","tool_input":{"command":"touch x","description":"d"}},{"tool_name":"Odd","tool_input":7}]}"#;
    let found = events(&[line]);
    let denied: Vec<_> = found
        .iter()
        .filter_map(|kind| match kind {
            Kind::Denial(denial) => Some((denial.target.as_str(), denial.layer.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(denied, [("Bash: touch x", "claude_code"), ("Odd", "claude_code")]);
}

#[test]
fn what_it_says_is_told_as_it_comes_and_then_whole() {
    let (events, outcome) = run(ClaudeParser::new(), &[STREAMED], &CLEAN);
    assert_eq!(outcome.outcome, Outcome::Success);
    assert!(!events.iter().any(|e| matches!(e, Kind::Unknown(_))), "{events:?}");
    let (mut said, mut pieces, mut now) = (Vec::new(), 0, String::new());
    for event in &events {
        match event {
            Kind::MessageDelta(delta) => {
                pieces += 1;
                now.push_str(&delta.text);
            }
            // Each message after its own pieces, once.
            Kind::Message(message) => {
                assert_eq!(message.text, std::mem::take(&mut now));
                said.push(message.text.as_str());
            }
            _ => {}
        }
    }
    assert_eq!(said, ["I look.", "It is done, in a sentence of several words."]);
    assert_eq!((now.as_str(), pieces), ("", 11));
}

#[test]
fn only_text_of_the_agent_itself_comes_in_pieces() {
    let line = r#"{"type":"stream_event","event":{"delta":{"text":"hello","type":"text_delta"},"index":0,"type":"content_block_delta"},"session_id":"c","parent_tool_use_id":null}"#;
    assert_eq!(events(&[line]), [message_delta("hello").unwrap()]);
    for other in [
        line.replace("\"parent_tool_use_id\":null", "\"parent_tool_use_id\":\"toolu_1\""),
        line.replace("text_delta", "thinking_delta"),
        line.replace("text_delta", "input_json_delta"),
        line.replace("\"hello\"", "7"),
        line.replace("{\"text\":\"hello\",\"type\":\"text_delta\"}", "[]"),
    ] {
        assert_eq!(events(&[&other]), [], "{other}");
    }
}

#[test]
fn open_tools_are_bounded() {
    let mut parser = ClaudeParser::new();
    let mut out = Vec::new();
    for n in 0..10_000 {
        let block = json!({"type":"tool_use","id":format!("t{n}"),"name":"Bash","input":{"command":"x"}});
        parser.event(&json!({"type":"assistant","message":{"content":[block]}}), &mut out);
    }
    assert_eq!(parser.open.len(), MAX_OPEN);
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
        prop_assert_eq!(run(ClaudeParser::new(), &pieces, &CLEAN), run(ClaudeParser::new(), &[RECORDED], &CLEAN));
    }

    #[test]
    fn events_of_any_shape_never_panic(
        kind in prop_oneof![Just("assistant"), Just("user"), Just("result"), Just("system"), Just("stream_event")],
        value in prop_oneof![Just("null"), Just("-1"), Just("[[]]"), Just("[{\"type\":\"tool_use\",\"input\":3}]"),
            Just("[{\"type\":\"tool_result\",\"content\":{}}]"), Just("\"x\"")],
    ) {
        let line = format!(
            r#"{{"type":"{kind}","message":{{"content":{value}}},"event":{{"delta":{value}}},"result":{value},"errors":{value},"usage":{value},"total_cost_usd":{value}}}"#
        );
        let (_, outcome) = run(ClaudeParser::new(), &[line.as_bytes()], &CLEAN);
        prop_assert_eq!(outcome.outcome, Outcome::AgentFailed);
    }
}
