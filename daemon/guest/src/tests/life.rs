//! How processes start and end.

use super::*;

#[tokio::test]
async fn hello_names_the_sandbox() {
    let fixture = Fixture::new().await;
    let hello = fixture.guest.hello().await.unwrap();
    assert_eq!((hello.sandbox_id.as_str(), hello.landlock_enforced), ("s1", false));
}

#[tokio::test]
async fn both_streams_and_the_code_arrive() {
    let fixture = Fixture::new().await;
    let told = finish(fixture.shell("echo out; echo err >&2; exit 7").await).await;
    assert_eq!((told.text(), &told.stderr[..]), ("out\n", &b"err\n"[..]));
    let exited = told.exited();
    assert_eq!((exited.code, exited.signal, exited.end_offset), (Some(7), None, 8));
    assert!(!exited.timed_out && told.pid > 0 && !told.already_running);
}

#[tokio::test]
async fn the_environment_is_the_boots_and_the_requests() {
    let fixture = Fixture::new().await;
    let mut request = start(&["env"]);
    request.env = vec![pb::EnvVar { name: "MINE".to_owned(), value: b"\xff"[..].into() }];
    let mark = format!("CORDON_PROCESS={}\n", request.process_id);
    let told = finish(fixture.exec(request).await).await;
    let expected = [mark.as_bytes(), b"FROM_BOOT=boot\nMINE=\xff\nPATH=/usr/bin:/bin\n"].concat();
    assert_eq!(told.stdout, expected);
}

#[tokio::test]
async fn descriptors_signals_and_session_are_clean() {
    let fixture = Fixture::new().await;
    let script = "ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Blk|Ign)' /proc/self/status; ps -o sid= -p $$; echo $$";
    let told = finish(fixture.shell(script).await).await;
    let lines: Vec<&str> = told.text().lines().map(str::trim).collect();
    // Descriptor 3 is the listing's own.
    assert!(lines[0].starts_with("0 1 2 3 SigBlk"), "{lines:?}");
    assert!(lines[0].ends_with("0000000000000000") && lines[1].ends_with("0000000000000000"), "{lines:?}");
    assert_eq!(lines[2], lines[3], "it leads its session");
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let fixture = Fixture::new().await;
    let failed = |told: Told| match told.last {
        Some(ProcessEvent::Failed { errno, step }) => (errno, step),
        other => panic!("{other:?}"),
    };
    let told = finish(fixture.exec(start(&["no-such-program"])).await).await;
    assert_eq!(failed(told), (2, "exec".to_owned()));
    let told = finish(fixture.exec(start(&["/etc/passwd"])).await).await;
    assert_eq!(failed(told), (13, "exec".to_owned()));
    let mut request = start(&["true"]);
    request.cwd = "/no/such/directory".into();
    assert_eq!(failed(finish(fixture.exec(request).await).await), (2, "chdir".to_owned()));
}

#[tokio::test]
async fn malformed_requests_are_errors() {
    let fixture = Fixture::new().await;
    for request in [pb::Start::default(), start(&[]), start(&["a\0b"])] {
        assert!(fixture.guest.exec(request).await.is_err());
    }
    assert!(fixture.guest.attach("nobody", 0).await.is_err());
    assert!(fixture.guest.signal("nobody", 9, false).await.is_err());
    assert!(fixture.guest.signal("", 9, false).await.is_err());
}

#[tokio::test]
async fn a_signal_reaches_the_group() {
    let fixture = Fixture::new().await;
    let mut process = fixture.shell("sleep 1000 & echo $!; wait").await;
    let mut told = Told::default();
    until(&mut process, &mut told, "\n").await;
    let child: i32 = told.text().trim().parse().unwrap();
    process.input.send(ProcessInput::Signal(15)).await.unwrap();
    assert_eq!(finish(process).await.exited().signal, Some(15));
    gone(child).await;
}

/// A child in a session of its own, whose parent is gone.
const DAEMON: &str = "(setsid sh -c 'echo $$; exec sleep 1000' &) ; sleep 1000";

#[tokio::test]
async fn a_timeout_ends_what_left_the_group_too() {
    let fixture = Fixture::new().await;
    let mut request = shell(DAEMON);
    request.timeout_ms = 700;
    let mut process = fixture.exec(request).await;
    let mut told = Told::default();
    until(&mut process, &mut told, "\n").await;
    let exited = finish(process).await.exited();
    assert_eq!((exited.signal, exited.timed_out), (Some(9), true));
    assert!((700..10_000).contains(&exited.wall_ms), "{}", exited.wall_ms);
    gone(told.text().trim().parse().unwrap()).await;
}

#[tokio::test]
async fn a_daemon_that_clears_its_environment_is_remembered() {
    let fixture = Fixture::new().await;
    // Seen as a descendant while its parent lives, then on its own.
    let script = "(setsid env -i sh -c 'echo $$; exec sleep 1000' & sleep 1.5) ; echo orphaned; sleep 1000";
    let request = shell(script);
    let id = request.process_id.clone();
    let mut process = fixture.exec(request).await;
    let mut told = Told::default();
    until(&mut process, &mut told, "orphaned").await;
    fixture.guest.signal(&id, 9, true).await.unwrap();
    assert_eq!(finish(process).await.exited().signal, Some(9));
    gone(told.text().lines().next().unwrap().parse().unwrap()).await;
}

#[tokio::test]
async fn a_grandchild_that_keeps_the_pipe_does_not_delay_the_end() {
    let fixture = Fixture::new().await;
    for script in ["sleep 1000 & echo $!", "(while :; do echo chatter; sleep 0.05; done) & echo $!"] {
        let request = shell(script);
        let id = request.process_id.clone();
        let told = finish(fixture.exec(request).await).await;
        assert_eq!(told.exited().code, Some(0));
        assert!(told.exited().wall_ms < 8_000);
        fixture.guest.signal(&id, 9, true).await.unwrap();
        // The grandchild may have been heard first.
        gone(told.text().lines().find_map(|line| line.parse().ok()).unwrap()).await;
    }
}

#[tokio::test]
async fn kill_on_detach_kills() {
    let fixture = Fixture::new().await;
    let mut request = shell("echo up; exec sleep 1000");
    request.kill_on_detach = true;
    let mut process = fixture.exec(request).await;
    let mut told = Told::default();
    until(&mut process, &mut told, "up").await;
    drop(process);
    gone(i32::try_from(told.pid).unwrap()).await;
}

#[tokio::test]
async fn a_terminal_has_the_size_it_is_given() {
    let fixture = Fixture::new().await;
    let mut request = shell("stty size; read go; stty size; while read line; do echo got $line; done");
    request.pty = Some(pb::WindowSize { rows: 33, columns: 99 });
    let mut process = fixture.exec(request).await;
    let mut told = Told::default();
    until(&mut process, &mut told, "33 99").await;
    process.input.send(ProcessInput::Resize { rows: 12, columns: 34 }).await.unwrap();
    process.input.send(ProcessInput::Stdin("go\n".into())).await.unwrap();
    until(&mut process, &mut told, "12 34").await;
    process.input.send(ProcessInput::Stdin("hello\n".into())).await.unwrap();
    until(&mut process, &mut told, "got hello").await;
    process.input.send(ProcessInput::StdinEof).await.unwrap();
    assert_eq!(finish(process).await.exited().code, Some(0));
}

#[tokio::test]
async fn list_and_stats_tell_what_runs() {
    let fixture = Fixture::new().await;
    let mut process = fixture.shell("sleep 1000 & echo up; wait").await;
    let mut told = Told::default();
    until(&mut process, &mut told, "up").await;
    let list = fixture.guest.list().await.unwrap();
    assert_eq!((list.total, list.processes.len()), (2, 1));
    assert!(list.processes[0].running && list.processes[0].pid == told.pid);
    let stats = fixture.guest.stats().await.unwrap();
    assert!(stats.processes == 2 && stats.memory_bytes > 0);
    fixture.guest.signal("", 9, true).await.unwrap();
    assert_eq!(finish(process).await.exited().signal, Some(9));
    let list = fixture.guest.list().await.unwrap();
    assert_eq!((list.total, list.processes[0].running), (0, false));
    assert_eq!(list.processes[0].exited.map(|exited| exited.signal), Some(Some(9)));
}

#[tokio::test]
async fn shutdown_ends_everything_within_its_grace() {
    let fixture = Fixture::new().await;
    let mut process = fixture.shell("trap '' TERM; echo $$; while :; do sleep 1; done").await;
    let mut told = Told::default();
    until(&mut process, &mut told, "\n").await;
    fixture.guest.shutdown().await.unwrap();
    tokio::time::timeout(Duration::from_secs(8), fixture.server).await.unwrap().unwrap().unwrap();
    gone(told.text().trim().parse().unwrap()).await;
}
