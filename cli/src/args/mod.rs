//! The command line.

mod attach;
mod chat;
mod lmstudio;
mod login;
mod trees;

pub(crate) use attach::Attach;
pub(crate) use chat::Chat;
pub(crate) use lmstudio::{LmStudio, Port};
pub(crate) use login::Login;
pub(crate) use trees::{Apply, Colour, Diff, DiffStyle, Drift, Fork, Snapshots, Workspaces};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint, builder::NonEmptyStringValueParser};
use clap_complete::Shell;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    the agent failed or ran out of time; a check found something wrong
  2    bad input: the command line, the agent file, an unknown run
  3    refused by the policy or by a wall
  4    the daemon cannot be reached, or had trouble of its own
  130  cancelled
`cordon exec` and `cordon attach` end with the code of the process, 128 + n for signal n.";

const EVERYWHERE: &str = "Options of every command";

/// Run AI agents where they can do their work and nothing else.
#[derive(Debug, Parser)]
#[command(name = "cordon", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The daemon's socket [default: one of this user; as root /run/cordon/cordond.sock]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "CORDON_SOCKET", value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) socket: Option<PathBuf>,
    /// State directory of a daemon started by this command
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "CORDON_STATE_DIR", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Fail when no daemon answers, and start none
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) no_start: bool,
    /// How results are printed; json: one document, for `run` and `logs` one event a line
    #[arg(long, short, global = true, help_heading = EVERYWHERE, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WallName {
    /// A container.
    Docker,
    /// Namespaces, Landlock and seccomp.
    Local,
}

impl WallName {
    /// The word of the protocol; empty leaves the choice to the agent file.
    pub(crate) fn word(wall: Option<Self>) -> String {
        match wall {
            None => "",
            Some(Self::Docker) => "docker",
            Some(Self::Local) => "local",
        }
        .to_owned()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give a task to the agents of an agent file and watch them
    ///
    /// Ctrl-C stops the run and waits for its end; pressed again, it leaves the run to the daemon.
    /// Agents write into forks of your trees; --apply says what comes of that. Where changes are
    /// refused at the end of a successful run, it ends with 1.
    #[command(after_help = EXIT_CODES)]
    Run(Run),
    /// Talk with the agents of an agent file
    ///
    /// Each message is a turn: a run that goes on with the one before, in the same home and
    /// workspace. Every agent of the file answers, or those that -a names. Alt-Enter, or a
    /// backslash at the end, begins a new line; Ctrl-C interrupts a turn and keeps what was said;
    /// Ctrl-D leaves. Without a terminal each line of standard input is a message, and the first
    /// turn that fails ends it. What you type is kept in ~/.local/state/cordon/chat-history, for
    /// you alone; a message that begins with a space is not.
    #[command(after_help = EXIT_CODES)]
    Chat(Chat),
    /// List runs
    Ps {
        /// Also those that have ended
        #[arg(short, long)]
        all: bool,
    },
    /// Show what happened in a run; with -f until it ends, and with its exit code
    #[command(after_help = EXIT_CODES)]
    Logs(Logs),
    /// Run a program inside the sandbox of a running agent
    ///
    /// Without -t, output that goes to a terminal is neutralised. With -t the program has the
    /// terminal, as over ssh: what it prints is obeyed.
    Exec(Exec),
    /// Serve an agent's tools to an MCP client on standard input and output
    ///
    /// A sandbox is made as for a run, and no backend is started in it. It ends when the client
    /// hangs up. Everything but MCP goes to standard error.
    #[command(after_help = EXIT_CODES)]
    Mcp(Mcp),
    /// Open the terminal interface of an agent's program inside its sandbox
    ///
    /// Ctrl-] leaves and lets the program go on; `cordon attach` with the same file, or with the
    /// run's id, comes back to it. The first viewer writes, others watch. What a program must not
    /// make a terminal do (clipboard, window operations, questions) does not reach it.
    #[command(after_help = EXIT_CODES)]
    Attach(Attach),
    /// Log in with a backend's own program, for agents to use
    ///
    /// The program runs on this terminal, in a sandbox that holds nothing and reaches only the
    /// servers of that login. What it makes is kept in Cordon's own directory; your own login
    /// stays as it is. Agents get Cordon's own where there is one. Ctrl-] gives it up.
    ///
    /// With --api-key it takes an API key instead (of copilot: a token of GitHub), which agents get
    /// that have none in their file or your environment. It is used with the backend's own service
    /// alone, never where an agent file names a base_url.
    #[command(after_help = EXIT_CODES)]
    Login(Login),
    /// List the logins that agents get: where they come from and when they end
    Logins,
    /// Forget what `cordon login` keeps of a backend: the login and the API key
    Logout {
        /// codex, claude_code, gemini_cli or copilot
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        backend: String,
        /// Forget only the API key that `cordon login --api-key` keeps
        #[arg(long)]
        api_key: bool,
    },
    /// Stop a run and wait until it has ended
    Stop {
        /// Id of the run, or an unambiguous beginning of it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        run: String,
    },
    /// Remove an ended run and its journal
    Rm {
        /// Id of the run, or an unambiguous beginning of it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        run: String,
        /// Also the workspaces that Cordon made for it
        #[arg(long)]
        workspace: bool,
    },
    /// Show what the agents of an ended run changed
    Diff(Diff),
    /// Bring what an agent changed into your trees: all of it or nothing
    ///
    /// Each change has a class. What is only `data` needs one yes; what `runs-later`,
    /// `steers-agents` or `moves-identity` needs its class typed, or named with --allow.
    Apply(Apply),
    /// Stored states of workspaces and of trees that agents worked on
    #[command(subcommand)]
    Snapshots(Snapshots),
    /// Where agents work
    #[command(subcommand)]
    Workspaces(Workspaces),
    /// Check an agent file and print every problem
    Validate {
        /// The agent file
        #[arg(value_hint = ValueHint::FilePath, required_unless_present = "schema")]
        file: Option<PathBuf>,
        /// Print the JSON schema of agent files
        #[arg(long)]
        schema: bool,
    },
    /// Show which paths an agent may read or write, which rule says so, and who enforces it
    Explain {
        /// The agent file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Only these paths
        paths: Vec<String>,
        /// Only this agent
        #[arg(short, long, default_value = "", hide_default_value = true)]
        agent: String,
    },
    /// List the backends that an agent file may name: keys, addresses, models, what each has
    Backends {
        /// Only this one, with the models that are known
        backend: Option<String>,
    },
    /// Find, start or install LM Studio on this machine, and get models for it
    ///
    /// It is done with LM Studio's own program `lms`, with your rights and outside of any sandbox,
    /// because you typed it: an agent file with `lmstudio_start` asks a server that is running, and
    /// starts none. `lms` is looked for on PATH, then in ~/.lmstudio/bin.
    #[command(subcommand, name = "lmstudio")]
    LmStudio(LmStudio),
    /// Say what this machine can enforce and what is missing
    Doctor {
        /// Build a sandbox for this agent file, and report what is really reachable inside
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        inside: Option<PathBuf>,
        /// Which wall, instead of the agent file's
        #[arg(long, value_enum, requires = "inside")]
        wall: Option<WallName>,
        /// Which agent of the file
        #[arg(short, long, requires = "inside", default_value = "", hide_default_value = true)]
        agent: String,
    },
    /// The images of Docker sandboxes
    #[command(subcommand)]
    Images(Images),
    /// Versions of this client and of the daemon
    Version,
    /// Print a completion script
    Completions {
        /// For this shell
        shell: Shell,
    },
    /// The daemon itself
    #[command(subcommand)]
    Daemon(Daemon),
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The agent file; with --resume only where the one of that run is not to be used again
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "resume")]
    pub(crate) file: Option<PathBuf>,
    /// What to do; `-` or nothing reads it from standard input
    pub(crate) task: Option<String>,
    /// Go on with an ended run: its agents keep their sessions, homes and workspaces
    ///
    /// `cordon run --resume RUN TASK` uses the agent file of that run again, and
    /// `cordon run FILE --resume RUN TASK` another one with the same agents. A single argument is
    /// the task; `-` reads it from standard input.
    #[arg(long, value_name = "RUN", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) resume: Option<String>,
    /// Only this agent; may be given several times
    #[arg(short, long = "agent", value_name = "AGENT")]
    pub(crate) agents: Vec<String>,
    #[command(flatten)]
    pub(crate) watching: Watching,
}

/// How a run is started and watched.
#[derive(Debug, Args)]
pub(crate) struct Watching {
    /// Which wall, instead of the agent file's
    #[arg(long, value_enum)]
    pub(crate) wall: Option<WallName>,
    /// Show all output of the backends, byte for byte: a terminal obeys what it holds
    #[arg(long, conflicts_with = "detach")]
    pub(crate) raw: bool,
    /// Show what the agents tell of their reasoning too
    #[arg(long, conflicts_with = "detach")]
    pub(crate) reasoning: bool,
    /// Print the run's id and do not watch
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// What to do at the end with changes to your trees [default: ask on a terminal, else never]
    #[arg(long, value_enum, value_name = "WHEN", conflicts_with = "detach")]
    pub(crate) apply: Option<ApplyAtEnd>,
}

/// What `cordon run` does with changes to the user's trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ApplyAtEnd {
    /// Show them and ask, as `cordon apply` does.
    Ask,
    /// Keep them for `cordon diff` and `cordon apply`.
    Never,
    /// Apply what is only data after a success; the rest is named and kept.
    Data,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Id of the run, or an unambiguous beginning of it
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) run: String,
    /// Go on until the run ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Sequence number of the first event
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) from: u64,
    /// Show all output of the backends, byte for byte: a terminal obeys what it holds
    #[arg(long)]
    pub(crate) raw: bool,
    /// Show what the agents tell of their reasoning too
    #[arg(long)]
    pub(crate) reasoning: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Id of the run, or an unambiguous beginning of it
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) run: String,
    /// Which agent's sandbox, when the run has several
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) agent: String,
    /// Pass standard input on
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Program and arguments
    #[arg(last = true, required = true, value_name = "ARGV")]
    pub(crate) argv: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// The agent file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Which agent of the file, when there are several
    pub(crate) agent: Option<String>,
    /// Which wall, instead of the agent file's
    #[arg(long, value_enum)]
    pub(crate) wall: Option<WallName>,
}

fn program_version(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((program, version)) if !program.is_empty() && !version.is_empty() => {
            Ok((program.to_owned(), version.to_owned()))
        }
        _ => Err("write it as PROGRAM=VERSION, for instance codex=0.170.0".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Images {
    /// List them: what is in them, and what uses them
    Ls,
    /// Remove those that were built for `preinstall` and that no sandbox uses
    Gc,
    /// Build them
    Build {
        /// base, codex, claude-code, gemini-cli, copilot, all, each with -sudo too; none: those
        /// with one program
        names: Vec<String>,
        /// Another release of codex, claude-code, gemini-cli, node or copilot than the pinned one:
        /// checked against the package index alone
        #[arg(long = "version", value_name = "PROGRAM=VERSION", value_parser = program_version)]
        versions: Vec<(String, String)>,
        /// Make the base system with debootstrap when it cannot be pulled
        #[arg(long)]
        bootstrap: bool,
        /// PEM file of an additional certificate authority for the build
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        ca: Option<PathBuf>,
        /// Proxy for the build
        #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
        proxy: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Daemon {
    /// Stop it; sandboxes go on and the next daemon finds them
    Stop {
        /// Also end what runs
        #[arg(long)]
        stop_runs: bool,
    },
    /// Become a daemon; for this client's own use
    #[command(hide = true)]
    Launch {
        /// The daemon's program
        program: PathBuf,
        /// Its arguments
        #[arg(last = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}

#[cfg(test)]
mod tests;
