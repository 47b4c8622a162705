//! Errors as clients get them: a code, words, and a typed reason.

use cordon_objects::RemoteError;
use cordon_runs::{JournalError, RunError};
use cordon_sandbox::SandboxError;
use cordon_snapshots::{StoreError as SnapshotError, apply::ApplyError};
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Statuses travel in headers: what is longer than this is cut.
const MOST: usize = 3000;

/// A status with a typed reason.
pub(crate) fn status(code: Code, reason: &str, message: &str, help: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, "cordon", HashMap::<String, String>::new());
    if !help.is_empty() {
        details.add_help_link(help, "");
    }
    Status::with_error_details(code, cut(message), details)
}

pub(crate) fn invalid(reason: &str, message: &str) -> Status {
    status(Code::InvalidArgument, reason, message, "")
}

pub(crate) fn of_run(error: &RunError) -> Status {
    let code = match error {
        RunError::NotFound { .. } => Code::NotFound,
        RunError::Ambiguous { .. }
        | RunError::InvalidFile { .. }
        | RunError::Agent { .. }
        | RunError::Invalid(_) => Code::InvalidArgument,
        RunError::KeyReused { .. } => Code::AlreadyExists,
        RunError::ShuttingDown => Code::Unavailable,
        RunError::Plan { .. }
        | RunError::Login(_)
        | RunError::SignIn(_)
        | RunError::NotRunning { .. }
        | RunError::NoTerminal { .. }
        | RunError::TerminalTaken { .. }
        | RunError::StillRunning { .. } => Code::FailedPrecondition,
        RunError::Sandbox(e) => sandbox_code(e),
        RunError::Journal(JournalError::Full { .. } | JournalError::Limit { .. }) => Code::ResourceExhausted,
        RunError::Journal(JournalError::Damaged { .. } | JournalError::Foreign { .. }) => Code::DataLoss,
        RunError::Store(e) if e.is_full() => Code::ResourceExhausted,
        RunError::SnapshotNotFound { .. } | RunError::WorkspaceNotFound { .. } => Code::NotFound,
        RunError::SnapshotAmbiguous { .. } => Code::InvalidArgument,
        RunError::NotKept { .. }
        | RunError::Unrecorded { .. }
        | RunError::NoTree { .. }
        | RunError::InUse { .. }
        | RunError::Storage { .. }
        | RunError::PlanChanged
        | RunError::PlanRefused { .. }
        | RunError::NotMade { .. }
        | RunError::NotResumable { .. }
        | RunError::Home(_)
        | RunError::Diff(_) => Code::FailedPrecondition,
        RunError::Busy { .. } => Code::Aborted,
        RunError::NoRoom { .. } => Code::ResourceExhausted,
        RunError::Snapshots(e) => snapshot_code(e),
        RunError::Tree(e) if e.absent => Code::NotFound,
        RunError::Tree(_) => Code::FailedPrecondition,
        RunError::Archive(_) => Code::InvalidArgument,
        RunError::NoBucket => Code::FailedPrecondition,
        RunError::Bucket(e) => bucket_code(e),
        RunError::Apply(e) => apply_code(e),
        RunError::HalfApplied { .. } | RunError::View { .. } | RunError::Fork(_) | RunError::Told(_) => {
            Code::Internal
        }
        RunError::Store(_) | RunError::Journal(_) | RunError::Internal(_) => Code::Internal,
    };
    status(code, error.reason(), &error.to_string(), error.help())
}

pub(crate) fn of_sandbox(error: SandboxError) -> Status {
    of_run(&RunError::Sandbox(error))
}

fn sandbox_code(error: &SandboxError) -> Code {
    if error.is_refusal() { Code::FailedPrecondition } else { Code::Internal }
}

fn snapshot_code(error: &SnapshotError) -> Code {
    match error {
        SnapshotError::NotFound(_) => Code::NotFound,
        SnapshotError::Quota { .. } => Code::ResourceExhausted,
        SnapshotError::Damaged { .. } => Code::DataLoss,
        SnapshotError::TooLong { .. } | SnapshotError::Name(_) | SnapshotError::Ambiguous { .. } => {
            Code::InvalidArgument
        }
        SnapshotError::Unreadable { .. }
        | SnapshotError::Changing { .. }
        | SnapshotError::Limit { .. }
        | SnapshotError::NotEmpty(_)
        | SnapshotError::Format { .. } => Code::FailedPrecondition,
        SnapshotError::Contended => Code::Aborted,
        _ => Code::Internal,
    }
}

/// Never that this daemon is unavailable: a client would look for another one.
fn bucket_code(error: &RemoteError) -> Code {
    match error {
        RemoteError::NotFound(_) => Code::NotFound,
        RemoteError::Damaged { .. } => Code::DataLoss,
        RemoteError::Busy | RemoteError::Contended(_) => Code::Aborted,
        RemoteError::Store(e) => snapshot_code(e),
        _ => Code::FailedPrecondition,
    }
}

fn apply_code(error: &ApplyError) -> Code {
    match error {
        ApplyError::Busy(_) => Code::Aborted,
        ApplyError::Refused(_)
        | ApplyError::Root { .. }
        | ApplyError::Changed { .. }
        | ApplyError::Drift { .. } => Code::FailedPrecondition,
        _ => Code::Internal,
    }
}

fn cut(message: &str) -> String {
    if message.len() <= MOST {
        return message.to_owned();
    }
    let end = (0..=MOST).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
    format!("{} …", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_a_reason_and_help() {
        let found = of_run(&RunError::NotFound { id: "x".into() });
        assert_eq!(found.code(), Code::NotFound);
        let info = found.get_details_error_info().unwrap();
        assert_eq!((info.domain.as_str(), info.reason.as_str()), ("cordon", "run-not-found"));
        assert_eq!(found.get_details_help().unwrap().links[0].description, "`cordon ps` lists the runs");
    }

    #[test]
    fn a_daemon_without_a_bucket_says_how_to_give_it_one() {
        let found = of_run(&RunError::NoBucket);
        assert_eq!(found.code(), Code::FailedPrecondition);
        assert_eq!(found.get_details_error_info().unwrap().reason, "no-bucket");
        assert!(found.get_details_help().unwrap().links[0].description.contains("--snapshot-bucket s3://"));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let found = status(Code::Internal, "x", &"ä".repeat(MOST), "");
        assert!(found.message().len() < MOST + 8 && found.message().ends_with('…'));
    }
}
