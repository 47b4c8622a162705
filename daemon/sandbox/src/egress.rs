//! Runs the egress proxy of one sandbox on its own socket.

use crate::{EgressRecord, Identity, SandboxError, SandboxRecord, SandboxSpec, directory::Directory};
use cordon_egress::{EgressPolicy, Grant};
use cordon_policy::{Denial, HostRuleError};
use rustix::{
    fd::AsRawFd as _,
    fs::{AtFlags, Mode},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use std::path::Path;
use tokio::{net::UnixListener, sync::mpsc, task::AbortHandle};

const SOCKET: &str = "egress.sock";
const BACKLOG: i32 = 128;

/// Starts the proxy of a new sandbox, when its policy has one.
pub(crate) fn start(
    spec: &SandboxSpec,
    directory: &Path,
    denials: mpsc::Sender<Denial>,
) -> Result<Option<AbortHandle>, SandboxError> {
    let Some(policy) = &spec.egress else { return Ok(None) };
    run(directory, spec.identity, policy.clone(), denials).map(Some)
}

/// Starts the proxy of a sandbox that an earlier daemon made.
pub(crate) fn restart(
    record: &SandboxRecord,
    denials: mpsc::Sender<Denial>,
) -> Result<Option<AbortHandle>, SandboxError> {
    let Some(remembered) = &record.egress else { return Ok(None) };
    let policy = EgressPolicy::try_from(remembered).map_err(|error| SandboxError::Unenforceable {
        rule: format!("the remembered egress of sandbox {}", record.id),
        wall: "egress",
        why: error.to_string(),
        fix: "destroy the sandbox and start again".to_owned(),
    })?;
    run(&record.directory, record.identity, policy, denials).map(Some)
}

impl From<&EgressPolicy> for EgressRecord {
    fn from(policy: &EgressPolicy) -> Self {
        Self {
            allow: policy.allow.iter().map(ToString::to_string).collect(),
            grants: policy.grants.iter().map(|grant| (grant.host.clone(), grant.port)).collect(),
        }
    }
}

impl TryFrom<&EgressRecord> for EgressPolicy {
    type Error = HostRuleError;

    fn try_from(record: &EgressRecord) -> Result<Self, Self::Error> {
        Ok(Self {
            allow: record.allow.iter().map(|rule| rule.parse()).collect::<Result<_, _>>()?,
            grants: record
                .grants
                .iter()
                .map(|(host, port)| Grant { host: host.clone(), port: *port })
                .collect(),
        })
    }
}

fn run(
    directory: &Path,
    identity: Identity,
    policy: EgressPolicy,
    denials: mpsc::Sender<Denial>,
) -> Result<AbortHandle, SandboxError> {
    let listener = listen(&Directory::open(directory)?, SOCKET, identity)?;
    Ok(tokio::spawn(cordon_egress::serve(listener, policy, denials)).abort_handle())
}

/// A socket in a sandbox's directory that only its user may connect to.
pub(crate) fn listen(
    directory: &Directory,
    name: &str,
    identity: Identity,
) -> Result<UnixListener, SandboxError> {
    let bind = || -> Result<std::os::unix::net::UnixListener, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // The socket in the directory takes its mode from this: there is no moment in which
        // others could connect, and no path that could be swapped for a link.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        match rustix::fs::unlinkat(directory.fd(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
        // Through the descriptor: no link on the way, and no limit on the path's length.
        let place = format!("/proc/self/fd/{}/{name}", directory.fd().as_raw_fd());
        rustix::net::bind(&socket, &SocketAddrUnix::new(place)?)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket.into())
    };
    let failed = || SandboxError::io("listen on", directory.path().join(name));
    let listener = bind().map_err(|e| failed()(e.into()))?;
    directory.give(name, identity)?;
    UnixListener::from_std(listener).map_err(failed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    fn identity() -> Identity {
        Identity { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() }
    }

    #[tokio::test]
    async fn the_socket_is_its_owners_alone_and_replaces_a_stale_one() {
        let state = tempfile::tempdir().unwrap();
        let outside = state.path().join("outside");
        std::fs::write(&outside, b"alive").unwrap();
        let directory = Directory::create(state.path(), "e1", identity()).unwrap();
        let path = directory.path().join(SOCKET);
        symlink(&outside, &path).unwrap();
        for _ in 0..2 {
            drop(listen(&directory, SOCKET, identity()).unwrap());
            let found = std::fs::symlink_metadata(&path).unwrap();
            assert_eq!(found.mode() & 0o7777, 0o600);
        }
        assert_eq!(std::fs::read(&outside).unwrap(), b"alive");
    }

    #[test]
    fn a_policy_survives_being_remembered() {
        let policy = EgressPolicy {
            allow: vec!["*.example.test".parse().unwrap(), "[::1]:8080".parse().unwrap()],
            grants: vec![Grant { host: "::1".into(), port: 1 }],
        };
        assert_eq!(EgressPolicy::try_from(&EgressRecord::from(&policy)).unwrap(), policy);
    }
}
