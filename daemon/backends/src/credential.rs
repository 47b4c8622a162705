//! Keys and logins: where they are looked for, and what may be done with them.

use crate::endpoint::Endpoint;
use crate::{BackendError, Context, Ends, Facts, LoginKind, LoginSource, keys, login};
use cordon_policy::HostRule;
use std::path::PathBuf;

/// What a program proves itself with.
#[derive(Debug)]
pub(crate) enum Credential {
    /// A key, or a token that takes its place.
    Key(String),
    /// A long-lived token from the environment, for the vendor's own service.
    Token(String),
    /// A login file.
    Login(Login),
    /// An endpoint that asks for none.
    None,
}

/// A login file that is good.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) source: LoginSource,
    /// Without links in it.
    pub(crate) path: PathBuf,
    pub(crate) facts: Facts,
}

/// Where one backend's credential is looked for, and in which order: `api_key`, keys from the
/// environment, tokens from there, the key that Cordon keeps, Cordon's login, the person's.
pub(crate) struct Order {
    pub(crate) kind: &'static LoginKind,
    /// Variables.
    pub(crate) keys: &'static [&'static str],
    /// The same where the agent file names another endpoint.
    pub(crate) elsewhere: &'static [&'static str],
    /// Variables with what only the vendor's own service takes.
    pub(crate) tokens: &'static [&'static str],
    /// What does in place of a login.
    pub(crate) instead: &'static str,
    /// What is never shown to another endpoint.
    pub(crate) never_elsewhere: &'static str,
}

impl Order {
    /// What this agent gets. `endpoint`: the one that its file names.
    pub(crate) fn find(
        &self,
        context: &Context,
        endpoint: Option<&Endpoint>,
    ) -> Result<Credential, BackendError> {
        let backend = self.kind.backend.name();
        let names = if endpoint.is_some() { self.elsewhere } else { self.keys };
        if let Some(key) = key(context, names)? {
            return Ok(Credential::Key(key));
        }
        if let Some(endpoint) = endpoint {
            // What Cordon keeps is for the vendor's service: it is never shown to another endpoint.
            if endpoint.is_private() {
                return Ok(Credential::None);
            }
            return Err(BackendError::NoLogin {
                backend,
                looked_at: places(names),
                fix: format!("Set api_key: {}", self.never_elsewhere),
            });
        }
        if let Some(token) = key(context, self.tokens)? {
            return Ok(Credential::Token(token));
        }
        let unusable = |place: PathBuf, why| BackendError::UnusableLogin {
            backend,
            place: place.display().to_string(),
            why,
            fix: format!("{}, or {}", self.kind.fix, self.instead),
        };
        let kept = keys::kept(&context.logins, backend);
        if let Some(key) = kept.map_err(|why| unusable(keys::file(&context.logins, backend), why))? {
            return Ok(Credential::Key(key));
        }
        let found = login::find(context, self.kind).map_err(|(place, why)| unusable(place, why))?;
        let Some(login) = found else {
            return Err(BackendError::NoLogin {
                backend,
                looked_at: self.all(context),
                fix: format!("{}, or {}", self.kind.fix, self.instead),
            });
        };
        if !login.facts.renewable {
            check_expiry(login.facts.ends, |why| unusable(login.path.clone(), why))?;
        }
        Ok(Credential::Login(login))
    }

    /// Every place, for an error.
    fn all(&self, context: &Context) -> Vec<String> {
        let backend = self.kind.backend.name();
        let names: Vec<_> = self.keys.iter().chain(self.tokens).copied().collect();
        let files = login::files(context, self.kind).map(|(_, file)| file);
        let files = [keys::file(&context.logins, backend)].into_iter().chain(files);
        places(&names).into_iter().chain(files.map(|file| file.display().to_string())).collect()
    }
}

/// The first key among `api_key` and these variables.
pub(crate) fn key(context: &Context, names: &[&str]) -> Result<Option<String>, BackendError> {
    let own = context.agent.api_key.as_ref().map(|k| ("api_key", k.reveal()));
    let given = names.iter().filter_map(|n| context.variables.get(*n).map(|v| (*n, v.as_str())));
    let Some((place, value)) =
        own.into_iter().chain(given).map(|(p, v)| (p, v.trim())).find(|(_, v)| !v.is_empty())
    else {
        return Ok(None);
    };
    keys::check(value).map_err(|why| BackendError::Invalid(format!("the key in {place} {why}")))?;
    Ok(Some(value.to_owned()))
}

/// Where a key for Azure is looked for, after `api_key`.
pub(crate) const AZURE_KEYS: &[&str] = &["AZURE_OPENAI_API_KEY"];

/// The key of an agent whose model is reached through Azure.
pub(crate) fn azure_key(context: &Context) -> Result<Option<String>, BackendError> {
    key(context, AZURE_KEYS)
}

/// Where keys were looked for, for an error.
pub(crate) fn places(names: &[&str]) -> Vec<String> {
    let variables = names.iter().map(|n| format!("the variable {n}"));
    ["backend.api_key of the agent file".to_owned()].into_iter().chain(variables).collect()
}

/// A login that ends soon and cannot be renewed is of no use.
fn check_expiry(ends: Ends, unusable: impl Fn(String) -> BackendError) -> Result<(), BackendError> {
    match ends {
        Ends::Never => Ok(()),
        Ends::Unknown => Err(unusable("it does not say when its access token expires".to_owned())),
        Ends::At(expiry) => login::refuse_expiry(expiry, std::time::SystemTime::now())
            .map_or(Ok(()), |why| Err(unusable(why))),
    }
}

/// Host rules that are written in this program.
pub(crate) fn hosts(names: &[&str]) -> Vec<HostRule> {
    names.iter().filter_map(|n| n.parse().ok()).collect()
}

#[cfg(test)]
#[path = "credential_tests.rs"]
mod tests;
