//! The guest's serving half without its walls, through the daemon's own client.

mod life;
mod output;
mod tunnels;

use crate::{
    confine::Confinement,
    serve::{Peers, bind, serve},
    settings::Settings,
};
use bytes::Bytes;
use cordon_proto::guest as pb;
use cordon_sandbox::guest::{Guest, Process, ProcessEvent, ProcessInput};
use std::time::Duration;

struct Fixture {
    guest: Guest,
    directory: tempfile::TempDir,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

fn boot(directory: &std::path::Path) -> pb::Boot {
    let env = |name: &str, value: &'static str| pb::EnvVar {
        name: name.to_owned(),
        value: value.as_bytes().into(),
    };
    pb::Boot {
        sandbox_id: "s1".to_owned(),
        directory: directory.to_str().unwrap().to_owned().into(),
        home: "/".into(),
        env: vec![env("PATH", "/usr/bin:/bin"), env("FROM_BOOT", "boot")],
        ..pb::Boot::default()
    }
}

impl Fixture {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(&boot(directory.path())).unwrap();
        change(&mut settings);
        let listeners = bind(&settings).unwrap();
        let confinement = Confinement { landlock_abi: 0, landlock_enforced: false };
        let server =
            tokio::spawn(serve(settings, confinement, listeners, Peers::Any, std::sync::Arc::default()));
        let own = i32::try_from(std::process::id()).unwrap();
        let guest = Guest::connect("s1", directory.path(), Some(own)).await.unwrap();
        Self { guest, directory, server }
    }

    async fn exec(&self, start: pb::Start) -> Process {
        self.guest.exec(start).await.unwrap()
    }

    async fn shell(&self, script: &str) -> Process {
        self.exec(shell(script)).await
    }
}

fn start(argv: &[&str]) -> pb::Start {
    pb::Start {
        process_id: format!("p{}", std::sync::atomic::AtomicU32::fetch_add(&NEXT, 1, ORDER)),
        argv: argv.iter().map(|argument| Bytes::copy_from_slice(argument.as_bytes())).collect(),
        ..pb::Start::default()
    }
}

static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
const ORDER: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

fn shell(script: &str) -> pb::Start {
    start(&["sh", "-c", script])
}

/// Everything that one stream told.
#[derive(Debug, Default)]
struct Told {
    pid: u32,
    already_running: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    dropped: Vec<(u64, u64)>,
    last: Option<ProcessEvent>,
}

impl Told {
    fn take(&mut self, event: ProcessEvent) {
        match event {
            ProcessEvent::Started { pid, already_running } => {
                (self.pid, self.already_running) = (pid, already_running);
            }
            ProcessEvent::Output { stream: pb::Stream::Stderr, data, .. } => self.stderr.extend(&data),
            ProcessEvent::Output { data, .. } => self.stdout.extend(&data),
            ProcessEvent::Dropped { from, to } => self.dropped.push((from, to)),
            last => self.last = Some(last),
        }
    }

    fn exited(&self) -> pb::Exited {
        match &self.last {
            Some(ProcessEvent::Exited(exited)) => *exited,
            other => panic!("it did not exit: {other:?}"),
        }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

async fn event(process: &mut Process) -> ProcessEvent {
    let event = tokio::time::timeout(Duration::from_secs(30), process.events.recv()).await;
    event.expect("something happens").expect("the stream goes on")
}

/// Acknowledges and keeps everything, to the end.
async fn finish(mut process: Process) -> Told {
    let mut told = Told::default();
    while told.last.is_none() {
        let event = event(&mut process).await;
        if let ProcessEvent::Output { offset, data, .. } = &event {
            let _ = process.input.send(ProcessInput::Ack(offset + data.len() as u64)).await;
        }
        told.take(event);
    }
    told
}

/// Reads until standard output contains `text`.
async fn until(process: &mut Process, told: &mut Told, text: &str) {
    while !told.stdout.windows(text.len()).any(|window| window == text.as_bytes()) {
        let event = event(process).await;
        told.take(event);
        assert_eq!(told.last, None, "ended before {text:?}");
    }
}

/// Waits until a process is gone.
async fn gone(pid: i32) {
    let gone = async {
        // A zombie runs no more; its parent here may be anyone.
        while std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the process ends");
}
