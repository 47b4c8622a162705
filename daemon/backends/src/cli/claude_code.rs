//! Claude Code, run as `claude -p`, with its permission prompts off unless the agent file has a
//! mode: nobody is there to answer them, and the sandbox is the boundary.

use super::claude_events::ClaudeParser;
use super::claude_login::{KIND, VARIABLES, credential, variable};
use super::claude_settings;
use super::claude_welcome;
use crate::credential::{Credential, hosts};
use crate::driver::CliDriver;
use crate::endpoint::Endpoint;
use crate::events::is_session;
use crate::interactive::{Headless, interactive};
use crate::process::{argument, directories, environment, first_argument, path_text, plan, quiet_git};
use crate::program::{self, Package};
use crate::servers::{self, Server};
use crate::{Backend, BackendError, Context, Driver, ExecPlan, Kept, Needs, Turn};
use cordon_sandbox::{SeedFile, WallKind};

const SYSTEM_PROMPT: &str = ".claude/cordon-system-prompt.md";

pub(crate) const PACKAGE: Package = Package {
    name: "claude",
    native: &["claude", "bin/claude"],
    platforms: &["@anthropic-ai/claude-code-linux-ARCH", "@anthropic-ai/claude-code-linux-ARCH-musl"],
    companions: &[],
    depth: 0,
    fix: "Install Claude Code on this machine, or use the docker wall",
};

/// What a turn says because nobody is there.
const HEADLESS: Headless = Headless {
    program: 1,
    words: &["-p", "--output-format=stream-json", "--verbose", "--include-partial-messages"],
    with_value: &[],
    instead: &[],
};

pub(crate) struct ClaudeCode;

fn endpoint(context: &Context) -> Result<Option<Endpoint>, BackendError> {
    let agent = &context.agent;
    let url = agent.base_url.as_deref();
    url.map(|url| Endpoint::new(url, context.wall, agent.docker.network)).transpose()
}

fn settings(
    context: &Context,
    endpoint: Option<&Endpoint>,
    servers: &[Server],
) -> Result<Vec<(String, String)>, BackendError> {
    let mut env = vec![
        ("CLAUDE_CONFIG_DIR".to_owned(), path_text(&context.home.join(".claude"))?),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC".to_owned(), "1".to_owned()),
        ("DISABLE_AUTOUPDATER".to_owned(), "1".to_owned()),
        ("DISABLE_INSTALLATION_CHECKS".to_owned(), "1".to_owned()),
        ("DISABLE_TELEMETRY".to_owned(), "1".to_owned()),
        ("DISABLE_ERROR_REPORTING".to_owned(), "1".to_owned()),
        ("CLAUDE_CODE_MAX_RETRIES".to_owned(), "4".to_owned()),
        // What is written in the workspace for the agent, which `--setting-sources` leaves out
        // with the settings, comes with the workspace as one more directory; so do context paths.
        ("CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD".to_owned(), "1".to_owned()),
    ];
    env.extend(quiet_git());
    env.extend(claude_settings::environment(servers));
    env.extend(endpoint.map(|e| ("ANTHROPIC_BASE_URL".to_owned(), e.url.clone())));
    Ok(env)
}

fn driver(
    context: &Context,
    turn: Turn,
    argv0: Vec<u8>,
    env: Vec<(String, Vec<u8>)>,
    servers: &[Server],
) -> Box<dyn Driver> {
    let agent = &context.agent;
    let mut argv = vec![argv0];
    argv.extend(HEADLESS.words.iter().map(|a| a.as_bytes().to_vec()));
    argv.extend(claude_settings::arguments(context, servers).into_iter().map(String::into_bytes));
    if !agent.program.trust_repository {
        // A repository's own settings could start servers, or send the key elsewhere.
        argv.extend(["--setting-sources=user", "--strict-mcp-config"].map(|a| a.as_bytes().to_vec()));
    }
    argv.extend(agent.model.as_ref().map(|m| format!("--model={m}").into_bytes()));
    argv.extend(agent.effort.map(|e| format!("--effort={}", e.name()).into_bytes()));
    if agent.system_message.is_some() {
        argv.push(b"--append-system-prompt-file".to_vec());
        argv.push(context.home.join(SYSTEM_PROMPT).as_os_str().as_encoded_bytes().to_vec());
    }
    if !agent.program.trust_repository {
        let workspace = context.workspace.as_os_str().as_encoded_bytes();
        argv.push([b"--add-dir=".as_slice(), workspace].concat());
    }
    argv.extend(directories(agent).iter().map(|path| format!("--add-dir={path}").into_bytes()));
    argv.extend(turn.session.filter(|id| is_session(id)).map(|id| format!("--resume={id}").into_bytes()));
    let plan = plan(context, argv, env, Some(turn.prompt.into_bytes()));
    Box::new(CliDriver::new("claude", plan, ClaudeParser::new()))
}

impl Backend for ClaudeCode {
    fn needs(&self, context: &Context) -> Result<Needs, BackendError> {
        let agent = &context.agent;
        let endpoint = endpoint(context)?;
        let credential = credential(context, endpoint.as_ref())?;
        agent.model.as_deref().map(|m| argument("model", m)).transpose()?;
        let servers = servers::lower(context)?;
        let env = settings(context, endpoint.as_ref(), &servers.list)?;
        environment(context, &env, &VARIABLES.iter().map(|v| (*v, "")).collect::<Vec<_>>())?;
        let mut needs = Needs {
            env,
            image: Some("cordon/claude-code:latest".to_owned()),
            // Not the host that renews logins: a login renewed inside is lost outside.
            hosts: hosts(&["api.anthropic.com:443"]),
            ..Needs::default()
        };
        needs.seeds = claude_settings::seeds(context, &servers.list)?;
        needs.seeds.push(claude_welcome::seed(context, &credential));
        needs.seeds.extend(agent.system_message.as_ref().map(|text| SeedFile {
            path: SYSTEM_PROMPT.into(),
            content: text.clone().into_bytes(),
            mode: 0o600,
        }));
        match credential {
            Credential::Key(secret) | Credential::Token(secret) => needs.secrets.push(secret),
            Credential::Login(login) => {
                needs.secrets = login.facts.secrets;
                needs.kept = Some(Kept { kind: &KIND, source: login.source });
            }
            Credential::None => {}
        }
        if let Some(endpoint) = endpoint {
            needs.hosts = endpoint.rule.into_iter().collect();
            needs.grant = endpoint.grant;
            needs.forward = endpoint.forward;
        }
        if context.wall == WallKind::Local {
            needs.programs = program::of(context, &PACKAGE)?.needs;
        }
        servers.join(&mut needs)?;
        Ok(needs)
    }

    fn turn(&self, context: &Context, turn: Turn) -> Result<Box<dyn Driver>, BackendError> {
        let endpoint = endpoint(context)?;
        let credential = credential(context, endpoint.as_ref())?;
        let secret: Vec<_> = variable(&credential).into_iter().collect();
        let servers = servers::lower(context)?.list;
        let env = environment(context, &settings(context, endpoint.as_ref(), &servers)?, &secret)?;
        let argv0 = first_argument(context, PACKAGE.name, || program::of(context, &PACKAGE))?;
        Ok(driver(context, turn, argv0, env, &servers))
    }

    fn attach(&self, context: &Context, turn: Turn) -> Result<ExecPlan, BackendError> {
        interactive(self.turn(context, turn)?, &HEADLESS)
    }

    fn recover(&self, context: &Context, turn: Turn) -> Box<dyn Driver> {
        self.turn(context, turn.clone())
            .unwrap_or_else(|_| driver(context, turn, PACKAGE.name.as_bytes().to_vec(), Vec::new(), &[]))
    }

    fn variables(&self) -> &'static [&'static str] {
        VARIABLES
    }
}

#[cfg(test)]
#[path = "claude_code_tests.rs"]
mod tests;
