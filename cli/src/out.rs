//! Standard output for what is printed at once. A reader that has seen enough is no error;
//! anything else that cannot be written is said, and ends the command.

use crate::exit::Exit;
use std::{
    fmt::Arguments,
    io::{ErrorKind, Write as _},
    process,
};

/// Writes it and flushes.
pub(crate) fn write(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("cordon: cannot write the output: {error}");
            process::exit(i32::from(Exit::Daemon.code()));
        }
        _ => {}
    }
}

/// Like `println!`, without its panic.
macro_rules! outln {
    ($($text:tt)*) => { $crate::out::write(format_args!("{}\n", format_args!($($text)*))) };
}
