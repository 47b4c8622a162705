//! A tree made to lead astray, and the file tools on it.
// Each target uses a part of it.
#![allow(dead_code)]

use cordon_policy::{Access, Origin, Policy, Rule, Source};
use cordon_tools::{Table, Tools};
use std::{fs, os::unix::fs::symlink, path::PathBuf};

/// What no answer may ever contain.
pub(crate) const CANARY: &str = "canary-3b1f77";

pub(crate) struct World {
    _keep: tempfile::TempDir,
    pub(crate) root: PathBuf,
    pub(crate) tools: Tools,
    pub(crate) policy: Policy,
}

impl World {
    pub(crate) fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().canonicalize().unwrap();
        for directory in ["ws/sub/deep", "ws/keep", "outside/dir", "ws-twin"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for (name, text) in [
            ("ws/a.txt", "one\ntwo\nthree\n"),
            ("ws/sub/b.txt", "b"),
            ("ws/keep/kept", "kept"),
            ("ws/.env", CANARY),
            ("outside/canary", CANARY),
            ("outside/dir/canary", CANARY),
            ("ws-twin/canary", CANARY),
        ] {
            fs::write(root.join(name), text).unwrap();
        }
        for (link, to) in [
            ("ws/out", "../outside"),
            ("ws/file", "../outside/canary"),
            ("ws/sub/up", "../.."),
            ("ws/loop", "loop"),
            ("ws/magic", "/proc/self/root"),
            ("ws/secret", ".env"),
            ("ws/new", "../outside/new"),
            ("ws/in", "sub/deep"),
        ] {
            symlink(to, root.join(link)).unwrap();
        }
        let rule = |path: &str, access, source| Rule {
            path: root.join(path),
            access,
            origin: Origin::built_in(source),
        };
        let policy = Policy::new([
            rule("ws", Access::Write, Source::Workspace),
            rule("ws/keep", Access::Read, Source::ProtectedPath),
            rule("ws/.env", Access::None, Source::Secret),
        ]);
        let policy = policy.unwrap();
        let tools = Tools::new(Table::new(policy.clone(), &root.join("ws")).unwrap());
        Self { _keep: keep, root, tools, policy }
    }

    /// All that the tools may not change, as one value.
    pub(crate) fn untouchable(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut seen = Vec::new();
        let mut left: Vec<PathBuf> =
            ["outside", "ws-twin", "ws/keep", "ws/.env"].iter().map(|name| self.root.join(name)).collect();
        while let Some(path) = left.pop() {
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => {
                    left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                    seen.push((path, Vec::new()));
                }
                Ok(_) => seen.push((path.clone(), fs::read(&path).unwrap())),
                Err(_) => seen.push((path, b"gone".to_vec())),
            }
        }
        let beside: Vec<_> = fs::read_dir(&self.root).unwrap().map(|entry| entry.unwrap().path()).collect();
        seen.extend(beside.into_iter().map(|path| (path, Vec::new())));
        seen.sort();
        seen
    }
}
