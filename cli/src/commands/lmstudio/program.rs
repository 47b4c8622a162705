//! Runs one program to its end: arguments as they are, no shell, no terminal, little of the
//! environment, and only so long.

use crate::error::CliError;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    collections::VecDeque, os::unix::process::ExitStatusExt as _, path::Path, process::Stdio, time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    time::timeout,
};

/// So much of the end of its output an error shows.
const SHOWN: usize = 4 << 10;
/// What it started may hold its output open for ever.
const REST: Duration = Duration::from_millis(500);

/// What it may know: no key and no setting of this shell's.
const VARIABLES: [&str; 22] = [
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSL_CERT_FILE",
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "no_proxy",
    "NO_PROXY",
];

pub(crate) struct Program<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) home: &'a Path,
    pub(crate) within: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    /// In words.
    Badly(String),
    /// It was stopped, with what it started.
    Late,
}

impl Program<'_> {
    /// How it ended, and the last that it said.
    pub(crate) async fn run(&self) -> Result<(Ended, Vec<u8>), CliError> {
        let mut command = Command::new(self.program);
        command
            .args(self.arguments)
            // What a repository has in the current directory is not for it.
            .current_dir(self.home)
            .env_clear()
            .envs(VARIABLES.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let failed = |source| CliError::Read { path: self.program.to_owned(), source };
        let mut child = command.spawn().map_err(failed)?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let mut said = VecDeque::new();
        let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed(std::io::Error::other("it has no output")));
        };
        let (mut out_open, mut err_open) = (true, true);
        let mut rooms = ([0; 4096], [0; 4096]);
        let ended = timeout(self.within, async {
            loop {
                tokio::select! {
                    ended = child.wait() => return ended,
                    size = read(&mut out, &mut rooms.0), if out_open => out_open = keep(&mut said, &rooms.0[..size]),
                    size = read(&mut err, &mut rooms.1), if err_open => err_open = keep(&mut said, &rooms.1[..size]),
                }
            }
        })
        .await;
        let Ok(status) = ended else {
            drop(group);
            return Ok((Ended::Late, said.into()));
        };
        let status = status.map_err(failed)?;
        let rest = async {
            loop {
                let size = read(&mut out, &mut rooms.0).await;
                if !keep(&mut said, &rooms.0[..size]) {
                    break;
                }
            }
            loop {
                let size = read(&mut err, &mut rooms.1).await;
                if !keep(&mut said, &rooms.1[..size]) {
                    break;
                }
            }
        };
        let _ = timeout(REST, rest).await;
        // A server that it started stays.
        if status.success() {
            std::mem::forget(group);
            return Ok((Ended::Well, said.into()));
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with code {code}"),
            (None, signal) => format!("was ended by signal {}", signal.unwrap_or_default()),
        };
        Ok((Ended::Badly(how), said.into()))
    }
}

/// Ends what was started, also when nobody waits for it any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn read(from: &mut (impl AsyncRead + Unpin), room: &mut [u8]) -> usize {
    from.read(room).await.unwrap_or(0)
}

/// Keeps the end; whether there may be more.
fn keep(said: &mut VecDeque<u8>, read: &[u8]) -> bool {
    said.extend(read);
    said.drain(..said.len().saturating_sub(SHOWN));
    !read.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, within: Duration) -> (Ended, String) {
        let program = Program {
            program: Path::new("/bin/sh"),
            arguments: &["-c", script],
            home: Path::new("/"),
            within,
        };
        let (ended, said) = program.run().await.unwrap();
        (ended, String::from_utf8(said).unwrap())
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn it_ends_as_it_ends_and_the_last_that_it_said_is_kept() {
        assert_eq!(sh("echo a; pwd", LONG).await, (Ended::Well, "a\n/\n".to_owned()));
        let (ended, said) = sh("echo why >&2; exit 3", LONG).await;
        assert_eq!((ended, said.as_str()), (Ended::Badly("ended with code 3".to_owned()), "why\n"));
        let (ended, said) = sh("yes | head -c 3000000; echo end; kill -9 $$", LONG).await;
        assert_eq!(ended, Ended::Badly("was ended by signal 9".to_owned()));
        assert!(said.len() == SHOWN && said.ends_with("y\nend\n"));
    }

    #[tokio::test]
    async fn it_has_no_terminal_and_no_key() {
        // Cargo's own variables stand for everything that this process has.
        let (ended, said) = sh("cat; env", LONG).await;
        assert_eq!(ended, Ended::Well);
        let known = |line: &&str| {
            let name = line.split('=').next().unwrap_or_default();
            !VARIABLES.contains(&name) && !["PWD", "OLDPWD", "SHLVL", "_"].contains(&name)
        };
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
        assert_eq!(said.lines().find(known), None);
    }

    #[tokio::test]
    async fn what_does_not_end_is_stopped_with_what_it_started() {
        // The pipe ends only when the child in the background is gone too.
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script = format!("exec 9<>'{0}'; (while :; do sleep 1000; done) & wait", pipe.display());
        let (ended, _) = sh(&script, Duration::from_millis(300)).await;
        assert_eq!(ended, Ended::Late);
        let alone = tokio::task::spawn_blocking(move || {
            loop {
                let opened = rustix::fs::open(
                    &pipe,
                    rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK,
                    rustix::fs::Mode::empty(),
                );
                if opened.is_err_and(|e| e == rustix::io::Errno::NXIO) {
                    return;
                }
                std::thread::yield_now();
            }
        });
        timeout(LONG, alone).await.unwrap().unwrap();
    }
}
