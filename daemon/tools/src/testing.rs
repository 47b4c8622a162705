//! A small world for unit tests: a writable tree, a read-only one, and a canary outside.

use crate::{Answer, Table, Tools};
use cordon_policy::{Access, Origin, Policy, Rule, Source};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tokio_util::sync::CancellationToken;

/// What must never be seen or changed.
pub(crate) const CANARY: &str = "canary-5f0c1d";

pub(crate) struct World {
    _keep: tempfile::TempDir,
    pub(crate) root: PathBuf,
    pub(crate) tools: Tools,
}

impl World {
    /// `ws` is writable with `ws/keep` read-only and `ws/.env` hidden in it; `ro` is read-only
    /// with `ro/out` writable; `one` is a single readable file; the rest is outside.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Table)) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().canonicalize().unwrap();
        for directory in ["ws/keep", "ws/sub/deep", "ws-secret", "ro/out", "outside", "single"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for (name, text) in [
            ("ws/a.txt", "one\ntwo\nthree\n"),
            ("ws/keep/kept.txt", "kept"),
            ("ws/sub/b.rs", "fn b() {}\n"),
            ("ws/sub/deep/c.rs", "fn c() {}\n"),
            ("ws/.env", CANARY),
            ("ws-secret/x", CANARY),
            ("ro/r.txt", "read me"),
            ("outside/canary", CANARY),
            ("single/one.txt", "alone"),
            ("single/sibling.txt", CANARY),
        ] {
            fs::write(root.join(name), text).unwrap();
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
            rule("ro", Access::Read, Source::ContextPath),
            rule("ro/out", Access::Write, Source::ContextPath),
            rule("single/one.txt", Access::Write, Source::ContextPath),
        ])
        .unwrap();
        let mut table = Table::new(policy, &root.join("ws")).unwrap();
        change(&mut table);
        Self { _keep: keep, root, tools: Tools::new(table) }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.root.join(name).to_str().unwrap().to_owned()
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Answer {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        self.tools.call(tool, arguments, CancellationToken::new()).await.unwrap()
    }

    /// Nothing outside was changed.
    pub(crate) fn assert_canaries(&self) {
        for name in ["outside/canary", "ws-secret/x", "single/sibling.txt", "ws/.env"] {
            assert_eq!(fs::read_to_string(self.root.join(name)).unwrap(), CANARY, "{name} was changed");
        }
        assert_eq!(fs::read_to_string(self.root.join("ws/keep/kept.txt")).unwrap(), "kept");
        assert_eq!(names(&self.root.join("outside")), ["canary"]);
    }
}

/// The names in a directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn is_denied(answer: &Answer) -> bool {
    answer.is_error && answer.structured.as_ref().is_some_and(|s| s.get("denial").is_some())
}
