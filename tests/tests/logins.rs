//! Logins that several agents use at once and that end soon: renewed by the real Codex, outside
//! of their sandboxes, once. What stands in for Codex inside asks the real one, too.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, Outcome, OutputStream, event::Kind};
use cordon_tests::{
    harness::{Host, User, codex, messages, need_image, output, skipped, summary, wait_until},
    tokens::TokenServer,
};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);

/// A person who has logged in with Codex; the login ends in so many seconds.
fn person(server: &TokenServer, left: i64) -> Host {
    let mut host = Host::without_daemon(User::Tester);
    let programs = host.path("programs");
    fs::create_dir(&programs).unwrap();
    let beside = programs.join("codex-code-mode-host");
    let real = codex().canonicalize().unwrap();
    if fs::hard_link(&real, &beside).is_err() {
        fs::copy(&real, &beside).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_codex-with-login"), programs.join("codex")).unwrap();
    host.set_env("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    host.set_env("CODEX_REFRESH_TOKEN_URL_OVERRIDE", &server.url());
    fs::create_dir(host.path("home/.codex")).unwrap();
    log_in(&host, server, left);
    host
}

fn login(host: &Host) -> PathBuf {
    host.path("home/.codex/auth.json")
}

fn log_in(host: &Host, server: &TokenServer, left: i64) {
    fs::write(login(host), server.codex_login(left)).unwrap();
    fs::set_permissions(login(host), fs::Permissions::from_mode(0o600)).unwrap();
}

fn file(agents: usize) -> String {
    let agent = |n| {
        format!(
            "  - id: a{n}\n    backend:\n      type: codex\n      command_line_execution_mode: local\n      cwd: w{n}\n"
        )
    };
    format!("agents:\n{}", (0..agents).map(agent).collect::<String>())
}

async fn events(host: &Host) -> Vec<Event> {
    let mut api = host.api().await;
    let mut runs = api.list().await;
    runs.sort_by_key(|r| r.started_unix_ms);
    api.events(&runs.pop().unwrap().id, false).await
}

fn errors(events: &[Event]) -> Vec<(String, String)> {
    let pick = |e: &Event| match &e.kind {
        Some(Kind::Error(error)) => Some((error.reason.clone(), error.message.clone())),
        _ => None,
    };
    events.iter().filter_map(pick).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_sandboxes_on_one_login_renew_it_once() {
    if skipped("clis") {
        return;
    }
    let server = TokenServer::start(HOUR);
    let mut host = person(&server, 120);
    host.start_daemon();
    let agents = host.agent_file("ten.yaml", &file(10));
    let ran = host.cordon(["run", agents.to_str().unwrap(), "How do you stand with your login?"]);
    let _ = ran.expect_code(0);
    let events = events(&host).await;
    assert_eq!(Outcome::try_from(summary(&events).outcome), Ok(Outcome::Success));
    assert_eq!((server.renewed(), server.refused()), (1, 0), "renewed once, by one");
    // Every real Codex inside goes by the new one.
    assert_eq!(messages(&events), vec!["generation 1".to_owned(); 10]);
    // And so does the person's own, outside.
    let own = fs::read_to_string(login(&host)).unwrap();
    assert!(own.contains(&server.refresh_token()));
    assert_eq!(fs::metadata(login(&host)).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_dir(host.path("home/.codex")).unwrap().any(|e| e.unwrap().file_name() != "auth.json"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_somebody_renews_meanwhile_is_seen_inside_at_once_and_hidden() {
    if skipped("clis") {
        return;
    }
    let server = TokenServer::start(HOUR);
    // Every login ends a little after the time at which it is renewed, so that it happens again
    // while the agent works.
    let mut host = person(&server, 603);
    host.start_daemon();
    let agents = host.agent_file("one.yaml", &file(1));
    let prompt = "Wait until it is renewed, then show it and change it.";
    let _ = host.cordon(["run", agents.to_str().unwrap(), prompt]).expect_code(0);
    let events = events(&host).await;
    assert_eq!(server.renewed(), 1);
    let told = messages(&events);
    assert_eq!(told[..2], ["generation 0".to_owned(), "generation 1".to_owned()]);
    assert_eq!(told[3..], vec!["written: false".to_owned(); 3]);
    let printed = String::from_utf8_lossy(&output(&events, OutputStream::Stdout)).into_owned();
    assert!(printed.contains("[redacted]"));
    assert!(!printed.contains(&server.refresh_token()), "a new token was shown");
    let kept = fs::read(host.path("home/.codex/auth.json")).unwrap();
    assert!(String::from_utf8(kept).unwrap().contains(&server.refresh_token()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_killed_loses_no_login() {
    if skipped("clis") {
        return;
    }
    let server = TokenServer::start(HOUR);
    let mut host = person(&server, 120);
    host.start_daemon();
    let agents = host.agent_file("one.yaml", &file(1));
    let mut client = host.spawn(["run", agents.to_str().unwrap(), "How do you stand?"]);
    // The real Codex has written its copy, and the daemon has not looked at it yet.
    let uid = rustix::process::getuid().as_raw();
    let copy = host.path(&format!("state/credentials/{uid}/codex/renewing-person/copy/auth.json"));
    let new = "refresh-token-number-1-of-the-person";
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(&copy).is_ok_and(|text| text.contains(new)) {
        assert!(std::time::Instant::now() < end, "it was not renewed");
        std::hint::spin_loop();
    }
    host.kill_daemon();
    client.kill().unwrap();
    let _ = client.wait();
    let own = fs::read_to_string(login(&host)).unwrap();
    assert!(
        own.contains("refresh-token-number-0-of-the-person"),
        "the daemon was faster: no use of this test"
    );
    host.start_daemon();
    assert!(
        wait_until(Duration::from_secs(30), || fs::read_to_string(login(&host)).unwrap().contains(new)),
        "what was renewed is lost"
    );
    let _ = host.cordon(["run", agents.to_str().unwrap(), "And now?"]).expect_code(0);
    assert_eq!(messages(&events(&host).await), ["generation 1"]);
    assert_eq!((server.renewed(), server.refused()), (1, 0));
    let left = host.path(&format!("state/credentials/{uid}/codex/renewing-person"));
    assert!(!left.try_exists().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_ends_waits_for_the_answer_to_a_renewal() {
    if skipped("clis") {
        return;
    }
    let server = TokenServer::start(HOUR);
    let mut host = person(&server, 120);
    host.start_daemon();
    server.hold();
    let agents = host.agent_file("one.yaml", &file(1));
    let mut client = host.spawn(["run", agents.to_str().unwrap(), "How do you stand?"]);
    assert!(wait_until(Duration::from_secs(60), || server.renewed() == 1), "{}", host.log());
    let mut stop = host.spawn(["daemon", "stop"]);
    assert!(wait_until(Duration::from_secs(30), || host.log().contains("shutting down")));
    server.let_go();
    let _ = (stop.wait(), client.wait());
    let own = fs::read_to_string(login(&host)).unwrap();
    assert!(own.contains(&server.refresh_token()), "{}", host.log());
    let uid = rustix::process::getuid().as_raw();
    let left = host.path(&format!("state/credentials/{uid}/codex/renewing-person"));
    assert!(!left.try_exists().unwrap());
    assert_eq!((server.renewed(), server.refused()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_whose_new_tokens_were_lost_is_tried_again_and_says_what_happened() {
    if skipped("clis") {
        return;
    }
    let server = TokenServer::start(HOUR);
    let mut host = person(&server, 120);
    host.start_daemon();
    server.hold();
    let agents = host.agent_file("one.yaml", &file(1));
    let mut client = host.spawn(["run", agents.to_str().unwrap(), "How do you stand?"]);
    assert!(wait_until(Duration::from_secs(60), || server.renewed() == 1), "{}", host.log());
    // The server has answered, and nobody has the answer.
    host.kill_daemon();
    client.kill().unwrap();
    let _ = client.wait();
    server.let_go();
    host.start_daemon();
    let ran = host.cordon(["run", agents.to_str().unwrap(), "And now?"]).expect_code(3);
    assert!(
        ran.stderr.contains("cordon login codex") || ran.stdout.contains("cordon login codex"),
        "{ran:?}"
    );
    let told = errors(&events(&host).await);
    assert_eq!((told.len(), told[0].0.as_str()), (1, "login-refused"), "{told:?}");
    assert!(told[0].1.contains("an earlier daemon ended while it was being renewed"), "{told:?}");
    assert!(server.refused() > 0, "it was not tried again");
    log_in(&host, &server, 3600);
    let _ = host.cordon(["run", agents.to_str().unwrap(), "And now?"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_its_server_refuses_ends_the_run_with_what_to_do() {
    if skipped("clis") {
        return;
    }
    let server = TokenServer::start(HOUR);
    let mut host = person(&server, 120);
    host.start_daemon();
    server.revoke();
    let agents = host.agent_file("one.yaml", &file(1));
    let ran = host.cordon(["run", agents.to_str().unwrap(), "How do you stand?"]).expect_code(3);
    assert!(
        ran.stderr.contains("cordon login codex") || ran.stdout.contains("cordon login codex"),
        "{ran:?}"
    );
    let told = errors(&events(&host).await);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "login-refused");
    assert!(!told[0].1.contains("refresh-token-number"), "{told:?}");
    // The person logs in again: that one counts.
    log_in(&host, &server, 3600);
    let _ = host.cordon(["run", agents.to_str().unwrap(), "And now?"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_fails_for_a_while_ends_nothing_while_the_login_holds() {
    if skipped("clis") {
        return;
    }
    let server = TokenServer::start(HOUR);
    let mut host = person(&server, 400);
    host.start_daemon();
    server.set_broken(true);
    let agents = host.agent_file("two.yaml", &file(2));
    let _ = host.cordon(["run", agents.to_str().unwrap(), "How do you stand?"]).expect_code(0);
    let events = events(&host).await;
    assert_eq!(messages(&events), vec!["generation 0".to_owned(); 2]);
    let warned =
        events.iter().any(|e| matches!(&e.kind, Some(Kind::Warning(w)) if w.reason == "login-not-renewed"));
    assert!(warned);
    // One that has ended is of no use.
    log_in(&host, &server, -10);
    let _ = host.cordon(["run", agents.to_str().unwrap(), "And now?"]).expect_code(3);
    let told = errors(&self::events(&host).await);
    assert!(told.iter().any(|(reason, _)| reason == "login-not-renewed"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_codex_of_the_image_renews_a_login_for_docker_sandboxes() {
    if skipped("docker") {
        return;
    }
    need_image("cordon/codex:latest");
    let server = TokenServer::start(HOUR);
    // No program of this machine is used.
    let mut host = Host::without_daemon(User::Tester);
    host.set_env("CODEX_REFRESH_TOKEN_URL_OVERRIDE", &server.url());
    fs::create_dir(host.path("home/.codex")).unwrap();
    log_in(&host, &server, 120);
    host.start_daemon();
    let docker =
        file(2).replace("mode: local", "mode: docker\n      command_line_docker_network_mode: bridge");
    let agents = host.agent_file("docker.yaml", &docker);
    let task = "How do you stand with your login?";
    let _ = host.cordon(["run", "--detach", agents.to_str().unwrap(), task]).expect_code(0);
    // Before anything else, and once for both.
    let own = || fs::read_to_string(login(&host)).unwrap();
    let renewed = wait_until(Duration::from_secs(90), || own().contains("refresh-token-number-1-"));
    assert!(renewed, "{}\n{}", own(), host.log());
    let mut api = host.api().await;
    let run = api.list().await.pop().unwrap().id;
    for agent in ["a0", "a1"] {
        let inside = |script: &str| {
            let mut ran = None;
            // The sandbox is made meanwhile.
            wait_until(Duration::from_secs(60), || {
                let one = host.cordon(["exec", &run, "--agent", agent, "--", "/bin/sh", "-c", script]);
                let made = one.code == 0 || one.code == 7;
                ran = Some(one);
                made
            });
            ran.unwrap()
        };
        let seen = inside("cat ~/.codex/auth.json").expect_code(0);
        assert!(seen.stdout.contains("refresh-token-number-1-"), "{seen:?}");
        let _ = inside("echo x > ~/.codex/auth.json || exit 7").expect_code(7);
    }
    let _ = host.cordon(["stop", &run]);
    assert_eq!((server.renewed(), server.refused()), (1, 0));
}
