//! The view of a sandbox as the engine's structured mounts. Paths are values here
//! and never parts of a string with separators in it.

use super::{engine::refuse, sources::Source};
use crate::{PathEntry, PathKind, PathSource, SandboxError, SandboxSpec, boot};
use bollard::models::{Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType};
use cordon_policy::Access;
use rustix::{
    fd::OwnedFd,
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
};

/// Where the engine and the kernel keep their own things.
const RESERVED: [&str; 5] = ["/proc", "/sys", "/dev", SandboxSpec::GUEST_INSIDE, SandboxSpec::TABLE_INSIDE];

/// What the engine is told to mount.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) mounts: Vec<Mount>,
    /// By path; each value holds nothing but numbers and flags.
    pub(super) tmpfs: HashMap<String, String>,
    /// What was looked at for the binds: the engine gets names, and resolves them again.
    pub(super) sources: Vec<Source>,
}

/// What the wall itself puts into every view.
#[derive(Debug)]
pub(super) struct Fixed<'a> {
    /// Host directory with the guest's sockets.
    pub(super) directory: &'a Path,
    /// The guest's executable.
    pub(super) guest: &'a Path,
    /// What the tools decide by.
    pub(super) table: &'a Path,
    /// An empty directory on the host.
    pub(super) empty_directory: &'a Path,
    /// An empty file without permission bits on the host.
    pub(super) empty_file: &'a Path,
    /// Paths at which the image asks for a volume.
    pub(super) volumes: &'a [String],
}

pub(super) fn view(spec: &SandboxSpec, fixed: &Fixed<'_>) -> Result<View, SandboxError> {
    let mut view = View::default();
    let entries = by_path(spec)?;
    // A guest that calls the daemon binds nothing there: then nobody inside may put a socket of
    // his own in the place of the daemon's.
    let own = [
        (fixed.directory, SandboxSpec::DIRECTORY_INSIDE, !boot::is_gvisor(spec)),
        (fixed.guest, SandboxSpec::GUEST_INSIDE, false),
        (fixed.table, SandboxSpec::TABLE_INSIDE, false),
    ];
    for (source, target, writable) in own {
        view.sources.push(Source::own(source, Path::new(target))?);
        view.bind(source, Path::new(target), writable)?;
    }
    let owner = (spec.identity.uid, spec.identity.gid);
    for (path, mode) in [(Path::new("/tmp"), 0o1777), (spec.home.as_path(), 0o700)] {
        if !entries.contains_key(path) {
            view.tmpfs(path, spec.limits.tmp_bytes, mode, owner, true)?;
        }
    }
    for parent in parents_in_home(spec, &entries) {
        view.tmpfs(&parent, spec.limits.tmp_bytes, 0o700, owner, true)?;
    }
    // A volume would be a writable place that no rule knows of. What covers it is ours and
    // empty, and an image may have a link there: nothing is compared.
    for volume in fixed.volumes {
        let path = Path::new(volume);
        if !entries.contains_key(path) && path != Path::new("/tmp") && path != spec.home {
            view.bind(fixed.empty_directory, path, false)?;
        }
    }
    for entry in entries.values() {
        check_mount_point(entry, &entries)?;
        match &entry.source {
            PathSource::Host(source) => {
                let found = check_source(entry, source)?;
                view.sources.push(Source::held(found, source, &entry.path)?);
                view.bind(source, &entry.path, entry.access == Access::Write)?;
            }
            PathSource::Tmpfs { bytes } => {
                view.tmpfs(&entry.path, *bytes, 0o700, owner, entry.access == Access::Write)?;
            }
            PathSource::Empty => {
                let source = match entry.kind {
                    PathKind::Directory => fixed.empty_directory,
                    PathKind::File => fixed.empty_file,
                };
                view.sources.push(Source::own(source, &entry.path)?);
                view.bind(source, &entry.path, false)?;
            }
        }
    }
    Ok(view)
}

impl View {
    fn bind(&mut self, source: &Path, target: &Path, writable: bool) -> Result<(), SandboxError> {
        self.mounts.push(Mount {
            typ: Some(MountType::BIND),
            source: Some(text(source)?),
            target: Some(text(target)?),
            read_only: Some(!writable),
            bind_options: Some(MountBindOptions {
                propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
                // Read-only does not reach file systems mounted below the source, on
                // engines before 25: then what is below them is not shown at all.
                non_recursive: Some(!writable),
                create_mountpoint: Some(false),
                ..MountBindOptions::default()
            }),
            ..Mount::default()
        });
        Ok(())
    }

    fn tmpfs(
        &mut self,
        target: &Path,
        bytes: u64,
        mode: u32,
        (uid, gid): (u32, u32),
        writable: bool,
    ) -> Result<(), SandboxError> {
        let access = if writable { "rw" } else { "ro" };
        let (uid, gid) = if mode & 0o1000 == 0 { (uid, gid) } else { (0, 0) };
        // Empty files take no bytes: one inode for each page, so that both run out together.
        let inodes = (bytes / 4096).max(64);
        // Agents unpack programs into /tmp and the home and run them there.
        let options = format!(
            "{access},exec,nosuid,nodev,size={bytes},nr_inodes={inodes},mode={mode:o},uid={uid},gid={gid}"
        );
        self.tmpfs.insert(text(target)?, options);
        Ok(())
    }
}

fn text(path: &Path) -> Result<String, SandboxError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        refuse(
            format!("path {}", shown(path)),
            "the engine takes only names in UTF-8",
            "Rename it, or use the local wall",
        )
    })
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

/// The entries by path: unique, absolute, and none where the wall's own things are.
fn by_path(spec: &SandboxSpec) -> Result<BTreeMap<&Path, &PathEntry>, SandboxError> {
    let mut entries = BTreeMap::new();
    let own = Path::new(SandboxSpec::DIRECTORY_INSIDE);
    for path in spec.paths.iter().map(|e| e.path.as_path()).chain([spec.home.as_path()]) {
        let normal = path.is_absolute()
            && path.components().collect::<PathBuf>().as_os_str() == path.as_os_str()
            && !path.components().any(|c| matches!(c, std::path::Component::ParentDir));
        if !normal {
            return Err(refuse(
                format!("path {}", shown(path)),
                "it is not absolute and in normal form",
                "This is a fault of the caller; report it",
            ));
        }
        let taken = own.starts_with(path)
            || path.starts_with(own)
            || RESERVED.iter().any(|r| path.starts_with(r) || Path::new(r).starts_with(path));
        if taken {
            return Err(refuse(
                format!("path {}", shown(path)),
                "the container's own file systems are there",
                "Take it out of the agent file",
            ));
        }
    }
    for entry in &spec.paths {
        if entries.insert(entry.path.as_path(), entry).is_some() {
            return Err(refuse(
                format!("path {}", shown(&entry.path)),
                "it is in the view twice",
                "This is a fault of the caller; report it",
            ));
        }
        if entry.access == Access::None && entry.source != PathSource::Empty {
            return Err(refuse(
                format!("path {}", shown(&entry.path)),
                "nothing is granted there, yet something would be mounted",
                "This is a fault of the caller; report it",
            ));
        }
    }
    Ok(entries)
}

/// Directories between the home and what is mounted below it. The engine would
/// make them as root, and the programs that live there could not write: so each
/// gets a tmpfs of its own.
fn parents_in_home(spec: &SandboxSpec, entries: &BTreeMap<&Path, &PathEntry>) -> BTreeSet<PathBuf> {
    let mut parents = BTreeSet::new();
    if entries.contains_key(spec.home.as_path()) {
        // A home of the host's, in which all of them stand already.
        return parents;
    }
    for path in entries.keys() {
        let between = path.ancestors().skip(1).take_while(|p| p.starts_with(&spec.home) && *p != spec.home);
        // Inside another mount it is that mount's directory.
        parents.extend(between.take_while(|p| !entries.contains_key(p)).map(Path::to_path_buf));
    }
    parents.retain(|p| !p.ancestors().skip(1).any(|a| a != spec.home && entries.contains_key(a)));
    parents
}

/// A mount point that is absent below a bind would be made by the engine, as root,
/// in the user's tree; one that is a link would move the mount elsewhere.
fn check_mount_point(entry: &PathEntry, entries: &BTreeMap<&Path, &PathEntry>) -> Result<(), SandboxError> {
    let above = entry.path.ancestors().skip(1).find_map(|p| entries.get(p));
    let Some(PathEntry { source: PathSource::Host(source), path, .. }) = above else { return Ok(()) };
    let below = entry.path.strip_prefix(path).unwrap_or(&entry.path);
    let root = openat(CWD, source, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let found = root.and_then(|root| {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(root, below, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)
    });
    let at = source.join(below);
    match found {
        Ok(found) => match check_kind(&found, entry.kind, &at) {
            // Something empty covers it, and nobody opens what is below.
            Err(_) if entry.access == Access::None && entry.kind == PathKind::File && is_socket(&found) => {
                Ok(())
            }
            checked => checked,
        },
        Err(error) => Err(refuse(
            format!("{} inside {}", shown(&entry.path), shown(path)),
            format!("{} cannot be mounted over: {error}", shown(&at)),
            "Make it a plain file or directory, or take the rule out",
        )),
    }
}

fn is_socket(found: &OwnedFd) -> bool {
    fstat(found).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

fn check_source(entry: &PathEntry, source: &Path) -> Result<OwnedFd, SandboxError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat2(CWD, source, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        .map_err(|e| SandboxError::io("open without following links", source)(e.into()))?;
    check_kind(&found, entry.kind, source)?;
    Ok(found)
}

fn check_kind(found: &OwnedFd, kind: PathKind, at: &Path) -> Result<(), SandboxError> {
    let stat = fstat(found).map_err(|e| SandboxError::io("look at", at)(e.into()))?;
    let expected = match kind {
        PathKind::File => FileType::RegularFile,
        PathKind::Directory => FileType::Directory,
    };
    if FileType::from_raw_mode(stat.st_mode) == expected {
        return Ok(());
    }
    Err(refuse(
        format!("path {}", shown(at)),
        "it is no longer the kind of file that it was when the run started",
        "Start the run again",
    ))
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
