//! The daemon killed in the middle of a run, runs cancelled, guests killed: nothing is
//! lost and nothing is left.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Outcome, OutputStream, event::Kind};
use cordon_tests::harness::{
    Host, containers_of, need_image, output, processes_mentioning, skipped, summary, wait_until,
};
use std::{fs, time::Duration};

fn walls() -> Vec<&'static str> {
    if skipped("docker") {
        return vec!["local"];
    }
    need_image("debian:bookworm-slim");
    vec!["local", "docker"]
}

fn agent_file(host: &Host, script: &str) -> String {
    let script = serde_json::Value::from(script);
    let text = format!(
        "agents:\n  - id: worker\n    backend:\n      type: command\n      cwd: {}\n      command_line_docker_image: debian:bookworm-slim\n      command: [bash, -c, {script}]\n",
        host.tree("ws").display()
    );
    host.agent_file("a.yaml", &text).display().to_string()
}

#[tokio::test]
async fn killing_the_daemon_loses_nothing() {
    for wall in walls() {
        let mut host = Host::start();
        // Prints while the daemon is away, and goes on only when told to.
        let file = agent_file(
            &host,
            "for i in $(seq 1 2000); do echo line $i; done; touch started; until [ -e go ]; do sleep 0.05; done; for i in $(seq 2001 4000); do echo line $i; done; echo bye >&2",
        );
        let ws = host.tree("ws");
        let ran = host.cordon(["run", &file, "--wall", wall, "--detach", "x"]).expect_code(0);
        let run = host.api().await.only_run().await;
        assert!(ran.stdout.contains(&run.id[..8]) || ran.stderr.contains(&run.id[..8]));
        assert!(wait_until(Duration::from_secs(60), || ws.join("started").is_file()), "{}", host.log());
        host.kill_daemon();
        host.put(&ws.join("go"), "");
        host.start_daemon();
        let mut api = host.api().await;
        let events = api.events(&run.id, true).await;
        let ended = summary(&events);
        assert_eq!(ended.outcome(), Outcome::Success, "{wall}: {events:#?}");
        let expected: String = (1..=4000).map(|i| format!("line {i}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&output(&events, OutputStream::Stdout)), expected, "{wall}");
        assert_eq!(output(&events, OutputStream::Stderr), b"bye\n", "{wall}");
        assert!(events.iter().any(|e| matches!(e.kind, Some(Kind::Recovered(_)))), "{wall}");
    }
}

#[tokio::test]
async fn a_sandbox_that_died_while_the_daemon_was_away_ends_the_run() {
    let mut host = Host::start();
    let file = agent_file(&host, "touch started; exec sleep 360917");
    let ws = host.tree("ws");
    let _ = host.cordon(["run", &file, "--wall", "local", "--detach", "x"]).expect_code(0);
    let run = host.api().await.only_run().await;
    assert!(wait_until(Duration::from_secs(30), || ws.join("started").is_file()), "{}", host.log());
    host.kill_daemon();
    kill_the_guest_of("sleep 360917");
    host.start_daemon();
    let events = host.api().await.events(&run.id, true).await;
    assert_eq!(summary(&events).outcome(), Outcome::Broken);
}

#[tokio::test]
async fn a_stop_asked_for_while_the_daemon_is_away_is_not_lost() {
    let mut host = Host::start();
    let file = agent_file(&host, "touch started; exec sleep 360919");
    let ws = host.tree("ws");
    let mut client = host.spawn(["run", &file, "--wall", "local", "x"]);
    assert!(wait_until(Duration::from_secs(30), || ws.join("started").is_file()), "{}", host.log());
    let run = host.api().await.only_run().await;
    host.kill_daemon();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(client.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    // The client starts a daemon itself when none comes back in time; whichever it is, it obeys.
    assert_eq!(client.wait().unwrap().code(), Some(130));
    assert!(processes_mentioning("sleep 360919").is_empty());
    let events = host.api().await.events(&run.id, false).await;
    assert_eq!(summary(&events).outcome(), Outcome::Cancelled);
    let _ = host.cordon(["daemon", "stop", "--stop-runs"]).expect_code(0);
}

#[tokio::test]
async fn a_guest_that_dies_ends_its_run_and_says_so() {
    let host = Host::start();
    let file = agent_file(&host, "touch started; exec sleep 360918");
    let ws = host.tree("ws");
    let client = host.spawn(["run", &file, "--wall", "local", "x"]);
    assert!(wait_until(Duration::from_secs(30), || ws.join("started").is_file()), "{}", host.log());
    kill_the_guest_of("sleep 360918");
    let out = client.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(4));
    assert!(
        String::from_utf8_lossy(&out.stdout).contains("guest"),
        "{}",
        String::from_utf8_lossy(&out.stdout)
    );
    let mut api = host.api().await;
    let run = api.only_run().await;
    assert_eq!(run.outcome(), Outcome::Broken);
    // The daemon and its other runs go on.
    let _ = host.cordon(["ps"]).expect_code(0);
}

/// Kills the guest around an agent's process, from outside, and waits until both are gone.
fn kill_the_guest_of(command: &str) {
    let pids = std::process::Command::new("pgrep").args(["-f", command]).output().unwrap();
    for pid in String::from_utf8_lossy(&pids.stdout).lines() {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)).unwrap().to_owned();
        let is_guest =
            fs::read_to_string(format!("/proc/{parent}/comm")).is_ok_and(|c| c.starts_with("cordon-guest"));
        if is_guest {
            let _ = std::process::Command::new("kill").args(["-9", &parent]).status();
        }
    }
    assert!(wait_until(Duration::from_secs(20), || processes_mentioning(command).is_empty()));
}

#[tokio::test]
async fn cancelling_leaves_no_process_and_no_container() {
    for wall in walls() {
        let host = Host::start();
        // Ignores the polite signal, and leaves stragglers of every kind.
        let file = agent_file(
            &host,
            "trap '' TERM INT HUP; (setsid sleep 4242 &) ; sleep 4242 & touch started; while :; do sleep 4242; done",
        );
        let ws = host.tree("ws");
        let mut client = host.spawn(["run", &file, "--wall", wall, "x"]);
        assert!(wait_until(Duration::from_secs(60), || ws.join("started").is_file()), "{}", host.log());
        let run = host.api().await.only_run().await;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(client.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        let status = client.wait().unwrap();
        assert_eq!(status.code(), Some(130), "{wall}");
        assert!(
            processes_mentioning("sleep 4242").is_empty(),
            "{wall}: {:?}",
            processes_mentioning("sleep 4242")
        );
        if wall == "docker" {
            assert!(containers_of(&run.id).is_empty());
        }
        let events = host.api().await.events(&run.id, false).await;
        assert_eq!(summary(&events).outcome(), Outcome::Cancelled, "{wall}");
        assert!(
            fs::read_dir(host.path("state/sandboxes")).map_or(true, |mut d| d.next().is_none()),
            "{wall}"
        );
    }
}

#[tokio::test]
async fn a_second_daemon_on_the_same_state_directory_is_refused() {
    let host = Host::start();
    let ran = host.finish(host.command("cordond").env("CORDON_SOCKET", host.path("other.sock")));
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains(&host.daemon_pid().to_string()), "{}", ran.stderr);
    let _ = host.cordon(["ps"]).expect_code(0);
}

#[tokio::test]
async fn several_clients_follow_one_run_from_any_place() {
    let host = Host::start();
    let file =
        agent_file(&host, "echo first; touch started; until [ -e go ]; do sleep 0.05; done; echo last");
    let ws = host.tree("ws");
    let _ = host.cordon(["run", &file, "--wall", "local", "--detach", "x"]).expect_code(0);
    let run = host.api().await.only_run().await;
    assert!(wait_until(Duration::from_secs(30), || ws.join("started").is_file()), "{}", host.log());
    let clients: Vec<_> = (0..3).map(|_| host.spawn(["logs", "-f", &run.id])).collect();
    host.put(&ws.join("go"), "");
    for client in clients {
        let out = client.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(text.contains("first") && text.contains("last"), "{text}");
    }
    let ran = host.cordon(["logs", &run.id]).expect_code(0);
    assert!(ran.stdout.contains("first") && ran.stdout.contains("last"));
}
