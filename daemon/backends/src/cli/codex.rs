//! Codex, run as `codex exec` with its own sandbox off: it does not nest, and ours is
//! the boundary.

use super::codex_config::{self, KEY};
use super::codex_events::CodexParser;
use super::codex_login::{KIND, VARIABLES, credential};
use crate::credential::{Credential, hosts};
use crate::driver::CliDriver;
use crate::endpoint::Endpoint;
use crate::events::is_session;
use crate::interactive::{Headless, interactive};
use crate::process::{argument, environment, first_argument, path_text, plan, quiet_git};
use crate::program::{self, Package};
use crate::servers;
use crate::{Backend, BackendError, Context, Driver, ExecPlan, Kept, Needs, Turn};
use cordon_sandbox::{SeedFile, WallKind};

pub(crate) const PACKAGE: Package = Package {
    name: "codex",
    native: &["vendor/*/bin/codex", "vendor/*/codex/codex"],
    platforms: &["@openai/codex-linux-ARCH"],
    companions: &["codex-code-mode-host"],
    depth: 2,
    fix: "Install Codex on this machine, or use the docker wall",
};

/// What a turn says because nobody is there.
const HEADLESS: Headless = Headless {
    program: 1,
    words: &["exec", "--json", "--skip-git-repo-check", "--color=never", "-"],
    with_value: &[],
    // Another process of the sandbox would outlive the terminal.
    instead: &["--no-daemon"],
};

pub(crate) struct Codex;

fn endpoint(context: &Context) -> Result<Option<Endpoint>, BackendError> {
    let agent = &context.agent;
    if let Some(azure) = &agent.program.azure {
        let url = codex_config::azure_url(azure);
        return Endpoint::named("azure_endpoint", &url, context.wall, agent.docker.network).map(Some);
    }
    let url = agent.base_url.as_deref();
    url.map(|url| Endpoint::new(url, context.wall, agent.docker.network)).transpose()
}

/// Where there are servers the program's log is heard of them: nothing else says which failed.
const LOG: (&str, &str) = ("RUST_LOG", "codex_mcp=warn");

fn settings(context: &Context) -> Result<Vec<(String, String)>, BackendError> {
    let home = path_text(&context.home.join(".codex"))?;
    let mut env = quiet_git().to_vec();
    env.extend([
        ("CODEX_HOME".into(), home),
        // A login is renewed by one writer, outside: inside, a renewed one could not be kept and
        // the old one would be spent. Port 9 discards; nothing listens there.
        ("CODEX_REFRESH_TOKEN_URL_OVERRIDE".into(), "http://127.0.0.1:9/".into()),
    ]);
    let tools = &context.agent.tools;
    let asks = !tools.servers.is_empty() || tools.offer_own;
    let own =
        context.agent.env.contains_key(LOG.0) || context.agent.credentials.variables.contains_key(LOG.0);
    if asks && !own {
        env.push((LOG.0.to_owned(), LOG.1.to_owned()));
    }
    Ok(env)
}

fn driver(context: &Context, turn: Turn, argv0: Vec<u8>, env: Vec<(String, Vec<u8>)>) -> Box<dyn Driver> {
    let mut argv = vec![argv0];
    argv.extend(
        [
            "exec",
            "--json",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            "--color=never",
        ]
        .map(|a| a.as_bytes().to_vec()),
    );
    argv.extend(codex_config::model(&context.agent).map(|m| format!("--model={m}").into_bytes()));
    argv.extend([b"-C".to_vec(), context.workspace.as_os_str().as_encoded_bytes().to_vec()]);
    let session = turn.session.filter(|id| is_session(id));
    let told = session.as_ref().map(|_| turn.counted).unwrap_or_default();
    argv.extend(session.into_iter().flat_map(|id| [b"resume".to_vec(), id.into_bytes()]));
    argv.push(b"-".to_vec());
    let plan = plan(context, argv, env, Some(turn.prompt.into_bytes()));
    Box::new(CliDriver::new("codex", plan, CodexParser::after(told)))
}

impl Backend for Codex {
    fn needs(&self, context: &Context) -> Result<Needs, BackendError> {
        let endpoint = endpoint(context)?;
        let credential = credential(context, endpoint.as_ref())?;
        context.agent.model.as_deref().map(|m| argument("model", m)).transpose()?;
        let env = settings(context)?;
        environment(context, &env, &[(KEY, "")])?;
        let workspace = path_text(&context.workspace)?;
        let with_key = matches!(credential, Credential::Key(_));
        let servers = servers::lower(context)?;
        let config = codex_config::write(context, &workspace, endpoint.as_ref(), with_key, &servers.list)?;
        let mut needs = Needs {
            seeds: vec![SeedFile {
                path: ".codex/config.toml".into(),
                content: config.into_bytes(),
                mode: 0o600,
            }],
            env,
            image: Some("cordon/codex:latest".to_owned()),
            // Not the host that renews logins: see `settings`.
            hosts: hosts(&["api.openai.com:443"]),
            ..Needs::default()
        };
        match credential {
            Credential::Key(key) | Credential::Token(key) => needs.secrets.push(key),
            Credential::Login(login) => {
                needs.hosts = hosts(&["api.openai.com:443", "chatgpt.com:443"]);
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
        let secret = match credential(context, endpoint(context)?.as_ref())? {
            Credential::Key(key) => Some(key),
            Credential::Token(_) | Credential::Login(_) | Credential::None => None,
        };
        let secret: Vec<_> = secret.iter().map(|key| (KEY, key.as_str())).collect();
        let env = environment(context, &settings(context)?, &secret)?;
        let argv0 = first_argument(context, PACKAGE.name, || program::of(context, &PACKAGE))?;
        Ok(driver(context, turn, argv0, env))
    }

    fn attach(&self, context: &Context, turn: Turn) -> Result<ExecPlan, BackendError> {
        interactive(self.turn(context, turn)?, &HEADLESS)
    }

    fn recover(&self, context: &Context, turn: Turn) -> Box<dyn Driver> {
        self.turn(context, turn.clone())
            .unwrap_or_else(|_| driver(context, turn, PACKAGE.name.as_bytes().to_vec(), Vec::new()))
    }

    fn variables(&self) -> &'static [&'static str] {
        VARIABLES
    }
}

#[cfg(test)]
#[path = "codex_tests.rs"]
mod tests;
