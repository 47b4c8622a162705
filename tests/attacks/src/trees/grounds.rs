//! Where trees are attacked: what an agent made, what the user has, and around it what nobody may touch, read or run.

use crate::watch::{Watch, holds};
use cordon_snapshots::{Reader, SnapshotId, SnapshotRequest, Store, StoreOptions, apply::Owner};
use rustix::fs::inotify;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown},
    path::{Path, PathBuf},
};

/// Whose the trees are. All around them is root's, as the daemon is.
pub const USER: u32 = 4321;
const TOKEN: &str = "token-that-only-root-may-read-";

/// The places of one attack.
#[derive(Debug)]
pub struct Grounds {
    top: tempfile::TempDir,
    /// Where snapshots are kept.
    pub store: Store,
    token: String,
    outside: Watch,
    opened: rustix::fd::OwnedFd,
}

impl Drop for Grounds {
    fn drop(&mut self) {
        // The standard library goes down by recursion; this does not.
        for tree in ["agent", "user", "beside", "carried"] {
            let _ = std::process::Command::new("rm").arg("-rf").arg("--").arg(self.at(tree)).status();
        }
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

impl Grounds {
    /// Trees with a little in them: what the agent started from is what the user has.
    ///
    /// # Panics
    /// When this is not root, or nothing can be made.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        assert!(rustix::process::getuid().is_root(), "a daemon that is root is attacked as root");
        let top = tempfile::tempdir().unwrap();
        mode(top.path(), 0o755);
        let at = |name: &str| top.path().join(name);
        for name in ["base", "agent", "user", "outside", "outside/directory", "markers", "journals", "shared"]
        {
            fs::create_dir(at(name)).unwrap();
        }
        mode(&at("journals"), 0o700);
        mode(&at("markers"), 0o777);
        let token = format!("{TOKEN}{}", std::process::id());
        for name in ["outside/canary", "outside/directory/canary"] {
            fs::write(at(name), &token).unwrap();
            mode(&at(name), 0o600);
        }
        // The user's own, and not in any of the trees.
        fs::write(at("shared/file"), "of the user, elsewhere").unwrap();
        for tree in ["base", "agent", "user"] {
            fs::create_dir_all(at(tree).join("src/deep")).unwrap();
            fs::create_dir_all(at(tree).join(".git/hooks")).unwrap();
            fs::write(at(tree).join(".git/config"), "[core]\n").unwrap();
            fs::write(at(tree).join("src/main.rs"), "one\ntwo\n").unwrap();
            fs::write(at(tree).join("src/deep/file"), "deep\n").unwrap();
            fs::write(at(tree).join("notes.txt"), "notes\n").unwrap();
        }
        let store = Store::open(&at("store"), "owner", StoreOptions::default()).unwrap();
        let opened = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
        let outside = Watch::new(&at("outside"));
        let grounds = Self { store, token, outside, opened, top };
        grounds.give("shared");
        grounds
    }

    /// A path below the top.
    #[must_use]
    pub fn at(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    /// What must never be seen.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whose the trees are.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner::new(USER, USER)
    }

    /// Makes everything in a tree the user's, links not followed.
    ///
    /// # Panics
    /// When it cannot be.
    pub fn give(&self, name: &str) {
        let top = self.at(name);
        let mut todo = vec![top];
        while let Some(path) = todo.pop() {
            match lchown(&path, Some(USER), Some(USER)) {
                // Who made a deeper tree gave it away at once.
                Err(error) if error.kind() == std::io::ErrorKind::InvalidFilename => continue,
                other => other.unwrap(),
            }
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            }
        }
    }

    /// Looks from now on whether anybody opens what lies outside.
    pub(super) fn arm(&self) {
        for name in ["outside/canary", "outside/directory/canary", "outside/directory"] {
            inotify::add_watch(&self.opened, self.at(name), inotify::WatchFlags::OPEN).unwrap();
        }
    }

    /// A snapshot of a tree, as the daemon takes it for the user.
    pub(super) fn taken(&self, name: &str) -> Result<SnapshotId, String> {
        let reader = Some(Reader { uid: USER, gid: USER });
        let request = SnapshotRequest { reader, ..SnapshotRequest::default() };
        self.store.snapshot(&self.at(name), &request).map(|taken| taken.id).map_err(|e| e.to_string())
    }

    /// What is wrong outside, and in what was made of the trees.
    pub(super) fn wrong(&self, made: &[&str]) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.opened() {
            wrong.push("something outside was opened".to_owned());
        }
        wrong.extend(self.outside.changes().into_iter().map(|change| format!("outside: {change}")));
        for marker in fs::read_dir(self.at("markers")).unwrap() {
            wrong.push(format!("{:?} was run", marker.unwrap().file_name()));
        }
        if fs::read(self.at("shared/file")).unwrap() != b"of the user, elsewhere" {
            wrong.push("a file elsewhere was written through a hard link".to_owned());
        }
        for name in made.iter().map(|name| self.at(name)).filter(|path| fs::symlink_metadata(path).is_ok()) {
            if holds(&name, &self.token) {
                wrong.push(format!("{name:?} holds what only root may read"));
            }
            foreign(&name, &mut wrong);
        }
        // The judge looked as well.
        self.opened();
        wrong
    }

    /// Whether anybody opened anything outside since the last question.
    fn opened(&self) -> bool {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.opened, &mut buffer);
        let mut any = false;
        while reader.next().is_ok() {
            any = true;
        }
        any
    }
}

/// What gives rights to whoever runs it, belongs to somebody else, or is no file, directory or link.
fn foreign(top: &Path, wrong: &mut Vec<String>) {
    let mut todo = vec![top.to_path_buf()];
    while let Some(path) = todo.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.uid() != USER || meta.gid() != USER {
            wrong.push(format!("{path:?} belongs to {}:{}", meta.uid(), meta.gid()));
        }
        if !meta.is_symlink() && meta.mode() & 0o7000 != 0 {
            wrong.push(format!("{path:?} has mode {:o}", meta.mode() & 0o7777));
        }
        let mut empty = [0u8; 0];
        if meta.is_file() && rustix::fs::getxattr(&path, "security.capability", &mut empty[..]).is_ok() {
            wrong.push(format!("{path:?} has file capabilities"));
        }
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
        } else if !meta.is_file() && !meta.is_symlink() {
            wrong.push(format!("{path:?} is no file"));
        }
    }
}
