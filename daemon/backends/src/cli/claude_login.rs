//! Where Claude Code gets its key or login from.

use crate::credential::{check_expiry, key, places};
use crate::endpoint::Endpoint;
use crate::login::{self, LoginFile};
use crate::{BackendError, Context};
use cordon_config::BackendKind;
use std::time::{Duration, UNIX_EPOCH};

const KEYS: &[&str] = &["CLAUDE_CODE_API_KEY", "ANTHROPIC_API_KEY"];
pub(super) const TOKEN: &str = "CLAUDE_CODE_OAUTH_TOKEN";
pub(super) const VARIABLES: &[&str] = &["CLAUDE_CODE_API_KEY", "ANTHROPIC_API_KEY", TOKEN];
pub(super) const LOGIN: &str = ".claude/.credentials.json";
pub(super) const SECRETS: &[&str] = &["/claudeAiOauth/accessToken", "/claudeAiOauth/refreshToken"];
/// Claude Code does not start without a key; a private endpoint that asks for none gets this.
pub(super) const NO_KEY: &str = "cordon-no-key-needed";

pub(super) enum Credential {
    Key(String),
    /// A long-lived token from the environment.
    Token(String),
    Login(LoginFile),
    None,
}

impl Credential {
    /// The variable of the one process that gets it.
    pub(super) fn variable(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Key(key) => Some(("ANTHROPIC_API_KEY", key)),
            Self::Token(token) => Some((TOKEN, token)),
            Self::Login(_) => None,
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
    let file = context.owner_home.join(LOGIN);
    let unusable = |why| BackendError::UnusableLogin {
        backend: name,
        place: file.display().to_string(),
        why,
        fix: "Run `claude` once outside the sandbox, which renews it, or set ANTHROPIC_API_KEY".to_owned(),
    };
    let Some(login) = login::read(&context.owner_home, LOGIN).map_err(unusable)? else {
        return Err(BackendError::NoLogin {
            backend: name,
            looked_at: places(VARIABLES, Some(&file)),
            fix: "Log in with `claude` outside the sandbox, or set ANTHROPIC_API_KEY".to_owned(),
        });
    };
    let oauth = &login.content["claudeAiOauth"];
    if oauth["accessToken"].as_str().is_none_or(str::is_empty) {
        return Err(unusable("it holds no access token".to_owned()));
    }
    let expiry = oauth["expiresAt"].as_u64().and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
    check_expiry(expiry, unusable)?;
    Ok(Credential::Login(login))
}
