//! Agent files on their way to a plan.

use crate::{
    error::RunError,
    plan::{Host, Owner, Planned, Purpose, Request, plan, remove_placeholders},
};
use cordon_backends::Variables;
use cordon_config::{Agent, AgentFile, Problem, Severity, Source, parse, parse_with};
use cordon_sandbox::WallKind;
use std::path::Path;

/// An agent file as a client sent it.
pub(crate) struct FileSource<'a> {
    pub(crate) name: &'a str,
    pub(crate) content: &'a [u8],
    pub(crate) directory: &'a Path,
    pub(crate) variables: &'a Variables,
}

/// A file without errors.
pub(crate) struct Checked {
    pub(crate) file: AgentFile,
    pub(crate) warnings: Vec<Problem>,
    pub(crate) variables: Vec<String>,
}

pub(crate) fn check(source: &FileSource<'_>) -> Result<Checked, RunError> {
    let source = Source {
        name: source.name,
        content: source.content,
        directory: source.directory,
        variables: source.variables,
    };
    let parsed = parse(&source);
    match parsed.file {
        Some(file) => Ok(Checked { file, warnings: parsed.problems, variables: parsed.variables }),
        None => Err(RunError::InvalidFile { name: source.name.to_owned(), problems: parsed.problems }),
    }
}

/// The same for a run that was accepted before: what the file named may be gone since.
pub(crate) fn check_again(source: &FileSource<'_>) -> Result<Checked, RunError> {
    let source = Source {
        name: source.name,
        content: source.content,
        directory: source.directory,
        variables: source.variables,
    };
    let parsed = parse_with(&source, &|_| Ok(true));
    let problems = parsed.problems.into_iter().filter(|p| p.severity == Severity::Error).collect();
    match parsed.file {
        Some(file) => Ok(Checked { file, warnings: Vec::new(), variables: parsed.variables }),
        None => Err(RunError::InvalidFile { name: source.name.to_owned(), problems }),
    }
}

/// Who plans what: everything of a [`Request`] that all agents of a run share.
pub(crate) struct For<'a> {
    pub(crate) run: &'a str,
    pub(crate) file: &'a AgentFile,
    pub(crate) owner: &'a Owner,
    pub(crate) variables: &'a Variables,
    pub(crate) wall: Option<WallKind>,
    pub(crate) purpose: Purpose,
    pub(crate) line: Option<&'a str>,
}

/// Plans the selected agents. When one cannot be planned, nothing is left of the others.
pub(crate) fn plan_agents(
    host: &Host,
    selected: &[String],
    shared: &For<'_>,
) -> Result<Vec<Planned>, RunError> {
    let mut planned: Vec<Planned> = Vec::new();
    let For { run, file, owner, variables, wall, purpose, line } = *shared;
    for (index, agent) in select(file, selected)?.into_iter().enumerate() {
        match plan(host, &Request { run, index, agent, file, owner, variables, wall, purpose, line }) {
            Ok(mut one) => {
                let given = agent.credentials.secrets.iter().map(|secret| secret.reveal());
                one.needs.secrets.extend(agent.tools.secrets().chain(given).map(str::to_owned));
                planned.push(one);
            }
            Err(source) => {
                planned.iter().for_each(|p| remove_placeholders(&p.placeholders));
                return Err(RunError::Plan { agent: agent.id.clone(), source });
            }
        }
    }
    Ok(planned)
}

/// The agents of a file by name; all of them for none.
fn select<'a>(file: &'a AgentFile, names: &[String]) -> Result<Vec<&'a Agent>, RunError> {
    if names.is_empty() {
        return Ok(file.agents.iter().collect());
    }
    let mut found = Vec::new();
    for name in names {
        let agent = file.agents.iter().find(|a| a.id == *name).ok_or_else(|| RunError::Agent {
            what: format!("no agent is named {name:?}"),
            agents: file.agents.iter().map(|a| a.id.clone()).collect(),
        })?;
        if !found.iter().any(|a: &&Agent| a.id == agent.id) {
            found.push(agent);
        }
    }
    Ok(found)
}
