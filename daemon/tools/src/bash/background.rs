//! Commands in the background: they run until they end or are killed, with the server at the
//! latest, and keep the end of what they print.

use super::{
    child::{self, Child, Pipes},
    denials, report,
    ring::{Part, Ring},
    run::{self, Cancel, Outcome, Sink},
};
use crate::{Table, ToolError};
use cordon_policy::Denial;
use rustix::process::Signal;
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Commands at a time.
pub(crate) const RUNNING: usize = 32;
/// Ended ones that are remembered.
const ENDED: usize = 32;
/// Bytes of each stream that are kept while a command runs, and after.
const KEPT: usize = 4 << 20;
const KEPT_ENDED: usize = 1 << 20;
/// How long a command has between being asked to end and being killed.
const ASKED: Duration = Duration::from_secs(2);
/// What of stderr is looked through for refusals.
const LOOKED_AT: usize = 32 << 10;

/// All of one server.
#[derive(Debug, Default)]
pub(crate) struct Jobs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    last: u64,
    jobs: BTreeMap<u64, Arc<Job>>,
}

/// One command.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) command: String,
    pub(crate) directory: PathBuf,
    pub(crate) pid: i32,
    pub(crate) started: Instant,
    streams: Mutex<Streams>,
    ended: Mutex<Option<End>>,
    /// Cancelled when it has ended.
    over: CancellationToken,
    /// Cancelled to kill it.
    kill: CancellationToken,
}

/// How one ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) outcome: Result<Outcome, String>,
    pub(crate) denials: Vec<Denial>,
}

#[derive(Debug)]
struct Streams {
    stdout: Ring,
    stderr: Ring,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Keep<'a>(&'a Mutex<Streams>);

impl Sink for Keep<'_> {
    fn stdout(&mut self, bytes: &[u8]) {
        lock(self.0).stdout.push(bytes);
    }

    fn stderr(&mut self, bytes: &[u8]) {
        lock(self.0).stderr.push(bytes);
    }
}

impl Jobs {
    /// Starts one, if there is room for it.
    pub(crate) fn start(
        &self,
        table: &Table,
        command: String,
        directory: PathBuf,
        server: CancellationToken,
        start: impl FnOnce() -> io::Result<(Child, Pipes)>,
    ) -> Result<Arc<Job>, ToolError> {
        let mut known = lock(&self.0);
        let running = known.jobs.values().filter(|job| job.end().is_none()).count();
        if running >= RUNNING {
            return Err(ToolError::Failed(format!(
                "{RUNNING} commands run in the background already: kill one first (list_background_commands)"
            )));
        }
        let (child, pipes) = start().map_err(|error| {
            let at = ToolError::shown(&directory);
            ToolError::Failed(format!("the shell could not be started in {at}: {error}"))
        })?;
        known.last += 1;
        let job = Arc::new(Job {
            id: format!("bg{}", known.last),
            command,
            directory,
            pid: child.pid(),
            started: Instant::now(),
            streams: Mutex::new(Streams { stdout: Ring::new(KEPT), stderr: Ring::new(KEPT) }),
            ended: Mutex::default(),
            over: CancellationToken::new(),
            kill: CancellationToken::new(),
        });
        let number = known.last;
        known.jobs.insert(number, job.clone());
        known.forget();
        tokio::spawn(job.clone().watch(table.clone(), (child, pipes), server));
        Ok(job)
    }

    /// One by its id.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<Job>, ToolError> {
        let known = lock(&self.0);
        known.jobs.values().find(|job| job.id == id).cloned().ok_or_else(|| {
            ToolError::NotFound(format!("the background command {}", ToolError::shown(id.as_ref())))
        })
    }

    /// All that are remembered, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Job>> {
        lock(&self.0).jobs.values().cloned().collect()
    }
}

impl Known {
    fn forget(&mut self) {
        let ended: Vec<u64> =
            self.jobs.iter().filter(|(_, job)| job.end().is_some()).map(|(number, _)| *number).collect();
        for number in ended.iter().take(ended.len().saturating_sub(ENDED)) {
            self.jobs.remove(number);
        }
    }
}

impl Job {
    async fn watch(self: Arc<Self>, table: Table, started: (Child, Pipes), server: CancellationToken) {
        let cancel = Cancel { call: self.kill.clone(), server };
        let outcome = run::run(started, &mut Keep(&self.streams), None, &cancel).await;
        let stderr = {
            let mut streams = lock(&self.streams);
            streams.stdout.shrink(KEPT_ENDED);
            streams.stderr.shrink(KEPT_ENDED);
            streams.stderr.part(-(LOOKED_AT as i64), LOOKED_AT, false).bytes
        };
        let denials = outcome.as_ref().map_or_else(
            |_| Vec::new(),
            |outcome| {
                denials::find(&table, &self.directory, outcome.status, &String::from_utf8_lossy(&stderr))
            },
        );
        *lock(&self.ended) = Some(End { outcome: outcome.map_err(|error| error.to_string()), denials });
        self.over.cancel();
    }

    /// How it ended, if it did.
    pub(crate) fn end(&self) -> Option<End> {
        lock(&self.ended).clone()
    }

    /// Bytes printed so far.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let streams = lock(&self.streams);
        (streams.stdout.total(), streams.stderr.total())
    }

    /// Parts of both streams that fit into so many bytes together.
    pub(crate) fn output(&self, since: (i64, i64), limit: usize) -> (Part, Part) {
        let growing = self.end().is_none();
        let streams = lock(&self.streams);
        let stdout = streams.stdout.part(since.0, limit, growing);
        let stderr = streams.stderr.part(since.1, limit, growing);
        let (one, other) = report::share(limit, stdout.bytes.len(), stderr.bytes.len());
        (streams.stdout.part(since.0, one, growing), streams.stderr.part(since.1, other, growing))
    }

    /// Waits until it has ended.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Sends a signal to its process group; false: it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        self.end().is_none() && child::signal(self.pid, signal)
    }

    /// Asks it to end, kills what does not, and waits until nothing of it is left.
    pub(crate) async fn kill(&self) {
        self.signal(Signal::TERM);
        // What is stopped could not even be asked.
        self.signal(Signal::CONT);
        let _ = tokio::time::timeout(ASKED, self.over()).await;
        self.kill.cancel();
        self.over().await;
    }
}
