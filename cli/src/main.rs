//! `cordon`, the thin client of cordond: it parses the command line, calls `cordon.v1` on a unix
//! socket and shows the answers. No policy and no sandbox code lives here, and nothing that an agent
//! said reaches the terminal as anything but text.

#[macro_use]
mod out;

mod agent_file;
mod args;
mod ask;
mod commands;
mod dotenv;
mod error;
mod exit;
mod filter;
mod fold;
mod json;
mod launch;
mod line;
mod neutral;
mod problems;
mod progress;
mod render;
mod screen;
mod session;
mod signals;
mod socket;
mod terminal;
mod watch;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("error: cannot start: {e}");
            return ExitCode::from(exit::Exit::Daemon.code());
        }
    };
    let exit = runtime.block_on(commands::dispatch(cli)).unwrap_or_else(|e| {
        eprint!("{}", e.report());
        e.exit()
    });
    // Does not wait for a thread that still reads standard input.
    runtime.shutdown_background();
    ExitCode::from(exit.code())
}
