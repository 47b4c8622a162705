//! Where Claude Code gets its key or login from.

use super::claude_code::PACKAGE;
use crate::credential::{Credential, Order, hosts};
use crate::endpoint::Endpoint;
use crate::process::path_text;
use crate::{Attempt, BackendError, Context, Ends, Facts, LoginKind, Renewal, Room, SigningIn};
use crate::{Surroundings, login, program};
use cordon_config::BackendKind;
use cordon_sandbox::WallKind;
use serde_json::Value;
use std::{
    os::unix::ffi::OsStrExt as _,
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

fn facts(content: &Value) -> Result<Option<Facts>, String> {
    let oauth = &content["claudeAiOauth"];
    let holds = |name: &str| oauth[name].as_str().is_some_and(|t| !t.is_empty());
    if !holds("accessToken") {
        return Err("it holds no access token".to_owned());
    }
    let expiry = oauth["expiresAt"].as_u64().and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
    let ends = expiry.map_or(Ends::Unknown, Ends::At);
    let renewable = expiry.is_some() && holds("refreshToken");
    Ok(Some(Facts { ends, renewable, secrets: login::secrets(content, SECRETS) }))
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
        ends_itself: true,
        note: "Claude Code shows an address: open it in a browser, and paste the code that you get there",
    })
}

const ORDER: Order = Order {
    kind: &KIND,
    keys: KEYS,
    elsewhere: KEYS,
    tokens: &[TOKEN],
    instead: "set ANTHROPIC_API_KEY",
    never_elsewhere: "with a base_url neither the Claude login nor a key that Cordon keeps is used",
};

/// The variable of the one process that gets it.
pub(super) fn variable(credential: &Credential) -> Option<(&'static str, &str)> {
    match credential {
        Credential::Key(key) => Some(("ANTHROPIC_API_KEY", key)),
        Credential::Token(token) => Some((TOKEN, token)),
        Credential::Login(_) => None,
        Credential::None => Some(("ANTHROPIC_API_KEY", NO_KEY)),
    }
}

pub(super) fn credential(context: &Context, endpoint: Option<&Endpoint>) -> Result<Credential, BackendError> {
    ORDER.find(context, endpoint)
}
