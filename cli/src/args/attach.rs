//! `cordon attach`.

use super::WallName;
use crate::terminal::DetachKeys;
use clap::{Args, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// The agent file, or the id of a run with a terminal
    #[arg(value_name = "FILE|RUN", value_hint = ValueHint::FilePath)]
    pub(crate) target: PathBuf,
    /// Which agent of the file, when there are several
    pub(crate) agent: Option<String>,
    /// Which wall, instead of the agent file's
    #[arg(long, value_enum)]
    pub(crate) wall: Option<WallName>,
    /// Only look
    #[arg(long, group = "role")]
    pub(crate) watch: bool,
    /// Write, or fail when somebody else does
    #[arg(long, group = "role")]
    pub(crate) write: bool,
    /// Write; who did so until now watches
    #[arg(long, group = "role")]
    pub(crate) take: bool,
    /// Start a run of its own, also where there is one to come back to
    #[arg(long)]
    pub(crate) new: bool,
    /// Keys that leave the terminal; `none`: no keys do
    #[arg(long, value_name = "KEYS", default_value = "ctrl-]")]
    pub(crate) detach_keys: DetachKeys,
    /// Let through everything that the program prints: your terminal obeys it
    #[arg(long)]
    pub(crate) raw: bool,
}
