use super::{Host, KEY, wait_until};
use std::{fs, path::PathBuf, process::Command, time::Duration};

/// How long a person waits for something to show.
pub const LIMIT: Duration = Duration::from_secs(90);

/// A tmux server of its own, with the host's client on its PATH.
#[derive(Debug)]
pub struct Tmux<'a> {
    host: &'a Host,
    socket: PathBuf,
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let _ = self.run(&["kill-server"]);
    }
}

impl<'a> Tmux<'a> {
    /// For this host.
    #[must_use]
    pub fn new(host: &'a Host) -> Self {
        Self { host, socket: host.path("tmux") }
    }

    /// One of tmux's own commands, and what it prints.
    ///
    /// # Panics
    /// When tmux is not there.
    pub fn run(&self, args: &[&str]) -> String {
        let out =
            Command::new("tmux").arg("-S").arg(&self.socket).args(["-f", "/dev/null"]).args(args).output();
        let out = out.expect("tmux is not there: run `make test`, which installs it");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// A terminal with a shell.
    pub fn open(&self, name: &str, columns: u16, rows: u16) {
        let bin = self.host.path("bin").display().to_string();
        let mut args: Vec<String> = ["new-session", "-d", "-s", name].map(str::to_owned).into();
        args.extend(["-x".to_owned(), columns.to_string(), "-y".to_owned(), rows.to_string()]);
        let command = self.host.command("cordon");
        let all = command.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
        for (variable, value) in all {
            let value = if variable == "PATH" { format!("{bin}:{value}") } else { value.to_owned() };
            args.extend(["-e".to_owned(), format!("{variable}={value}")]);
        }
        args.extend([
            "-e".to_owned(),
            format!("PLANTED_KEY={KEY}"),
            "-e".to_owned(),
            "PROMPT_COMMAND=PS1='outside> '".to_owned(),
        ]);
        args.extend(["-c".to_owned(), self.host.path("files").display().to_string()]);
        // tmux has its own mind about this one.
        args.push(format!("PATH={bin}:/usr/local/bin:/usr/bin:/bin exec bash --norc --noprofile"));
        self.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        self.until(name, "a shell", |screen| screen.contains("outside>"));
    }

    /// What the terminal shows.
    #[must_use]
    pub fn screen(&self, name: &str) -> String {
        self.run(&["capture-pane", "-p", "-t", name])
    }

    /// Waits until the terminal shows it.
    ///
    /// # Panics
    /// When it never does.
    pub fn until(&self, name: &str, what: &str, mut so: impl FnMut(&str) -> bool) -> String {
        let mut last = String::new();
        let found = wait_until(LIMIT, || {
            last = self.screen(name);
            so(&last)
        });
        assert!(found, "{name} never showed {what}:\n{last}\n--- daemon\n{}", self.host.log());
        last
    }

    /// Waits for a text.
    pub fn shows(&self, name: &str, text: &str) -> String {
        self.until(name, text, |screen| screen.contains(text))
    }

    /// Presses keys, by tmux's names.
    pub fn keys(&self, name: &str, keys: &[&str]) {
        self.run(&[&["send-keys", "-t", name], keys].concat());
    }

    /// Types a text.
    pub fn types(&self, name: &str, text: &str) {
        self.keys(name, &["-l", "--", text]);
    }

    /// A line for the shell or the program.
    pub fn line(&self, name: &str, text: &str) {
        self.types(name, text);
        self.keys(name, &["Enter"]);
    }

    /// Leaves by the detach key.
    pub fn detach(&self, name: &str) {
        self.keys(name, &["C-]"]);
        self.shows(name, "which goes on");
    }

    /// The process of the client in there.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn client(&self, name: &str) -> String {
        let shell = self.run(&["display-message", "-p", "-t", name, "#{pane_pid}"]);
        let mut found = String::new();
        let there = wait_until(LIMIT, || {
            let path = format!("/proc/{0}/task/{0}/children", shell.trim());
            found = fs::read_to_string(path).unwrap_or_default().trim().to_owned();
            !found.is_empty()
        });
        assert!(there, "no client in {name}");
        found.split_whitespace().next().unwrap_or_default().to_owned()
    }
}
