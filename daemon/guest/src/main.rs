//! `cordon-guest`, the one program of ours inside every sandbox. It confines itself,
//! then starts processes for the daemon, keeps what they print, reaps and ends them,
//! carries their connections to egress, and reports what is reachable from inside.
//! It decides nothing: what it enforces was written by the daemon.

mod call;
mod confine;
mod egress;
mod exec;
mod mcp;
mod mounts;
mod probe;
mod process;
mod refusals;
mod seed;
mod serve;
mod service;
mod settings;
mod terminate;
#[cfg(test)]
mod tests;
mod tool;

use cordon_proto::guest::Boot;
use std::{
    error::Error,
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

const BOOT_FILE: &str = "/run/cordon/boot.pb";
const USAGE: &str = "usage: cordon-guest serve | launch | mcp | tool read PATH | tool write PATH | --version";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    let first = words.first().and_then(|word| word.to_str());
    let second = words.get(1).and_then(|word| word.to_str());
    match (first, second, words.get(2), words.len()) {
        (Some("serve"), None, None, 1) => exit(serve()),
        (Some("launch"), None, None, 1) => exit(launch()),
        (Some("mcp"), None, None, 1) => exit(mcp::run()),
        (Some("tool"), Some("read"), Some(path), 3) => tool::read(path),
        (Some("tool"), Some("write"), Some(path), 3) => tool::write(path),
        (Some("probe-child"), None, None, 1) => {
            ExitCode::from(u8::try_from(probe::child_main()).unwrap_or(1))
        }
        (Some("--version"), None, None, 1) => {
            println!("cordon-guest {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn exit(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever is in it: the daemon reads lines.
            let line: String =
                error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            eprintln!("{line}");
            ExitCode::FAILURE
        }
    }
}

/// In a container: the engine made the view and dropped the user already.
fn serve() -> Result<(), Box<dyn Error>> {
    let file = File::open(BOOT_FILE)
        .map_err(|error| io::Error::new(error.kind(), format!("open {BOOT_FILE}: {error}")))?;
    start(&settings::read(file)?)
}

/// On the host: the view is made here, and only the process inside it goes on.
fn launch() -> Result<(), Box<dyn Error>> {
    let boot = settings::read(io::stdin().lock())?;
    confine::enter(&boot)?;
    start(&boot)
}

fn start(boot: &Boot) -> Result<(), Box<dyn Error>> {
    process::spawn::hold_standard_descriptors()?;
    let settings = settings::Settings::new(boot)?;
    seed::write(&settings.home, &boot.files)?;
    let listeners = serve::bind(&settings)?;
    let view = mounts::View::look(&settings.directory, !boot.call)
        .map_err(|error| io::Error::new(error.kind(), format!("look at the mounts: {error}")))?;
    let refusals = Arc::new(refusals::Refusals::default());
    // Before there is another thread, so that every later one holds back what this one does.
    terminate::block()?;
    let (confinement, listener) = confine::restrict(boot)?;
    if let Some(listener) = listener {
        refusals::answer(listener, Arc::clone(&refusals))?;
    }
    view.watch()?;
    Ok(serve::run(settings, confinement, listeners, serve::Peers::Outside, refusals)?)
}

/// A path as the protocol carries it.
fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
