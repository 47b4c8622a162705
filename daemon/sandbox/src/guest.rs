//! The connection to the guest inside a sandbox. Everything it says is untrusted:
//! sizes, orders and numbers are checked here before anyone else sees them.

use bytes::Bytes;
use cordon_proto::guest as pb;
use tokio::sync::mpsc;

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
    /// What to send.
    pub input: mpsc::Sender<ProcessInput>,
}

/// The guest of one sandbox. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guest {
    pub(crate) sandbox: String,
    pub(crate) client: pb::guest_client::GuestClient<tonic::transport::Channel>,
}
