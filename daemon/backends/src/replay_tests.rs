use super::*;
use crate::backend;
use crate::testing::{Played, argv, context, exit, not_started, play, turn};
use cordon_config::BackendKind;
use cordon_proto::v1::{CommandEvent, MessageEvent, ToolCallEvent};

const OUT: OutputStream = OutputStream::Stdout;
const ERR: OutputStream = OutputStream::Stderr;

fn exec(argv: &[&str]) -> ReplayStep {
    ReplayStep::Exec { argv: argv.iter().map(|a| (*a).to_owned()).collect() }
}

fn replay(steps: Vec<ReplayStep>, processes: &[Played<'_>]) -> (Vec<ExecPlan>, Vec<Kind>, TurnOutcome) {
    let mut context = context(BackendKind::Replay, Path::new("/nowhere"));
    context.agent.steps = steps;
    backend(BackendKind::Replay).needs(&context).unwrap();
    let mut driver = backend(BackendKind::Replay).turn(&context, turn("ignored")).unwrap();
    play(&mut *driver, processes)
}

fn statuses(events: &[Kind]) -> Vec<&str> {
    events
        .iter()
        .map(|e| match e {
            Kind::Command(CommandEvent { status, .. }) | Kind::ToolCall(ToolCallEvent { status, .. }) => {
                status
            }
            Kind::Denial(_) => "denial",
            Kind::Message(_) => "message",
            _ => "other",
        })
        .collect()
}

#[test]
fn steps_are_done_in_order() {
    let steps = vec![
        ReplayStep::Say { text: "first".into() },
        exec(&["sh", "-c", "echo hi"]),
        ReplayStep::Write { path: "a.txt".into(), content: "text".into() },
        ReplayStep::Read { path: "/w/a.txt".into() },
        ReplayStep::Say { text: "last".into() },
    ];
    let (plans, events, outcome) = replay(
        steps,
        &[(&[(OUT, b"hi\n"), (ERR, b"warned\n")], exit(0)), (&[], exit(0)), (&[(OUT, b"text")], exit(0))],
    );
    assert_eq!(outcome, TurnOutcome { outcome: Outcome::Success, message: String::new() });
    assert_eq!(argv(&plans[0]), ["sh", "-c", "echo hi"]);
    assert_eq!(argv(&plans[1]), ["/run/cordon-guest", "tool", "write", "/w/a.txt"]);
    assert_eq!(plans[1].stdin.as_deref(), Some(&b"text"[..]));
    assert_eq!(argv(&plans[2]), ["/run/cordon-guest", "tool", "read", "/w/a.txt"]);
    assert_eq!((plans[0].stdin.as_deref(), plans[2].stdin.as_deref()), (None, None));
    let expected =
        ["message", "started", "completed", "started", "completed", "started", "completed", "message"];
    assert_eq!(statuses(&events), expected);
    assert_eq!(events[2], events::command("step-2", "sh -c 'echo hi'", "completed", Some(0), "hi\nwarned\n"));
    assert_eq!(
        events[6],
        events::tool_call("step-4", "read", &json!({"path":"/w/a.txt"}), "completed", "text")
    );
    assert_eq!(events[7], Kind::Message(MessageEvent { text: "last".into() }));
}

#[test]
fn a_refusal_of_the_policy_is_a_denial_and_the_replay_goes_on() {
    let read = |path: &str| ReplayStep::Read { path: path.into() };
    let write = |path: &str| ReplayStep::Write { path: path.into(), content: String::new() };
    for (step, errno, status, layer) in [
        (read("/etc/shadow"), 13, "denied", Some("mount view")),
        // Hidden paths look absent.
        (read("/home/secret"), 2, "denied", Some("mount view")),
        (write("/r/a"), 30, "denied", Some("mount view")),
        (write("../outside"), 2, "denied", Some("mount view")),
        // The policy allows these two: the file's own mode refuses one, the other is absent.
        (write("/w/not-mine"), 13, "denied", Some("guest")),
        (read("/w/absent"), 2, "failed", None),
        (write("/w/full"), 28, "failed", None),
    ] {
        let line = format!("{{\"errno\":{errno},\"operation\":\"read\",\"path\":\"/x\"}}\n");
        let steps = vec![step.clone(), ReplayStep::Say { text: "on".into() }];
        let (_, events, outcome) = replay(steps, &[(&[(ERR, line.as_bytes())], exit(100))]);
        assert_eq!(outcome.outcome, Outcome::Success);
        let denial = events.iter().find_map(|e| match e {
            Kind::Denial(denial) => Some(denial.layer.as_str()),
            _ => None,
        });
        assert_eq!((statuses(&events)[1], denial), (status, layer), "{step:?}");
        assert_eq!(statuses(&events).last(), Some(&"message"));
    }
}

#[test]
fn the_last_program_decides() {
    for (codes, expected) in
        [(&[1, 0][..], Outcome::Success), (&[0, 1], Outcome::AgentFailed), (&[], Outcome::Success)]
    {
        let steps = codes.iter().map(|_| exec(&["x"])).collect();
        let processes: Vec<Played<'_>> = codes.iter().map(|c| (&[][..], exit(*c))).collect();
        assert_eq!(replay(steps, &processes).2.outcome, expected, "{codes:?}");
    }
    let (_, events, outcome) =
        replay(vec![exec(&["/opt/x"]), exec(&["x"])], &[(&[], not_started(2)), (&[], exit(0))]);
    assert_eq!(outcome.outcome, Outcome::Success);
    assert_eq!(statuses(&events), ["started", "failed", "denial", "started", "completed"]);
}

#[test]
fn a_stop_ends_the_replay_where_it_is() {
    type Change = fn(&mut Exit);
    let rows: [(Change, Outcome); 3] = [
        (|e| e.cancelled = true, Outcome::Cancelled),
        (|e| e.timed_out = true, Outcome::TimedOut),
        (|e| e.code = None, Outcome::Broken),
    ];
    for (change, expected) in rows {
        let mut stopped = exit(0);
        change(&mut stopped);
        let (plans, _, outcome) = replay(vec![exec(&["a"]), exec(&["b"])], &[(&[], stopped)]);
        assert_eq!((plans.len(), outcome.outcome), (1, expected));
    }
    let (_, _, outcome) = replay(vec![ReplayStep::Read { path: "a".into() }], &[(&[], not_started(5))]);
    assert_eq!(outcome.outcome, Outcome::Broken);
}

#[test]
fn what_the_guest_says_is_not_trusted() {
    for stderr in ["", "{\"errno\":-1}", "{\"errno\":\"2\"}", "{\"errno\":99999999999}", "{", "errno 13"] {
        let steps = vec![ReplayStep::Read { path: "/etc/shadow".into() }];
        let (_, events, _) = replay(steps, &[(&[(ERR, stderr.as_bytes())], exit(100))]);
        assert_eq!(statuses(&events), ["started", "failed"], "{stderr}");
    }
}

#[test]
fn output_is_bounded() {
    let flood = vec![b'x'; 1 << 20];
    let pieces: Vec<(OutputStream, &[u8])> = (0..50).map(|_| (OUT, &flood[..])).collect();
    let (_, events, _) = replay(vec![exec(&["yes"])], &[(&pieces, exit(0))]);
    let Kind::Command(done) = &events[1] else { panic!("{}", events.len()) };
    assert!(done.output.len() < MAX_OUTPUT + 100 && done.output.contains("bytes left out"));
}

#[test]
fn arguments_are_shown_so_that_they_can_be_told_apart() {
    assert_eq!(shown(&["a".into(), "b c".into(), String::new(), "d'e".into()]), r"a 'b c' '' 'd'\''e'");
}
