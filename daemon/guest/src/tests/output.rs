//! What processes print and read: exact, bounded, resumable.

use super::*;

#[tokio::test]
async fn bytes_are_bytes() {
    let fixture = Fixture::new().await;
    let told = finish(fixture.shell(r"printf '\377\000\376a'").await).await;
    assert_eq!(told.stdout, b"\xff\x00\xfea");
}

#[tokio::test]
async fn a_megabyte_goes_in_and_comes_out() {
    let fixture = Fixture::new().await;
    let mut request = start(&["cat"]);
    request.stdin = true;
    let process = fixture.exec(request).await;
    let data: Bytes = (0..1_000_000u32).map(|i| (i % 253) as u8).collect::<Vec<_>>().into();
    let input = process.input.clone();
    let sent = data.clone();
    tokio::spawn(async move {
        input.send(ProcessInput::Stdin(sent)).await.unwrap();
        input.send(ProcessInput::StdinEof).await.unwrap();
    });
    let told = finish(process).await;
    assert!(told.stdout == data, "{} bytes came back", told.stdout.len());
    assert_eq!(told.exited().code, Some(0));
}

#[tokio::test]
async fn without_stdin_there_is_an_end_at_once() {
    let fixture = Fixture::new().await;
    assert_eq!(finish(fixture.exec(start(&["cat"])).await).await.exited().code, Some(0));
}

#[tokio::test]
async fn stdin_that_nobody_reads_does_not_stop_the_end() {
    let fixture = Fixture::new().await;
    let mut request = shell("exec 0<&-; echo closed; sleep 0.2; exit 3");
    request.stdin = true;
    let process = fixture.exec(request).await;
    let input = process.input.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..64 {
            if input.send(ProcessInput::Stdin(vec![0; 64 << 10].into())).await.is_err() {
                return;
            }
        }
    });
    assert_eq!(finish(process).await.exited().code, Some(3));
    tokio::time::timeout(Duration::from_secs(20), sending).await.unwrap().unwrap();
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn much_output_to_a_slow_reader_stays_out_of_memory() {
    const TOTAL: u64 = 64 << 20;
    let fixture = Fixture::new().await;
    let mut process = fixture.shell(&format!("head -c {TOTAL} /dev/zero")).await;
    let before = resident_kib();
    let (mut seen, mut worst) = (0, 0);
    loop {
        match event(&mut process).await {
            ProcessEvent::Output { offset, data, .. } => {
                assert_eq!(offset, seen);
                seen += data.len() as u64;
                // Slower than the writer, and acknowledging late.
                if seen % (1 << 20) < data.len() as u64 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    worst = worst.max(resident_kib());
                    process.input.send(ProcessInput::Ack(seen.saturating_sub(4 << 20))).await.unwrap();
                }
            }
            ProcessEvent::Exited(exited) => {
                assert_eq!((exited.code, exited.end_offset), (Some(0), TOTAL));
                break;
            }
            ProcessEvent::Started { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, TOTAL);
    // The other tests of this process run meanwhile; both ends are in it.
    assert!(worst.saturating_sub(before) < 40 << 10, "grew by {} KiB", worst.saturating_sub(before));
}

#[tokio::test]
async fn attach_resumes_to_the_byte() {
    let fixture = Fixture::new().await;
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i; echo error $i >&2; i=$((i+1)); done";
    let whole = finish(fixture.shell(script).await).await;
    let request = shell(script);
    let id = request.process_id.clone();
    let mut process = fixture.exec(request).await;
    let mut told = Told::default();
    let mut offset = 0;
    while offset < 20_000 {
        let event = event(&mut process).await;
        if let ProcessEvent::Output { offset: at, data, .. } = &event {
            offset = at + data.len() as u64;
            if offset < 10_000 {
                process.input.send(ProcessInput::Ack(offset)).await.unwrap();
            }
        }
        told.take(event);
    }
    drop(process);
    let rest = finish(fixture.guest.attach(&id, offset).await.unwrap()).await;
    assert!(rest.already_running && rest.dropped.is_empty());
    assert_eq!([told.stdout, rest.stdout.clone()].concat(), whole.stdout);
    assert_eq!([told.stderr, rest.stderr.clone()].concat(), whole.stderr);
    // The end stays, for whoever asks again.
    let again = finish(fixture.guest.attach(&id, rest.exited().end_offset).await.unwrap()).await;
    assert_eq!(again.exited(), rest.exited());
    assert!(fixture.guest.attach(&id, rest.exited().end_offset + 1).await.is_err());
}

#[tokio::test]
async fn starting_an_id_again_attaches() {
    let fixture = Fixture::new().await;
    let mut request = shell("echo $$; cat");
    request.stdin = true;
    let mut first = fixture.exec(request.clone()).await;
    let mut told = Told::default();
    until(&mut first, &mut told, "\n").await;
    let second = fixture.exec(request).await;
    let ended = loop {
        if let ProcessEvent::Lost(why) = event(&mut first).await {
            break why;
        }
    };
    assert!(ended.contains("another stream"), "{ended}");
    second.input.send(ProcessInput::StdinEof).await.unwrap();
    let again = finish(second).await;
    assert!(again.already_running);
    assert_eq!((again.pid, again.text()), (told.pid, told.text()));
}

#[tokio::test]
async fn a_thousand_attaches_leave_one() {
    let fixture = Fixture::new().await;
    let mut request = start(&["cat"]);
    request.stdin = true;
    let id = request.process_id.clone();
    let first = fixture.exec(request).await;
    let mut last = first;
    for _ in 0..1000 {
        last = fixture.guest.attach(&id, 0).await.unwrap();
    }
    last.input.send(ProcessInput::Stdin("still here".into())).await.unwrap();
    last.input.send(ProcessInput::StdinEof).await.unwrap();
    assert_eq!(finish(last).await.text(), "still here");
}

#[tokio::test]
async fn what_nobody_takes_is_dropped_and_said() {
    const TOTAL: u64 = 3 << 20;
    let fixture = Fixture::with(|settings| {
        settings.output_bytes = 512 << 10;
        settings.stall = Duration::from_millis(100);
    })
    .await;
    let request = shell(&format!("head -c {TOTAL} /dev/zero; echo end"));
    let id = request.process_id.clone();
    drop(fixture.exec(request).await);
    let over = async {
        while fixture.guest.list().await.unwrap().processes.iter().any(|process| process.running) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), over).await.expect("it is not held up for ever");
    let told = finish(fixture.guest.attach(&id, 0).await.unwrap()).await;
    let [(0, dropped)] = told.dropped[..] else { panic!("{:?}", told.dropped) };
    assert_eq!(dropped + told.stdout.len() as u64, TOTAL + 4);
    assert!(told.stdout.len() <= 512 << 10 && told.stdout.ends_with(b"end\n"));
}

#[tokio::test]
async fn a_full_log_holds_the_process_up_until_it_is_taken() {
    const TOTAL: u64 = 2 << 20;
    let fixture = Fixture::with(|settings| settings.output_bytes = 300 << 10).await;
    let told = finish(fixture.shell(&format!("head -c {TOTAL} /dev/zero")).await).await;
    assert_eq!((told.dropped.len(), told.stdout.len() as u64), (0, TOTAL));
}

#[tokio::test]
async fn a_reader_that_stopped_does_not_stop_the_others() {
    let fixture = Fixture::new().await;
    let mut stopped = Vec::new();
    for _ in 0..8 {
        stopped.push(fixture.shell("head -c 8000000 /dev/zero").await);
    }
    let told = finish(fixture.shell("head -c 4000000 /dev/zero").await).await;
    assert_eq!(told.stdout.len(), 4_000_000);
    for process in stopped {
        assert_eq!(finish(process).await.stdout.len(), 8_000_000);
    }
}
