//! The shell itself: which program, with which environment, and how a command gets to it.

use super::login::Login;
use crate::{ToolError, error::shown, resolve::Opened};
use rustix::{
    fd::AsRawFd as _,
    fs::{MemfdFlags, Mode, OFlags, ResolveFlags, memfd_create, openat2},
};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The longest command that is handed over as an argument; the kernel's bound is 128 KiB.
const ARGUMENT: usize = 100 << 10;
/// The longest command at all.
const COMMAND: usize = 8 << 20;

/// Where a longer command comes from: standard input, which then becomes empty.
const READ_BASH: &str =
    r#"IFS= read -r -d '' CORDON_SCRIPT; exec </dev/null; eval "unset CORDON_SCRIPT;$CORDON_SCRIPT""#;
const READ_SH: &str =
    r#"CORDON_SCRIPT=$(cat; echo x); exec </dev/null; eval "unset CORDON_SCRIPT;${CORDON_SCRIPT%x}""#;

/// The program that runs commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shell {
    pub(crate) program: PathBuf,
    pub(crate) is_bash: bool,
}

impl Shell {
    /// `bash`, or `sh` where there is none.
    pub(crate) fn find() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places: Vec<PathBuf> = ["/bin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from).into();
        places.extend(std::env::split_paths(&path).filter(|place| place.is_absolute()));
        let bash = places.iter().map(|place| place.join("bash")).find(|program| program.is_file());
        match bash {
            Some(program) => Self { program, is_bash: true },
            None => Self { program: "/bin/sh".into(), is_bash: false },
        }
    }
}

/// What is wrong with a command before any shell sees it.
pub(crate) fn check(command: &str) -> Result<(), ToolError> {
    let bad = |why: String| Err(ToolError::Arguments(format!("command: {why}")));
    if command.trim().is_empty() {
        return bad("it is empty".to_owned());
    }
    if command.contains('\0') {
        return bad("it contains a NUL byte, which no command can".to_owned());
    }
    if command.len() > COMMAND {
        return bad(format!(
            "it is {} bytes long, at most {COMMAND} are taken: write it to a file and run that",
            command.len()
        ));
    }
    Ok(())
}

/// Reads variables that a caller sets for one command.
pub(crate) fn variables(given: &BTreeMap<String, String>) -> Result<(), ToolError> {
    for (name, value) in given {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(ToolError::Arguments(format!(
                "env: {} is no variable: a name has no `=`, and neither part a NUL byte",
                shown(name)
            )));
        }
    }
    Ok(())
}

/// A shell that is ready to start in an opened directory. The directory is entered through
/// its descriptor, so it has to stay open until then.
pub(crate) fn prepare(
    login: &Login,
    text: &str,
    directory: &Opened,
    variables: &BTreeMap<String, String>,
) -> Result<Command, ToolError> {
    let shell = &login.shell;
    let mut command = Command::new(&shell.program);
    command.env_clear().envs(&login.variables);
    if let Some(path) = path(login, directory) {
        command.env("PATH", path);
    }
    command.env("PWD", &directory.path).envs(variables);
    command.current_dir(format!("/proc/self/fd/{}", directory.fd().as_raw_fd()));
    if text.len() <= ARGUMENT {
        command.arg("-c").arg(text).stdin(Stdio::null());
    } else {
        command.arg("-c").arg(if shell.is_bash { READ_BASH } else { READ_SH });
        command.stdin(script(text).map_err(|error| {
            ToolError::Failed(format!("a command of {} bytes could not be handed over: {error}", text.len()))
        })?);
    }
    Ok(command)
}

fn script(text: &str) -> std::io::Result<Stdio> {
    let mut file = File::from(memfd_create("command", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

/// The login's PATH with the programs of a virtual environment of the directory before it.
fn path(login: &Login, directory: &Opened) -> Option<OsString> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let within = Path::new(".venv/bin");
    openat2(directory.fd(), within, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).ok()?;
    let mut path = directory.path.join(within).into_os_string();
    if let Some(rest) = login.variables.get(OsStr::new("PATH")) {
        path.push(":");
        path.push(rest);
    }
    Some(path)
}
