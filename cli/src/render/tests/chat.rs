//! Messages that grow, and conversations.

use super::*;

fn delta(text: &str) -> (&'static str, Kind) {
    ("demo", Kind::MessageDelta(cordon_proto::v1::MessageDelta { text: text.into() }))
}

fn said(text: &str) -> (&'static str, Kind) {
    ("demo", Kind::Message(MessageEvent { text: text.into() }))
}

#[test]
fn a_message_grows_where_somebody_sees_it() {
    let pieces = || {
        vec![
            delta("Hel"),
            delta("lo \x1b[2J\nwor"),
            ("demo", Kind::Usage(UsageEvent::default())),
            delta("ld"),
            said("Hello \x1b[2J\nworld\n"),
            said("More."),
        ]
    };
    assert_eq!(show(false, pieces()), "| Hello \\x1b[2J\n| world\n| More.\n");
    let look = Look { colour: true, columns: Some(80) };
    let live = String::from_utf8(show_on(look, false, false, pieces())).unwrap();
    let mark = "\x1b[2m| \x1b[0m";
    assert_eq!(live, format!("{mark}Hello \\x1b[2J\n{mark}world\n{mark}More.\n"));
    // An answer that broke off stays, and the next one is told from its beginning.
    let retry =
        Kind::Retry(cordon_proto::v1::RetryEvent { reason: "overloaded".into(), attempt: 2, wait_ms: 1500 });
    let broken = vec![delta("Once"), ("demo", retry), delta("Tw"), said("Twice")];
    let live = String::from_utf8(show_on(look, false, false, broken)).unwrap();
    assert!(
        live.starts_with(&format!("{mark}Once\n")) && live.ends_with(&format!("{mark}Twice\n")),
        "{live}"
    );
    assert!(live.contains("trying again in 1.5 s (attempt 2): overloaded"), "{live}");
}

#[test]
fn a_growing_line_is_drawn_and_replaced() {
    let mut renderer = Renderer::new(false, true);
    let mut screen = Screen::new(Vec::new(), Look { colour: true, columns: Some(40) });
    for (agent, kind) in [delta("one two"), delta(" three")] {
        let event = Event { agent: agent.to_owned(), kind: Some(kind), ..Event::default() };
        renderer.event(&event, &mut screen).unwrap();
    }
    assert_eq!(renderer.status(), [(None, "demo | one two three".to_owned())]);
    assert!(screen.into_inner().is_empty());
}

#[test]
fn reasoning_is_shown_to_whoever_asks() {
    let thought = Event {
        agent: "demo".to_owned(),
        kind: Some(Kind::Reasoning(ReasoningEvent { text: "hm".into() })),
        ..Event::default()
    };
    for (asked, expected) in [(true, "~ hm\n"), (false, "")] {
        let mut renderer = Renderer::new(false, false).with_reasoning(asked);
        let mut screen = Screen::new(Vec::new(), Look { colour: false, columns: None });
        renderer.event(&thought, &mut screen).unwrap();
        assert_eq!(String::from_utf8(screen.into_inner()).unwrap(), expected);
    }
}

#[test]
fn a_conversation_is_short() {
    let tool = |status: &str, result: &str| {
        Kind::ToolCall(ToolCallEvent {
            id: "1".into(),
            name: "read_file".into(),
            arguments: r#"{"path":"a"}"#.into(),
            status: status.into(),
            result: result.into(),
        })
    };
    let warning = || Kind::Warning(WarningEvent { reason: "plan".into(), message: "beware".into() });
    let mut renderer = Renderer::chat(false, false);
    let mut screen = Screen::new(Vec::new(), Look { colour: false, columns: None });
    for _ in 0..2 {
        let lines: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let usage = Some(UsageEvent { input_tokens: 1200, output_tokens: 5, ..UsageEvent::default() });
        let summary = RunSummary { wall_ms: 1500, denials: 1, usage, ..RunSummary::default() };
        let kinds = [
            Kind::RunStarted(RunStarted { agent_file_name: "a.yaml".into(), prompt: "x".into() }),
            warning(),
            Kind::SandboxReady(SandboxReady { wall: "local".into(), ..SandboxReady::default() }),
            turn("codex"),
            tool("started", ""),
            tool("completed", &lines),
            Kind::Message(MessageEvent { text: "done".into() }),
            Kind::RunEnded(RunEnded { outcome: Outcome::Success.into(), summary: Some(summary) }),
        ];
        renderer = renderer.again(false);
        for kind in kinds {
            let event = Event { agent: "demo".to_owned(), kind: Some(kind), ..Event::default() };
            renderer.event(&event, &mut screen).unwrap();
        }
    }
    let shown = String::from_utf8(screen.into_inner()).unwrap();
    let turn = "$ read_file {\"path\":\"a\"}\n| line 1\n| line 2\n| line 3\n| line 4\n| line 5\n| line 6\n| … 14 more lines\n| done\ncordon: 1.5 s; denied: 1; tokens: 1,200 in, 5 out\n";
    assert_eq!(shown, format!("cordon: warning: beware\n{turn}{turn}"));
}

#[test]
fn every_agent_has_a_row_of_its_own() {
    use cordon_proto::v1::AgentSummary;
    let usage = |cost_usd| {
        Some(UsageEvent {
            input_tokens: 12_345,
            cached_input_tokens: 20,
            output_tokens: 7,
            cost_usd,
            ..Default::default()
        })
    };
    let good = AgentSummary {
        id: "good".into(),
        outcome: Outcome::Success.into(),
        turns: 1,
        usage: usage(Some(0.25)),
        wall_ms: 1500,
        files_changed: 2,
        ..AgentSummary::default()
    };
    let bad = AgentSummary {
        id: "bad\x1b[2J".into(),
        outcome: Outcome::AgentFailed.into(),
        message: "it gave up\ncordon: all is well".into(),
        ..AgentSummary::default()
    };
    let ended = |agents| {
        let summary = RunSummary { agents, wall_ms: 5, ..RunSummary::default() };
        vec![("", Kind::RunEnded(RunEnded { outcome: Outcome::AgentFailed.into(), summary: Some(summary) }))]
    };
    let expected = "\
cordon: the run failed after 5 ms
cordon: files changed: 0
cordon: denied: 0
cordon: AGENT       OUTCOME       TURNS  IN      CACHED  OUT  TIME   FILES  USD
cordon: good        success       1      12,345  20      7    1.5 s  2      0.2500
cordon: bad\\x1b[2J  agent-failed  0      -       -       -    0 ms   0      -
cordon: bad\\x1b[2J failed: it gave up
cordon:   cordon: all is well
";
    assert_eq!(show(true, ended(vec![good.clone(), bad])), expected);
    // One alone is told of by the run.
    assert_eq!(
        show(false, ended(vec![good])),
        "cordon: the run failed after 5 ms\ncordon: files changed: 0\ncordon: denied: 0\n"
    );
}
