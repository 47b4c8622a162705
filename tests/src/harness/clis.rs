//! The real agent CLIs as a user has them: on the daemon's PATH, and in the images.

use super::{Host, User, claude, codex, copilot, copilot_cache, gemini, node, skipped};
use std::{fmt, fs, os::unix::fs::symlink, path::Path};

/// A key that no service takes; long, because one program masks its value wherever it occurs.
pub const KEY: &str = "planted-key-0123456789-abcdefghij";

/// One of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Cli {
    Codex,
    ClaudeCode,
    GeminiCli,
    Copilot,
}

/// Where it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Where {
    Local,
    Docker,
    /// In Docker, with gVisor's runtime.
    Gvisor,
}

impl Cli {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Codex, Self::ClaudeCode, Self::GeminiCli, Self::Copilot];

    /// The backend type.
    #[must_use]
    pub fn backend(self) -> &'static str {
        match self {
            Self::Codex => "codex",
            Self::ClaudeCode => "claude_code",
            Self::GeminiCli => "gemini_cli",
            Self::Copilot => "copilot",
        }
    }

    /// The program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Codex => "codex",
            Self::ClaudeCode => "claude",
            Self::GeminiCli => "gemini",
            Self::Copilot => "copilot",
        }
    }

    /// The image that Cordon makes for it.
    #[must_use]
    pub fn image(self) -> &'static str {
        match self {
            Self::Codex => "cordon/codex",
            Self::ClaudeCode => "cordon/claude-code",
            Self::GeminiCli => "cordon/gemini-cli",
            Self::Copilot => "cordon/copilot",
        }
    }

    /// A model that the program knows where it treats those differently: Codex drives its own models
    /// through JavaScript.
    #[must_use]
    pub fn model(self) -> &'static str {
        match self {
            Self::Codex => "gpt-6-sol",
            Self::GeminiCli => "gemini-2.5-pro",
            Self::ClaudeCode | Self::Copilot => "scripted-model",
        }
    }

    /// Where the program wants the provider, below its address.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Codex | Self::Copilot => "/v1",
            Self::ClaudeCode | Self::GeminiCli => "",
        }
    }
}

impl fmt::Display for Cli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Codex => "Codex",
            Self::ClaudeCode => "Claude Code",
            Self::GeminiCli => "Gemini CLI",
            Self::Copilot => "Copilot CLI",
        })
    }
}

impl Where {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Local, Self::Docker, Self::Gvisor];

    /// What an agent file says for it, lines of `backend`.
    #[must_use]
    pub fn keys(self) -> &'static str {
        match self {
            Self::Local => "      command_line_execution_mode: local\n",
            Self::Docker => {
                "      command_line_execution_mode: docker\n      command_line_docker_network_mode: bridge\n"
            }
            Self::Gvisor => {
                "      command_line_execution_mode: docker\n      command_line_docker_network_mode: bridge\n      command_line_docker_runtime: runsc\n"
            }
        }
    }
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Docker => "docker",
            Self::Gvisor => "gvisor",
        })
    }
}

/// What an agent file says beyond the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct More<'a> {
    /// Lines of `backend`, six spaces in.
    pub backend: &'a str,
    /// Lines of the file itself.
    pub file: &'a str,
}

/// An agent file with one agent, whose key is `${PLANTED_KEY}`.
#[must_use]
pub fn agent_text(cli: Cli, place: Where, base_url: &str, cwd: &Path, more: More<'_>) -> String {
    let (backend, model, suffix, wall) = (cli.backend(), cli.model(), cli.suffix(), place.keys());
    let (cwd, extra, file) = (cwd.display(), more.backend, more.file);
    format!(
        "agents:\n  - id: coder\n    system_message: Answer as briefly as the scripted one.\n    backend:\n      type: {backend}\n      model: {model}\n      base_url: {base_url}{suffix}\n      api_key: ${{PLANTED_KEY}}\n      cwd: {cwd}\n{wall}{extra}{file}"
    )
}

impl Host {
    /// A host whose daemon, once started, finds the real programs on its PATH, as a user's would.
    ///
    /// # Panics
    /// When they are not there, unless `CORDON_TEST_SKIP` names `clis`.
    #[must_use]
    pub fn with_clis(user: User) -> Self {
        let mut host = Self::without_daemon(user);
        let programs = host.path("programs");
        fs::create_dir(&programs).expect("a directory of programs");
        if !skipped("clis") {
            let found = [
                ("codex", codex()),
                ("claude", claude()),
                ("gemini", gemini()),
                ("node", node()),
                ("copilot", copilot()),
            ];
            for (name, program) in found {
                symlink(program, programs.join(name)).expect(name);
            }
            // A user who has run Copilot before has it unpacked.
            fs::create_dir(host.path("home/.cache")).expect("a cache directory");
            symlink(copilot_cache(), host.path("home/.cache/copilot")).expect("Copilot's cache");
        }
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", programs.display());
        host.set_env("PATH", &path);
        host
    }
}
