//! What the engine mounted against what was looked at. The engine is given names and resolves
//! them again, as root and through links; whoever may write above a source can exchange it in
//! between. So every source is held open, and compared with what stands at its target before
//! anything of the agent's is started.

use super::life::{self, First};
use crate::{Finding, SandboxError, SandboxSpec, boot, guest::Guest};
use bollard::Docker;
use cordon_proto::guest::{ProbeRequest, probe_response::Identified};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, open, openat2, statx,
    },
    io::Errno,
};
use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Which file it is, to this machine's kernel: for a bind the same inside and outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: (u32, u32),
    inode: u64,
    kind: u32,
}

/// A file, and whether it is there as a mount of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    identity: Identity,
    no_mount: bool,
}

/// One bind of a view.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    target: PathBuf,
    identity: Identity,
    // As long as it is open, no other file gets its inode number.
    _held: Option<OwnedFd>,
}

impl Source {
    /// A source of the agent file's, as it was opened.
    pub(super) fn held(file: OwnedFd, path: &Path, target: &Path) -> Result<Self, SandboxError> {
        let Found { identity, .. } = look(&file).map_err(SandboxError::io("look at", path))?;
        Ok(Self { path: path.to_owned(), target: target.to_owned(), identity, _held: Some(file) })
    }

    /// One in the daemon's state directory, which may be reached over links of its owner's.
    pub(super) fn own(path: &Path, target: &Path) -> Result<Self, SandboxError> {
        let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| SandboxError::io("open", path)(e.into()))?;
        // Nobody but the daemon removes it: there may be many, and none is kept open.
        Ok(Self { _held: None, ..Self::held(file, path, target)? })
    }

    fn check(&self, sandbox: &str, found: Result<Found, String>) -> Result<(), SandboxError> {
        let found = match found {
            Ok(found) if found.identity != self.identity => {
                format!("another {} is mounted there", kind(found.identity.kind))
            }
            Ok(Found { no_mount: true, .. }) => "nothing is mounted there".to_owned(),
            Ok(_) => return Ok(()),
            Err(why) => why,
        };
        Err(SandboxError::Exchanged {
            sandbox: sandbox.to_owned(),
            source_path: self.path.clone(),
            path: self.target.clone(),
            found,
        })
    }
}

/// Refuses unless at every target stands what was looked at.
pub(super) async fn prove(
    docker: &Docker,
    container: &str,
    guest: &Guest,
    spec: &SandboxSpec,
    sources: &[Source],
) -> Result<Finding, SandboxError> {
    let first = life::first(docker, container).await?;
    if boot::is_gvisor(spec) {
        // Numbers inside are its kernel's own. What mounted for it is a process of this machine.
        let root = match first {
            First::Here(sandbox) => mounter(sandbox),
            First::Elsewhere | First::Ended => {
                Err("the daemon and the engine have different process numbers".to_owned())
            }
        };
        for source in sources {
            source.check(&spec.id, root.as_ref().map_err(Clone::clone).and_then(|r| beneath(r, source)))?;
        }
        return Ok(finding(sources));
    }
    let identify = sources.iter().map(|source| boot::bytes(&source.target)).collect();
    let answer = guest.probe(ProbeRequest { identify, ..ProbeRequest::default() }).await?;
    let closed = |source: &Source| match first {
        First::Here(pid) => process_root(pid).and_then(|root| beneath(&root, source)),
        First::Elsewhere | First::Ended => Err("it cannot be reached from inside".to_owned()),
    };
    compare(&spec.id, sources, &answer.identified, closed)?;
    Ok(finding(sources))
}

fn finding(sources: &[Source]) -> Finding {
    let all = format!("{} sources as they were looked at", sources.len());
    Finding { check: "sources".to_owned(), expected: all.clone(), found: all, ok: true }
}

/// Compares what a guest says; what it has no way to is looked at by `closed`.
fn compare(
    sandbox: &str,
    sources: &[Source],
    answers: &[Identified],
    closed: impl Fn(&Source) -> Result<Found, String>,
) -> Result<(), SandboxError> {
    for (index, source) in sources.iter().enumerate() {
        let said = answers.get(index).filter(|said| said.path == boot::bytes(&source.target));
        let found = match said {
            None => Err("the guest, perhaps an older one, does not say what is there".to_owned()),
            // A directory above it lets root pass and not the agent, and may do so tomorrow.
            Some(said) if said.errno == Errno::ACCESS.raw_os_error().cast_unsigned() => closed(source),
            Some(said) if said.errno != 0 => {
                let error = i32::try_from(said.errno).map(io::Error::from_raw_os_error);
                Err(error.map_or_else(|_| "it cannot be looked at".to_owned(), |e| e.to_string()))
            }
            Some(said) => Ok(Found {
                identity: Identity {
                    device: (said.device_major, said.device_minor),
                    inode: said.inode,
                    kind: said.r#type,
                },
                no_mount: said.no_mount,
            }),
        };
        source.check(sandbox, found)?;
    }
    Ok(())
}

fn look(file: impl AsFd) -> io::Result<Found> {
    let stat = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE | StatxFlags::INO)?;
    let root = StatxAttributes::MOUNT_ROOT;
    Ok(Found {
        identity: Identity {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            kind: FileType::from_raw_mode(u32::from(stat.stx_mode)).as_raw_mode(),
        },
        no_mount: stat.stx_attributes_mask.contains(root) && !stat.stx_attributes.contains(root),
    })
}

/// What stands at a target below the root of a process of this machine.
fn beneath(root: &OwnedFd, source: &Source) -> Result<Found, String> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(root, &source.target, flags, Mode::empty(), resolve)
        .map_err(io::Error::from)
        .and_then(look)
        .map_err(|e| format!("it cannot be looked at: {e}"))
}

fn process_root(pid: i32) -> Result<OwnedFd, String> {
    openat2(
        CWD,
        format!("/proc/{pid}/root"),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::empty(),
    )
    .map_err(|e| format!("process {pid} cannot be looked at: {}", io::Error::from(e)))
}

/// The root of the process that mounts for a gVisor sandbox (its gofer): of what the engine's
/// helper started for this container, the one besides the sandbox with mounts of its own.
fn mounter(sandbox: i32) -> Result<OwnedFd, String> {
    let shim = parent(sandbox).filter(|p| *p > 1).ok_or("the sandbox has no parent")?;
    let mounts = |pid: i32| fs::metadata(format!("/proc/{pid}/ns/mnt")).ok().map(|m| (m.dev(), m.ino()));
    let outside = mounts(shim).ok_or("the mounts of the engine's helper cannot be looked at")?;
    let processes = fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?;
    let mut found = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != sandbox && parent(*pid) == Some(shim))
        .filter(|pid| mounts(*pid).is_some_and(|own| own != outside));
    match (found.next(), found.next()) {
        (Some(pid), None) => process_root(pid),
        _ => Err("the process that mounts for the sandbox is not to be found".to_owned()),
    }
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in parentheses, and may have some in it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn kind(mode: u32) -> &'static str {
    match FileType::from_raw_mode(mode) {
        FileType::Directory => "directory",
        FileType::Symlink => "link",
        _ => "file",
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
