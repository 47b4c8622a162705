//! Starts a daemon for this user when none answers.

use crate::{
    error::CliError,
    neutral,
    session::dial,
    socket::{self, Socket},
};
use nix::unistd::Uid;
use std::{
    ffi::{OsStr, OsString},
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::{
        fs::{OpenOptionsExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

const IDLE_EXIT_SECONDS: &str = "3600";
const RIVAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(15);

/// What a daemon needs of an environment. The rest, API keys above all, stays out of it: values that
/// a run needs travel with the run.
const KEPT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TZ",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
const KEPT_PREFIXES: &[&str] = &["XDG_", "LC_", "LANG", "DOCKER_", "CORDON_", "SSL_CERT_"];

pub(crate) async fn start(socket: &Socket, state_dir: Option<&Path>) -> Result<(), CliError> {
    let program = find_daemon()?;
    socket.prepare_directory()?;
    let state_dir = match state_dir {
        Some(dir) => {
            std::path::absolute(dir).map_err(|source| CliError::Read { path: dir.to_owned(), source })?
        }
        None => default_state_dir()?,
    };
    socket::make_private(&state_dir)?;
    let log_path = state_dir.join("cordond.log");
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
        .open(&log_path)
        .map_err(|source| CliError::Read { path: log_path.clone(), source })?;
    let start_of_log = log.metadata().map_or(0, |m| m.len());
    eprintln!(
        "cordon: no daemon answers; starting {} on {} (log: {})",
        shown(&program),
        shown(&socket.path),
        shown(&log_path)
    );
    let child = spawn(&program, socket, &state_dir, &log)?;
    wait(child, socket, &log_path, start_of_log).await
}

fn spawn(program: &Path, socket: &Socket, state_dir: &Path, log: &File) -> Result<Child, CliError> {
    let failed = |e: std::io::Error| CliError::Start {
        why: format!("{}: {e}", shown(program)),
        help: "`make build` builds the daemon beside the client".to_owned(),
    };
    // This program again makes itself a session of its own and becomes the daemon: a closed
    // terminal or Ctrl-C then never reaches it.
    Command::new("/proc/self/exe")
        .args(["daemon", "launch"])
        .arg(program)
        .arg("--")
        .arg("--socket")
        .arg(&socket.path)
        .arg("--state-dir")
        .arg(state_dir)
        // Nobody asked for a service: it goes when it is not needed, and comes back like this.
        .args(["--idle-exit", IDLE_EXIT_SECONDS])
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| is_kept(name)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log.try_clone().map_err(failed)?)
        .spawn()
        .map_err(failed)
}

/// Becomes the daemon; returns only when that fails.
pub(crate) fn become_daemon(program: &Path, arguments: &[OsString]) -> CliError {
    if let Err(e) = nix::unistd::setsid() {
        return CliError::Start { why: format!("setsid: {e}"), help: String::new() };
    }
    let e = Command::new(program).args(arguments).exec();
    CliError::Start { why: format!("{}: {e}", shown(program)), help: String::new() }
}

async fn wait(mut child: Child, socket: &Socket, log: &Path, start_of_log: u64) -> Result<(), CliError> {
    let mut deadline = Instant::now() + PATIENCE;
    let mut ended: Option<ExitStatus> = None;
    loop {
        if dial(socket).await.is_ok() {
            return Ok(());
        }
        let failed = |why: String| CliError::Start {
            why: format!("{why}{}", tail(log, start_of_log)),
            help: format!("its log is {}", shown(log)),
        };
        if Instant::now() > deadline {
            return Err(failed(match ended {
                Some(status) => format!("it ended at once ({status})"),
                None => format!("it does not answer after {} seconds", PATIENCE.as_secs()),
            }));
        }
        if ended.is_none() {
            ended = child.try_wait().ok().flatten();
            if ended.is_some() {
                // Another client's daemon may have won the race, and be about to listen.
                deadline = Instant::now() + RIVAL;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The last lines of what this daemon logged.
fn tail(log: &Path, start: u64) -> String {
    const MOST: u64 = 4096;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let from = file.metadata()?.len().saturating_sub(MOST).max(start);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = neutral::text(&read().unwrap_or_default());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].iter().map(|line| format!("\n{line}")).collect()
}

fn is_kept(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|p| name.starts_with(p)))
}

fn find_daemon() -> Result<PathBuf, CliError> {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("cordond")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        // A relative entry of PATH would let whoever made the current directory choose the daemon.
        .chain(std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join("cordond")))
        .find(|program| program.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
        .ok_or_else(|| CliError::Start {
            why: "there is no cordond beside this client or in PATH".to_owned(),
            help: "`make build` builds both into build/bin".to_owned(),
        })
}

fn default_state_dir() -> Result<PathBuf, CliError> {
    if Uid::effective().is_root() {
        return Ok(PathBuf::from("/var/lib/cordon"));
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|dir| dir.join("cordon"))
        .ok_or_else(|| CliError::Input("there is no HOME; name a directory with --state-dir".to_owned()))
}

fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    neutral::path(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_the_daemon() {
        for (name, kept) in [
            ("PATH", true),
            ("DOCKER_HOST", true),
            ("LC_ALL", true),
            ("ANTHROPIC_API_KEY", false),
            ("AWS_SECRET_ACCESS_KEY", false),
            ("GITHUB_TOKEN", false),
            ("LD_PRELOAD", false),
        ] {
            assert_eq!(is_kept(OsStr::new(name)), kept, "{name}");
        }
    }
}
