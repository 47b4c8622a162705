use crate::{harness::*, needs_docker};
use cordon_sandbox::{Sandbox, SandboxError, SandboxRecord, Wall};
use std::{sync::Mutex, time::Instant};
use tokio::sync::mpsc;

#[tokio::test]
async fn a_command_runs_and_nothing_is_left_afterwards() {
    needs_docker!();
    let fixture = Fixture::new();
    let started = Instant::now();
    let sandbox = fixture.create(&fixture.spec("echo1")).await.unwrap();
    let outcome = bash(&sandbox, "echo hi; id -u; echo out > \"$0\"; exit 7").await;
    eprintln!("cold start to output: {:?}", started.elapsed());
    assert_eq!((outcome.code, outcome.text.lines().next()), (Some(7), Some("hi")));
    assert!(sandbox.findings.iter().all(|f| f.ok) && !sandbox.findings.is_empty());
    assert!(!fixture.leftovers().is_empty());
    fixture.wall.destroy(&sandbox.record).await.unwrap();
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
    assert!(!sandbox.record.directory.try_exists().unwrap());
    // Again is success as well.
    fixture.wall.destroy(&sandbox.record).await.unwrap();
}

#[tokio::test]
async fn a_record_is_kept_before_anything_is_made() {
    needs_docker!();
    let fixture = Fixture::new();
    let seen = Mutex::new(Vec::new());
    let remember = |record: &SandboxRecord| {
        assert_eq!(fixture.leftovers(), Vec::<String>::new());
        seen.lock().unwrap().push(record.clone());
        Err(std::io::Error::other("the disk is full"))
    };
    let (denials, _) = mpsc::channel(1);
    let error = fixture.wall.create(&fixture.spec("rec1"), &remember, denials).await.unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert_eq!(seen.lock().unwrap().len(), 1);
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
    assert!(!seen.lock().unwrap()[0].directory.try_exists().unwrap());
}

#[tokio::test]
async fn another_daemon_finds_a_sandbox_again() {
    needs_docker!();
    let fixture = Fixture::new();
    let sandbox = fixture.create(&fixture.spec("again1")).await.unwrap();
    let record = sandbox.record.clone();
    assert_eq!(bash(&sandbox, "echo kept > /tmp/f").await.code, Some(0));
    drop(sandbox);
    let record: SandboxRecord = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
    let (denials, _) = mpsc::channel(1);
    let found: Sandbox = fixture.wall.reattach(&record, denials).await.unwrap();
    assert_eq!(bash(&found, "cat /tmp/f").await.text, "kept\n");
    fixture.wall.destroy(&record).await.unwrap();
    let (denials, _) = mpsc::channel(1);
    assert!(fixture.wall.reattach(&record, denials).await.is_err());
}

#[tokio::test]
async fn what_nobody_knows_is_reaped_and_what_is_known_stays() {
    needs_docker!();
    let fixture = Fixture::new();
    let mut lost = fixture.spec("lost1");
    lost.network = cordon_sandbox::Network::Bridge { granted: Vec::new() };
    let lost = fixture.create(&lost).await.unwrap();
    let kept = fixture.create(&fixture.spec("kept1")).await.unwrap();
    let removed = fixture.wall.reap(&fixture.daemon, &["kept1".to_owned()]).await.unwrap();
    assert!(removed.iter().any(|r| r.contains("lost1")), "{removed:?}");
    assert!(removed.iter().any(|r| r.contains("firewall chain")), "{removed:?}");
    assert_eq!(fixture.leftovers().len(), 1);
    assert_eq!(bash(&kept, "echo alive").await.text, "alive\n");
    let cordon_sandbox::WallRecord::Docker { chains, .. } = &lost.record.wall else {
        panic!("{:?}", lost.record)
    };
    assert!(chains.iter().all(|c| !rules().contains(c)));
    fixture.wall.destroy(&kept.record).await.unwrap();
    fixture.wall.destroy(&lost.record).await.unwrap();
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_guest_that_does_not_start_is_an_error_with_its_words() {
    needs_docker!();
    let fixture = Fixture::new();
    std::fs::write(fixture.root.join("cordon-guest"), "#!/bin/sh\necho it is broken >&2\nexit 3\n").unwrap();
    let error = fixture.create(&fixture.spec("dead1")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("exit code 3") && text.contains("it is broken"), "{text}");
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_missing_image_and_a_missing_engine_say_what_to_do() {
    needs_docker!();
    let fixture = Fixture::new();
    let mut spec = fixture.spec("img1");
    spec.image = Some("cordon/codex:no-such-tag".to_owned());
    let error = fixture.create(&spec).await.unwrap_err();
    assert!(matches!(error, SandboxError::ImageMissing { .. }), "{error}");
    let dead = Fixture::with(Some("unix:///nowhere/docker.sock".to_owned()), "");
    let error = dead.create(&dead.spec("eng1")).await.unwrap_err();
    assert!(matches!(&error, SandboxError::Unavailable { fix, .. } if !fix.is_empty()), "{error}");
    // A socket at which nobody answers is no other case.
    let socket = dead.root.join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let dead = Fixture::with(Some(format!("unix://{}", socket.display())), "");
    let error = dead.create(&dead.spec("eng2")).await.unwrap_err();
    assert!(matches!(error, SandboxError::Unavailable { .. }), "{error}");
}
