use super::system;
use crate::{PathEntry, PathKind, PathSource, SandboxError, SandboxSpec, boot::bytes};
use cordon_policy::Access;
use cordon_proto::guest::{Mount, mount::Kind};
use prost::Message as _;
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Places that the wall makes itself.
const RESERVED: [&str; 5] =
    ["/proc", "/dev", SandboxSpec::DIRECTORY_INSIDE, SandboxSpec::GUEST_INSIDE, SandboxSpec::TABLE_INSIDE];
/// The sandbox's name to itself: the real one is nobody's business inside.
pub(super) const HOSTNAME: &str = "sandbox";

/// The whole view of a sandbox, parents before children.
pub(super) fn mounts(spec: &SandboxSpec, directory: &Path, guest: &Path) -> Result<Vec<Mount>, SandboxError> {
    let mut mounts = system::mounts(spec.identity, &spec.home, HOSTNAME)
        .map_err(SandboxError::io("look at the system's files below", "/"))?;
    // A policy that names a part of the system means it as the host has it.
    mounts.retain(|mount| {
        let path = Path::new(OsStr::from_bytes(&mount.path));
        !spec.paths.iter().any(|entry| path.starts_with(&entry.path))
    });
    mounts.extend([
        Mount { kind: Kind::Proc.into(), path: "/proc".into(), ..Mount::default() },
        Mount {
            kind: Kind::Dev.into(),
            path: "/dev".into(),
            size_bytes: spec.limits.tmp_bytes,
            ..Mount::default()
        },
        tmpfs(Path::new("/tmp"), spec.limits.tmp_bytes, 0o1777, true, true),
        tmpfs(&spec.home, spec.limits.tmp_bytes, 0o700, true, true),
        bind(Path::new(SandboxSpec::DIRECTORY_INSIDE), directory, true, false),
        bind(Path::new(SandboxSpec::GUEST_INSIDE), guest, false, true),
        text(Path::new(SandboxSpec::TABLE_INSIDE), crate::boot::table(spec).encode_to_vec()),
    ]);
    for entry in &spec.paths {
        let mount = entry_mount(entry)?;
        mounts.retain(|known| known.path != mount.path);
        mounts.push(mount);
    }
    mounts.sort_by_cached_key(|mount| PathBuf::from(OsStr::from_bytes(&mount.path)));
    Ok(mounts)
}

fn entry_mount(entry: &PathEntry) -> Result<Mount, SandboxError> {
    if let Some(place) = RESERVED.iter().find(|place| entry.path.starts_with(place)) {
        return Err(SandboxError::Unenforceable {
            rule: format!("{} on {:?}", entry.access, entry.path),
            wall: "local",
            why: format!("{place} is the sandbox's own"),
            fix: "take the path out of the agent file".to_owned(),
        });
    }
    let writable = entry.access == Access::Write;
    Ok(match &entry.source {
        PathSource::Host(source) => bind(&entry.path, source, writable, entry.execute),
        PathSource::Tmpfs { bytes } => tmpfs(&entry.path, *bytes, 0o700, writable, entry.execute),
        PathSource::Empty => {
            let kind = match entry.kind {
                PathKind::Directory => Kind::EmptyDir,
                PathKind::File => Kind::EmptyFile,
            };
            Mount { kind: kind.into(), path: bytes(&entry.path), ..Mount::default() }
        }
    })
}

pub(super) fn bind(path: &Path, source: &Path, writable: bool, executable: bool) -> Mount {
    Mount {
        kind: Kind::Bind.into(),
        path: bytes(path),
        source: bytes(source),
        writable,
        executable,
        ..Mount::default()
    }
}

pub(super) fn link(path: &Path, target: &Path) -> Mount {
    Mount { kind: Kind::Symlink.into(), path: bytes(path), source: bytes(target), ..Mount::default() }
}

pub(super) fn text(path: &Path, content: Vec<u8>) -> Mount {
    Mount {
        kind: Kind::File.into(),
        path: bytes(path),
        content: content.into(),
        mode: 0o444,
        ..Mount::default()
    }
}

fn tmpfs(path: &Path, size_bytes: u64, mode: u32, writable: bool, executable: bool) -> Mount {
    Mount {
        kind: Kind::Tmpfs.into(),
        path: bytes(path),
        size_bytes,
        mode,
        writable,
        executable,
        ..Mount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn view(spec: &SandboxSpec) -> Vec<Mount> {
        mounts(spec, Path::new("/state/s"), Path::new("/opt/guest")).unwrap()
    }

    #[test]
    fn parents_come_before_children_and_no_place_twice() {
        let mut spec = fixture::spec();
        spec.paths.push(PathEntry { path: "/home".into(), ..spec.paths[1].clone() });
        spec.paths.push(PathEntry { path: "/tmp".into(), ..spec.paths[1].clone() });
        let paths: Vec<_> =
            view(&spec).into_iter().map(|m| PathBuf::from(OsStr::from_bytes(&m.path))).collect();
        for (i, path) in paths.iter().enumerate() {
            assert!(
                !paths[..i].iter().any(|earlier| earlier.starts_with(path)),
                "{path:?} hides an earlier one"
            );
        }
    }

    #[test]
    fn the_sandboxs_own_places_cannot_be_replaced() {
        for path in ["/proc", "/proc/self", "/dev/shm", "/run/cordon/x", "/run/cordon-guest"] {
            let mut spec = fixture::spec();
            spec.paths[0].path = path.into();
            assert!(mounts(&spec, Path::new("/s"), Path::new("/g")).unwrap_err().is_refusal(), "{path}");
        }
    }

    #[test]
    fn only_write_access_is_writable() {
        for mount in view(&fixture::spec()) {
            let path = String::from_utf8_lossy(&mount.path).into_owned();
            let writable = ["/tmp", "/home/agent", "/run/cordon", "/w"].contains(&path.as_str());
            assert_eq!(mount.writable, writable, "{path}");
        }
    }
}
