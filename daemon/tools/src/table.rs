use cordon_policy::{Access, Origin, Place, Policy, PolicyError, Rule, Source, UnknownSource};
use cordon_proto::guest as pb;
use prost::Message as _;
use regex::Regex;
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// The bound of one result where the table names none, bytes.
pub(crate) const RESULT_BYTES: usize = 128 << 10;

/// What the tools decide by.
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) policy: Policy,
    pub(crate) workspace: PathBuf,
    pub(crate) read_before_delete: bool,
    pub(crate) allowed_commands: Vec<Regex>,
    pub(crate) blocked_commands: Vec<Regex>,
    pub(crate) only_writing_file_tools: bool,
    pub(crate) result_bytes: usize,
}

/// No table to decide by. Without one there are no tools.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Not a message.
    #[error("the table of the tools is malformed: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// No access of ours.
    #[error("the table of the tools has an access {0} that nobody knows")]
    Access(i32),
    /// No source of ours.
    #[error("the table of the tools: {0}")]
    Source(#[from] UnknownSource),
    /// No rule.
    #[error("the table of the tools: {0}")]
    Policy(#[from] PolicyError),
    /// No regular expression.
    #[error("a command filter of the agent file: {0}")]
    Filter(#[from] regex::Error),
    /// Relative paths would mean nothing.
    #[error("the table of the tools names no workspace")]
    Workspace,
}

impl Table {
    /// Decodes what the daemon wrote.
    ///
    /// # Errors
    /// When it is no table, or one that this release does not understand.
    pub fn decode(bytes: &[u8]) -> Result<Self, TableError> {
        let table = pb::ToolTable::decode(bytes)?;
        let rules = table.rules.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
        let workspace = PathBuf::from(OsStr::from_bytes(&table.workspace));
        let mut made = Self::new(Policy::new(rules)?, &workspace)?;
        made.read_before_delete = table.read_before_delete;
        made.allowed_commands = filters(&table.allowed_commands)?;
        made.blocked_commands = filters(&table.blocked_commands)?;
        made.only_writing_file_tools = table.only_writing_file_tools;
        if let Ok(bytes @ 1..) = usize::try_from(table.result_bytes) {
            made.result_bytes = bytes;
        }
        Ok(made)
    }

    /// A table of nothing but rules.
    ///
    /// # Errors
    /// When the workspace is not absolute.
    pub fn new(policy: Policy, workspace: &Path) -> Result<Self, TableError> {
        if !workspace.is_absolute() {
            return Err(TableError::Workspace);
        }
        Ok(Self {
            policy,
            workspace: workspace.to_path_buf(),
            read_before_delete: false,
            allowed_commands: Vec::new(),
            blocked_commands: Vec::new(),
            only_writing_file_tools: false,
            result_bytes: RESULT_BYTES,
        })
    }
}

/// A filter speaks of a command's beginning.
fn filters(texts: &[String]) -> Result<Vec<Regex>, regex::Error> {
    texts.iter().map(|text| Regex::new(&format!("^(?:{text})"))).collect()
}

fn rule(rule: &pb::TableRule) -> Result<Rule, TableError> {
    let access = match pb::Access::try_from(rule.access) {
        Ok(pb::Access::None) => Access::None,
        Ok(pb::Access::Read) => Access::Read,
        Ok(pb::Access::Write) => Access::Write,
        Err(_) => return Err(TableError::Access(rule.access)),
    };
    let place = (!rule.file.is_empty()).then(|| Place {
        file: rule.file.clone(),
        line: rule.line,
        column: rule.column,
    });
    Ok(Rule {
        path: PathBuf::from(OsStr::from_bytes(&rule.path)),
        access,
        origin: Origin { source: rule.source.parse::<Source>()?, place },
    })
}
