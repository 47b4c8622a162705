//! Output goes to the terminal on a thread of its own: a slow terminal must hold up neither
//! what is typed nor what leaves it.

use std::{
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
};
use tokio::sync::mpsc;

/// Written at once; then it is looked whether anybody still wants it.
const PIECE: usize = 4 << 10;

pub(crate) struct Writer {
    pieces: std_mpsc::Sender<Vec<u8>>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    /// Tells how many bytes are written; the channel closes when the terminal is gone.
    pub(crate) fn start() -> (Self, mpsc::UnboundedReceiver<u64>) {
        let (pieces, waiting) = std_mpsc::channel::<Vec<u8>>();
        let (written, told) = mpsc::unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            let mut total = 0;
            while let Ok(data) = waiting.recv() {
                for piece in data.chunks(PIECE) {
                    if stopped.load(Ordering::Acquire) || write(piece).is_err() {
                        return;
                    }
                    total += piece.len() as u64;
                }
                if written.send(total).is_err() {
                    return;
                }
            }
        });
        (Self { pieces, stop }, told)
    }

    /// How much waits is bounded by whoever sends: it waits to be told what was written.
    pub(crate) fn write(&self, data: Vec<u8>) {
        let _ = self.pieces.send(data);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

fn write(data: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(data)?;
    out.flush()
}
