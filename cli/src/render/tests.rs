use super::*;
use crate::screen::Look;
use cordon_proto::v1::{
    CommandEvent, ErrorEvent, FileChangeEvent, MessageEvent, OutputEvent, OutputStream, ProbeFinding,
    ProgressEvent, ReasoningEvent, RunEnded, RunStarted, SandboxReady, SnapshotTaken, ToolCallEvent,
    TurnEnded, TurnStarted, UsageEvent, WarningEvent, event::Kind,
};
use proptest::prelude::*;

mod chat;

fn show_on(look: Look, raw: bool, many: bool, events: Vec<(&str, Kind)>) -> Vec<u8> {
    let mut renderer = Renderer::new(raw, many).with_reasoning(true);
    let mut screen = Screen::new(Vec::new(), look);
    for (seq, (agent, kind)) in events.into_iter().enumerate() {
        let event = Event { seq: seq as u64, time_unix_ms: 0, agent: agent.to_owned(), kind: Some(kind) };
        renderer.event(&event, &mut screen).unwrap();
    }
    screen.into_inner()
}

fn show(many: bool, events: Vec<(&str, Kind)>) -> String {
    String::from_utf8(show_on(Look { colour: false, columns: None }, false, many, events)).unwrap()
}

fn turn(backend: &str) -> Kind {
    Kind::TurnStarted(TurnStarted { turn: 1, backend: backend.into(), argv: vec![] })
}

fn output(stream: OutputStream, data: &[u8]) -> Kind {
    Kind::Output(OutputEvent { stream: stream.into(), data: data.to_vec().into(), ..Default::default() })
}

fn command(status: &str, exit_code: Option<i32>, output: &str) -> Kind {
    Kind::Command(CommandEvent {
        id: "1".into(),
        command: "./test.sh".into(),
        status: status.into(),
        exit_code,
        output: output.into(),
    })
}

fn shadow() -> Denial {
    Denial {
        operation: "read".into(),
        target: "/etc/shadow".into(),
        rule: "no rule allows this path".into(),
        origin: "built in".into(),
        layer: "mount view".into(),
        would_allow: "add /etc/shadow to context_paths of the agent file".into(),
    }
}

#[test]
fn a_whole_run() {
    let finding = |ok| ProbeFinding {
        check: "read /etc/shadow".into(),
        expected: "refused".into(),
        found: "no such file".into(),
        ok,
    };
    let summary = RunSummary {
        files: vec![
            FileChangeEvent { path: b"report.sh".to_vec().into(), change: "modified".into() },
            FileChangeEvent { path: b"a\x1b[2Jb".to_vec().into(), change: "added".into() },
        ],
        files_omitted: 1,
        denials: 3,
        usage: Some(UsageEvent {
            input_tokens: 12345,
            cached_input_tokens: 10,
            output_tokens: 7,
            reasoning_tokens: 0,
            cost_usd: Some(0.5),
        }),
        wall_ms: 3210,
        agents: Vec::new(),
    };
    let open = Denial { operation: "connect".into(), would_allow: String::new(), ..shadow() };
    let shown = show(
        false,
        vec![
            ("", Kind::RunStarted(RunStarted { agent_file_name: "a.yaml".into(), prompt: "fix".into() })),
            (
                "demo",
                Kind::SandboxReady(SandboxReady {
                    sandbox_id: "s".into(),
                    wall: "local".into(),
                    findings: vec![finding(true), finding(false)],
                    ready_ms: 12,
                }),
            ),
            ("demo", Kind::Warning(WarningEvent { reason: "sudo".into(), message: "a weaker wall".into() })),
            ("demo", turn("replay")),
            ("demo", Kind::Reasoning(ReasoningEvent { text: "hm".into() })),
            ("demo", command("started", None, "")),
            ("demo", command("completed", Some(1), "FAIL: sum\n2 tests\n")),
            ("demo", Kind::Denial(shadow())),
            ("demo", Kind::Denial(shadow())),
            ("demo", Kind::Denial(open)),
            ("demo", Kind::Message(MessageEvent { text: "repaired\n".into() })),
            (
                "demo",
                Kind::TurnEnded(TurnEnded {
                    turn: 1,
                    outcome: Outcome::Success.into(),
                    message: String::new(),
                    exit_code: Some(0),
                    wall_ms: 3000,
                }),
            ),
            ("", Kind::RunEnded(RunEnded { outcome: Outcome::Success.into(), summary: Some(summary) })),
        ],
    );
    let expected = "\
cordon: run started: a.yaml
cordon: sandbox ready after 12 ms behind the local wall; probe: 1 of 2 checks as expected
cordon: read /etc/shadow: expected refused, found no such file
cordon: warning: a weaker wall
cordon: turn 1 (replay)
~ hm
$ ./test.sh
| FAIL: sum
| 2 tests
cordon: the command ended with 1
cordon: denied: read /etc/shadow: no rule allows this path
cordon: denied: read /etc/shadow: no rule allows this path
cordon: denied: connect /etc/shadow: no rule allows this path
| repaired
cordon: the run succeeded after 3.2 s
cordon: files changed: 3
cordon:   modified  report.sh
cordon:   added     a\\x1b[2Jb
cordon:   and 1 more
cordon: denied: 3
cordon:   2 times: read /etc/shadow
cordon:       rule: no rule allows this path (built in; enforced by mount view)
cordon:       to allow it: add /etc/shadow to context_paths of the agent file
cordon:   connect /etc/shadow
cordon:       rule: no rule allows this path (built in; enforced by mount view)
cordon:       nothing in the agent file can allow it
cordon: tokens: 12,345 in (10 cached), 7 out; 0.5000 USD
";
    assert_eq!(shown, expected);
}

#[test]
fn several_agents_are_told_apart_and_cut_lines_are_joined() {
    let shown = show(
        true,
        vec![
            ("one", turn("command")),
            ("two", turn("command")),
            ("one", output(OutputStream::Stdout, b"first ha")),
            ("two", output(OutputStream::Stderr, b"other\r\n")),
            ("one", output(OutputStream::Stdout, b"lf\nno newline")),
            ("one", Kind::Message(MessageEvent { text: "next".into() })),
        ],
    );
    let expected = "\
cordon: one: turn 1 (command)
cordon: two: turn 1 (command)
two ! other
one | first half
one | no newline
one | next
";
    assert_eq!(shown, expected);
}

#[test]
fn a_protocol_is_not_shown_but_its_errors_are_when_the_turn_fails() {
    let events = |outcome: Outcome| {
        vec![
            ("a", turn("codex")),
            ("a", output(OutputStream::Stdout, b"{\"type\":\"x\"}\n")),
            ("a", output(OutputStream::Stderr, b"cannot log in\n")),
            (
                "a",
                Kind::TurnEnded(TurnEnded {
                    turn: 1,
                    outcome: outcome.into(),
                    message: "no success event".into(),
                    exit_code: Some(1),
                    wall_ms: 1,
                }),
            ),
        ]
    };
    assert_eq!(show(false, events(Outcome::Success)), "cordon: turn 1 (codex)\n");
    assert_eq!(
        show(false, events(Outcome::AgentFailed)),
        "cordon: turn 1 (codex)\n! cannot log in\ncordon: turn 1 failed (exit code 1): no success event\n"
    );
}

#[test]
fn what_was_shown_while_a_command_ran_is_not_shown_again() {
    let shown = show(
        false,
        vec![
            ("a", turn("replay")),
            ("a", command("started", None, "")),
            ("a", output(OutputStream::Stdout, b"out\n")),
            ("a", command("completed", Some(0), "out\n")),
            ("a", command("started", None, "")),
            ("a", command("completed", Some(0), "other\n")),
        ],
    );
    assert_eq!(shown, "cordon: turn 1 (replay)\n$ ./test.sh\n| out\n$ ./test.sh\n| other\n");
}

#[test]
fn what_a_tools_process_prints_is_told_once() {
    let call = |status: &str, result: &str| {
        Kind::ToolCall(ToolCallEvent {
            id: "1".into(),
            name: "read".into(),
            arguments: "{\"path\":\"/w/a\"}".into(),
            status: status.into(),
            result: result.into(),
        })
    };
    let shown = show(
        false,
        vec![
            ("a", turn("replay")),
            ("a", call("started", "")),
            ("a", output(OutputStream::Stdout, b"content\n")),
            ("a", call("completed", "content\n")),
            ("a", command("started", None, "")),
            ("a", output(OutputStream::Stdout, b"out\n")),
        ],
    );
    assert_eq!(shown, "cordon: turn 1 (replay)\n$ read {\"path\":\"/w/a\"}\n| content\n$ ./test.sh\n| out\n");
}

#[test]
fn an_agent_cannot_speak_with_cordons_voice() {
    let lie = "done\n\rcordon: the run succeeded\x1b[1A";
    let shown = show(true, vec![("cordon", Kind::Message(MessageEvent { text: lie.into() }))]);
    assert_eq!(shown, "cordon | done\ncordon | \\rcordon: the run succeeded\\x1b[1A\n");
}

#[test]
fn raw_means_the_bytes_themselves() {
    let bytes = show_on(
        Look { colour: false, columns: Some(20) },
        true,
        false,
        vec![("a", turn("codex")), ("a", output(OutputStream::Stdout, b"\x1b[31m\xff"))],
    );
    assert_eq!(bytes, b"cordon: turn 1 \ncordon:   (codex)\n\x1b[31m\xff");
}

#[test]
fn snapshots_are_one_quiet_line_and_progress_is_none() {
    let taken = |skipped| {
        Kind::SnapshotTaken(SnapshotTaken {
            snapshot_id: "3f9a1c0b22de4455".into(),
            tree: b"/w\x1b[2J\ncordon: ".to_vec().into(),
            kind: "base".into(),
            files: 1,
            bytes: 1200,
            skipped,
            ..Default::default()
        })
    };
    let progress =
        Kind::Progress(ProgressEvent { what: "copying".into(), total_bytes: 2, ..Default::default() });
    let shown = show(true, vec![("a", progress.clone()), ("a", taken(0)), ("b", taken(2))]);
    let line = "base snapshot 3f9a1c0b22de of /w\\x1b[2J\\ncordon: : 1 file, 1.2 kB, 0 B new";
    assert_eq!(shown, format!("cordon: a: {line}\ncordon: b: {line}; 2 paths left out\n"));

    let mut renderer = Renderer::new(false, false);
    let mut screen = Screen::new(Vec::new(), Look { colour: true, columns: Some(60) });
    let mut tell = |kind| {
        let event = Event { agent: "a".into(), kind: Some(kind), ..Default::default() };
        renderer.event(&event, &mut screen).unwrap();
        renderer.doings()
    };
    assert_eq!(tell(progress), ["  [....................] 0% of 2 B copying "]);
    assert!(tell(taken(0)).is_empty());
}

#[test]
fn a_quiet_time_before_and_after_the_work_is_accounted_for() {
    let mut renderer = Renderer::new(false, false);
    let mut screen = Screen::new(Vec::new(), Look { colour: true, columns: Some(60) });
    let long_ago = std::time::Instant::now().checked_sub(std::time::Duration::from_secs(3)).unwrap();
    assert!(renderer.doings().is_empty());
    renderer.last = long_ago;
    assert_eq!(renderer.doings(), ["  preparing (3 s)"]);
    let mut tell = |renderer: &mut Renderer, kind| {
        let event = Event { agent: "a".into(), kind: Some(kind), ..Default::default() };
        renderer.event(&event, &mut screen).unwrap();
    };
    tell(&mut renderer, turn("replay"));
    assert_eq!(renderer.doings().len(), 1);
    tell(&mut renderer, Kind::TurnEnded(TurnEnded::default()));
    assert!(renderer.doings().is_empty());
    renderer.last = long_ago;
    assert_eq!(renderer.doings(), ["  storing what is there now (3 s)"]);
    tell(&mut renderer, Kind::RunEnded(RunEnded::default()));
    renderer.last = long_ago;
    assert!(renderer.doings().is_empty());
}

fn any_kind() -> impl Strategy<Value = Kind> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        (bytes.clone(), any::<bool>()).prop_map(|(data, e)| {
            output(if e { OutputStream::Stderr } else { OutputStream::Stdout }, &data)
        }),
        any::<String>().prop_map(|text| Kind::Message(MessageEvent { text })),
        any::<String>().prop_map(|text| Kind::Reasoning(ReasoningEvent { text })),
        any::<[String; 2]>()
            .prop_map(|[message, fix]| { Kind::Error(ErrorEvent { reason: String::new(), message, fix }) }),
        any::<[String; 3]>().prop_map(|[command, status, output]| {
            Kind::Command(CommandEvent { id: String::new(), command, status, exit_code: None, output })
        }),
        any::<[String; 3]>().prop_map(|[name, status, result]| {
            Kind::ToolCall(ToolCallEvent { id: String::new(), name, arguments: "{}".into(), status, result })
        }),
        any::<[String; 6]>().prop_map(|[operation, target, rule, origin, layer, would_allow]| {
            Kind::Denial(Denial { operation, target, rule, origin, layer, would_allow })
        }),
        (bytes, any::<String>())
            .prop_map(|(path, change)| { Kind::FileChange(FileChangeEvent { path: path.into(), change }) }),
        any::<String>().prop_map(|b| turn(&b)),
        (proptest::collection::vec(any::<u8>(), 0..60), any::<[String; 2]>()).prop_map(
            |(tree, [id, kind])| {
                Kind::SnapshotTaken(SnapshotTaken {
                    snapshot_id: id,
                    tree: tree.into(),
                    kind,
                    ..Default::default()
                })
            }
        ),
    ]
}

proptest! {
    #[test]
    fn nothing_reaches_a_terminal_unmarked(
        agent in any::<String>(),
        kinds in proptest::collection::vec(any_kind(), 0..20),
        columns in proptest::option::of(40_usize..120),
    ) {
        let events = kinds.into_iter().map(|k| (agent.as_str(), k)).collect();
        let shown = show_on(Look { colour: false, columns }, false, false, events);
        let shown = String::from_utf8(shown).unwrap();
        for line in shown.lines() {
            prop_assert!(!line.chars().any(|c| c != '\t' && neutral::is_hidden(c)), "{line:?}");
            prop_assert!(
                ["| ", "! ", "~ ", "$ ", "+ ", "cordon: "].iter().any(|m| line.starts_with(m)),
                "{line:?}"
            );
            if let Some(columns) = columns {
                prop_assert!(crate::screen::width(line) <= columns, "{line:?}");
            }
        }
    }
}
