use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A repository beside the tree.
pub(crate) struct Git {
    directory: PathBuf,
    tree: PathBuf,
}

impl Git {
    pub(crate) fn new(directory: PathBuf, tree: &Path) -> Self {
        let git = Self { directory, tree: tree.to_path_buf() };
        run(git.command().arg("init").arg("-q"));
        git
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command
            .arg("--git-dir")
            .arg(&self.directory)
            .arg("--work-tree")
            .arg(&self.tree)
            .args(["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0"])
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", &self.directory)
            .current_dir(&self.tree);
        command
    }

    pub(crate) fn commit(&self) {
        run(self.command().args(["add", "-A"]));
        run(self.command().args(["commit", "-q", "--allow-empty", "-m", "bench"]));
    }

    /// Of the last commit but one with the live tree.
    pub(crate) fn diff(&self) {
        run(self.command().args(["diff", "--stat", "HEAD~1"]));
    }
}

/// A repository of restic's.
pub(crate) struct Restic {
    repository: PathBuf,
    tree: PathBuf,
}

impl Restic {
    pub(crate) fn new(repository: PathBuf, tree: &Path) -> Self {
        let restic = Self { repository, tree: tree.to_path_buf() };
        run(restic.command().arg("init"));
        restic
    }

    fn command(&self) -> Command {
        let mut command = Command::new("restic");
        command
            .args(["-q", "-r"])
            .arg(&self.repository)
            .arg("--cache-dir")
            .arg(self.repository.with_extension("cache"))
            .env("RESTIC_PASSWORD", "bench")
            .env("HOME", "/nonexistent");
        command
    }

    pub(crate) fn backup(&self) {
        run(self.command().arg("backup").arg(&self.tree));
    }

    pub(crate) fn restore(&self, to: &Path) {
        run(self.command().args(["restore", "latest", "--target"]).arg(to));
    }
}

pub(crate) fn tar_zstd(tree: &Path, to: &Path) {
    let script = r#"tar -C "$1" -cf - . | zstd -q -1 -T2 -o "$2""#;
    run(Command::new("bash").args(["-o", "pipefail", "-c", script, "bench"]).arg(tree).arg(to));
}

pub(crate) fn copy(tree: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(tree).arg(to));
}

pub(crate) fn reflink(tree: &Path, to: &Path) {
    run(Command::new("cp").args(["-a", "--reflink=always"]).arg(tree).arg(to));
}
