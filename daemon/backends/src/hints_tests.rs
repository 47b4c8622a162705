use super::*;
use crate::testing::{exit, not_started};
use crate::{TurnOutcome, events};
use cordon_policy::{Access, Origin, Place, Rule, Source};
use cordon_proto::v1::Outcome;
use proptest::prelude::*;

fn policy() -> Arc<Policy> {
    let place = Place { file: "agent.yaml".into(), line: 9, column: 1 };
    let rule = |path: &str, access, source| {
        let place = (source == Source::ContextPath).then(|| place.clone());
        Rule { path: path.into(), access, origin: Origin { source, place } }
    };
    Arc::new(
        Policy::new([
            rule("/w", Access::Write, Source::Workspace),
            rule("/w/keep", Access::Read, Source::ProtectedPath),
            rule("/w/.env", Access::None, Source::Secret),
            rule("/r", Access::Read, Source::ContextPath),
            rule("/usr", Access::Read, Source::System),
        ])
        .unwrap(),
    )
}

/// Says what it is told to when its process ends.
struct Script(Vec<Kind>, Option<ExecPlan>);

impl Driver for Script {
    fn next(&mut self) -> (Vec<Kind>, Step) {
        let done = TurnOutcome { outcome: Outcome::Success, message: String::new() };
        (Vec::new(), self.1.take().map_or(Step::Done(done), Step::Exec))
    }

    fn output(&mut self, _: OutputStream, _: &[u8]) -> Vec<Kind> {
        Vec::new()
    }

    fn exited(&mut self, _: &Exit) -> Vec<Kind> {
        std::mem::take(&mut self.0)
    }
}

fn driver(kinds: Vec<Kind>, raw: bool, program: &str, cwd: &str) -> Box<dyn Driver> {
    let plan = ExecPlan { argv: vec![program.into()], env: Vec::new(), cwd: cwd.into(), stdin: None };
    let mut driver = explained(Box::new(Script(kinds, Some(plan))), policy(), Path::new("/w"), raw);
    assert!(matches!(driver.next().1, Step::Exec(_)));
    driver
}

fn denials(kinds: Vec<Kind>) -> Vec<(String, String, String)> {
    let denial = |kind| match kind {
        Kind::Denial(d) => Some((d.operation, d.target, d.layer)),
        _ => None,
    };
    kinds.into_iter().filter_map(denial).collect()
}

/// What is found behind a failed command that printed this.
fn found(output: &str) -> Vec<(String, String)> {
    let failed = events::command("1", "x", "failed", Some(1), output);
    let kinds = driver(vec![failed], false, "/usr/bin/agent", "/w").exited(&exit(0));
    denials(kinds).into_iter().map(|(operation, target, _)| (operation, target)).collect()
}

#[test]
fn where_a_program_does_not_say_how_a_command_ended_its_words_have_to_do() {
    let line = "cat: /etc/shadow: Permission denied";
    let of = |kind| denials(driver(vec![kind], false, "/usr/bin/agent", "/w").exited(&exit(0))).len();
    assert_eq!(of(events::command("1", "x", "completed", None, line)), 1);
    assert_eq!(of(events::command("1", "x", "completed", Some(0), line)), 0);
    assert_eq!(of(events::command("1", line, "started", None, line)), 0);
}

#[test]
fn the_words_of_many_programs_lead_to_the_rule() {
    for (line, operation, target) in [
        ("cat: /etc/shadow: Permission denied", "read", "/etc/shadow"),
        ("cat: .env: Permission denied", "read", "/w/.env"),
        ("touch: cannot touch '/r/new': Read-only file system", "write", "/r/new"),
        ("mkdir: cannot create directory \u{2018}/r/d\u{2019}: Permission denied", "write", "/r/d"),
        ("bash: line 1: keep/a: Read-only file system", "write", "/w/keep/a"),
        ("ls: cannot access '/root/x y': No such file or directory", "read", "/root/x y"),
        ("Error: EROFS: read-only file system, open '/r/a.js'", "write", "/r/a.js"),
        ("PermissionError: [Errno 13] Permission denied: '/root/.ssh/id'", "read", "/root/.ssh/id"),
        ("mv: cannot move 'keep' to 'other': Device or resource busy", "rename", "/w/keep"),
        ("rm: cannot remove 'keep': Device or resource busy", "delete", "/w/keep"),
        ("ln: failed to create hard link 'l' => 'keep/f': Invalid cross-device link", "link", "/w/keep/f"),
        ("error: could not lock config file keep/config: Read-only file system", "write", "/w/keep/config"),
    ] {
        let found = found(&format!("before\n{line}\nafter"));
        assert_eq!(found, [(operation.to_owned(), target.to_owned())], "{line}");
    }
}

#[test]
fn what_the_policy_allows_is_no_denial_whatever_is_printed() {
    for line in [
        "cat: /w/a: Permission denied",
        "cat: /usr/lib/missing: No such file or directory",
        "touch: cannot touch 'new': Permission denied",
        "cat: keep/file: Permission denied",
        "policy says /etc/shadow is refused",
        "EACCES",
    ] {
        assert_eq!(found(line), [], "{line}");
    }
}

#[test]
fn a_command_that_worked_is_not_looked_at() {
    let line = "cat: /etc/shadow: Permission denied";
    let done = events::command("1", "x", "completed", Some(0), line);
    let mut driver = driver(vec![done], true, "/usr/bin/agent", "/w");
    driver.output(OutputStream::Stderr, line.as_bytes());
    assert_eq!(denials(driver.exited(&exit(0))), []);
}

#[test]
fn raw_output_of_a_program_without_events_is_looked_at_when_it_failed() {
    let mut driver = driver(Vec::new(), true, "/usr/bin/sh", "/w");
    driver.output(OutputStream::Stderr, b"cat: /etc/sha");
    driver.output(OutputStream::Stderr, b"dow: Permission denied\n");
    let layer = ("read".to_owned(), "/etc/shadow".to_owned(), "landlock".to_owned());
    assert_eq!(denials(driver.exited(&exit(1))), [layer]);
}

#[test]
fn each_denial_is_told_once_and_a_drivers_own_is_not_repeated() {
    let line = "cat: /etc/shadow: Permission denied\n".repeat(50);
    assert_eq!(found(&line).len(), 1);
    let known = explain(&policy(), Path::new("/etc/shadow"), Operation::Read).unwrap();
    let failed = events::command("1", "x", "failed", Some(1), &line);
    let kinds = driver(vec![failed, Kind::Denial(known)], false, "/usr/bin/agent", "/w").exited(&exit(0));
    assert_eq!(denials(kinds).len(), 1);
}

#[test]
fn a_program_and_a_directory_that_cannot_be_started_in_name_their_rule() {
    let started = |program, cwd, exit: &Exit| denials(driver(Vec::new(), false, program, cwd).exited(exit));
    let enoent = Errno::NOENT.raw_os_error();
    let program = started("/opt/agent", "/w", &not_started(enoent));
    assert_eq!(program, [("execute".into(), "/opt/agent".into(), "mount view".into())]);
    let chdir = Exit { failed_to_start: Some((Errno::ACCESS.raw_os_error(), "chdir".into())), ..exit(0) };
    let directory = started("/usr/bin/agent", "/root", &chdir);
    assert_eq!(directory, [("list".into(), "/root".into(), "mount view".into())]);
    assert_eq!(started("/usr/bin/agent", "/w", &not_started(enoent)), []);
    assert_eq!(started("agent", "/w", &not_started(enoent)), []);
    assert_eq!(started("/opt/agent", "/w", &not_started(Errno::NOMEM.raw_os_error())), []);
}

proptest! {
    /// Whatever is printed, only what the policy refuses is told, and not much of it.
    #[test]
    fn text_proposes_and_the_policy_disposes(
        lines in prop::collection::vec(
            (prop_oneof![
                "[ -~]{0,60}",
                r"[a-z]{1,8}: (/[a-z.]{1,4}){1,4}",
                r"[a-z]{1,8}: cannot (move|remove|create) '(/?(w|r|keep|\.env|\.\.)){1,4}'",
                any::<String>(),
            ],
            prop::sample::select(WORDS.map(|(words, _)| words).to_vec())),
            0..40)
    ) {
        let text: Vec<String> = lines.iter().map(|(line, words)| format!("{line}: {words}")).collect();
        let found = found(&text.join("\n"));
        prop_assert!(found.len() <= MOST_TOLD);
        for (operation, target) in found {
            // Targets are escaped for display; plain ones can be asked about again.
            if target.contains('\\') { continue; }
            let operations = [Operation::Read, Operation::Write, Operation::Delete, Operation::Rename, Operation::Link];
            let operation = operations.into_iter().find(|o| o.to_string() == operation).unwrap();
            prop_assert!(explain(&policy(), Path::new(&target), operation).is_some());
        }
    }
}
