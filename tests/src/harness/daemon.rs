use super::{api::Api, bin};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// Who runs the daemon and the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Whoever runs the tests.
    Tester,
    /// An ordinary user, made up for the test; needs root to become it.
    Ordinary,
}

impl User {
    const ORDINARY: u32 = 54_321;
}

/// One machine as a user sees it: directories, a daemon, agent files.
#[derive(Debug)]
pub struct Host {
    dir: TempDir,
    user: User,
    daemon: Option<Child>,
    env: Vec<(String, String)>,
    flags: Vec<String>,
}

/// What a client command printed.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Fails with everything that was printed unless the exit code is this one.
    ///
    /// # Panics
    /// When it is another.
    #[must_use]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }
}

impl Host {
    /// A host with a running daemon.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(User::Tester)
    }

    /// A host with a daemon of this user.
    #[must_use]
    pub fn start_as(user: User) -> Self {
        let mut host = Self::without_daemon(user);
        host.start_daemon();
        host
    }

    /// A host on which no daemon runs yet.
    ///
    /// # Panics
    /// When its directories cannot be made.
    #[must_use]
    pub fn without_daemon(user: User) -> Self {
        let dir = tempfile::Builder::new().prefix("cordon-e2e-").tempdir().expect("a temporary directory");
        let mut host = Self { dir, user, daemon: None, env: Vec::new(), flags: Vec::new() };
        host.open_up(host.dir.path(), 0o755);
        for name in ["state", "home", "files", "bin"] {
            let path = host.path(name);
            fs::create_dir(&path).expect(name);
            host.give(&path);
        }
        for program in ["cordon", "cordond", "cordon-guest"] {
            let to = host.path("bin").join(program);
            if fs::hard_link(bin().join(program), &to).is_err() {
                fs::copy(bin().join(program), &to).unwrap_or_else(|e| panic!("copy {program}: {e}"));
            }
        }
        host.set_env("HOME", &host.path("home").display().to_string());
        host
    }

    fn open_up(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set the mode");
    }

    /// Gives a path to the user of this host.
    ///
    /// # Panics
    /// When it cannot be given.
    pub fn give(&self, path: &Path) {
        if self.user == User::Ordinary {
            std::os::unix::fs::chown(path, Some(User::ORDINARY), Some(User::ORDINARY)).expect("chown");
        }
    }

    /// A path below this host's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A directory that an agent may own: an ordinary user's.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn tree(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("make a tree");
        let uid = self.agent_uid();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(uid), Some(uid)).expect("chown");
        }
        path.canonicalize().expect("canonical")
    }

    /// The user that agents of this host run as.
    #[must_use]
    pub fn agent_uid(&self) -> u32 {
        match self.user {
            User::Ordinary => User::ORDINARY,
            User::Tester if rustix::process::geteuid().is_root() => 65_534,
            User::Tester => rustix::process::geteuid().as_raw(),
        }
    }

    /// Writes a file that belongs to the agent's user.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, path: &Path, content: impl AsRef<[u8]>) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("make the parent");
        fs::write(path, content).expect("write");
        if rustix::process::geteuid().is_root() {
            let uid = self.agent_uid();
            std::os::unix::fs::chown(path, Some(uid), Some(uid)).expect("chown");
        }
    }

    /// Writes an agent file.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn agent_file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path("files").join(name);
        fs::write(&path, text).expect("write the agent file");
        self.give(&path);
        path
    }

    /// Sets a variable for the daemon (when started afterwards) and the client.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Adds a flag for the daemon; before it starts.
    pub fn set_flag(&mut self, flag: &str) {
        self.flags.push(flag.to_owned());
    }

    /// The daemon's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("state").join("cordond.sock")
    }

    /// A program of this host as its user, with a clean environment.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.path("bin").join(program));
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("CORDON_SOCKET", self.socket()).env("CORDON_STATE_DIR", self.path("state"));
        command.envs(self.env.iter().map(|(n, v)| (n, v))).current_dir(self.path("files"));
        if self.user == User::Ordinary {
            command.uid(User::ORDINARY).gid(User::ORDINARY);
        }
        command
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_daemon(&mut self) {
        let log =
            fs::File::options().create(true).append(true).open(self.path("daemon.log")).expect("a log file");
        let mut command = self.command("cordond");
        command
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log);
        let mut child = command.spawn().expect("start cordond");
        let answered = super::wait_until(Duration::from_secs(20), || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("cordond ended with {status}:\n{}", self.log());
            }
            std::os::unix::net::UnixStream::connect(self.socket()).is_ok()
        });
        assert!(answered, "cordond does not answer:\n{}", self.log());
        self.daemon = Some(child);
    }

    /// What the daemon logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// The daemon's process id.
    ///
    /// # Panics
    /// When none was started.
    #[must_use]
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon").id()
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// When none runs.
    pub fn kill_daemon(&mut self) {
        let mut child = self.daemon.take().expect("a daemon");
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    /// Runs the client to its end.
    #[must_use]
    pub fn cordon<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.finish(self.command("cordon").args(args).stdin(Stdio::null()))
    }

    /// Runs a prepared command to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn finish(&self, command: &mut Command) -> Ran {
        let out = command.output().expect("start the client");
        Ran {
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }

    /// Starts the client in the background.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Child {
        let mut command = self.command("cordon");
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("start the client")
    }

    /// The API of this host's daemon.
    pub async fn api(&self) -> Api {
        Api::connect(&self.socket()).await
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Some(mut child) = self.daemon.take() else { return };
        // Ends every run first, so that no sandbox outlives its test.
        let _ =
            self.finish(self.command("cordon").args(["daemon", "stop", "--stop-runs"]).stdin(Stdio::null()));
        let gone = super::wait_until(Duration::from_secs(20), || matches!(child.try_wait(), Ok(Some(_))));
        if !gone {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- cordond\n{}", self.log());
        }
    }
}
