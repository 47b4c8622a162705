//! Keys and logins: where they are looked for, and what may be done with them.

use crate::{BackendError, Context, Ends, LoginKind, login};
use cordon_policy::HostRule;

/// The first key among `api_key` and these variables.
pub(crate) fn key(context: &Context, names: &[&str]) -> Result<Option<String>, BackendError> {
    let own = context.agent.api_key.as_ref().map(|k| ("api_key", k.reveal()));
    let given = names.iter().filter_map(|n| context.variables.get(*n).map(|v| (*n, v.as_str())));
    let Some((place, value)) =
        own.into_iter().chain(given).map(|(p, v)| (p, v.trim())).find(|(_, v)| !v.is_empty())
    else {
        return Ok(None);
    };
    if value.chars().any(char::is_control) {
        return Err(BackendError::Invalid(format!(
            "the key in {place} holds a control character or a line break: it is not a key"
        )));
    }
    Ok(Some(value.to_owned()))
}

/// Where a key for Azure is looked for, after `api_key`.
pub(crate) const AZURE_KEYS: &[&str] = &["AZURE_OPENAI_API_KEY"];

/// The key of an agent whose model is reached through Azure.
pub(crate) fn azure_key(context: &Context) -> Result<Option<String>, BackendError> {
    key(context, AZURE_KEYS)
}

/// What was looked at, for an error: keys first, then the login file.
pub(crate) fn places(names: &[&str], file: Option<&std::path::Path>) -> Vec<String> {
    let mut places = vec!["backend.api_key of the agent file".to_owned()];
    places.extend(names.iter().map(|n| format!("the variable {n}")));
    places.extend(file.map(|f| f.display().to_string()));
    places
}

/// The same for a backend whose login is kept: every place that was looked at.
pub(crate) fn login_places(context: &Context, names: &[&str], kind: &LoginKind) -> Vec<String> {
    let mut all = places(names, None);
    all.extend(login::files(context, kind).map(|(_, file)| file.display().to_string()));
    all
}

/// A login that ends soon and cannot be renewed is of no use.
pub(crate) fn check_expiry(
    ends: Ends,
    unusable: impl Fn(String) -> BackendError,
) -> Result<(), BackendError> {
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
