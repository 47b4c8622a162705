//! Gemini CLI, run without a terminal and with its permission prompts off: nobody is there
//! to answer them, and the sandbox is the boundary.

use super::gemini_events::GeminiParser;
use super::gemini_login::{KEYS, credential};
use super::gemini_settings;
use crate::credential::{Credential, hosts};
use crate::driver::CliDriver;
use crate::endpoint::Endpoint;
use crate::events::is_session;
use crate::interactive::{Headless, interactive};
use crate::process::{argument, environment, path_text, plan, quiet_git};
use crate::program::{self, Interpreted};
use crate::servers;
use crate::{Backend, BackendError, Context, Driver, ExecPlan, Login, Needs, Turn};
use cordon_config::PermissionMode;
use cordon_sandbox::{SeedFile, WallKind};
use std::os::unix::ffi::OsStrExt as _;

/// The variable of the one process that gets the key.
const KEY: &str = "GEMINI_API_KEY";
const NODE_OPTIONS: &str = "NODE_OPTIONS";
/// Others that would decide who pays, or where requests go.
const ROUTES: [&str; 5] = [
    "GOOGLE_API_KEY",
    "GOOGLE_GENAI_USE_VERTEXAI",
    "GOOGLE_GENAI_USE_GCA",
    "GOOGLE_VERTEX_BASE_URL",
    "CODE_ASSIST_ENDPOINT",
];
pub(super) const LOGIN: &str = ".gemini/oauth_creds.json";
pub(super) const SETTINGS: &str = ".gemini/settings.json";
/// A name that no server has: then none is let in.
const NO_SERVER: &str = "__none__";
/// What the user tells the program in every project; it adds to the program's own prompt.
const MEMORY: &str = ".gemini/GEMINI.md";
/// Hides the workspace's own settings from the program, and from nothing else.
const PRELOAD: &str = ".gemini/cordon-preload.mjs";
const PRELOAD_TEXT: &str = include_str!("gemini_preload.mjs");
/// It does not start without a key; a private endpoint that asks for none gets this.
const NO_KEY: &str = "cordon-no-key-needed";
/// It cuts what it reads from standard input here, with no more than a warning.
const LONGEST_PROMPT: usize = 8 << 20;

pub(super) const PACKAGE: Interpreted = Interpreted {
    name: "gemini",
    package: "@google/gemini-cli",
    script: "bundle/gemini.js",
    interpreter: "node",
    fix: "Install Gemini CLI and Node 20 or later on this machine, or use the docker wall",
};

/// What a turn says because nobody is there.
const HEADLESS: Headless =
    Headless { program: 1, words: &["--output-format=stream-json"], with_value: &[], instead: &[] };

pub(crate) struct Gemini;

/// The key of the one process that gets it.
fn given(credential: &Credential) -> Option<&str> {
    match credential {
        Credential::Key(key) | Credential::Token(key) => Some(key),
        Credential::None => Some(NO_KEY),
        Credential::Login(_) => None,
    }
}

fn endpoint(context: &Context) -> Result<Option<Endpoint>, BackendError> {
    let agent = &context.agent;
    let url = agent.base_url.as_deref();
    let endpoint = url.map(|url| Endpoint::new(url, context.wall, agent.docker.network)).transpose()?;
    // The program says so itself, but only after it has started.
    if let Some(endpoint) = &endpoint
        && endpoint.url.starts_with("http://")
        && endpoint.forward.is_none()
        && !endpoint.is_private()
    {
        return Err(BackendError::Invalid(
            "base_url cannot be used: gemini_cli takes plain http only for this machine and private networks"
                .to_owned(),
        ));
    }
    Ok(endpoint)
}

fn variables(context: &Context, endpoint: Option<&Endpoint>) -> Result<Vec<(String, String)>, BackendError> {
    let mut env = vec![
        ("GEMINI_CLI_HOME".to_owned(), path_text(&context.home)?),
        // A child of its own would not be told to stop.
        ("GEMINI_CLI_NO_RELAUNCH".to_owned(), "true".to_owned()),
        // It does nothing unattended in a folder that nobody trusts, not even `git status`.
        ("GEMINI_CLI_TRUST_WORKSPACE".to_owned(), "true".to_owned()),
        ("GEMINI_TELEMETRY_ENABLED".to_owned(), "false".to_owned()),
        ("GEMINI_SANDBOX".to_owned(), "false".to_owned()),
    ];
    env.extend(quiet_git());
    env.extend(endpoint.map(|e| ("GOOGLE_GEMINI_BASE_URL".to_owned(), e.url.clone())));
    Ok(env)
}

/// Of the program's own process alone: what it starts is not to be changed.
fn node_options(context: &Context) -> Result<String, BackendError> {
    Ok(format!("--import=file://{}", path_text(&context.home.join(PRELOAD))?))
}

/// A prompt that begins with a slash is a command to the program, and a repository may
/// bring commands.
fn words(prompt: String) -> Vec<u8> {
    if prompt.starts_with('/') { format!("\n{prompt}").into_bytes() } else { prompt.into_bytes() }
}

fn driver(
    context: &Context,
    turn: Turn,
    program: Vec<Vec<u8>>,
    env: Vec<(String, Vec<u8>)>,
) -> Box<dyn Driver> {
    let agent = &context.agent;
    let mode = match agent.program.permission_mode {
        None | Some(PermissionMode::BypassPermissions) => "--approval-mode=yolo",
        Some(PermissionMode::AcceptEdits) => "--approval-mode=auto_edit",
        Some(PermissionMode::Default) => "--approval-mode=default",
        Some(PermissionMode::Plan) => "--approval-mode=plan",
    };
    let mut argv = program;
    argv.extend(["--output-format=stream-json", mode, "--extensions=none"].map(|a| a.as_bytes().to_vec()));
    if !agent.program.trust_repository {
        // Of the servers that a repository brings: none.
        let own = agent.tools.offer_own.then_some(servers::OWN);
        let mut names: Vec<&str> = agent.tools.servers.iter().map(|s| s.name.as_str()).chain(own).collect();
        if names.is_empty() {
            names.push(NO_SERVER);
        }
        argv.extend(names.iter().map(|n| format!("--allowed-mcp-server-names={n}").into_bytes()));
    }
    argv.extend(context.agent.model.as_ref().map(|m| format!("--model={m}").into_bytes()));
    argv.extend(turn.session.filter(|id| is_session(id)).map(|id| format!("--resume={id}").into_bytes()));
    let plan = plan(context, argv, env, Some(words(turn.prompt)));
    Box::new(CliDriver::new("gemini", plan, GeminiParser::new()))
}

fn program(context: &Context) -> Result<Vec<Vec<u8>>, BackendError> {
    Ok(match context.wall {
        WallKind::Docker => vec![PACKAGE.name.as_bytes().to_vec()],
        WallKind::Local => {
            let found = program::interpreted_of(context, &PACKAGE)?;
            [found.interpreter, found.script].iter().map(|p| p.as_os_str().as_bytes().to_vec()).collect()
        }
    })
}

pub(super) fn seed(path: &str, text: &str) -> SeedFile {
    SeedFile { path: path.into(), content: text.as_bytes().to_vec(), mode: 0o600 }
}

impl Backend for Gemini {
    fn needs(&self, context: &Context) -> Result<Needs, BackendError> {
        let agent = &context.agent;
        let endpoint = endpoint(context)?;
        let credential = credential(context, endpoint.as_ref())?;
        agent.model.as_deref().map(|m| argument("model", m)).transpose()?;
        let env = variables(context, endpoint.as_ref())?;
        let mut taken = vec![(KEY, ""), (NODE_OPTIONS, "")];
        taken.extend(ROUTES.iter().map(|name| (*name, "")));
        environment(context, &env, &taken)?;
        let servers = servers::lower(context)?;
        let settings = gemini_settings::write(agent, given(&credential).is_some(), &servers.list)?;
        let mut needs = Needs {
            seeds: vec![seed(SETTINGS, &settings), seed(PRELOAD, PRELOAD_TEXT)],
            env,
            image: Some("cordon/gemini-cli:latest".to_owned()),
            hosts: hosts(&["generativelanguage.googleapis.com:443"]),
            ..Needs::default()
        };
        needs.seeds.extend(agent.system_message.as_ref().map(|text| seed(MEMORY, text)));
        match credential {
            Credential::Key(key) | Credential::Token(key) => needs.secrets.push(key),
            Credential::Login(login) => {
                needs.hosts = hosts(&[
                    "cloudcode-pa.googleapis.com:443",
                    "oauth2.googleapis.com:443",
                    "www.googleapis.com:443",
                ]);
                needs.secrets = login.facts.secrets;
                needs.logins.push(Login { host: login.path, inside: context.home.join(LOGIN) });
            }
            Credential::None => {}
        }
        if let Some(endpoint) = endpoint {
            needs.hosts = endpoint.rule.into_iter().collect();
            needs.grant = endpoint.grant;
            needs.forward = endpoint.forward;
        }
        if context.wall == WallKind::Local {
            needs.programs = program::interpreted_of(context, &PACKAGE)?.needs;
        }
        servers.join(&mut needs)?;
        Ok(needs)
    }

    fn turn(&self, context: &Context, turn: Turn) -> Result<Box<dyn Driver>, BackendError> {
        if turn.prompt.len() >= LONGEST_PROMPT {
            return Err(BackendError::Invalid(format!(
                "the prompt has {} bytes and gemini reads no more than {LONGEST_PROMPT}; put the text into a file of the workspace",
                turn.prompt.len()
            )));
        }
        let endpoint = endpoint(context)?;
        let credential = credential(context, endpoint.as_ref())?;
        let options = node_options(context)?;
        let mut own: Vec<_> = (!context.agent.program.trust_repository)
            .then_some((NODE_OPTIONS, options.as_str()))
            .into_iter()
            .collect();
        own.extend(given(&credential).map(|key| (KEY, key)));
        let env = environment(context, &variables(context, endpoint.as_ref())?, &own)?;
        Ok(driver(context, turn, program(context)?, env))
    }

    fn attach(&self, context: &Context, turn: Turn) -> Result<ExecPlan, BackendError> {
        interactive(self.turn(context, turn)?, &HEADLESS)
    }

    fn recover(&self, context: &Context, turn: Turn) -> Box<dyn Driver> {
        self.turn(context, turn.clone())
            .unwrap_or_else(|_| driver(context, turn, vec![PACKAGE.name.as_bytes().to_vec()], Vec::new()))
    }

    fn variables(&self) -> &'static [&'static str] {
        KEYS
    }
}

#[cfg(test)]
#[path = "gemini_tests.rs"]
mod tests;
