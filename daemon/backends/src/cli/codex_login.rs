//! Where Codex gets its key or login from.

use crate::credential::{AZURE_KEYS, azure_key, check_expiry, key, places};
use crate::endpoint::Endpoint;
use crate::login::{self, LoginFile};
use crate::{BackendError, Context};
use cordon_config::BackendKind;

pub(super) const VARIABLES: &[&str] = &["OPENAI_API_KEY", "CODEX_API_KEY"];
pub(super) const LOGIN: &str = ".codex/auth.json";
pub(super) const SECRETS: &[&str] =
    &["/OPENAI_API_KEY", "/tokens/id_token", "/tokens/access_token", "/tokens/refresh_token"];
const FIX_LOGIN: &str = "Run `codex login` outside the sandbox";

pub(super) enum Credential {
    Key(String),
    Login(LoginFile),
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
    let file = context.owner_home.join(LOGIN);
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
    let unusable = |why| BackendError::UnusableLogin {
        backend: name,
        place: file.display().to_string(),
        why,
        fix: format!("{FIX_LOGIN}, or any `codex` command, which renews it"),
    };
    let Some(login) = login::read(&context.owner_home, LOGIN).map_err(unusable)? else {
        return Err(BackendError::NoLogin {
            backend: name,
            looked_at: places(VARIABLES, Some(&file)),
            fix: format!("{FIX_LOGIN}, or set OPENAI_API_KEY"),
        });
    };
    let text = |pointer| login.content.pointer(pointer).and_then(|v| v.as_str()).filter(|t| !t.is_empty());
    match (text("/tokens/access_token"), text("/OPENAI_API_KEY")) {
        (None, Some(_)) => {}
        (Some(_), Some(_)) if text("/auth_mode") == Some("apikey") => {}
        (Some(token), _) => check_expiry(login::token_expiry(token), unusable)?,
        (None, None) => return Err(unusable("it holds neither an API key nor tokens".to_owned())),
    }
    Ok(Credential::Login(login))
}
