use crate::{exit::Exit, neutral};
use std::{
    io,
    path::{Path, PathBuf},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a command could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("cannot read {}: {source}", shown(path))]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", shown(path))]
    Write { path: PathBuf, source: io::Error },
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: String, limit: u64 },
    #[error("{0}")]
    Input(String),
    /// A program that this client was told to run.
    #[error("{0}")]
    Program(String),
    /// The problems were printed already.
    #[error("{file} has {errors} {}", if *errors == 1 { "error" } else { "errors" })]
    Invalid { file: String, errors: usize },
    #[error("no daemon answers on {}: {source}", shown(socket))]
    NoDaemon { socket: PathBuf, source: io::Error },
    #[error("refusing to use {}: {why}", shown(path))]
    Unsafe { path: PathBuf, why: String },
    #[error("could not start a daemon: {why}")]
    Start { why: String, help: String },
    #[error("{}", status_message(.0))]
    Rpc(Box<Status>),
    #[error("lost the daemon while watching run {run}: {why}")]
    Lost { run: String, why: String },
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    #[error("cannot use the terminal: {0}")]
    Terminal(io::Error),
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        Self::Rpc(Box::new(status))
    }
}

impl CliError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Read { .. }
            | Self::Write { .. }
            | Self::TooLarge { .. }
            | Self::Input(_)
            | Self::Invalid { .. } => Exit::BadInput,
            Self::Unsafe { .. } => Exit::Refused,
            Self::Rpc(status) => match status.code() {
                Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::OutOfRange => {
                    Exit::BadInput
                }
                // Asked at the wrong time or of the wrong thing, which is no refusal by a policy or a wall.
                Code::FailedPrecondition if is_untimely(status) => Exit::BadInput,
                Code::PermissionDenied | Code::Unauthenticated | Code::FailedPrecondition => Exit::Refused,
                Code::Cancelled => Exit::Cancelled,
                _ => Exit::Daemon,
            },
            Self::Program(_) | Self::Output(_) | Self::Terminal(_) => Exit::Failed,
            Self::NoDaemon { .. } | Self::Start { .. } | Self::Lost { .. } => Exit::Daemon,
        }
    }

    /// The message and what to do, ready for a terminal.
    pub(crate) fn report(&self) -> String {
        let mut out = format!(
            "error: {}\n",
            // A daemon's message may have several lines; none of them may look like one of ours.
            neutral::text(self.to_string().as_bytes()).replace('\n', "\n  ")
        );
        if let Self::Rpc(status) = self {
            if let Some(info) = status.get_details_error_info() {
                out += &format!("  reason: {}\n", neutral::word(&info.reason));
                let mut metadata: Vec<_> = info.metadata.iter().collect();
                metadata.sort();
                for (key, value) in metadata {
                    out += &format!("  {}: {}\n", neutral::word(key), neutral::word(value));
                }
            }
            for link in status.get_details_help().map(|h| h.links).unwrap_or_default() {
                let gap = if link.url.is_empty() { "" } else { " " };
                out += &format!(
                    "  help: {}{gap}{}\n",
                    neutral::word(&link.description),
                    neutral::word(&link.url)
                );
            }
        }
        if let Some(help) = self.help() {
            out += &format!("  help: {}\n", neutral::word(&help));
        }
        out
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::NoDaemon { socket, .. } => Some(format!(
                "start one with `cordond --socket {}`, or leave out --no-start and --socket to have one started",
                shown(socket)
            )),
            Self::Start { help, .. } if !help.is_empty() => Some(help.clone()),
            Self::Lost { run, .. } => {
                Some(format!("the run may be going on: `cordon logs -f {run}` takes up where this stopped"))
            }
            Self::Rpc(status) if status.code() == Code::Unimplemented => Some(format!(
                "the daemon does not know this call; this client is {}, compare `cordon version`",
                env!("CARGO_PKG_VERSION")
            )),
            Self::Rpc(status) if status.code() == Code::Unavailable => Some(
                "`cordon doctor` says what the daemon finds; its log is in its state directory".to_owned(),
            ),
            _ => None,
        }
    }
}

fn is_untimely(status: &Status) -> bool {
    const UNTIMELY: [&str; 8] = [
        "no-terminal",
        "terminal-taken",
        "not-running",
        "still-running",
        "workspace-in-use",
        "not-kept",
        "no-tree",
        "not-made-by-cordon",
    ];
    status.get_details_error_info().is_some_and(|info| UNTIMELY.contains(&info.reason.as_str()))
}

fn status_message(status: &Status) -> String {
    if status.message().is_empty() {
        return format!("the daemon answered: {}", status.code().description());
    }
    status.message().to_owned()
}

fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    neutral::path(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tonic_types::ErrorDetails;

    #[test]
    fn a_rich_status_is_told_in_full_and_harmlessly() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info(
                "no-such-agent",
                "cordon",
                HashMap::from([("agent".to_owned(), "x\u{1b}[2J".to_owned())]),
            )
            .add_help_link("choose one of: a, b", "");
        let status = Status::with_error_details(Code::NotFound, "no agent \"x\r\"\nerror: y", details);
        let error = CliError::from(status);
        assert_eq!(error.exit(), Exit::BadInput);
        assert_eq!(
            error.report(),
            "error: no agent \"x\\r\"\n  error: y\n  reason: no-such-agent\n  agent: x\\x1b[2J\n  help: choose one of: a, b\n"
        );
    }

    #[test]
    fn an_unknown_call_points_at_the_versions() {
        let report = CliError::from(Status::unimplemented("")).report();
        assert!(report.contains("cordon version"), "{report}");
    }
}
