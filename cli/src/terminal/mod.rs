//! The person's terminal, where a program inside has it.

mod converse;
mod detach;
mod guard;
mod writer;

pub(crate) use converse::{Down, Left, Up, converse};
pub(crate) use detach::DetachKeys;
pub(crate) use guard::Guard;

use cordon_proto::v1::run_exec_request::Resize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io;

/// The window's size now.
pub(crate) fn window() -> Resize {
    tcgetwinsize(io::stdout()).map_or(Resize { rows: 24, columns: 80 }, |size| Resize {
        rows: u32::from(size.ws_row),
        columns: u32::from(size.ws_col),
    })
}

/// Keys go to the program inside, signals among them, until this is dropped.
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
