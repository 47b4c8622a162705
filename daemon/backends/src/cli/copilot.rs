//! GitHub Copilot CLI, run without a terminal and with its permission prompts off: nobody is
//! there to answer them, and the sandbox is the boundary. With a `base_url` it works with a
//! provider of the user's own and never speaks to GitHub.

use super::copilot_driver::CopilotDriver;
use crate::credential::{hosts, key, places};
use crate::endpoint::Endpoint;
use crate::login::{self, LoginFile};
use crate::process::{argument, directories, environment, path_text, plan, quiet_git};
use crate::program::{self, Package, Program};
use crate::{Backend, BackendError, Context, Driver, Login, Needs, Turn};
use cordon_config::BackendKind;
use cordon_sandbox::{SeedFile, WallKind};
use serde_json::Value;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

const TOKENS: &[&str] = &["COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"];
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
const LOGIN: &str = ".copilot/config.json";
/// There by account: as older versions wrote it, and as 1.0.102 does.
const LOGIN_TOKENS: [&str; 2] = ["copilotTokens", "authTokens"];
const INSTRUCTIONS: &str = ".copilot/copilot-instructions.md";
/// What it wrote about the tokens of a turn; it does not say that in its events.
const USAGE: &str = ".copilot/cordon-usage.json";
/// Where our image has it unpacked.
const IMAGE_CACHE: &str = "/opt/copilot";
const HOSTS: &[&str] = &[
    "api.github.com:443",
    "api.githubcopilot.com:443",
    "api.individual.githubcopilot.com:443",
    "api.business.githubcopilot.com:443",
    "api.enterprise.githubcopilot.com:443",
];
const FIX_LOGIN: &str = "Log in with `copilot login` on this machine, set GH_TOKEN (for instance with \
                         `export GH_TOKEN=$(gh auth token)`), or set base_url and api_key for a provider of your own";
const IMAGE: &str = "cordon/copilot:latest";

pub(crate) const PACKAGE: Package = Package {
    name: "copilot",
    native: &["copilot"],
    platforms: &["@github/copilot-linux-ARCH"],
    companions: &[],
    depth: 0,
    fix: "Install Copilot CLI on this machine, or use the docker wall",
};

pub(crate) struct Copilot;

enum Credential {
    /// For the provider of `base_url`.
    Key(String),
    /// For GitHub.
    Token(String),
    Login(LoginFile),
    /// A provider that asks for none.
    None,
}

impl Credential {
    /// The variable of the one process that gets it.
    fn variable(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Key(key) => Some((PROVIDER_KEY, key)),
            Self::Token(token) => Some((TOKEN, token)),
            Self::Login(_) | Self::None => None,
        }
    }
}

fn credential(context: &Context, endpoint: Option<&Endpoint>) -> Result<Credential, BackendError> {
    let name = BackendKind::Copilot.name();
    if let Some(endpoint) = endpoint {
        // A token of GitHub is for GitHub: it is never shown to another endpoint.
        return match key(context, &[])? {
            Some(key) => Ok(Credential::Key(key)),
            None if endpoint.is_private() => Ok(Credential::None),
            None => Err(BackendError::NoLogin {
                backend: name,
                looked_at: places(&[], None),
                fix: "Set api_key: with a base_url neither GitHub's tokens nor its login are used".to_owned(),
            }),
        };
    }
    if let Some(token) = key(context, TOKENS)? {
        return Ok(Credential::Token(token));
    }
    let file = context.owner_home.join(LOGIN);
    let unusable = |why| BackendError::UnusableLogin {
        backend: name,
        place: file.display().to_string(),
        why,
        fix: FIX_LOGIN.to_owned(),
    };
    // The program's own state is in the same file: without tokens in it there is no login.
    let login = login::read_commented(&context.owner_home, LOGIN).map_err(unusable)?;
    login.filter(|l| !tokens(l).is_empty()).map(Credential::Login).ok_or_else(|| BackendError::NoLogin {
        backend: name,
        looked_at: places(TOKENS, Some(&file)),
        fix: FIX_LOGIN.to_owned(),
    })
}

fn tokens(login: &LoginFile) -> Vec<String> {
    let accounts =
        LOGIN_TOKENS.iter().filter_map(|key| login.content[*key].as_object()).flat_map(|a| a.values());
    let texts = accounts.flat_map(|account| match account {
        Value::Object(parts) => parts.values().filter_map(Value::as_str).collect(),
        token => token.as_str().into_iter().collect::<Vec<_>>(),
    });
    texts.filter(|t| !t.is_empty()).map(str::to_owned).collect()
}

fn endpoint(context: &Context) -> Result<Option<Endpoint>, BackendError> {
    let agent = &context.agent;
    let Some(url) = agent.base_url.as_deref() else { return Ok(None) };
    if agent.model.is_none() {
        return Err(BackendError::Invalid(
            "copilot with a base_url needs a model: the provider has no default that it knows of".to_owned(),
        ));
    }
    Endpoint::new(url, context.wall, agent.docker.network).map(Some)
}

fn variables(context: &Context, endpoint: Option<&Endpoint>) -> Result<Vec<(String, String)>, BackendError> {
    let cache = match context.wall {
        WallKind::Docker if context.agent.docker.image.is_none() => Some(PathBuf::from(IMAGE_CACHE)),
        // Another image has its cache where it likes, and says so itself.
        WallKind::Docker => None,
        WallKind::Local => unpacked(context).map(|unpacked| unpacked.home),
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
    Ok(env)
}

/// What the program has unpacked of itself in the owner's home.
struct Unpacked {
    /// What `COPILOT_PKG_CACHE_HOME` has to say.
    home: PathBuf,
    /// The directory of this version.
    version: PathBuf,
}

/// The program unpacks 235 MB of itself where it first runs. What the owner's own runs have
/// unpacked is taken as it is, when it is whole and of the version that will run.
fn unpacked(context: &Context) -> Option<Unpacked> {
    let program = program::find(&PACKAGE, &context.program_path).ok()?;
    let platform = program::platform();
    let version = program::version(program.path.parent()?)?;
    let relative: PathBuf = ["pkg", &format!("linux-{platform}"), &version].iter().collect();
    let written = context.owner_home.join(".cache/copilot").join(&relative);
    let found = std::fs::canonicalize(written).ok()?;
    let whole = found.ends_with(&relative) && found.join(".extraction-complete").is_file();
    let home = found.ancestors().nth(relative.components().count())?.to_path_buf();
    whole.then_some(Unpacked { home, version: found })
}

fn driver(context: &Context, turn: Turn, argv0: Vec<u8>, env: Vec<(String, Vec<u8>)>) -> Box<dyn Driver> {
    let agent = &context.agent;
    let usage = context.home.join(USAGE);
    let mut argv = vec![argv0];
    argv.extend(
        [
            "--output-format=json",
            "--stream=off",
            "--yolo",
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
    argv.extend(agent.program.trust_repository.then(|| b"--trust-folder".to_vec()));
    argv.extend([b"--usage-output-file".to_vec(), usage.as_os_str().as_bytes().to_vec()]);
    argv.extend(agent.model.as_ref().map(|m| format!("--model={m}").into_bytes()));
    argv.extend(agent.effort.map(|e| format!("--reasoning-effort={}", e.name()).into_bytes()));
    let work = plan(context, argv, env, Some(turn.prompt.into_bytes()));
    // The last turn's file must not be taken for this one's: what was read is removed.
    let script = r#"cat -- "$1" && rm -f -- "$1""#;
    let mut argv: Vec<Vec<u8>> = ["/bin/sh", "-c", script, "sh"].map(|a| a.as_bytes().to_vec()).into();
    argv.push(usage.as_os_str().as_bytes().to_vec());
    let count = plan(context, argv, Vec::new(), None);
    Box::new(CopilotDriver::new(work, count))
}

fn find(context: &Context) -> Result<Program, BackendError> {
    program::find(&PACKAGE, &context.program_path)
}

impl Backend for Copilot {
    fn needs(&self, context: &Context) -> Result<Needs, BackendError> {
        let agent = &context.agent;
        let endpoint = endpoint(context)?;
        let credential = credential(context, endpoint.as_ref())?;
        agent.model.as_deref().map(|m| argument("model", m)).transpose()?;
        let env = variables(context, endpoint.as_ref())?;
        environment(context, &env, &TAKEN.map(|name| (name, "")))?;
        let mut needs = Needs { env, image: Some(IMAGE.to_owned()), hosts: hosts(HOSTS), ..Needs::default() };
        needs.seeds.extend(agent.system_message.as_ref().map(|text| SeedFile {
            path: INSTRUCTIONS.into(),
            content: text.clone().into_bytes(),
            mode: 0o600,
        }));
        match credential {
            Credential::Key(secret) | Credential::Token(secret) => needs.secrets.push(secret),
            Credential::Login(login) => {
                needs.secrets = tokens(&login);
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
            needs.programs.extend(unpacked(context).map(|unpacked| unpacked.version));
        }
        Ok(needs)
    }

    fn turn(&self, context: &Context, turn: Turn) -> Result<Box<dyn Driver>, BackendError> {
        let endpoint = endpoint(context)?;
        let credential = credential(context, endpoint.as_ref())?;
        let secret: Vec<_> = credential.variable().into_iter().collect();
        let env = environment(context, &variables(context, endpoint.as_ref())?, &secret)?;
        let argv0 = crate::process::first_argument(context, PACKAGE.name, || find(context))?;
        Ok(driver(context, turn, argv0, env))
    }

    fn recover(&self, context: &Context, turn: Turn) -> Box<dyn Driver> {
        self.turn(context, turn.clone())
            .unwrap_or_else(|_| driver(context, turn, PACKAGE.name.as_bytes().to_vec(), Vec::new()))
    }

    fn variables(&self) -> &'static [&'static str] {
        TOKENS
    }
}

#[cfg(test)]
#[path = "copilot_tests.rs"]
mod tests;
