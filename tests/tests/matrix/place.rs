//! One program in one wall, and a run of it from its start to what it leaves behind.

use cordon_proto::v1::{self as pb, Event, Outcome, event::Kind};
use cordon_tests::{
    harness::{
        Cli, Host, KEY, More, Ran, Where, agent_text, containers_of, networks_of, processes_mentioning,
        summary, wait_until,
    },
    provider::{Provider, Script},
};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

/// Nothing here takes that long: what does has failed.
pub(crate) const BOUNDS: &str = "timeout_settings:\n  idle_timeout_seconds: 60\n  round_timeout_grace_seconds: 2\n  orchestrator_timeout_seconds: 120\n";

pub(crate) struct Place<'a> {
    pub(crate) host: &'a Host,
    pub(crate) runtime: &'a tokio::runtime::Runtime,
    pub(crate) cli: Cli,
    pub(crate) at: Where,
}

/// A run that has ended.
pub(crate) struct Done {
    pub(crate) ran: Ran,
    pub(crate) run: pb::Run,
    pub(crate) events: Vec<Event>,
}

impl Place<'_> {
    pub(crate) fn provider(&self, script: Script) -> Provider {
        self.runtime.block_on(Provider::start(script)).unwrap()
    }

    /// An agent file in the name of a cell, its workspace beside it.
    pub(crate) fn file(&self, name: &str, base_url: &str, more: More<'_>) -> (PathBuf, PathBuf) {
        let ws = self.host.tree(&format!("ws-{name}"));
        let more = More { file: &format!("{}{BOUNDS}", more.file), ..more };
        let text = agent_text(self.cli, self.at, base_url, &ws, more);
        (self.host.agent_file(&format!("{name}.yaml"), &text), ws)
    }

    /// The client, with the key in its environment alone.
    pub(crate) fn client(&self, args: &[&str]) -> Command {
        let mut command = self.host.command("cordon");
        command.args(args).env("PLANTED_KEY", KEY).stdin(std::process::Stdio::null());
        command
    }

    /// The last run of an agent file.
    pub(crate) fn run_of(&self, file: &Path) -> Option<pb::Run> {
        let name = file.file_name().unwrap().to_str().unwrap();
        let runs = self.runtime.block_on(async { self.host.api().await.list().await });
        let of_file = runs.into_iter().filter(|run| run.agent_file_name.ends_with(name));
        of_file.max_by_key(|run| run.started_unix_ms)
    }

    pub(crate) fn events(&self, run: &str) -> Vec<Event> {
        self.runtime.block_on(async { self.host.api().await.events(run, false).await })
    }

    /// Runs the client to the end of its run.
    pub(crate) fn finish(&self, file: &Path, args: &[&str]) -> Done {
        let ran = self.host.finish(&mut self.client(args));
        let said = || format!("{}\n{}", ran.stdout, ran.stderr);
        let run = self.run_of(file).unwrap_or_else(|| panic!("no run: {}", said()));
        let events = self.events(&run.id);
        Done { events, run, ran }
    }

    /// Runs an agent file.
    pub(crate) fn run(&self, file: &Path, prompt: &str) -> Done {
        let done = self.finish(file, &["run", file.to_str().unwrap(), prompt]);
        self.nothing_is_left(&done.run.id, file);
        done
    }

    /// Waits for a client that was started to end.
    pub(crate) fn ended(&self, client: Child, file: &Path) -> Done {
        let out = client.wait_with_output().unwrap();
        let ran = Ran {
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        };
        let run = self.run_of(file).unwrap_or_else(|| panic!("no run: {}\n{}", ran.stdout, ran.stderr));
        Done { events: self.events(&run.id), run, ran }
    }

    /// No process, no container, no network. They go a moment after the end is told.
    pub(crate) fn nothing_is_left(&self, run: &str, file: &Path) {
        let ws = file.file_stem().unwrap().to_str().unwrap();
        let ws = self.host.path(&format!("ws-{ws}")).display().to_string();
        let gone = wait_until(Duration::from_secs(30), || processes_mentioning(&ws).is_empty());
        assert!(gone, "left behind: {:?}", processes_mentioning(&ws));
        if self.at != Where::Local {
            let gone = wait_until(Duration::from_secs(30), || {
                containers_of(run).is_empty() && networks_of(run).is_empty()
            });
            assert!(gone, "left behind: {:?} {:?}", containers_of(run), networks_of(run));
        }
    }
}

impl Done {
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.events.iter().filter_map(|e| e.kind.as_ref())
    }

    /// The commands of the agent that have ended.
    pub(crate) fn commands(&self) -> Vec<&pb::CommandEvent> {
        self.kinds()
            .filter_map(|k| match k {
                Kind::Command(c) if c.status != "started" => Some(c),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn errors(&self) -> Vec<&pb::ErrorEvent> {
        self.kinds().filter_map(|k| if let Kind::Error(e) = k { Some(e) } else { None }).collect()
    }

    /// The run ended as told, with nothing in it that Cordon did not understand.
    #[track_caller]
    pub(crate) fn expect(&self, outcome: Outcome) -> pb::RunSummary {
        let ended = summary(&self.events);
        let said = format!("{}\n{}", self.ran.stdout, self.ran.stderr);
        assert_eq!(ended.outcome(), outcome, "{said}");
        assert_eq!(self.ran.code == 0, outcome == Outcome::Success, "{said}");
        let unknown = self.kinds().find(|k| matches!(k, Kind::Unknown(_)));
        assert!(unknown.is_none(), "{unknown:?}");
        ended.summary.unwrap()
    }
}

/// No file below a directory holds the text. What a run keeps while it lives goes a moment after
/// its end is told; what others of the same daemon keep is theirs.
#[track_caller]
pub(crate) fn nowhere(dir: &Path, text: &str, but: &str) {
    let find = || {
        let mut grep = Command::new("grep");
        grep.args(["-rlF", &format!("--exclude={but}"), "--", text]).arg(dir);
        String::from_utf8_lossy(&grep.output().unwrap().stdout).into_owned()
    };
    let clean = wait_until(Duration::from_secs(20), || find().is_empty());
    assert!(clean, "{text} is in {}", find());
}
