//! Differences and applying them, against a double of the daemon.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod double;

use cordon_proto::v1::{
    DiffFormat, FileChangeEvent, OnDrift, Outcome, PlannedChange, RunEnded, RunSummary, SnapshotTaken, event,
};
use double::{
    Host, State, ended, message,
    terminal::Dialogue,
    text,
    trees::{EVIL, SHOWN, change},
};
use serde_json::Value;

fn with(changes: Vec<PlannedChange>) -> Host {
    Host::new(State { changes, ..State::default() })
}

fn talk(host: &Host, args: &[&str]) -> Dialogue {
    let mut command = host.command();
    command.args(args).env("NO_COLOR", "1");
    Dialogue::begin(command, 100)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_is_shown_and_only_its_colours_are_obeyed() {
    let host = with(vec![]);
    for (args, shown, format, colour) in [
        (
            &["diff", "0199"][..],
            "\\x1b[32m+new\\x1b[0m\n\\x1b[2J\\x1b[8mhidden\n",
            DiffFormat::Unified,
            false,
        ),
        (
            &["diff", "0199", "a", "--color", "always", "--", "src", "b c"],
            "\u{1b}[32m+new\u{1b}[0m\n\\x1b[2J\\x1b[8mhidden\n",
            DiffFormat::Unified,
            true,
        ),
        (
            &["diff", "0199", "--stat"],
            "M a | +1 -1\n1 path changed, 1 lines added, 1 removed\n",
            DiffFormat::Stat,
            false,
        ),
        (&["diff", "0199", "--name-only"], "M a\n", DiffFormat::NameOnly, false),
        (
            &["diff", "0199", "--color", "always", "-o", "json"],
            "{\"changes\":[{\"path\":\"a\\u009b\"}]}\n",
            DiffFormat::Json,
            false,
        ),
    ] {
        let (stdout, stderr, code) = text(&host.cordon(args).await);
        assert_eq!((stdout.as_str(), code), (shown, 0), "{args:?}: {stderr}");
        let asked = host.look(|s| s.asked_diff_run.pop().unwrap());
        assert_eq!((asked.run.as_str(), asked.format(), asked.colour), ("0199", format, colour));
        if args.contains(&"src") {
            assert_eq!((asked.agent.as_str(), asked.paths), ("a", vec!["src".into(), "b c".into()]));
        }
    }
    // On a terminal colours are the default, and a long line cannot pass for another one.
    host.look(|s| s.diff = Some(format!("+{}-x\n", " ".repeat(99))));
    let mut command = host.command();
    command.args(["diff", "0199"]);
    let (shown, code) = Dialogue::begin(command, 100).end().await;
    assert_eq!((shown, code), (format!("+{}\n… -x\n", " ".repeat(99)), 0));
    talk(&host, &["diff", "0199"]).end().await;
    assert_eq!(host.look(|s| s.asked_diff_run.iter().map(|r| r.colour).collect::<Vec<_>>()), [true, false]);

    host.look(|s| s.diff = Some(String::new()));
    let (stdout, stderr, code) = text(&host.cordon(&["diff", "0199"]).await);
    assert_eq!((stdout.as_str(), code), ("", 0));
    assert!(stderr.contains("there is no difference"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_only_what_was_named_is_applied() {
    let host = with(vec![change("src/a.rs", &["data"]), change(EVIL, &["runs-later"])]);
    let classes = || host.look(|s| s.asked_apply.last().unwrap().plan.clone().unwrap().classes);

    // A class that was not named refuses the whole.
    let (stdout, stderr, code) = text(&host.cordon(&["apply", "0199", "--yes"]).await);
    assert_eq!(code, 1, "{stderr}");
    assert!(stdout.contains(SHOWN) && stdout.contains("why runs-later"), "{stdout}");
    assert!(!stdout.contains('\u{1b}') && stdout.lines().count() == 7, "{stdout}");
    assert!(stderr.contains("--allow runs-later") && stderr.contains("nothing is applied"), "{stderr}");
    // And nobody who could be asked said yes.
    let (_, stderr, code) = text(&host.cordon(&["apply", "0199", "--allow", "runs-later"]).await);
    assert!(code == 2 && stderr.contains("say --yes"), "{stderr}");
    assert_eq!(host.look(|s| s.asked_apply.len()), 0);

    let args = ["apply", "01", "a", "--yes", "--leave-out", "--paths", "src", "/w/b", "--on-drift", "merge"];
    let (stdout, stderr, code) = text(&host.cordon(&args).await);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("1 to apply, 1 left out") && stdout.contains("applied 1 change\n"), "{stdout}");
    let asked = host.look(|s| s.asked_apply.pop().unwrap());
    assert!(!asked.idempotency_key.is_empty() && asked.fingerprint == ":true:2", "{asked:?}");
    let plan = asked.plan.unwrap();
    assert_eq!((plan.run.as_str(), plan.agent.as_str(), plan.on_drift()), ("0199-run", "a", OnDrift::Merge));
    assert_eq!(plan.paths, ["src", "/w/b"]);

    let (stdout, _, code) =
        text(&host.cordon(&["apply", "0199", "--yes", "--allow", "runs-later,steers-agents"]).await);
    assert!(code == 0 && stdout.contains("applied 2 changes"), "{stdout}");
    assert_eq!(classes(), ["runs-later", "steers-agents"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_for_programs_too() {
    let mut renamed = change("b", &["data"]);
    renamed.renamed_from = b"a\xff".to_vec().into();
    let host = with(vec![renamed, change("Makefile", &["runs-later"])]);
    let json = async |args: &[&str]| {
        let (stdout, stderr, code) = text(&host.cordon(&[args, &["-o", "json"]].concat()).await);
        let document: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stderr}"));
        (document, code)
    };
    let (plan, code) = json(&["apply", "0199", "--dry-run"]).await;
    assert_eq!((code, &plan["refused"], &plan["applied"]), (1, &Value::from(true), &Value::from(false)));
    assert_eq!(plan["needs"][0], "runs-later");
    assert_eq!(plan["trees"][0]["tree"], "/w");
    assert_eq!(plan["trees"][0]["changes"][0]["renamed_from_base64"], "Yf8=");
    assert_eq!(plan["trees"][0]["changes"][1]["classes"][0]["name"], "runs-later");
    assert_eq!(host.look(|s| s.asked_apply.len()), 0);
    let (plan, code) = json(&["apply", "0199", "--yes", "--leave-out"]).await;
    assert_eq!((code, &plan["applied"], &plan["changed"]), (0, &Value::from(true), &Value::from(1)));

    host.look(|s| s.changes.clear());
    let (plan, code) = json(&["apply", "0199"]).await;
    assert_eq!((code, &plan["empty"], &plan["applied"]), (0, &Value::from(true), &Value::from(false)));
    let (_, stderr, code) = text(&host.cordon(&["apply", "0199"]).await);
    assert!(code == 0 && stderr.contains("nothing to apply"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_told_with_what_to_do() {
    let mut drifted = change("notes", &["data"]);
    drifted.verdict = "drift".into();
    let host = with(vec![drifted, change("a", &["data"])]);
    let (stdout, stderr, code) = text(&host.cordon(&["apply", "0199", "--yes"]).await);
    assert_eq!(code, 1);
    assert!(stdout.contains("refused: both changed lines 1-3"), "{stdout}");
    assert!(stderr.contains("--on-drift merge") && !stderr.contains("--allow"), "{stderr}");
    let (stdout, _, code) = text(&host.cordon(&["apply", "0199", "--yes", "--on-drift", "skip"]).await);
    assert!(code == 0 && stdout.contains("applied 1 change\n"), "{stdout}");
    // A terminal changes nothing about that.
    let (said, code) = talk(&host, &["apply", "0199"]).end().await;
    assert!(code == 1 && said.contains("nothing is applied"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_each_class_has_its_own_question() {
    let changes = vec![
        change("a", &["data"]),
        change("Makefile", &["runs-later"]),
        change("AGENTS.md", &["steers-agents"]),
    ];
    let host = with(changes);
    let mut person = talk(&host, &["apply", "0199"]);
    let plan = person.answer("Type runs-later to allow, anything else leaves out: ", "runs-later\n");
    assert!(
        plan.contains("ask      modified  runs-later     Makefile")
            && plan.contains("1 to apply, 2 to be asked about"),
        "{plan}"
    );
    // Enter, or a yes, is no name.
    person.answer("Type steers-agents to allow, anything else leaves out: ", "yes\n");
    let plan = person.answer("cordon: apply 2 changes to /w? [y/N] ", "y\n");
    assert!(plan.contains("left-out  modified  steers-agents  AGENTS.md"), "{plan}");
    assert!(plan.contains("apply     modified  runs-later     Makefile"), "{plan}");
    // What the answers did not change is not told again.
    assert!(!plan.contains("  data "), "{plan}");
    let (said, code) = person.end().await;
    assert!(code == 0 && said.contains("applied 2 changes"), "{said}");
    let asked = host.look(|s| s.asked_apply[0].clone());
    assert_eq!(asked.fingerprint, "runs-later:true:3");
    assert_eq!(asked.plan.unwrap().classes, ["runs-later"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_a_no() {
    let host = with(vec![change("a", &["data"])]);
    for line in ["\n", "n\n", "runs-later\n", "\u{4}"] {
        let mut person = talk(&host, &["apply", "0199"]);
        person.answer("? [y/N] ", line);
        let (said, code) = person.end().await;
        assert_eq!(code, 130, "{line:?}: {said}");
    }
    // --yes is no yes to a class; and where all is declined nothing remains.
    host.look(|s| s.changes = vec![change("Makefile", &["runs-later"])]);
    let mut person = talk(&host, &["apply", "0199", "--yes"]);
    person.answer("leaves out: ", "\n");
    assert_eq!(person.end().await.1, 130);
    // Ctrl-C while a question waits.
    let mut person = talk(&host, &["apply", "0199"]);
    person.until("leaves out: ");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(person.child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let (said, code) = person.end().await;
    assert!(code == 130 && said.contains("interrupted"), "{said}");
    assert_eq!(host.look(|s| s.asked_apply.len()), 0);
    // Who wants the rest left out is not asked about it.
    let (_, code) = talk(&host, &["apply", "0199", "--leave-out"]).end().await;
    assert_eq!((code, host.look(|s| s.asked_apply.len())), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_changed_meanwhile_is_planned_and_asked_about_again() {
    let host = with(vec![change("Makefile", &["runs-later"])]);
    let meanwhile = vec![change("Makefile", &["runs-later"]), change(".envrc", &["runs-later"])];
    host.look(|s| s.changes_meanwhile = Some(meanwhile));
    let mut person = talk(&host, &["apply", "0199"]);
    let said = person.answer("1 change is `runs-later`, ", "");
    assert!(!said.contains(".envrc"), "{said}");
    person.answer("leaves out: ", "runs-later\n");
    // The yes was for what was shown; the new plan is shown whole and needs its own.
    let said = person.answer("2 changes are `runs-later`, ", "");
    assert!(said.contains("changed since") && said.contains(".envrc") && said.contains("Makefile"), "{said}");
    person.answer("leaves out: ", "runs-later\n");
    let (said, code) = person.end().await;
    assert!(code == 0 && said.contains("applied 2 changes"), "{said}");

    let host = with(vec![change("a", &["data"])]);
    host.look(|s| s.changes_meanwhile = Some(vec![change("a", &["data"]), change("b", &["data"])]));
    let (stdout, stderr, code) = text(&host.cordon(&["apply", "0199", "--yes"]).await);
    assert!(
        code == 0 && stdout.contains("applied 2 changes") && stderr.contains("planning again"),
        "{stdout}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_cannot_pass_for_a_row_of_the_plan() {
    let long = format!("{}apply     modified  data  README.md", " ".repeat(200));
    let host = with(vec![change(&long, &["runs-later"])]);
    let (said, _) = talk(&host, &["apply", "0199", "--dry-run"]).end().await;
    let rows: Vec<_> = said.lines().filter(|l| l.trim_start().starts_with("apply")).collect();
    assert!(rows.is_empty(), "{said}");
    assert!(said.lines().all(|l| l.chars().count() <= 100), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_run_asks_on_a_terminal_and_is_silent_without_one() {
    let host = with(vec![change("a", &["data"]), change("Makefile", &["runs-later"])]);
    host.file("f.yaml", "agents: []");
    host.look(|s| s.events = vec![message(0, "done"), ended(1, Outcome::Success)]);
    let (stdout, stderr, code) = text(&host.cordon(&["run", "f.yaml", "t"]).await);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(host.look(|s| s.asked_plan.len()), 0);
    assert!(!stderr.contains("cordon apply"), "{stderr}");
    // Silent but for what waits.
    let taken = event::Kind::SnapshotTaken(SnapshotTaken { tree: "/w".into(), ..SnapshotTaken::default() });
    let file = FileChangeEvent { path: "/w/a".into(), change: "modified".into() };
    let summary = Some(RunSummary { files: vec![file], ..RunSummary::default() });
    let end = event::Kind::RunEnded(RunEnded { outcome: Outcome::Success.into(), summary });
    let events =
        host.look(|s| std::mem::replace(&mut s.events, vec![double::event(0, taken), double::event(1, end)]));
    let (_, stderr, code) = text(&host.cordon(&["run", "f.yaml", "t"]).await);
    assert!(code == 0 && stderr.contains("your trees are as they were; `cordon diff 0199-run`"), "{stderr}");
    host.look(|s| s.events = events);
    let (_, stderr, code) = text(&host.cordon(&["run", "f.yaml", "--apply", "ask", "t"]).await);
    assert!(code == 2 && stderr.contains("nobody can be asked"), "{stderr}");

    let mut person = talk(&host, &["run", "f.yaml", "t"]);
    let said = person.answer("leaves out: ", "\n");
    assert!(said.contains("| done\n") && said.contains("M a | +1 -1\n"), "{said}");
    person.answer("apply 1 change to /w? [y/N] ", "y\n");
    let (said, code) = person.end().await;
    assert!(code == 0 && said.contains("applied 1 change\n"), "{said}");
    let plan = host.look(|s| s.asked_apply.pop().unwrap()).plan.unwrap();
    assert_eq!((plan.run.as_str(), plan.agent.as_str()), ("0199-run", "a"));

    // A no is none to the run.
    let mut person = talk(&host, &["run", "f.yaml", "t"]);
    person.answer("leaves out: ", "\n");
    person.answer("[y/N] ", "n\n");
    let (said, code) = person.end().await;
    assert!(code == 0 && said.contains("`cordon apply 0199-run`"), "{said}");
    assert_eq!(host.look(|s| s.asked_apply.len()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_run_applies_data_and_names_the_rest() {
    let host = with(vec![change("a", &["data"]), change("Makefile", &["runs-later"])]);
    host.file("f.yaml", "agents: []");
    host.look(|s| s.events = vec![ended(0, Outcome::Success)]);
    let (stdout, stderr, code) = text(&host.cordon(&["run", "f.yaml", "--apply", "data", "t"]).await);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("left-out  modified  runs-later  Makefile") && stdout.contains("applied 1 change\n"),
        "{stdout}"
    );
    let (stdout, _, code) =
        text(&host.cordon(&["run", "f.yaml", "--apply", "data", "t", "-o", "json"]).await);
    let lines: Vec<Value> = stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((code, lines.len(), &lines[1]["kind"]), (0, 2, &Value::from("apply")), "{stdout}");
    assert_eq!((&lines[1]["applied"], &lines[1]["changed"]), (&Value::from(true), &Value::from(1)));

    // Half of the work is nothing to apply without looking.
    host.look(|s| s.asked_apply.clear());
    host.look(|s| s.events = vec![ended(0, Outcome::AgentFailed)]);
    let (_, stderr, code) = text(&host.cordon(&["run", "f.yaml", "--apply", "data", "t"]).await);
    assert!(code == 1 && stderr.contains("`cordon diff 0199-run`"), "{stderr}");
    assert_eq!(host.look(|s| s.asked_apply.len()), 0);

    // What is refused makes the command fail, and nothing was staged is no trouble.
    let mut drifted = change("a", &["data"]);
    drifted.verdict = "drift".into();
    host.look(|s| (s.changes, s.events) = (vec![drifted], vec![ended(0, Outcome::Success)]));
    let (_, stderr, code) = text(&host.cordon(&["run", "f.yaml", "--apply", "data", "t"]).await);
    assert_eq!(code, 1, "{stderr}");
    host.look(|s| s.changes.clear());
    let (stdout, _, code) = text(&host.cordon(&["run", "f.yaml", "--apply", "data", "t"]).await);
    assert!(code == 0 && !stdout.contains("appl"), "{stdout}");
}
