//! Where Codex gets its key or login from.

use super::codex::PACKAGE;
use crate::credential::{AZURE_KEYS, Credential, Order, azure_key, hosts, places};
use crate::endpoint::Endpoint;
use crate::process::path_text;
use crate::{Attempt, BackendError, Context, Ends, Facts, LoginKind, Renewal, Room, SigningIn};
use crate::{Surroundings, login, program};
use cordon_config::BackendKind;
use cordon_policy::NetworkMode;
use cordon_sandbox::WallKind;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt as _;

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

fn facts(content: &Value) -> Result<Option<Facts>, String> {
    let text = |pointer| content.pointer(pointer).and_then(Value::as_str).filter(|t| !t.is_empty());
    let ends = match (text("/tokens/access_token"), text("/OPENAI_API_KEY")) {
        (None, Some(_)) => Ends::Never,
        (Some(_), Some(_)) if text("/auth_mode") == Some("apikey") => Ends::Never,
        (Some(token), _) => login::token_expiry(token).map_or(Ends::Unknown, Ends::At),
        (None, None) => return Err("it holds neither an API key nor tokens".to_owned()),
    };
    let renewable = matches!(ends, Ends::At(_)) && text("/tokens/refresh_token").is_some();
    Ok(Some(Facts { ends, renewable, secrets: login::secrets(content, SECRETS) }))
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
    if let Some(url) = surroundings.servers.codex.as_deref() {
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
    if let Some(url) = surroundings.servers.codex.as_deref() {
        let url = lead_to(&mut room, url, surroundings.wall)?;
        let issuer = url.trim_end_matches(TOKENS_PATH).to_owned();
        argv.extend([b"--experimental_issuer".to_vec(), issuer.into_bytes()]);
    }
    Ok(SigningIn {
        room,
        argv,
        ends_itself: true,
        note: "Codex shows an address and a code: open the one in a browser and give it the other",
    })
}

const ORDER: Order = Order {
    kind: &KIND,
    keys: VARIABLES,
    elsewhere: VARIABLES,
    tokens: &[],
    instead: "set OPENAI_API_KEY",
    never_elsewhere: "with a base_url neither the ChatGPT login nor a key that Cordon keeps is used",
};

pub(super) fn credential(context: &Context, endpoint: Option<&Endpoint>) -> Result<Credential, BackendError> {
    if context.agent.program.azure.is_some() {
        return azure_key(context)?.map(Credential::Key).ok_or_else(|| BackendError::NoLogin {
            backend: BackendKind::Codex.name(),
            looked_at: places(AZURE_KEYS),
            fix: "Set AZURE_OPENAI_API_KEY: no other key is shown to Azure".to_owned(),
        });
    }
    ORDER.find(context, endpoint)
}
