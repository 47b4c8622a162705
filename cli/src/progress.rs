//! Says on standard error what is waited for, once it takes longer than a second.

use std::{
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    pin::pin,
    time::{Duration, Instant},
};

pub(crate) async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let began = Instant::now();
    let live = io::stderr().is_terminal();
    let mut said = false;
    loop {
        tokio::select! {
            done = &mut work => {
                if said && live {
                    eprint!("\r\x1b[2K");
                }
                return done;
            }
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                if live {
                    eprint!("\r\x1b[2K{what}… {} s", began.elapsed().as_secs());
                    let _ = io::stderr().flush();
                } else if !said {
                    eprintln!("{what}…");
                }
                said = true;
            }
        }
    }
}
