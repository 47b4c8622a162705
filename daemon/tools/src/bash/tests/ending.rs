use super::*;

/// Starts one of each kind that does not want to end, and says their numbers.
const STUBBORN: &str = r#"
    trap '' TERM INT HUP
    (trap '' TERM; echo $BASHPID; exec sleep 1000) &
    setsid bash -c 'trap "" TERM; echo $$; exec sleep 1000' &
    (setsid bash -c '(setsid bash -c "trap \"\" TERM; echo \$\$; exec sleep 1000 >/dev/null 2>&1" &)' &)
"#;
/// One that sheds all that tells whose it is.
const SHED: &str = "setsid env -i /bin/sh -c 'echo $$; exec sleep 1000' &";

fn pids(value: &Value) -> Vec<&str> {
    value["stdout"].as_str().unwrap().split_ascii_whitespace().collect()
}

#[tokio::test]
async fn on_timeout_all_of_it_is_killed_and_what_it_said_remains() {
    let w = World::new();
    let started = Instant::now();
    let arguments = json!({ "command": format!("{STUBBORN} {SHED} sleep 1000"), "timeout": 2.5 });
    let (answer, value) = call(&w, "execute_command", arguments).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(answer.is_error && value["timed_out"] == true, "{value}");
    assert_eq!(value["signal"], "SIGKILL");
    let pids = pids(&value);
    assert_eq!(pids.len(), 4, "{value}");
    assert_eq!(pids.iter().filter(|pid| exists(pid)).count(), 0, "{value}");
    assert!(answer.all_text().contains("timed out after 2.5 s"), "{}", answer.all_text());
}

#[tokio::test]
async fn what_is_left_behind_is_killed_and_said() {
    let w = World::new();
    let started = Instant::now();
    let command = format!("{STUBBORN} until [ -e go ]; do :; done");
    let go = async {
        // All have said who they are before the main process ends.
        let (_, value) = run(&w, "sleep 1; touch go").await;
        assert_eq!(value["exit_code"], 0);
    };
    let ((answer, value), ()) = tokio::join!(run(&w, &command), go);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(!answer.is_error);
    let pids = pids(&value);
    assert_eq!((pids.len(), &value["exit_code"]), (3, &json!(0)), "{value}");
    assert_eq!(pids.iter().filter(|pid| exists(pid)).count(), 0, "{value}");
    assert!(value["killed_processes"].as_u64().unwrap() >= 3);
    assert!(answer.all_text().contains("start_background_command"), "{}", answer.all_text());
}

/// Only in a process of its own can nobody else have started what is left.
#[test]
fn what_sheds_everything_ends_when_only_one_can_have_started_it() {
    let inner = "bash::tests::ending::what_sheds_everything_alone";
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args([inner, "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run in a process of its own by the test above"]
async fn what_sheds_everything_alone() {
    let w = World::new();
    let (_, value) = run(&w, &format!("mkfifo said; ({SHED} :) > said & read pid < said; echo $pid")).await;
    assert!(!exists(value["stdout"].as_str().unwrap()), "{value}");
    assert_eq!(value["killed_processes"], 1, "{value}");

    // While a second command runs it may be that one's; with the server it ends for certain.
    let (_, other) = call(&w, "start_background_command", json!({ "command": "sleep 1000" })).await;
    let (_, value) =
        run(&w, &format!("mkfifo again; ({SHED} :) > again & read pid < again; echo $pid")).await;
    let pid = value["stdout"].as_str().unwrap();
    assert!(exists(pid) && exists(&other["pid"].to_string()), "{value}");
    w.tools.end().await;
    assert!(!exists(pid) && !exists(&other["pid"].to_string()));
}

#[tokio::test]
async fn what_prints_shortly_after_the_end_is_heard() {
    let w = World::new();
    let (_, value) = run(&w, "echo heard > >(cat; cat /dev/null; echo too)").await;
    assert_eq!(value["stdout"], "heard\ntoo\n");
}

#[tokio::test]
async fn a_silent_daemon_is_found_too() {
    let w = World::new();
    let (_, value) = run(&w, "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!").await;
    assert!(!exists(value["stdout"].as_str().unwrap()), "{value}");
    assert_eq!(value["killed_processes"], 1);
}

#[tokio::test]
async fn one_that_prints_for_ever_is_still_stopped() {
    let w = World::new();
    let (answer, value) =
        call(&w, "execute_command", json!({ "command": "yes & yes >&2 & yes", "timeout": 0.3 })).await;
    assert!(answer.is_error && value["timed_out"] == true);
    assert!(value["duration_ms"].as_u64().unwrap() < 5000, "{value}");
}

#[tokio::test]
async fn cancelling_kills_and_answers_what_was_said() {
    let w = World::new();
    let cancel = CancellationToken::new();
    let Value::Object(arguments) = json!({ "command": "echo $$; mkfifo told; echo > told; exec sleep 1000" })
    else {
        unreachable!()
    };
    let stop = async {
        let (_, value) = run(&w, "until [ -p told ]; do :; done; cat told").await;
        assert_eq!(value["exit_code"], 0);
        cancel.cancel();
    };
    let (answer, ()) = tokio::join!(w.tools.call("execute_command", arguments, cancel.clone()), stop);
    let answer = answer.unwrap();
    let value = answer.structured.unwrap();
    assert!(answer.is_error && value["cancelled"] == true, "{value}");
    assert!(!exists(value["stdout"].as_str().unwrap()), "{value}");
}

#[tokio::test]
async fn a_dropped_call_leaves_nothing() {
    let w = World::new();
    std::fs::write(w.root.join("ws/pid"), "").unwrap();
    {
        let long = run(&w, "echo $$ > pid.new; mv pid.new pid; exec sleep 1000");
        let wait = run(&w, "until [ -s pid ]; do :; done");
        tokio::select! {
            _ = long => panic!("it ended"),
            (_, value) = wait => assert_eq!(value["exit_code"], 0),
        }
    }
    let pid = std::fs::read_to_string(w.root.join("ws/pid")).unwrap();
    w.tools.end().await;
    assert!(!exists(&pid));
    let answer = w.call("execute_command", json!({ "command": "true" })).await;
    assert!(answer.is_error, "a command ran after the end");
}

#[tokio::test]
async fn timeouts_are_bounded_and_it_is_said() {
    let w = World::new();
    for timeout in [Value::Null, json!(0), json!(1e9)] {
        let (answer, _) = call(&w, "execute_command", json!({ "command": "true", "timeout": timeout })).await;
        assert!(answer.all_text().contains("longer than 600 s"), "{timeout}: {}", answer.all_text());
    }
    for timeout in [json!(-1), json!("5"), json!([])] {
        let answer = w.call("execute_command", json!({ "command": "true", "timeout": timeout })).await;
        assert!(answer.is_error, "{timeout}");
    }
}
