//! Where Copilot CLI gets its key, token or login from.

use super::copilot::{IMAGE, IMAGE_CACHE, LOGIN, PACKAGE, unpacked};
use super::copilot_events;
use crate::credential::{AZURE_KEYS, Credential, Order, hosts};
use crate::endpoint::Endpoint;
use crate::process::path_text;
use crate::{BackendError, Context, Ends, Facts, LoginKind, Room, SigningIn, Surroundings, program};
use cordon_config::BackendKind;
use cordon_policy::NetworkMode;
use cordon_sandbox::WallKind;
use serde_json::Value;
use std::{os::unix::ffi::OsStrExt as _, path::PathBuf};

pub(super) const TOKENS: &[&str] = &["COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"];
/// There by account: as older versions wrote it, and as 1.0.102 does.
const LOGIN_TOKENS: [&str; 2] = ["copilotTokens", "authTokens"];

pub(crate) const KIND: LoginKind = LoginKind {
    backend: BackendKind::Copilot,
    file: "config.json",
    personal: LOGIN,
    commented: true,
    facts,
    // Its tokens do not end.
    renewal: None,
    signing_in,
    fix: "Log in with `cordon login copilot`, or `copilot login` outside the sandbox",
};

/// A token of GitHub is for GitHub: it is never shown to another endpoint.
const ORDER: Order = Order {
    kind: &KIND,
    keys: TOKENS,
    elsewhere: &[],
    tokens: &[],
    instead: "set GH_TOKEN (for instance with `export GH_TOKEN=$(gh auth token)`), or set base_url and api_key \
              for a provider of your own",
    never_elsewhere: "with a provider of your own neither GitHub's tokens nor its login are used",
};
const AZURE: Order = Order { elsewhere: AZURE_KEYS, ..ORDER };

/// The program's own state is in the same file: without tokens in it there is no login.
fn facts(content: &Value) -> Result<Option<Facts>, String> {
    let accounts = LOGIN_TOKENS.iter().filter_map(|key| content[*key].as_object()).flat_map(|a| a.values());
    let texts = accounts.flat_map(|account| match account {
        Value::Object(parts) => parts.values().filter_map(Value::as_str).collect(),
        token => token.as_str().into_iter().collect::<Vec<_>>(),
    });
    let secrets: Vec<String> = texts.filter(|t| !t.is_empty()).map(str::to_owned).collect();
    Ok((!secrets.is_empty()).then_some(Facts { ends: Ends::Never, renewable: false, secrets }))
}

/// It asks whether the token may be in a file: there is no keyring inside.
fn signing_in(surroundings: &Surroundings<'_>) -> Result<SigningIn, BackendError> {
    let mut room = Room {
        env: vec![
            ("COPILOT_HOME".to_owned(), path_text(surroundings.directory)?),
            ("COPILOT_AUTO_UPDATE".to_owned(), "false".to_owned()),
        ],
        hosts: hosts(&["github.com:443", "api.github.com:443"]),
        image: IMAGE,
        ..Room::default()
    };
    let (argv0, cache) = match surroundings.wall {
        WallKind::Docker => (PACKAGE.name.as_bytes().to_vec(), Some(PathBuf::from(IMAGE_CACHE))),
        WallKind::Local => {
            let found = program::find(&PACKAGE, surroundings.program_path)?;
            let unpacked = unpacked(&found, surroundings.owner_home);
            room.programs = found.needs;
            room.programs.extend(unpacked.iter().map(|unpacked| unpacked.version.clone()));
            (found.path.as_os_str().as_bytes().to_vec(), unpacked.map(|unpacked| unpacked.home))
        }
    };
    if let Some(cache) = cache {
        room.env.push(("COPILOT_PKG_CACHE_HOME".to_owned(), path_text(&cache)?));
    }
    let mut argv = [&argv0[..], b"login", b"--device-code"].map(<[u8]>::to_vec).to_vec();
    if let Some(host) = surroundings.servers.copilot.as_deref() {
        let url = if host.contains("://") { host.to_owned() } else { format!("https://{host}") };
        let endpoint = Endpoint::named("COPILOT_GH_HOST", &url, surroundings.wall, NetworkMode::None)?;
        room.hosts = endpoint.rule.into_iter().collect();
        if let Some(name) = url.strip_prefix("https://") {
            room.hosts.extend(hosts(&[&format!("api.{}:443", name.trim_end_matches('/'))]));
        }
        room.grant = endpoint.grant;
        room.forward = endpoint.forward;
        argv.extend([b"--host".to_vec(), endpoint.url.into_bytes()]);
    }
    Ok(SigningIn {
        room,
        argv,
        ends_itself: true,
        note: "Copilot shows an address and a code: open the one in a browser and give it the other. Then it \
               asks whether the token may be in a file: say yes, the file is Cordon's own",
    })
}

pub(super) fn credential(context: &Context, endpoint: Option<&Endpoint>) -> Result<Credential, BackendError> {
    let order = if context.agent.program.azure.is_some() { &AZURE } else { &ORDER };
    let found = order.find(context, endpoint)?;
    match &found {
        Credential::Key(key) if endpoint.is_some() && copilot_events::WORDS.contains(key.as_str()) => {
            Err(BackendError::Invalid(
                "the provider's key is a part of copilot's own words, and copilot puts stars in place of its key \
                 wherever it stands, in its events as well: use a longer key"
                    .to_owned(),
            ))
        }
        _ => Ok(found),
    }
}
