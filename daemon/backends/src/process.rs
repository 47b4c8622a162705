//! The process of a backend: its environment and its arguments.

use crate::{BackendError, Context, ExecPlan};
use cordon_sandbox::WallKind;
use std::{collections::BTreeMap, os::unix::ffi::OsStrExt as _, path::Path};

/// Joins what the agent file adds to the environment with what the backend sets. The
/// backend's own variables decide where its program looks for settings, so a file that
/// contradicts them is refused and not quietly overruled.
pub(crate) fn environment(
    context: &Context,
    set: &[(String, String)],
    secret: &[(&str, &str)],
) -> Result<Vec<(String, Vec<u8>)>, BackendError> {
    let mut all = BTreeMap::new();
    for (name, value) in &context.agent.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(BackendError::Invalid(format!("env.{} is not a variable", name.escape_debug())));
        }
        let own = set.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let contradicts = own.is_some_and(|v| v != value) || secret.iter().any(|(n, _)| n == name);
        if contradicts {
            return Err(BackendError::Invalid(format!(
                "env.{name} is set by Cordon itself for {}; take it out of env",
                context.agent.backend.name()
            )));
        }
        all.insert(name.clone(), value.clone().into_bytes());
    }
    all.extend(secret.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())));
    Ok(all.into_iter().collect())
}

/// A setting that becomes part of an argument.
pub(crate) fn argument<'a>(key: &str, value: &'a str) -> Result<&'a str, BackendError> {
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(BackendError::Invalid(format!("{key} is empty or holds a control character")));
    }
    Ok(value)
}

/// The name by which the program is started: found in the image, or this very file.
pub(crate) fn first_argument(
    context: &Context,
    name: &str,
    find: impl FnOnce() -> Result<crate::program::Program, BackendError>,
) -> Result<Vec<u8>, BackendError> {
    Ok(match context.wall {
        WallKind::Docker => name.as_bytes().to_vec(),
        WallKind::Local => find()?.path.as_os_str().as_bytes().to_vec(),
    })
}

pub(crate) fn plan(
    context: &Context,
    argv: Vec<Vec<u8>>,
    env: Vec<(String, Vec<u8>)>,
    stdin: Option<Vec<u8>>,
) -> ExecPlan {
    ExecPlan { argv, env, cwd: context.workspace.clone(), stdin }
}

/// A path inside, as text of an environment variable.
pub(crate) fn path_text(path: &Path) -> Result<String, BackendError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        BackendError::Invalid(format!("the path {} is not text", path.display().to_string().escape_debug()))
    })
}
