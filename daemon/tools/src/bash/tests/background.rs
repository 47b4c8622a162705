use super::*;

async fn start(world: &World, command: &str) -> String {
    let (answer, value) = call(world, "start_background_command", json!({ "command": command })).await;
    assert!(!answer.is_error, "{}", answer.all_text());
    value["id"].as_str().unwrap().to_owned()
}

async fn status(world: &World, id: &str) -> Value {
    call(world, "get_background_command_status", json!({ "id": id })).await.1
}

/// Waits for its end by the event that it is.
async fn ended(world: &World, id: &str) -> Value {
    let job = world.tools.state().bash.jobs.get(id).unwrap();
    tokio::time::timeout(Duration::from_secs(20), job.over()).await.unwrap();
    status(world, id).await
}

#[tokio::test]
async fn one_runs_is_read_from_and_ends() {
    let w = World::new();
    let id = start(&w, "mkfifo gate; echo one; echo err >&2; cat gate; echo two; exit 4").await;
    assert_eq!(run(&w, "until [ -p gate ]; do :; done; echo go > gate").await.1["exit_code"], 0);
    let value = ended(&w, &id).await;
    assert_eq!((&value["state"], &value["exit_code"]), (&json!("ended"), &json!(4)));
    let output =
        |since: Value| call(&w, "get_background_command_output", json!({ "id": id, "since": since }));
    let (answer, value) = output(json!({})).await;
    assert_eq!((&value["stdout"], &value["stderr"]), (&json!("one\ngo\ntwo\n"), &json!("err\n")));
    assert_eq!(value["next"], json!({ "stdout": 11, "stderr": 4 }));
    assert!(answer.all_text().contains("exit code 4"), "{}", answer.all_text());
    let (_, value) = output(json!({ "stdout": 4, "stderr": 4 })).await;
    assert_eq!((&value["stdout"], &value["stderr"]), (&json!("go\ntwo\n"), &json!("")));
    let (_, value) = output(json!({ "stdout": -4 })).await;
    assert_eq!(value["stdout"], "two\n");
    let (_, value) = call(&w, "get_background_command_output", json!({ "id": id, "max_bytes": 6 })).await;
    let told = value["stdout"].as_str().unwrap().len() + value["stderr"].as_str().unwrap().len();
    assert!(told <= 6 && told > 0, "{value}");
}

#[tokio::test]
async fn much_output_is_read_in_parts_and_what_is_gone_is_said() {
    let w = World::new();
    let id = start(&w, "yes 123456789 | head -c 20000000; printf '\\0%.0s' {1..30000}").await;
    let value = ended(&w, &id).await;
    assert_eq!(value["stdout_bytes"], 20_030_000);
    let (mut at, mut read) = (0, 0);
    loop {
        let arguments = json!({ "id": id, "since": { "stdout": at } });
        let (answer, value) = call(&w, "get_background_command_output", arguments).await;
        let size = serde_json::to_string(&answer.all_text()).unwrap().len() + value.to_string().len();
        assert!(size <= 128 << 10, "{size}");
        if at == 0 {
            assert_eq!(value["dropped_bytes"]["stdout"], 20_030_000 - (1 << 20));
        }
        let got = value["stdout"].as_str().unwrap().len();
        if got == 0 {
            break;
        }
        read += got;
        at = value["next"]["stdout"].as_u64().unwrap();
    }
    assert_eq!((at, read), (20_030_000, 1 << 20));
}

#[tokio::test]
async fn killing_takes_all_of_it() {
    let w = World::new();
    let command = "trap '' TERM; setsid bash -c 'trap \"\" TERM; exec sleep 1000' & echo $$ $!; echo > ready; sleep 1000 & wait; wait";
    let id = start(&w, command).await;
    assert_eq!(run(&w, "until [ -s ready ]; do :; done").await.1["exit_code"], 0);
    let (answer, value) = call(&w, "kill_background_command", json!({ "id": id })).await;
    assert!(!answer.is_error && value["state"] == "ended", "{value}");
    let (_, value) = call(&w, "get_background_command_output", json!({ "id": id })).await;
    let pids = value["stdout"].as_str().unwrap().to_owned();
    assert_eq!(pids.split_ascii_whitespace().filter(|pid| exists(pid)).count(), 0, "{pids}");
    // Once more is no mistake.
    assert!(!w.call("kill_background_command", json!({ "id": id })).await.is_error);
}

#[tokio::test]
async fn a_signal_is_only_sent() {
    let w = World::new();
    let id =
        start(&w, "trap 'echo got; exit 7' USR1; echo > ready; while :; do read -t 1 <> <(:); done").await;
    assert_eq!(run(&w, "until [ -s ready ]; do :; done").await.1["exit_code"], 0);
    let bad = w.call("kill_background_command", json!({ "id": id, "signal": "BOOM" })).await;
    assert!(bad.is_error);
    let (answer, _) = call(&w, "kill_background_command", json!({ "id": id, "signal": "SIGUSR1" })).await;
    assert!(!answer.is_error);
    assert_eq!(ended(&w, &id).await["exit_code"], 7);
    let unknown = w.call("kill_background_command", json!({ "id": "bg99" })).await;
    assert!(unknown.is_error);
}

#[tokio::test]
async fn there_is_a_limit_and_all_end_with_the_server() {
    let w = World::new();
    let mut pids = Vec::new();
    for _ in 0..32 {
        let (_, value) = call(&w, "start_background_command", json!({ "command": "exec sleep 1000" })).await;
        pids.push(value["pid"].to_string());
    }
    let more = w.call("start_background_command", json!({ "command": "true" })).await;
    assert!(more.is_error && more.all_text().contains("32"), "{}", more.all_text());
    let (_, value) = call(&w, "list_background_commands", json!({})).await;
    assert_eq!(value["commands"].as_array().unwrap().len(), 32);
    assert!(pids.iter().all(|pid| exists(pid)));
    w.tools.end().await;
    assert_eq!(pids.iter().filter(|pid| exists(pid)).count(), 0);
}

#[tokio::test]
async fn what_ended_is_forgotten_after_a_while() {
    let w = World::new();
    for _ in 0..40 {
        let id = start(&w, "true").await;
        ended(&w, &id).await;
    }
    let (_, value) = call(&w, "list_background_commands", json!({})).await;
    let count = value["commands"].as_array().unwrap().len();
    assert!((32..=33).contains(&count), "{count}");
}
