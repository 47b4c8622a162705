//! The process of a backend: its environment and its arguments.

use crate::{BackendError, Context, ExecPlan};
use cordon_config::Agent;
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
    let credentials = &context.agent.credentials;
    for (name, value) in &credentials.variables {
        let own = set.iter().find(|(n, _)| n == name);
        if own.is_some_and(|(_, v)| v != value.reveal()) && !credentials.whole_environment {
            return Err(BackendError::Invalid(format!(
                "{name} of command_line_docker_credentials is set by Cordon itself for {}; take it out",
                context.agent.backend.name()
            )));
        }
        // `env` is nearer to the agent than what several agents may share.
        if own.is_none() && !all.contains_key(name) {
            all.insert(name.clone(), value.reveal().as_bytes().to_vec());
        }
    }
    all.extend(secret.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())));
    Ok(all.into_iter().collect())
}

/// What keeps git from starting what a repository names when all that was asked is how things
/// stand: the programs ask so before anything else, with their key in the environment. One
/// variable, and none with `KEY` in its name: the programs keep such from their shells.
pub(crate) fn quiet_git() -> [(String, String); 2] {
    const SETTINGS: &str =
        "'core.fsmonitor=false' 'log.showSignature=false' 'core.pager=cat' 'pager.log=false'";
    [
        ("GIT_CONFIG_PARAMETERS".to_owned(), SETTINGS.to_owned()),
        // Nor does asking write the index, and so starts no hook.
        ("GIT_OPTIONAL_LOCKS".to_owned(), "0".to_owned()),
    ]
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

/// The context paths that are directories, as they are called inside.
pub(crate) fn directories(agent: &Agent) -> Vec<String> {
    let paths = agent.context_paths.iter().filter_map(|c| std::fs::canonicalize(&c.path).ok());
    paths.filter(|p| p.is_dir()).filter_map(|p| p.to_str().map(str::to_owned)).collect()
}

/// A path inside, as text of an environment variable.
pub(crate) fn path_text(path: &Path) -> Result<String, BackendError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        BackendError::Invalid(format!("the path {} is not text", path.display().to_string().escape_debug()))
    })
}
