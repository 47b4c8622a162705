//! The conversation between the person's terminal and a program inside, whichever call carries
//! it.

use super::{DetachKeys, Guard, detach::Detach, window, writer::Writer};
use crate::error::CliError;
use std::{
    collections::VecDeque,
    io::{self, Read as _},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

const PIECE: usize = 32 << 10;
/// Pieces of what is typed that wait for the daemon.
const TYPED: usize = 16;
/// Bytes of it that wait while a program does not read.
const MOST_TYPED: usize = 4 << 20;
/// How long the last output may take to reach the terminal.
const LAST: Duration = Duration::from_secs(2);

/// From the terminal.
#[derive(Debug)]
pub(crate) enum Up {
    Typed(Vec<u8>),
    Resize {
        rows: u32,
        columns: u32,
    },
    /// Bytes of output that the terminal has shown.
    Shown(u64),
}

/// To the terminal.
#[derive(Debug)]
pub(crate) enum Down {
    Output(Vec<u8>),
    /// The program has ended.
    End,
}

/// Why the conversation ended.
#[derive(Debug)]
pub(crate) enum Left {
    /// The program has ended, or the call.
    Ended,
    /// By the detach keys.
    Detached,
    /// The terminal is gone, or this client is to end.
    Hangup,
}

/// What waits for the daemon to take it.
#[derive(Default)]
struct Waiting {
    typed: VecDeque<Vec<u8>>,
    bytes: usize,
    resize: bool,
    shown: Option<u64>,
}

impl Waiting {
    /// A program that does not read must not keep the person from leaving: what is typed
    /// beyond the limit is lost, with a bell.
    fn push(&mut self, typed: Vec<u8>) -> bool {
        let fits = self.bytes + typed.len() <= MOST_TYPED;
        if fits && !typed.is_empty() {
            self.bytes += typed.len();
            self.typed.push_back(typed);
        }
        fits
    }

    fn is_empty(&self) -> bool {
        self.typed.is_empty() && !self.resize && self.shown.is_none()
    }

    fn next(&mut self) -> Option<Up> {
        if let Some(total) = self.shown.take() {
            return Some(Up::Shown(total));
        }
        if std::mem::take(&mut self.resize) {
            let size = window();
            return Some(Up::Resize { rows: size.rows, columns: size.columns });
        }
        let typed = self.typed.pop_front()?;
        self.bytes -= typed.len();
        Some(Up::Typed(typed))
    }
}

/// Passes everything on until the program ends or the person leaves. The terminal is the
/// program's meanwhile, and as before afterwards.
pub(crate) async fn converse(
    keys: DetachKeys,
    everything: bool,
    up: mpsc::Sender<Up>,
    mut down: mpsc::Receiver<Result<Down, CliError>>,
) -> Result<Left, CliError> {
    let listen = |kind| signal(kind).map_err(CliError::Terminal);
    let mut resized = listen(SignalKind::window_change())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let mut guard = Guard::enter(everything).map_err(CliError::Terminal)?;
    let (writer, mut written) = Writer::start();
    let mut typed = typed();
    let mut detach = Detach::new(keys);
    let mut waiting = Waiting::default();
    let (mut sent, mut shown) = (0_u64, 0_u64);
    let left = loop {
        tokio::select! {
            news = down.recv() => match news {
                Some(Ok(Down::Output(data))) => {
                    guard.screen.look(&data);
                    sent += data.len() as u64;
                    writer.write(data);
                }
                Some(Ok(Down::End)) | None => break Left::Ended,
                // The terminal is brought back before anybody reads about it.
                Some(Err(error)) => return Err(error),
            },
            permit = up.reserve(), if !waiting.is_empty() => match (permit, waiting.next()) {
                (Ok(permit), Some(next)) => permit.send(next),
                // What comes down says why.
                _ => waiting = Waiting::default(),
            },
            total = written.recv() => match total {
                Some(total) => {
                    shown = total;
                    waiting.shown = Some(total);
                }
                None => break Left::Hangup,
            },
            data = typed.recv() => {
                let Some(data) = data else { break Left::Hangup };
                let (through, leave) = detach.look(&data);
                if !waiting.push(through) {
                    writer.write(b"\x07".to_vec());
                    sent += 1;
                }
                if leave {
                    break Left::Detached;
                }
            }
            _ = resized.recv() => waiting.resize = true,
            _ = interrupt.recv() => break Left::Hangup,
            _ = terminate.recv() => break Left::Hangup,
            _ = hangup.recv() => break Left::Hangup,
        }
    };
    if matches!(left, Left::Ended) {
        // The program's last words, where the terminal takes them.
        let last = async {
            while shown < sent {
                let Some(total) = written.recv().await else { return };
                shown = total;
            }
        };
        let _ = tokio::time::timeout(LAST, last).await;
    }
    drop(writer);
    drop(guard);
    Ok(left)
}

/// What is typed; the end of it is the end of the terminal.
fn typed() -> mpsc::Receiver<Vec<u8>> {
    let (send, typed) = mpsc::channel(TYPED);
    // A blocking read cannot be cancelled: the thread ends with the process.
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut piece = vec![0; PIECE];
        loop {
            match stdin.read(&mut piece) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    if send.blocking_send(piece.get(..read).unwrap_or_default().to_vec()).is_err() {
                        return;
                    }
                }
            }
        }
    });
    typed
}
