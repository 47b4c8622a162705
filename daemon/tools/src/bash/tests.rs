//! Commands as a model runs them.

mod background;
mod ending;
mod output;
mod speed;

use crate::{Answer, testing::World};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

async fn run(world: &World, command: &str) -> (Answer, Value) {
    call(world, "execute_command", json!({ "command": command })).await
}

async fn call(world: &World, tool: &str, arguments: Value) -> (Answer, Value) {
    let answer = world.call(tool, arguments).await;
    let value = answer.structured.clone().unwrap();
    (answer, value)
}

/// Whether a process is there, dead or alive.
fn exists(pid: &str) -> bool {
    std::fs::metadata(std::path::Path::new("/proc").join(pid.trim())).is_ok()
}

#[tokio::test]
async fn streams_are_apart_and_a_failure_is_an_answer() {
    let w = World::new();
    let (answer, value) = run(&w, "echo out; echo err >&2; exit 3").await;
    assert!(!answer.is_error);
    assert_eq!((&value["stdout"], &value["stderr"]), (&json!("out\n"), &json!("err\n")));
    assert_eq!((&value["exit_code"], &value["signal"]), (&json!(3), &Value::Null));
    assert_eq!((&value["timed_out"], &value["truncated"]), (&json!(false), &json!(false)));
    assert_eq!(value["work_dir"], w.path("ws"));
    let text = answer.all_text();
    assert!(text.starts_with("out\n[stderr]\nerr\n[exit code 3, "), "{text}");
    let (_, value) = run(&w, "kill -9 $$").await;
    assert_eq!((&value["exit_code"], &value["signal"]), (&Value::Null, &json!("SIGKILL")));
}

#[tokio::test]
async fn standard_input_is_empty_and_the_group_is_its_own() {
    let w = World::new();
    let (_, value) = run(&w, "cat; readlink /proc/self/fd/0; ps -o pgid= -p $$ | tr -d ' '; echo $$").await;
    let out = value["stdout"].as_str().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "/dev/null");
    assert_eq!(lines[1], lines[2], "{out}");
}

#[tokio::test]
async fn nothing_that_is_open_here_is_handed_over() {
    let w = World::new();
    let _open = std::fs::File::open(w.root.join("outside/canary")).unwrap();
    let id = call(&w, "start_background_command", json!({ "command": "sleep 1000" })).await.1["id"].clone();
    for command in
        ["readlink /proc/$$/fd/*".to_owned(), format!("readlink /proc/$$/fd/* # {}", "a".repeat(200_000))]
    {
        let (_, value) = run(&w, &command).await;
        let out = value["stdout"].as_str().unwrap();
        assert!(out.starts_with("/dev/null\n"), "{out}");
        for ours in ["canary", "pidfd", "eventpoll", "memfd", &w.path("ws")] {
            assert!(!out.contains(ours), "{ours}: {out}");
        }
    }
    assert!(!w.call("kill_background_command", json!({ "id": id })).await.is_error);
}

#[tokio::test]
async fn the_environment_is_the_login_shells() {
    let w = World::new();
    std::fs::create_dir_all(w.root.join("ws/sub/.venv/bin")).unwrap();
    let (_, value) = call(
        &w,
        "execute_command",
        json!({ "command": "echo $PATH; echo $A; pwd; echo $PWD", "work_dir": "sub", "env": { "A": "b c" } }),
    )
    .await;
    let lines: Vec<&str> = value["stdout"].as_str().unwrap().lines().collect();
    assert!(lines[0].starts_with(&format!("{}:", w.path("ws/sub/.venv/bin"))), "{lines:?}");
    assert!(lines[0].contains("/bin"), "{lines:?}");
    assert_eq!(lines[1..], ["b c", &w.path("ws/sub"), &w.path("ws/sub")]);
    for env in [json!({ "A=": "" }), json!({ "": "x" }), json!({ "A": "\0" })] {
        let answer = w.call("execute_command", json!({ "command": "true", "env": env })).await;
        assert!(answer.is_error, "{env}");
    }
}

#[tokio::test]
async fn a_hostile_directory_is_refused() {
    let w = World::new();
    std::os::unix::fs::symlink(w.root.join("outside"), w.root.join("ws/out")).unwrap();
    std::os::unix::fs::symlink(w.root.join("ws/sub"), w.root.join("ws/in")).unwrap();
    std::os::unix::fs::symlink("/proc/self/root", w.root.join("ws/magic")).unwrap();
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        w.root.join("ws/fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    );
    made.unwrap();
    let marker = w.path("ws/ran");
    for work_dir in [
        "out",
        "..",
        "../outside",
        "sub/../..",
        "/",
        "/proc/self/cwd/..",
        "magic",
        "fifo",
        "a.txt",
        "nothing",
        "",
        "a\0b",
    ] {
        let arguments = json!({ "command": format!("touch {marker}"), "work_dir": work_dir });
        for tool in ["execute_command", "start_background_command"] {
            let answer = w.call(tool, arguments.clone()).await;
            assert!(answer.is_error, "{tool} {work_dir:?}: {}", answer.all_text());
        }
        assert!(std::fs::metadata(&marker).is_err(), "{work_dir:?}");
    }
    let (_, value) = call(&w, "execute_command", json!({ "command": "pwd", "work_dir": "in" })).await;
    assert_eq!(value["stdout"], format!("{}\n", w.path("ws/sub")));
    assert_eq!(value["work_dir"], w.path("ws/sub"));
}

#[tokio::test]
async fn long_commands_run_and_impossible_ones_are_refused() {
    let w = World::new();
    for length in [90 << 10, 130 << 10, 1 << 20] {
        let command = format!(
            "# {}\ncat; echo \"$0 ${{#x}}\"; x='{}'; echo ${{#x}} \"$CORDON_SCRIPT\"",
            "c".repeat(100),
            "a".repeat(length)
        );
        let (_, value) = run(&w, &command).await;
        let out = value["stdout"].as_str().unwrap();
        assert!(out.ends_with(&format!(" 0\n{length} \n")), "{length}: {out}");
        assert_eq!((&value["exit_code"], &value["stderr"]), (&json!(0), &json!("")));
    }
    for command in ["", " \n ", "echo a\0b", &"a".repeat(9 << 20)] {
        let answer = w.call("execute_command", json!({ "command": command })).await;
        assert!(answer.is_error);
        assert_eq!(answer.structured.unwrap()["error"]["reason"], "arguments");
    }
}

#[tokio::test]
async fn without_bash_a_plain_shell_does() {
    let w = World::new();
    let never = super::Cancel { call: CancellationToken::new(), server: CancellationToken::new() };
    let tracker = tokio_util::task::TaskTracker::new();
    let login = super::login::Login {
        shell: super::shell::Shell { program: "/bin/sh".into(), is_bash: false },
        variables: std::env::vars_os().collect(),
        problem: None,
    };
    let table = crate::Table::new(
        cordon_policy::Policy::new([cordon_policy::Rule {
            path: w.root.clone(),
            access: cordon_policy::Access::Read,
            origin: cordon_policy::Origin::built_in(cordon_policy::Source::Workspace),
        }])
        .unwrap(),
        &w.root,
    )
    .unwrap();
    let directory = crate::resolve::Resolver::new(&table).open(".", cordon_policy::Operation::List).unwrap();
    for length in [10, 200 << 10] {
        let text = format!("x='{}'; cat; echo ${{#x}}\n\n", "a".repeat(length));
        let command = super::shell::prepare(&login, &text, &directory, &Default::default()).unwrap();
        let started = super::child::Child::start(command, tracker.token()).unwrap();
        let mut printed = output::All::default();
        let outcome = super::run::run(started, &mut printed, None, &never).await.unwrap();
        assert_eq!(outcome.status.exit_code, Some(0));
        assert_eq!(String::from_utf8(printed.0).unwrap(), format!("{length}\n"));
    }
}

#[tokio::test]
async fn filters_are_asked_and_their_refusals_are_answers() {
    let w = World::with(|table| table.blocked_commands = vec![regex::Regex::new("^(?:rm)").unwrap()]);
    for tool in ["execute_command", "start_background_command"] {
        let (answer, value) = call(&w, tool, json!({ "command": " rm a.txt" })).await;
        assert!(answer.is_error);
        assert_eq!(value["filter"]["filter"], "rm");
    }
    // Advice: whoever means to get past it does.
    assert_eq!(run(&w, "command rm a.txt").await.1["exit_code"], 0);
}

#[tokio::test]
async fn a_failure_names_the_rule_behind_it() {
    let w = World::new();
    let (answer, value) =
        run(&w, "echo \"touch: cannot touch 'keep/new': Read-only file system\" >&2; exit 1").await;
    assert_eq!(value["denials"][0]["operation"], "create");
    assert!(answer.all_text().contains("\npolicy: create "), "{}", answer.all_text());
    let (_, value) = run(&w, "cat nothing").await;
    assert_eq!((&value["exit_code"], value.get("denials")), (&json!(1), None));
}

#[tokio::test]
async fn commands_run_side_by_side() {
    let w = World::new();
    // Each waits for the other: one after the other they would never end.
    let (one, other) = tokio::join!(
        run(&w, "mkfifo p 2>/dev/null; until [ -p p ]; do :; done; echo x > p"),
        run(&w, "until [ -p p ]; do :; done; cat p")
    );
    assert_eq!(one.1["exit_code"], 0);
    assert_eq!(other.1["stdout"], "x\n");
}
