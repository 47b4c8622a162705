use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Room of the loop-mounted filesystem; its file is sparse.
const ROOM: u64 = 12 << 30;

/// A filesystem to measure on.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    root: PathBuf,
    mounted: Option<TempDir>,
    /// Whether files can have blocks in common.
    pub(crate) shares_blocks: bool,
}

impl Place {
    /// The disk of /var/tmp.
    pub(crate) fn ext4() -> Self {
        let kind = output(Command::new("stat").args(["-f", "-c", "%T", "/var/tmp"]));
        let name = if kind.starts_with("ext") { "ext4" } else { "disk" };
        Self { name, root: "/var/tmp".into(), mounted: None, shares_blocks: false }
    }

    /// A file of that disk, mounted.
    pub(crate) fn btrfs() -> Self {
        let keep = tempfile::Builder::new().prefix("cordon-bench-").tempdir_in("/var/tmp").unwrap();
        let (image, root) = (keep.path().join("image"), keep.path().join("mount"));
        std::fs::File::create(&image).unwrap().set_len(ROOM).unwrap();
        std::fs::create_dir(&root).unwrap();
        output(Command::new("mkfs.btrfs").arg("-q").arg(&image));
        output(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&root));
        Self { name: "btrfs", root, mounted: Some(keep), shares_blocks: true }
    }

    /// A fresh directory there.
    pub(crate) fn directory(&self) -> TempDir {
        tempfile::Builder::new().prefix("cordon-bench-").tempdir_in(&self.root).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.mounted.is_some() {
            unmount(&self.root);
        }
    }
}

fn unmount(at: &Path) {
    output(Command::new("umount").arg(at));
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
