//! What is to be executed, made ready in full before the fork: after it, nothing may
//! allocate.

use cordon_proto::guest::{EnvVar, Start};
use std::{collections::BTreeMap, ffi::CString};

/// Set in every process: an ordinary descendant is found by it wherever it went.
pub(crate) const MARKER: &str = "CORDON_PROCESS";
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";
const ARGUMENTS: usize = 64 << 10;

/// Why a request cannot be carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("process_id must be 1 to 128 characters of [A-Za-z0-9_.:-]")]
    ProcessId,
    #[error("argv must have 1 to {ARGUMENTS} entries, the first of them not empty")]
    Arguments,
    #[error("{0} contains a NUL byte")]
    Nul(&'static str),
    #[error("an environment name is empty or contains '='")]
    EnvironmentName,
}

/// Program, arguments, environment and directory.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) argv: Vec<CString>,
    pub(crate) env: Vec<CString>,
    /// Where the program may be, in the order of the child's own PATH.
    pub(crate) candidates: Vec<CString>,
    pub(crate) cwd: CString,
}

impl Plan {
    pub(crate) fn new(start: &Start, boot: &[EnvVar], home: &[u8]) -> Result<Self, PlanError> {
        check_id(&start.process_id)?;
        let program = start.argv.first().filter(|program| !program.is_empty());
        let program = program.ok_or(PlanError::Arguments)?;
        if start.argv.len() > ARGUMENTS {
            return Err(PlanError::Arguments);
        }
        let mut variables: BTreeMap<&str, &[u8]> = BTreeMap::new();
        for variable in boot.iter().chain(&start.env) {
            if variable.name.is_empty() || variable.name.contains('=') {
                return Err(PlanError::EnvironmentName);
            }
            variables.insert(&variable.name, &variable.value);
        }
        variables.insert(MARKER, start.process_id.as_bytes());
        let path = variables.get("PATH").copied().unwrap_or(DEFAULT_PATH);
        let candidates = candidates(program, path);
        let cwd: &[u8] = match (&start.cwd[..], home) {
            ([], []) => b"/",
            ([], home) => home,
            (cwd, _) => cwd,
        };
        let joined = variables.iter().map(|(name, value)| [name.as_bytes(), b"=", value].concat());
        Ok(Self {
            argv: strings(start.argv.iter().map(|argument| argument.to_vec()), "argv")?,
            env: strings(joined, "env")?,
            candidates: strings(candidates.into_iter(), "argv")?,
            cwd: CString::new(cwd).map_err(|_| PlanError::Nul("cwd"))?,
        })
    }
}

fn check_id(id: &str) -> Result<(), PlanError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    if (1..=128).contains(&id.len()) && id.bytes().all(allowed) { Ok(()) } else { Err(PlanError::ProcessId) }
}

fn strings(values: impl Iterator<Item = Vec<u8>>, what: &'static str) -> Result<Vec<CString>, PlanError> {
    values.map(|value| CString::new(value).map_err(|_| PlanError::Nul(what))).collect()
}

fn candidates(program: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    // An empty entry means the current directory to execvp. An agent's tree must not
    // become a place for programs by a stray colon, so it is skipped here.
    let directories = path.split(|byte| *byte == b':').filter(|directory| !directory.is_empty());
    let found: Vec<_> = directories.map(|directory| [directory, b"/", program].concat()).collect();
    if found.is_empty() { vec![program.to_vec()] } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(argv: &[&'static str]) -> Start {
        Start {
            process_id: "p1".to_owned(),
            argv: argv.iter().map(|argument| argument.as_bytes().into()).collect(),
            ..Start::default()
        }
    }

    fn variable(name: &str, value: &'static str) -> EnvVar {
        EnvVar { name: name.to_owned(), value: value.as_bytes().into() }
    }

    #[test]
    fn the_childs_own_path_counts() {
        let mut request = start(&["git"]);
        request.env = vec![variable("PATH", "/x::/y")];
        let plan = Plan::new(&request, &[variable("PATH", "/boot"), variable("A", "b")], b"/home/a").unwrap();
        assert_eq!(plan.candidates, [c"/x/git".to_owned(), c"/y/git".to_owned()]);
        assert_eq!(plan.env, [c"A=b", c"CORDON_PROCESS=p1", c"PATH=/x::/y"]);
        assert_eq!(plan.cwd, c"/home/a".to_owned());
    }

    #[test]
    fn a_program_with_a_slash_is_not_searched_for() {
        assert_eq!(Plan::new(&start(&["./a/b"]), &[], b"").unwrap().candidates, [c"./a/b".to_owned()]);
    }

    #[test]
    fn malformed_requests_are_refused() {
        assert_eq!(Plan::new(&start(&[]), &[], b"").unwrap_err(), PlanError::Arguments);
        assert_eq!(Plan::new(&start(&[""]), &[], b"").unwrap_err(), PlanError::Arguments);
        assert_eq!(Plan::new(&start(&["a\0b"]), &[], b"").unwrap_err(), PlanError::Nul("argv"));
        let bad = [variable("A=B", "c")];
        assert_eq!(Plan::new(&start(&["a"]), &bad, b"").unwrap_err(), PlanError::EnvironmentName);
        let mut request = start(&["a"]);
        request.process_id = "a/b".to_owned();
        assert_eq!(Plan::new(&request, &[], b"").unwrap_err(), PlanError::ProcessId);
    }
}
