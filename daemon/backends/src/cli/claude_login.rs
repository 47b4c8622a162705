//! Where Claude Code gets its key or login from.

use super::claude_code::PACKAGE;
use crate::credential::{check_expiry, hosts, key, login_places, places};
use crate::endpoint::Endpoint;
use crate::process::path_text;
use crate::{Attempt, BackendError, Context, Ends, Facts, LoginKind, LoginSource, Renewal, Room, SigningIn};
use crate::{Surroundings, login, program};
use cordon_config::BackendKind;
use cordon_sandbox::WallKind;
use serde_json::Value;
use std::{
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

const KEYS: &[&str] = &["CLAUDE_CODE_API_KEY", "ANTHROPIC_API_KEY"];
pub(super) const TOKEN: &str = "CLAUDE_CODE_OAUTH_TOKEN";
pub(super) const VARIABLES: &[&str] = &["CLAUDE_CODE_API_KEY", "ANTHROPIC_API_KEY", TOKEN];
const SECRETS: &[&str] = &["/claudeAiOauth/accessToken", "/claudeAiOauth/refreshToken"];
const FIX: &str = "Log in again with `cordon login claude_code`, or `claude` outside the sandbox";
/// Claude Code does not start without a key; a private endpoint that asks for none gets this.
pub(super) const NO_KEY: &str = "cordon-no-key-needed";

pub(crate) const KIND: LoginKind = LoginKind {
    backend: BackendKind::ClaudeCode,
    file: ".credentials.json",
    personal: ".claude/.credentials.json",
    commented: false,
    facts,
    renewal: Some(renewal),
    signing_in,
    fix: FIX,
};

fn facts(content: &Value) -> Result<Facts, String> {
    let oauth = &content["claudeAiOauth"];
    let holds = |name: &str| oauth[name].as_str().is_some_and(|t| !t.is_empty());
    if !holds("accessToken") {
        return Err("it holds no access token".to_owned());
    }
    let expiry = oauth["expiresAt"].as_u64().and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
    let ends = expiry.map_or(Ends::Unknown, Ends::At);
    let renewable = expiry.is_some() && holds("refreshToken");
    Ok(Facts { ends, renewable, secrets: login::secrets(content, SECRETS) })
}

fn room(surroundings: &Surroundings<'_>, also: &[&str]) -> Result<(Room, Vec<u8>), BackendError> {
    let mut room = Room {
        env: vec![
            ("CLAUDE_CONFIG_DIR".into(), path_text(surroundings.directory)?),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC".into(), "1".into()),
            ("DISABLE_AUTOUPDATER".into(), "1".into()),
            ("DISABLE_TELEMETRY".into(), "1".into()),
            ("DISABLE_ERROR_REPORTING".into(), "1".into()),
        ],
        // The second tells it whose login it is.
        hosts: hosts(&["platform.claude.com:443", "api.anthropic.com:443"]),
        image: "cordon/claude-code:latest",
        ..Room::default()
    };
    room.hosts.extend(hosts(also));
    let argv0 = match surroundings.wall {
        WallKind::Docker => PACKAGE.name.as_bytes().to_vec(),
        WallKind::Local => {
            let program = program::find(&PACKAGE, surroundings.program_path)?;
            room.programs = program.needs;
            program.path.as_os_str().as_bytes().to_vec()
        }
    };
    Ok((room, argv0))
}

/// Claude Code renews a login that ends within minutes before it lists its servers, and waits
/// until it is written; others renew it too and may end before. No model is asked.
fn renewal(surroundings: &Surroundings<'_>) -> Result<Renewal, BackendError> {
    let (room, argv0) = room(surroundings, &[])?;
    let argv = [&argv0[..], b"mcp", b"list"].map(<[u8]>::to_vec).to_vec();
    Ok(Renewal { room, attempts: vec![Attempt { argv, stdin: Vec::new(), until: None }], refused })
}

/// It says nothing when it fails.
fn refused(_printed: &str) -> bool {
    false
}

fn signing_in(surroundings: &Surroundings<'_>) -> Result<SigningIn, BackendError> {
    let (room, argv0) =
        room(surroundings, &["claude.ai:443", "claude.com:443", "console.anthropic.com:443"])?;
    Ok(SigningIn {
        room,
        argv: [&argv0[..], b"auth", b"login"].map(<[u8]>::to_vec).to_vec(),
        note: "Claude Code shows an address: open it in a browser, and paste the code that you get there",
    })
}

pub(super) enum Credential {
    Key(String),
    /// A long-lived token from the environment.
    Token(String),
    Login(LoginSource, Facts),
    None,
}

impl Credential {
    /// The variable of the one process that gets it.
    pub(super) fn variable(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Key(key) => Some(("ANTHROPIC_API_KEY", key)),
            Self::Token(token) => Some((TOKEN, token)),
            Self::Login(..) => None,
            Self::None => Some(("ANTHROPIC_API_KEY", NO_KEY)),
        }
    }
}

pub(super) fn credential(context: &Context, endpoint: Option<&Endpoint>) -> Result<Credential, BackendError> {
    let name = BackendKind::ClaudeCode.name();
    if let Some(key) = key(context, KEYS)? {
        return Ok(Credential::Key(key));
    }
    if let Some(endpoint) = endpoint {
        // A login is for its own service: it is never shown to another endpoint.
        if endpoint.is_private() {
            return Ok(Credential::None);
        }
        return Err(BackendError::NoLogin {
            backend: name,
            looked_at: places(KEYS, None),
            fix: "Set api_key: with a base_url the Claude login is not used".to_owned(),
        });
    }
    if let Some(token) = key(context, VARIABLES)? {
        return Ok(Credential::Token(token));
    }
    let unusable = |place: PathBuf, why| BackendError::UnusableLogin {
        backend: name,
        place: place.display().to_string(),
        why,
        fix: format!("{FIX}, or set ANTHROPIC_API_KEY"),
    };
    let Some(found) = login::find(context, &KIND).map_err(|(place, why)| unusable(place, why))? else {
        return Err(BackendError::NoLogin {
            backend: name,
            looked_at: login_places(context, VARIABLES, &KIND),
            fix: format!("{FIX}, or set ANTHROPIC_API_KEY"),
        });
    };
    let place = login::place(context, &KIND, found.source);
    let facts = facts(&found.content).map_err(|why| unusable(place.clone(), why))?;
    if !facts.renewable {
        check_expiry(facts.ends, |why| unusable(place.clone(), why))?;
    }
    Ok(Credential::Login(found.source, facts))
}
