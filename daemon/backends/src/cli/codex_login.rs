//! Where Codex gets its key or login from.

use super::codex::PACKAGE;
use crate::credential::{AZURE_KEYS, azure_key, check_expiry, hosts, key, login_places, places};
use crate::endpoint::Endpoint;
use crate::process::path_text;
use crate::{Attempt, BackendError, Context, Ends, Facts, LoginKind, LoginSource, Renewal, Room, SigningIn};
use crate::{Surroundings, login, program};
use cordon_config::BackendKind;
use cordon_policy::NetworkMode;
use cordon_sandbox::WallKind;
use serde_json::{Value, json};
use std::{os::unix::ffi::OsStrExt as _, path::PathBuf};

pub(super) const VARIABLES: &[&str] = &["OPENAI_API_KEY", "CODEX_API_KEY"];
const SECRETS: &[&str] =
    &["/OPENAI_API_KEY", "/tokens/id_token", "/tokens/access_token", "/tokens/refresh_token"];
const FIX: &str = "Log in again with `cordon login codex`, or `codex login` outside the sandbox";
/// Where logins are renewed, and where a person logs in.
const SERVER: &str = "auth.openai.com:443";
/// Where, below the address of a server, tokens are given out.
const TOKENS_PATH: &str = "/oauth/token";

pub(crate) const KIND: LoginKind = LoginKind {
    backend: BackendKind::Codex,
    file: "auth.json",
    personal: ".codex/auth.json",
    commented: false,
    facts,
    renewal: Some(renewal),
    signing_in,
    fix: FIX,
};

fn facts(content: &Value) -> Result<Facts, String> {
    let text = |pointer| content.pointer(pointer).and_then(Value::as_str).filter(|t| !t.is_empty());
    let ends = match (text("/tokens/access_token"), text("/OPENAI_API_KEY")) {
        (None, Some(_)) => Ends::Never,
        (Some(_), Some(_)) if text("/auth_mode") == Some("apikey") => Ends::Never,
        (Some(token), _) => login::token_expiry(token).map_or(Ends::Unknown, Ends::At),
        (None, None) => return Err("it holds neither an API key nor tokens".to_owned()),
    };
    let renewable = matches!(ends, Ends::At(_)) && text("/tokens/refresh_token").is_some();
    Ok(Facts { ends, renewable, secrets: login::secrets(content, SECRETS) })
}

fn room(surroundings: &Surroundings<'_>) -> Result<(Room, Vec<u8>), BackendError> {
    let mut room = Room {
        env: vec![("CODEX_HOME".into(), path_text(surroundings.directory)?)],
        hosts: hosts(&[SERVER]),
        image: "cordon/codex:latest",
        ..Room::default()
    };
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

/// Lets the room reach this server in place of the vendor's; its URL as seen from inside.
fn lead_to(room: &mut Room, url: &str, wall: WallKind) -> Result<String, BackendError> {
    let endpoint = Endpoint::new(url, wall, NetworkMode::None)?;
    room.hosts = endpoint.rule.into_iter().collect();
    room.grant = endpoint.grant;
    room.forward = endpoint.forward;
    Ok(endpoint.url)
}

/// Codex renews a login that ends within minutes when it is asked how it stands; any other
/// only when it is told to. Never is a model asked.
fn renewal(surroundings: &Surroundings<'_>) -> Result<Renewal, BackendError> {
    let (mut room, argv0) = room(surroundings)?;
    if let Some(url) = surroundings.token_server {
        let url = lead_to(&mut room, url, surroundings.wall)?;
        room.env.push(("CODEX_REFRESH_TOKEN_URL_OVERRIDE".into(), url));
    }
    let attempt = |told: bool| {
        let client = json!({ "name": "cordon", "title": "Cordon", "version": env!("CARGO_PKG_VERSION") });
        let messages = [
            json!({ "id": 1, "method": "initialize", "params": { "clientInfo": client } }),
            json!({ "method": "initialized" }),
            json!({ "id": 2, "method": "getAuthStatus",
                    "params": { "includeToken": false, "refreshToken": told } }),
        ];
        let settings = [
            "cli_auth_credentials_store=\"file\"",
            "analytics.enabled=false",
            "check_for_update_on_startup=false",
            "features.plugins=false",
        ];
        let mut argv = vec![argv0.clone()];
        argv.extend(settings.iter().flat_map(|s| [b"-c".to_vec(), s.as_bytes().to_vec()]));
        argv.push(b"app-server".to_vec());
        let stdin = messages.iter().map(|m| format!("{m}\n")).collect::<String>().into_bytes();
        Attempt { argv, stdin, until: Some(2) }
    };
    Ok(Renewal { room, attempts: vec![attempt(false), attempt(true)], refused })
}

/// What Codex says when the server does not know the refresh token any more.
fn refused(printed: &str) -> bool {
    printed.contains("access token could not be refreshed")
}

fn signing_in(surroundings: &Surroundings<'_>) -> Result<SigningIn, BackendError> {
    let (mut room, argv0) = room(surroundings)?;
    let argv = [&argv0[..], b"-c", b"cli_auth_credentials_store=\"file\"", b"login", b"--device-auth"];
    let mut argv = argv.map(<[u8]>::to_vec).to_vec();
    if let Some(url) = surroundings.token_server {
        let url = lead_to(&mut room, url, surroundings.wall)?;
        let issuer = url.trim_end_matches(TOKENS_PATH).to_owned();
        argv.extend([b"--experimental_issuer".to_vec(), issuer.into_bytes()]);
    }
    Ok(SigningIn {
        room,
        argv,
        note: "Codex shows an address and a code: open the one in a browser and give it the other",
    })
}

pub(super) enum Credential {
    Key(String),
    Login(LoginSource, Facts),
    /// An endpoint that asks for none.
    None,
}

pub(super) fn credential(context: &Context, endpoint: Option<&Endpoint>) -> Result<Credential, BackendError> {
    if context.agent.program.azure.is_some() {
        return azure_key(context)?.map(Credential::Key).ok_or_else(|| BackendError::NoLogin {
            backend: BackendKind::Codex.name(),
            looked_at: places(AZURE_KEYS, None),
            fix: "Set AZURE_OPENAI_API_KEY: no other key is shown to Azure".to_owned(),
        });
    }
    if let Some(key) = key(context, VARIABLES)? {
        return Ok(Credential::Key(key));
    }
    let name = BackendKind::Codex.name();
    if let Some(endpoint) = endpoint {
        // A login is for its own service: it is never shown to another endpoint.
        if endpoint.is_private() {
            return Ok(Credential::None);
        }
        return Err(BackendError::NoLogin {
            backend: name,
            looked_at: places(VARIABLES, None),
            fix: "Set api_key: with a base_url the ChatGPT login is not used".to_owned(),
        });
    }
    let unusable = |place: PathBuf, why| BackendError::UnusableLogin {
        backend: name,
        place: place.display().to_string(),
        why,
        fix: format!("{FIX}, or set OPENAI_API_KEY"),
    };
    let Some(found) = login::find(context, &KIND).map_err(|(place, why)| unusable(place, why))? else {
        return Err(BackendError::NoLogin {
            backend: name,
            looked_at: login_places(context, VARIABLES, &KIND),
            fix: format!("{FIX}, or set OPENAI_API_KEY"),
        });
    };
    let place = login::place(context, &KIND, found.source);
    let facts = facts(&found.content).map_err(|why| unusable(place.clone(), why))?;
    if !facts.renewable {
        check_expiry(facts.ends, |why| unusable(place.clone(), why))?;
    }
    Ok(Credential::Login(found.source, facts))
}
