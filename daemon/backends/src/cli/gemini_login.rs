//! Where Gemini CLI gets its key or login from.

use super::gemini::{LOGIN, PACKAGE, SETTINGS, seed};
use crate::credential::{Credential, Order, hosts};
use crate::endpoint::Endpoint;
use crate::{BackendError, Context, Ends, Facts, LoginKind, Room, SigningIn, Surroundings};
use crate::{login, program};
use cordon_config::BackendKind;
use cordon_sandbox::{SeedFile, WallKind};
use serde_json::{Value, json};
use std::{
    os::unix::ffi::OsStrExt as _,
    time::{Duration, UNIX_EPOCH},
};

pub(super) const KEYS: &[&str] = &["GEMINI_API_KEY", "GOOGLE_API_KEY"];
const SECRETS: &[&str] = &["/access_token", "/refresh_token", "/id_token"];
const FILE: &str = "oauth_creds.json";

pub(crate) const KIND: LoginKind = LoginKind {
    backend: BackendKind::GeminiCli,
    file: FILE,
    personal: LOGIN,
    commented: false,
    facts,
    // The program does it itself, in every sandbox: its refresh token stays good.
    renewal: None,
    signing_in,
    fix: "Log in with `cordon login gemini_cli`, or `gemini` outside the sandbox",
};

const ORDER: Order = Order {
    kind: &KIND,
    keys: KEYS,
    elsewhere: KEYS,
    tokens: &[],
    instead: "set GEMINI_API_KEY",
    never_elsewhere: "with a base_url neither the Google login nor a key that Cordon keeps is used",
};

fn facts(content: &Value) -> Result<Option<Facts>, String> {
    let holds = |name: &str| content[name].as_str().is_some_and(|t| !t.is_empty());
    let renewable = holds("refresh_token");
    if !renewable && !holds("access_token") {
        return Err("it holds no token".to_owned());
    }
    let end = content["expiry_date"].as_u64();
    let end = end.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
    let ends = end.map_or(Ends::Unknown, Ends::At);
    Ok(Some(Facts { ends, renewable, secrets: login::secrets(content, SECRETS) }))
}

/// With this it shows an address and asks for the code that the person gets there. It goes on to
/// its own interface afterwards.
fn signing_in(surroundings: &Surroundings<'_>) -> Result<SigningIn, BackendError> {
    let settings = json!({
        "security": {
            "auth": { "selectedType": "oauth-personal" },
            "folderTrust": { "enabled": false },
        },
        "privacy": { "usageStatisticsEnabled": false },
        "telemetry": { "enabled": false },
        "general": { "enableAutoUpdate": false, "enableAutoUpdateNotification": false },
        "ide": { "enabled": false },
    });
    let mut room = Room {
        env: [
            ("NO_BROWSER", "true"),
            ("GEMINI_CLI_NO_RELAUNCH", "true"),
            ("GEMINI_TELEMETRY_ENABLED", "false"),
            ("GEMINI_SANDBOX", "false"),
            // What this machine trusts, beside what Node brings: there may be a proxy on the way.
            ("NODE_USE_SYSTEM_CA", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        hosts: hosts(&[
            "oauth2.googleapis.com:443",
            "www.googleapis.com:443",
            "cloudcode-pa.googleapis.com:443",
        ]),
        seeds: vec![
            seed(SETTINGS, &settings.to_string()),
            SeedFile::link(LOGIN.into(), &surroundings.directory.join(FILE)),
        ],
        image: "cordon/gemini-cli:latest",
        ..Room::default()
    };
    let argv = match surroundings.wall {
        WallKind::Docker => vec![PACKAGE.name.as_bytes().to_vec()],
        WallKind::Local => {
            let found = program::find_interpreted(&PACKAGE, surroundings.program_path)?;
            room.programs = found.needs;
            [found.interpreter, found.script].iter().map(|p| p.as_os_str().as_bytes().to_vec()).collect()
        }
    };
    Ok(SigningIn {
        room,
        argv,
        ends_itself: false,
        note: "Gemini CLI shows an address: open it in a browser, and paste the code that you get there",
    })
}

pub(super) fn credential(context: &Context, endpoint: Option<&Endpoint>) -> Result<Credential, BackendError> {
    ORDER.find(context, endpoint)
}
