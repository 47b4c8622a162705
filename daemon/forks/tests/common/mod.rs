#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test uses a part, and fails by panicking"
)]

use cordon_forks::{Fork, ForkError, ForkRequest, Method, Owner};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

pub(crate) const USER: Owner = Owner { uid: 65_534, gid: 65_534 };

/// A place with a user's tree and room for forks.
pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) root: PathBuf,
    pub(crate) tree: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::in_directory(&std::env::temp_dir())
    }

    pub(crate) fn in_directory(directory: &Path) -> Self {
        let dir = tempfile::tempdir_in(directory).unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let tree = root.join("tree");
        fs::create_dir(&tree).unwrap();
        Self { dir, root, tree }
    }

    pub(crate) fn forks(&self) -> PathBuf {
        self.root.join("state/forks")
    }

    pub(crate) fn at(&self) -> PathBuf {
        self.forks().join("run/0/0")
    }

    pub(crate) fn request<'a>(&'a self, at: &'a Path, method: Method) -> ForkRequest<'a> {
        ForkRequest {
            at,
            tree: &self.tree,
            is_directory: true,
            method,
            identity: USER,
            leave_out: &[],
            cancel: None,
        }
    }

    pub(crate) fn fork(&self, method: Method) -> Result<Fork, ForkError> {
        Fork::make(&self.request(&self.at(), method), &mut |_, _| ())
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A test that fails must not leave a mount that its directory cannot be removed with.
        let _ = Fork::remove(&self.root.join("state"));
    }
}

pub(crate) fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A test that needs root fails without, unless it is told to be left out.
pub(crate) fn needs_root() -> bool {
    if is_root() {
        return true;
    }
    let skipped = std::env::var("CORDON_TEST_SKIP").unwrap_or_default();
    assert!(skipped.split(',').any(|s| s.trim() == "root"), "needs root, or CORDON_TEST_SKIP=root");
    false
}

fn hash(content: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!(" {} {:x}", content.len(), hasher.finish())
}

/// Everything that can be told of a tree from outside, by a walker of the tests' own.
pub(crate) fn picture(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut first: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(path) = left.pop() {
        let meta = path.symlink_metadata().unwrap();
        let relative = path.strip_prefix(root).unwrap().to_path_buf();
        let mut told = format!("{:o} {}:{} {}", meta.mode(), meta.uid(), meta.gid(), meta.mtime_nsec());
        told += &format!(" {}", meta.mtime());
        if meta.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()).collect();
            // From the back, so that the first name of a file is the same one everywhere.
            names.sort();
            left.extend(names.into_iter().rev());
        } else if meta.is_symlink() {
            told += &format!(" -> {:?}", fs::read_link(&path).unwrap());
        } else if meta.is_file() {
            let content = fs::read(&path).unwrap();
            let short = content.len() < 100;
            told += &if short { format!(" {:?}", String::from_utf8_lossy(&content)) } else { hash(&content) };
            if meta.nlink() > 1 {
                let first = first.entry((meta.dev(), meta.ino())).or_insert_with(|| relative.clone());
                told += &format!(" = {first:?}");
            }
        } else {
            told += if meta.file_type().is_fifo() { " fifo" } else { " special" };
        }
        all.insert(relative, told);
    }
    all
}
