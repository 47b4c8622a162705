//! GitHub Copilot CLI, run without a terminal and with its permission prompts off: nobody is
//! there to answer them, and the sandbox is the boundary. With a `base_url` it works with a
//! provider of the user's own and never speaks to GitHub.

use super::copilot_driver::CopilotDriver;
use super::copilot_login::credential;
use crate::credential::{Credential, hosts};
use crate::endpoint::Endpoint;
use crate::events::is_session;
use crate::interactive::{Headless, interactive};
use crate::process::{argument, directories, environment, path_text, plan, quiet_git};
use crate::program::{self, Package, Program};
use crate::servers::{self, Reach, Server, Servers};
use crate::{Backend, BackendError, Context, Driver, ExecPlan, Login, Needs, Turn};
use cordon_config::{Agent, PermissionMode};
use cordon_proto::v1::UsageEvent;
use cordon_sandbox::{SeedFile, WallKind};
use serde_json::json;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// All that it looks at.
const VARIABLES: &[&str] = &["COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN", "AZURE_OPENAI_API_KEY"];
const TOKEN: &str = "COPILOT_GITHUB_TOKEN";
const PROVIDER_KEY: &str = "COPILOT_PROVIDER_API_KEY";
/// Variables that would carry a secret, or trust the workspace's own configuration.
const TAKEN: [&str; 8] = [
    TOKEN,
    "GH_TOKEN",
    "GITHUB_TOKEN",
    PROVIDER_KEY,
    "COPILOT_PROVIDER_BEARER_TOKEN",
    "COPILOT_PROVIDER_API_KEY_COMMAND",
    "COPILOT_PROVIDER_HEADERS",
    "COPILOT_ALLOW_ALL",
];
/// Where it keeps a login when the machine has no keyring.
pub(super) const LOGIN: &str = ".copilot/config.json";
const INSTRUCTIONS: &str = ".copilot/copilot-instructions.md";
const SERVERS: &str = ".copilot/cordon-mcp.json";
/// Its tools that go to the web.
const WEB: [&str; 2] = ["web_search", "web_fetch"];
/// What it wrote about the tokens of a turn; it does not say that in its events.
const USAGE: &str = ".copilot/cordon-usage.json";
/// Where our image has it unpacked.
pub(super) const IMAGE_CACHE: &str = "/opt/copilot";
const HOSTS: &[&str] = &[
    "api.github.com:443",
    "api.githubcopilot.com:443",
    "api.individual.githubcopilot.com:443",
    "api.business.githubcopilot.com:443",
    "api.enterprise.githubcopilot.com:443",
];
pub(super) const IMAGE: &str = "cordon/copilot:latest";

pub(crate) const PACKAGE: Package = Package {
    name: "copilot",
    native: &["copilot"],
    platforms: &["@github/copilot-linux-ARCH"],
    companions: &[],
    depth: 0,
    fix: "Install Copilot CLI on this machine, or use the docker wall",
};

/// What a turn says because nobody is there.
const HEADLESS: Headless = Headless {
    program: 1,
    words: &["--output-format=json", "--stream=on", "--no-ask-user", "--no-color"],
    with_value: &["--usage-output-file"],
    instead: &[],
};

pub(crate) struct Copilot;

/// The variable of the one process that gets it; `own`: a provider of the user's own.
fn variable(credential: &Credential, own: bool) -> Option<(&'static str, &str)> {
    match credential {
        Credential::Key(key) | Credential::Token(key) => Some((if own { PROVIDER_KEY } else { TOKEN }, key)),
        Credential::Login(_) | Credential::None => None,
    }
}

fn endpoint(context: &Context) -> Result<Option<Endpoint>, BackendError> {
    let agent = &context.agent;
    let azure = agent.program.azure.as_ref();
    let Some(url) = azure.map(|a| a.endpoint.as_str()).or(agent.base_url.as_deref()) else {
        return Ok(None);
    };
    if model(agent).is_none() {
        return Err(BackendError::Invalid(
            "copilot with a provider of your own needs a model: it knows no default of another provider"
                .to_owned(),
        ));
    }
    Endpoint::new(url, context.wall, agent.docker.network).map(Some)
}

/// The model by the name that the program knows it under.
fn model(agent: &Agent) -> Option<&str> {
    let deployment = || agent.program.azure.as_ref().and_then(|azure| azure.deployment.as_deref());
    agent.model.as_deref().or_else(deployment)
}

fn variables(context: &Context, endpoint: Option<&Endpoint>) -> Result<Vec<(String, String)>, BackendError> {
    let cache = match context.wall {
        WallKind::Docker if context.agent.docker.image.is_none() => Some(PathBuf::from(IMAGE_CACHE)),
        // Another image has its cache where it likes, and says so itself.
        WallKind::Docker => None,
        WallKind::Local => unpacked_of(context).map(|unpacked| unpacked.home),
    };
    let mut env = vec![
        ("COPILOT_HOME".to_owned(), path_text(&context.home.join(".copilot"))?),
        ("COPILOT_AUTO_UPDATE".to_owned(), "false".to_owned()),
    ];
    env.extend(quiet_git());
    // Words only: `--add-dir` would trust what a directory brings.
    let read: Vec<_> = directories(&context.agent).into_iter().filter(|path| !path.contains(',')).collect();
    if !read.is_empty() {
        env.push(("COPILOT_CUSTOM_INSTRUCTIONS_DIRS".to_owned(), read.join(",")));
    }
    if let Some(cache) = cache {
        env.push(("COPILOT_PKG_CACHE_HOME".to_owned(), path_text(&cache)?));
    }
    if let Some(endpoint) = endpoint {
        env.push(("COPILOT_PROVIDER_BASE_URL".to_owned(), endpoint.url.clone()));
        env.push(("COPILOT_OFFLINE".to_owned(), "true".to_owned()));
    }
    if let Some(azure) = &context.agent.program.azure {
        env.push(("COPILOT_PROVIDER_TYPE".to_owned(), "azure".to_owned()));
        let version = azure.api_version.clone();
        env.extend(version.map(|v| ("COPILOT_PROVIDER_AZURE_API_VERSION".to_owned(), v)));
        let deployment = azure.deployment.clone();
        env.extend(deployment.map(|d| ("COPILOT_PROVIDER_WIRE_MODEL".to_owned(), d)));
    }
    Ok(env)
}

/// What the program has unpacked of itself in the owner's home.
pub(super) struct Unpacked {
    /// What `COPILOT_PKG_CACHE_HOME` has to say.
    pub(super) home: PathBuf,
    /// The directory of this version.
    pub(super) version: PathBuf,
}

/// The program unpacks 235 MB of itself where it first runs. What the owner's own runs have
/// unpacked is taken as it is, when it is whole and of the version that will run.
pub(super) fn unpacked(program: &Program, owner_home: &Path) -> Option<Unpacked> {
    let platform = program::platform();
    let version = program::version(program.path.parent()?)?;
    let relative: PathBuf = ["pkg", &format!("linux-{platform}"), &version].iter().collect();
    let written = owner_home.join(".cache/copilot").join(&relative);
    let found = std::fs::canonicalize(written).ok()?;
    let whole = found.ends_with(&relative) && found.join(".extraction-complete").is_file();
    let home = found.ancestors().nth(relative.components().count())?.to_path_buf();
    whole.then_some(Unpacked { home, version: found })
}

fn unpacked_of(context: &Context) -> Option<Unpacked> {
    unpacked(&find(context).ok()?, &context.owner_home)
}

fn driver(
    context: &Context,
    turn: Turn,
    argv0: Vec<u8>,
    env: Vec<(String, Vec<u8>)>,
    servers: &Servers,
) -> Box<dyn Driver> {
    let agent = &context.agent;
    let usage = context.home.join(USAGE);
    let mut argv = vec![argv0];
    argv.extend(
        [
            "--output-format=json",
            "--stream=on",
            "--no-ask-user",
            "--no-color",
            "--no-remote",
            "--no-remote-export",
            "--disable-client-telemetry",
            // The shells that it starts do not see them.
            "--secret-env-vars=COPILOT_GITHUB_TOKEN,GH_TOKEN,GITHUB_TOKEN,COPILOT_PROVIDER_API_KEY",
        ]
        .map(|a| a.as_bytes().to_vec()),
    );
    // Nobody is there to answer: what it would ask for is refused.
    let mode = match agent.program.permission_mode {
        None | Some(PermissionMode::BypassPermissions) => Some("--yolo"),
        Some(PermissionMode::AcceptEdits) => Some("--allow-tool=write"),
        Some(PermissionMode::Default) => None,
        Some(PermissionMode::Plan) => Some("--mode=plan"),
    };
    argv.extend(mode.map(|mode| mode.as_bytes().to_vec()));
    argv.extend(agent.program.disallowed.iter().map(|rule| format!("--deny-tool={rule}").into_bytes()));
    if agent.program.web_search == Some(false) {
        argv.extend(WEB.map(|tool| format!("--excluded-tools={tool}").into_bytes()));
    }
    argv.extend(servers.list.iter().flat_map(|server| {
        server.excluded.iter().map(|tool| format!("--excluded-tools={}-{tool}", server.name).into_bytes())
    }));
    if !servers.list.is_empty() {
        let file = context.home.join(SERVERS);
        argv.push([b"--additional-mcp-config=@".as_slice(), file.as_os_str().as_bytes()].concat());
    }
    argv.extend([b"--usage-output-file".to_vec(), usage.as_os_str().as_bytes().to_vec()]);
    argv.extend(model(agent).map(|m| format!("--model={m}").into_bytes()));
    argv.extend(agent.effort.map(|e| format!("--reasoning-effort={}", e.name()).into_bytes()));
    // The same word begins a session and goes on with one.
    let (session, told) = match turn.session.filter(|id| is_session(id)) {
        Some(session) => (session, turn.counted),
        None => (turn.new_session, UsageEvent::default()),
    };
    argv.push(format!("--session-id={session}").into_bytes());
    let work = plan(context, argv, env, Some(turn.prompt.into_bytes()));
    // The last turn's file must not be taken for this one's: what was read is removed.
    let script = r#"cat -- "$1" && rm -f -- "$1""#;
    let mut argv: Vec<Vec<u8>> = ["/bin/sh", "-c", script, "sh"].map(|a| a.as_bytes().to_vec()).into();
    argv.push(usage.as_os_str().as_bytes().to_vec());
    let count = plan(context, argv, Vec::new(), None);
    Box::new(CopilotDriver::new(work, count, &session, told))
}

/// The servers as the program reads them from a file.
fn servers_file(list: &[Server]) -> Result<String, BackendError> {
    let mut all = serde_json::Map::new();
    for server in list {
        let tools = server.allowed.as_ref().map_or_else(|| json!(["*"]), |allowed| json!(allowed));
        let milliseconds = u64::try_from(server.call_within.as_millis()).unwrap_or(u64::MAX);
        let mut config = json!({ "tools": tools, "timeout": milliseconds });
        if let Some((command, args)) = server.without_cwd() {
            config["type"] = json!("local");
            config["command"] = json!(command);
            config["args"] = json!(args);
        }
        match &server.reach {
            Reach::Stdio { env, .. } => config["env"] = json!(env),
            Reach::Http { url, headers } => {
                config["type"] = json!("http");
                config["url"] = json!(url);
                config["headers"] = json!(headers);
            }
        }
        all.insert(server.name.clone(), config);
    }
    serde_json::to_string_pretty(&json!({ "mcpServers": all }))
        .map_err(|e| BackendError::Invalid(format!("the servers of copilot cannot be written: {e}")))
}

fn find(context: &Context) -> Result<Program, BackendError> {
    program::of(context, &PACKAGE)
}

impl Backend for Copilot {
    fn needs(&self, context: &Context) -> Result<Needs, BackendError> {
        let agent = &context.agent;
        let endpoint = endpoint(context)?;
        let credential = credential(context, endpoint.as_ref())?;
        model(agent).map(|m| argument("model", m)).transpose()?;
        let asks = !matches!(agent.program.permission_mode, None | Some(PermissionMode::BypassPermissions));
        if agent.program.trust_repository && asks {
            return Err(BackendError::Invalid(
                "copilot trusts a repository only where it may do everything: take trust_repository or \
                 permission_mode out"
                    .to_owned(),
            ));
        }
        let env = variables(context, endpoint.as_ref())?;
        environment(context, &env, &TAKEN.map(|name| (name, "")))?;
        let servers = servers::lower(context)?;
        let mut needs = Needs { env, image: Some(IMAGE.to_owned()), hosts: hosts(HOSTS), ..Needs::default() };
        needs.seeds.extend(agent.system_message.as_ref().map(|text| SeedFile {
            path: INSTRUCTIONS.into(),
            content: text.clone().into_bytes(),
            mode: 0o600,
        }));
        if !servers.list.is_empty() {
            let content = servers_file(&servers.list)?.into_bytes();
            needs.seeds.push(SeedFile { path: SERVERS.into(), content, mode: 0o600 });
        }
        match credential {
            Credential::Key(secret) | Credential::Token(secret) => needs.secrets.push(secret),
            Credential::Login(login) => {
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
            needs.programs = find(context)?.needs;
            needs.programs.extend(unpacked_of(context).map(|unpacked| unpacked.version));
        }
        servers.join(&mut needs)?;
        Ok(needs)
    }

    fn turn(&self, context: &Context, turn: Turn) -> Result<Box<dyn Driver>, BackendError> {
        let endpoint = endpoint(context)?;
        let credential = credential(context, endpoint.as_ref())?;
        let mut secret: Vec<_> = variable(&credential, endpoint.is_some()).into_iter().collect();
        // `--trust-folder` is for sessions that nobody names. This word alone trusts the directory.
        secret.extend(context.agent.program.trust_repository.then_some(("COPILOT_ALLOW_ALL", "true")));
        let env = environment(context, &variables(context, endpoint.as_ref())?, &secret)?;
        let argv0 = crate::process::first_argument(context, PACKAGE.name, || find(context))?;
        Ok(driver(context, turn, argv0, env, &servers::lower(context)?))
    }

    fn attach(&self, context: &Context, turn: Turn) -> Result<ExecPlan, BackendError> {
        interactive(self.turn(context, turn)?, &HEADLESS)
    }

    fn recover(&self, context: &Context, turn: Turn) -> Box<dyn Driver> {
        self.turn(context, turn.clone()).unwrap_or_else(|_| {
            let servers = servers::lower(context).unwrap_or_default();
            driver(context, turn, PACKAGE.name.as_bytes().to_vec(), Vec::new(), &servers)
        })
    }

    fn variables(&self) -> &'static [&'static str] {
        VARIABLES
    }
}

#[cfg(test)]
#[path = "copilot_tests.rs"]
mod tests;
