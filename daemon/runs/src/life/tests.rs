//! Turns against a guest that plays a script.

use super::{
    inside::Inside,
    intake::{Covered, Intake},
    log::{Log, Tally},
    process::{Limits, after},
    rebuild::{At, Overview, Replayed, replay},
    turn::{Begin, Turn, TurnError, Work},
};
use crate::{
    journal::{Durability, Journal},
    record::End,
};
use cordon_backends::{Driver, ExecPlan, Exit, Step, TurnOutcome};
use cordon_proto::{
    guest as pb,
    v1::{self, Event, MessageEvent, OutputStream, event::Kind},
};
use cordon_sandbox::{
    SandboxError,
    guest::{Process, ProcessEvent, ProcessInput},
};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "sk-abcdefgh";
const TERM: u32 = 15;
const KILL: u32 = 9;

/// Runs `processes` processes; its answer tells everything it was told, however cut.
struct Recorder {
    processes: usize,
    begun: usize,
    streams: [Vec<u8>; 2],
    exits: Vec<Exit>,
}

impl Recorder {
    fn boxed(processes: usize) -> Box<dyn Driver> {
        Box::new(Self { processes, begun: 0, streams: Default::default(), exits: Vec::new() })
    }
}

fn message(text: String) -> Kind {
    Kind::Message(MessageEvent { text })
}

impl Driver for Recorder {
    fn next(&mut self) -> (Vec<Kind>, Step) {
        if self.begun == self.processes || self.exits.last().is_some_and(|e| e.cancelled || e.timed_out) {
            let told = format!("{:?} {:?}", self.streams, self.exits);
            let done = TurnOutcome { outcome: v1::Outcome::Success, message: told };
            return (vec![message("done".to_owned())], Step::Done(done));
        }
        self.begun += 1;
        let plan = ExecPlan {
            argv: vec![b"agent".to_vec()],
            env: vec![("KEY".to_owned(), SECRET.into())],
            cwd: PathBuf::from("/"),
            stdin: Some(vec![b'x'; 200_000]),
        };
        (vec![message(format!("begin {}", self.begun))], Step::Exec(plan))
    }

    fn output(&mut self, stream: OutputStream, data: &[u8]) -> Vec<Kind> {
        self.streams[usize::from(stream == OutputStream::Stderr)].extend_from_slice(data);
        vec![message(format!("{} bytes", data.len()))]
    }

    fn exited(&mut self, exit: &Exit) -> Vec<Kind> {
        self.exits.push(exit.clone());
        vec![message("exited".to_owned())]
    }
}

/// A guest whose processes print a script and end, or do not end until killed.
struct Scripted {
    printed: Vec<(pb::Stream, Vec<u8>)>,
    last: Last,
    /// Processes that this guest was told to start.
    started: Mutex<Vec<String>>,
    signals: Mutex<Vec<(u32, bool)>>,
    stdin: Arc<Mutex<usize>>,
    acks: Arc<Mutex<Vec<u64>>>,
    killed: tokio::sync::watch::Sender<bool>,
}

#[derive(Clone, Copy, PartialEq)]
enum Last {
    Exit,
    Hang,
    Lose,
}

impl Scripted {
    fn new(printed: Vec<(pb::Stream, Vec<u8>)>, last: Last) -> Self {
        Self {
            printed,
            last,
            started: Mutex::default(),
            signals: Mutex::default(),
            stdin: Arc::default(),
            acks: Arc::default(),
            killed: tokio::sync::watch::channel(false).0,
        }
    }

    fn play(&self, from: u64) -> Process {
        let (events, received) = mpsc::channel(4);
        let (input, mut inputs) = mpsc::channel(4);
        let (printed, last) = (self.printed.clone(), self.last);
        let mut killed = self.killed.subscribe();
        tokio::spawn(async move {
            let mut at = 0;
            for (stream, data) in printed {
                let begin = at;
                at += data.len() as u64;
                let skip = from.saturating_sub(begin) as usize;
                if skip < data.len() {
                    let data = data[skip..].to_vec().into();
                    let offset = begin + skip as u64;
                    if events.send(ProcessEvent::Output { stream, offset, data }).await.is_err() {
                        return;
                    }
                }
            }
            if last == Last::Lose {
                let _ = events.send(ProcessEvent::Lost("it broke".to_owned())).await;
                return;
            }
            let mut exited = pb::Exited { end_offset: at, code: Some(0), ..Default::default() };
            if last == Last::Hang {
                let _ = killed.wait_for(|killed| *killed).await;
                (exited.code, exited.signal) = (None, Some(KILL));
            }
            let _ = events.send(ProcessEvent::Exited(exited)).await;
        });
        let (stdin, acks) = (self.stdin.clone(), self.acks.clone());
        tokio::spawn(async move {
            while let Some(one) = inputs.recv().await {
                match one {
                    ProcessInput::Stdin(data) => *stdin.lock().unwrap() += data.len(),
                    ProcessInput::Ack(offset) => acks.lock().unwrap().push(offset),
                    _ => {}
                }
            }
        });
        Process { events: received, input }
    }
}

#[async_trait::async_trait]
impl Inside for Scripted {
    async fn exec(&self, start: pb::Start) -> Result<Process, SandboxError> {
        assert!(!start.argv.iter().any(|a| a.windows(SECRET.len()).any(|w| w == SECRET.as_bytes())));
        self.started.lock().unwrap().push(start.process_id);
        Ok(self.play(0))
    }

    async fn attach(&self, _: &str, offset: u64) -> Result<Process, SandboxError> {
        Ok(self.play(offset))
    }

    async fn signal(&self, _: &str, signal: u32, stragglers: bool) -> Result<(), SandboxError> {
        self.signals.lock().unwrap().push((signal, stragglers));
        if signal == KILL {
            self.killed.send_replace(true);
        }
        Ok(())
    }

    async fn knows(&self, process_id: &str) -> Result<bool, SandboxError> {
        Ok(self.started.lock().unwrap().iter().any(|id| id == process_id))
    }
}

fn limits(stop: &CancellationToken) -> Limits {
    Limits {
        stop: stop.clone(),
        deadline: after(Duration::from_secs(100)),
        deadline_of: "the turn took too long".to_owned(),
        idle: Duration::from_secs(30),
        grace: Duration::from_secs(5),
    }
}

fn turn(inside: Arc<Scripted>, stop: &CancellationToken) -> Turn {
    Turn {
        number: 1,
        inside,
        hidden: Arc::new(crate::logins::Hidden::only(&[SECRET.to_owned()])),
        limits: limits(stop),
        processes: 0,
        started: std::time::Instant::now(),
    }
}

fn work(driver: Box<dyn Driver>, covered: Covered, journal: &Arc<Journal>) -> Work {
    let log = Log::new(journal.clone(), "a", Arc::new(Tally::default()));
    let hidden = Arc::new(crate::logins::Hidden::only(&[SECRET.to_owned()]));
    Work { driver, intake: Intake::new(hidden, covered), log }
}

async fn whole(
    inside: Arc<Scripted>,
    stop: &CancellationToken,
    processes: usize,
    journal: &Arc<Journal>,
) -> Result<(End, String), TurnError> {
    let turn = turn(inside, stop);
    let work = work(Recorder::boxed(processes), Covered::default(), journal);
    let (work, begin) = turn.announce(work, "command").await?;
    turn.run(work, begin).await
}

fn new_journal(dir: &Path) -> Arc<Journal> {
    Arc::new(Journal::create(&dir.join("journal"), 1 << 30).unwrap())
}

fn events(dir: &Path) -> Vec<Event> {
    let mut all = Vec::new();
    Journal::open(&dir.join("journal"), 1 << 30, |e| all.push(e)).unwrap();
    all
}

fn printed(events: &[Event]) -> String {
    let data = events.iter().filter_map(|e| match &e.kind {
        Some(Kind::Output(o)) => Some(o.data.to_vec()),
        _ => None,
    });
    String::from_utf8(data.flatten().collect()).unwrap()
}

fn stdout(text: &str) -> (pb::Stream, Vec<u8>) {
    (pb::Stream::Stdout, text.as_bytes().to_vec())
}

#[tokio::test]
async fn a_turn_tells_everything_but_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let journal = new_journal(dir.path());
    let inside = Arc::new(Scripted::new(vec![stdout("key sk-abc"), stdout("defgh end\n")], Last::Exit));
    let (end, _) = whole(inside.clone(), &CancellationToken::new(), 2, &journal).await.unwrap();
    assert_eq!(end, End::Success);
    assert_eq!(*inside.started.lock().unwrap(), ["t1-1", "t1-2"]);
    assert_eq!(*inside.stdin.lock().unwrap(), 400_000);
    let all = events(dir.path());
    let kinds: Vec<&Kind> = all.iter().filter_map(|e| e.kind.as_ref()).collect();
    assert_eq!(printed(&all), "key [redacted] end\n".repeat(2));
    assert!(!format!("{all:?}").contains(SECRET));
    assert!(matches!(kinds.first(), Some(Kind::TurnStarted(_))), "{kinds:?}");
    assert!(matches!(kinds.last(), Some(Kind::TurnEnded(_))), "{kinds:?}");
    let started = kinds.iter().filter(|k| matches!(k, Kind::ProcessStarted(_))).count();
    let exited = kinds.iter().filter(|k| matches!(k, Kind::ProcessExited(_))).count();
    assert_eq!((started, exited), (2, 2));
    // Never before the journal has it, and never beyond what was printed.
    assert!(inside.acks.lock().unwrap().iter().all(|a| *a <= 20));
}

#[tokio::test(start_paused = true)]
async fn silence_is_asked_to_end_and_then_killed_with_stragglers() {
    let dir = tempfile::tempdir().unwrap();
    let journal = new_journal(dir.path());
    let inside = Arc::new(Scripted::new(vec![stdout("hello")], Last::Hang));
    let begun = tokio::time::Instant::now();
    let (end, why) = whole(inside.clone(), &CancellationToken::new(), 1, &journal).await.unwrap();
    assert_eq!(
        (end, why.as_str()),
        (End::TimedOut, "the agent printed nothing for 30 s (idle_timeout_seconds)")
    );
    assert_eq!(*inside.signals.lock().unwrap(), [(TERM, false), (KILL, true)]);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(35) && took < Duration::from_secs(40), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_turn_says_so_and_starts_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let journal = new_journal(dir.path());
    let inside = Arc::new(Scripted::new(Vec::new(), Last::Hang));
    let stop = CancellationToken::new();
    let (ended, ()) = tokio::join!(whole(inside.clone(), &stop, 3, &journal), async { stop.cancel() });
    assert_eq!(ended.unwrap().0, End::Cancelled);
    assert_eq!(inside.started.lock().unwrap().len(), 1);
    let exited = events(dir.path()).into_iter().find_map(|e| match e.kind {
        Some(Kind::ProcessExited(exited)) => Some(exited),
        _ => None,
    });
    assert!(exited.unwrap().cancelled);
}

#[tokio::test]
async fn a_guest_that_dies_is_told_after_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let journal = new_journal(dir.path());
    let inside = Arc::new(Scripted::new(vec![stdout("last words")], Last::Lose));
    let error = whole(inside, &CancellationToken::new(), 1, &journal).await.unwrap_err();
    assert!(error.to_string().contains("it broke"), "{error}");
    assert_eq!(printed(&events(dir.path())), "last words");
}

#[tokio::test]
async fn a_journal_that_takes_no_more_ends_the_turn() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(Journal::create(&dir.path().join("journal"), 5000).unwrap());
    let inside = Arc::new(Scripted::new(vec![stdout(&"x".repeat(10_000))], Last::Exit));
    let error = whole(inside, &CancellationToken::new(), 1, &journal).await.unwrap_err();
    assert!(matches!(error, TurnError::Journal(_)), "{error}");
}

/// What a new daemon does with the first `events` events of a journal.
async fn go_on(dir: &Path, events: &[Event], inside: Arc<Scripted>, processes: usize) -> (End, String) {
    let path = dir.join("again");
    let _ = std::fs::remove_file(&path);
    let journal = Journal::create(&path, 1 << 30).unwrap();
    if !events.is_empty() {
        journal.append(events.to_vec(), Durability::Soon).unwrap();
    }
    drop(journal);
    let mut overview = Overview::default();
    let (journal, _) = Journal::open(&path, 1 << 30, |e| overview.see(e)).unwrap();
    let journal = Arc::new(journal);
    let Some(seq) = overview.agents.get("a").and_then(|s| s.turn_started) else {
        return whole(inside, &CancellationToken::new(), processes, &journal).await.unwrap();
    };
    if let Some(ended) = overview.agents.get("a").and_then(|s| s.turn_ended.clone()) {
        return ended;
    }
    let mut drivers = BTreeMap::from([("a".to_owned(), (seq, Replayed::new(Recorder::boxed(processes))))]);
    replay(&journal, &mut drivers).unwrap();
    let (_, replayed) = drivers.remove("a").unwrap();
    let (driver, covered, begun, at) = replayed.at();
    let mut turn = turn(inside, &CancellationToken::new());
    turn.processes = begun;
    let begin = match at {
        At::Step(step) => Begin::Step(step),
        At::Process { id, plan, fresh } => Begin::Process { id, plan, fresh },
    };
    turn.run(work(driver, covered, &journal), begin).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Wherever a daemon dies between two appends, the next one comes to the same end.
    #[test]
    fn a_restart_anywhere_comes_to_the_same_end(
        printed in prop::collection::vec(
            (any::<bool>(), prop_oneof![
                Just(SECRET.as_bytes()[..6].to_vec()),
                Just(SECRET.as_bytes()[6..].to_vec()),
                prop::collection::vec(any::<u8>(), 1..30),
            ]), 0..8),
        processes in 1usize..3,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let stream = |err| if err { pb::Stream::Stderr } else { pb::Stream::Stdout };
            let script: Vec<_> = printed.into_iter().map(|(err, data)| (stream(err), data)).collect();
            let journal = new_journal(dir.path());
            let first = Arc::new(Scripted::new(script.clone(), Last::Exit));
            let expected = whole(first, &CancellationToken::new(), processes, &journal).await.unwrap();
            let mut reader = journal.reader(0);
            let mut so_far: Vec<Event> = Vec::new();
            loop {
                let inside = Arc::new(Scripted::new(script.clone(), Last::Exit));
                // The processes that were begun go on in their sandbox.
                let known = so_far.iter().filter_map(|e| match &e.kind {
                    Some(Kind::ProcessStarted(p)) => Some(p.process_id.clone()),
                    _ => None,
                });
                inside.started.lock().unwrap().extend(known);
                let found = go_on(dir.path(), &so_far, inside, processes).await;
                prop_assert_eq!(&found, &expected, "after {} events", so_far.len());
                match reader.next(false).await.unwrap() {
                    Some(batch) => so_far.extend(batch),
                    None => break,
                }
            }
            Ok(())
        })?;
    }
}
