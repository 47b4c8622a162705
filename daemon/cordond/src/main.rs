//! `cordond`: the flags, the socket, who may use it, the gRPC services, and the end.
//! What is allowed, how a sandbox is made and what a run does is decided elsewhere.

mod args;
mod error;
mod places;
mod serve;
mod services;
mod socket;
mod status;
mod walls;

use args::{Args, Command, LogFormat, Serve};
use clap::Parser as _;
use error::StartError;
use nix::sys::stat::{Mode, umask};
use std::{io, process::ExitCode};
use tracing_subscriber::EnvFilter;

/// The work is elsewhere: in sandboxes, in the kernel, and on blocking threads.
const WORKERS: usize = 2;
const BLOCKING_THREADS: usize = 32;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Command::Version) = args.command {
        println!("cordond {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    cordon_mcp::install_tls();
    // Whatever is made from here on is this user's alone unless it says otherwise.
    umask(Mode::from_bits_truncate(0o077));
    match start(args.serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cordond: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Serve) -> Result<(), StartError> {
    log(&args)?;
    let places = places::Places::open(&args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(StartError::io("start threads in", "/proc/self"))?;
    let result = runtime.block_on(serve::serve(args, places));
    // A blocked read must not hold up the end; appends are done by now.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}

fn log(args: &Serve) -> Result<(), StartError> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|e| StartError::Invalid(format!("--log {:?} is no filter: {e}", args.log)))?;
    // It repeats what servers say, and tells of every session.
    let filter = match (args.log.contains("rmcp"), "rmcp=error".parse()) {
        (false, Ok(quiet)) => filter.add_directive(quiet),
        _ => filter,
    };
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match args.log_format {
        LogFormat::Text => logger.with_ansi(false).init(),
        LogFormat::Json => logger.json().init(),
    }
    Ok(())
}
