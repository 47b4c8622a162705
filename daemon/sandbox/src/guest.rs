//! The connection to the guest inside a sandbox. Everything it says is untrusted:
//! sizes, orders and numbers are checked here before anyone else sees them.

#[cfg(feature = "docker")]
pub(crate) mod answer;
mod connect;
mod stream;

use crate::SandboxError;
use bytes::Bytes;
use cordon_proto::guest as pb;
use std::{future::Future, time::Duration};
use tokio::sync::mpsc;

/// How long a call may take before its guest counts as broken.
const CALL: Duration = Duration::from_secs(10);
/// The probe tries many things, connections that must time out among them.
const PROBE: Duration = Duration::from_secs(30);
/// The largest message that is taken from a guest.
const MESSAGE_LIMIT: usize = 4 << 20;

/// What happens to a process inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// It runs. On an attach `already_running` is true.
    Started {
        /// Process id inside the sandbox.
        pid: u32,
        /// Whether it had been started before.
        already_running: bool,
    },
    /// Output, in offset order without gaps but for `Dropped`.
    Output {
        /// Which stream.
        stream: pb::Stream,
        /// Position in the process's log.
        offset: u64,
        /// At most 64 KiB.
        data: Bytes,
    },
    /// The guest had to drop this range because nobody read it.
    Dropped {
        /// First byte dropped.
        from: u64,
        /// First byte after.
        to: u64,
    },
    /// The end; nothing follows.
    Exited(pb::Exited),
    /// It could not be started; nothing follows.
    Failed {
        /// errno.
        errno: u32,
        /// "exec" or "chdir".
        step: String,
    },
    /// The guest is gone or answered nonsense; nothing follows.
    Lost(String),
}

/// What may be sent to a process inside.
#[derive(Clone, Debug)]
pub enum ProcessInput {
    /// Standard input.
    Stdin(Bytes),
    /// End of standard input.
    StdinEof,
    /// New terminal size.
    Resize {
        /// Rows.
        rows: u32,
        /// Columns.
        columns: u32,
    },
    /// A signal for the group.
    Signal(u32),
    /// Everything before this offset is kept outside.
    Ack(u64),
}

/// A process inside, as seen through one stream. Dropping it detaches.
#[derive(Debug)]
pub struct Process {
    /// What happens; ends after `Exited`, `Failed` or `Lost`.
    pub events: mpsc::Receiver<ProcessEvent>,
    /// What to send. Output that is never acknowledged stays in the guest: when its
    /// buffer is full the process is held up, and after a minute the oldest is dropped.
    pub input: mpsc::Sender<ProcessInput>,
}

/// The guest of one sandbox. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guest {
    pub(crate) sandbox: String,
    pub(crate) client: pb::guest_client::GuestClient<tonic::transport::Channel>,
}

impl Guest {
    /// Waits until the guest is confined and answers: readiness, not liveness.
    ///
    /// # Errors
    /// When it does not answer within ten seconds, or speaks for another sandbox.
    pub async fn hello(&self) -> Result<pb::HelloResponse, SandboxError> {
        let mut client = self.client.clone();
        let answer = self.call("hello", CALL, client.hello(pb::HelloRequest {})).await?;
        if answer.sandbox_id == self.sandbox {
            Ok(answer)
        } else {
            Err(self.broken("it says that it belongs to another sandbox"))
        }
    }

    /// Starts a process. Starting the same id again attaches to it from offset 0.
    ///
    /// # Errors
    /// When the guest refuses the request or cannot be reached. A program that cannot
    /// be executed is no error here but [`ProcessEvent::Failed`].
    pub async fn exec(&self, start: pb::Start) -> Result<Process, SandboxError> {
        self.open(pb::exec_request::Message::Start(start), 0).await
    }

    /// Attaches to a process that was started before; what happened to it since
    /// `offset` is told first. A second attach ends the first.
    ///
    /// # Errors
    /// When the guest does not know the process, or cannot be reached.
    pub async fn attach(&self, process_id: &str, offset: u64) -> Result<Process, SandboxError> {
        let attach = pb::exec_request::Attach { process_id: process_id.to_owned(), offset };
        self.open(pb::exec_request::Message::Attach(attach), offset).await
    }

    /// Signals a process's group; with `stragglers` also every descendant that left
    /// the group. An empty id with `stragglers` is every process in the sandbox.
    ///
    /// # Errors
    /// When the guest does not know the process or the signal, or cannot be reached.
    pub async fn signal(&self, process_id: &str, signal: u32, stragglers: bool) -> Result<(), SandboxError> {
        let request = pb::SignalRequest { process_id: process_id.to_owned(), signal, stragglers };
        let mut client = self.client.clone();
        self.call("signal", CALL, client.signal(request)).await.map(drop)
    }

    /// The processes that were started through this guest and are still remembered.
    ///
    /// # Errors
    /// When the guest cannot be reached.
    pub async fn list(&self) -> Result<pb::ListResponse, SandboxError> {
        let mut client = self.client.clone();
        self.call("list", CALL, client.list(pb::ListRequest {})).await
    }

    /// What is really reachable from inside.
    ///
    /// # Errors
    /// When the guest cannot be reached or does not finish within thirty seconds.
    pub async fn probe(&self, request: pb::ProbeRequest) -> Result<pb::ProbeResponse, SandboxError> {
        let mut client = self.client.clone();
        self.call("probe", PROBE, client.probe(request)).await
    }

    /// The system calls that are refused inside, each kind once. What was told to an earlier
    /// listener is not told again.
    ///
    /// # Errors
    /// When the guest cannot be reached.
    pub(crate) async fn refusals(&self) -> Result<tonic::Streaming<pb::RefusedCall>, SandboxError> {
        let mut client = self.client.clone();
        self.call("refusals", CALL, client.refusals(pb::RefusalsRequest {})).await
    }

    /// What the sandbox's processes use, as the guest sees it.
    ///
    /// # Errors
    /// When the guest cannot be reached.
    pub async fn stats(&self) -> Result<pb::StatsResponse, SandboxError> {
        let mut client = self.client.clone();
        self.call("stats", CALL, client.stats(pb::StatsRequest {})).await
    }

    /// Ends every process in the sandbox and the guest itself.
    ///
    /// # Errors
    /// When the guest cannot be reached.
    pub async fn shutdown(&self) -> Result<(), SandboxError> {
        let mut client = self.client.clone();
        self.call("shutdown", CALL, client.shutdown(pb::ShutdownRequest {})).await.map(drop)
    }

    async fn call<T>(
        &self,
        what: &str,
        limit: Duration,
        answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, SandboxError> {
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.broken(&format!("{what}: {}", stream::words(&status)))),
            Err(_) => Err(self.broken(&format!("{what}: no answer within {} s", limit.as_secs()))),
        }
    }

    fn broken(&self, why: &str) -> SandboxError {
        SandboxError::Guest { sandbox: self.sandbox.clone(), why: why.to_owned() }
    }
}

/// What a guest that ended by itself left as its reason, escaped and cut; none when it
/// left nothing. It stands in a directory that is the sandbox's own: hostile like the rest.
#[must_use]
pub fn last_words(directory: &std::path::Path) -> Option<String> {
    use rustix::fs::{self, FileType, Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = fs::open(directory.join("last-words"), flags, Mode::empty()).ok()?;
    let stat = fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut words = [0; 512];
    let length = rustix::io::read(&file, &mut words).ok()?;
    let text = words.get(..length).filter(|text| !text.is_empty())?;
    Some(String::from_utf8_lossy(text).escape_debug().to_string())
}
