//! `cordon chat`.

use super::WallName;
use clap::{Args, ValueHint, builder::NonEmptyStringValueParser};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Chat {
    /// The agent file; with --resume only where the one of that chat is not to be used again
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "resume")]
    pub(crate) file: Option<PathBuf>,
    /// Go on with an earlier chat, or with any other ended run
    #[arg(long, value_name = "RUN", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) resume: Option<String>,
    /// Talk with this agent alone; may be given several times [default: every agent answers]
    #[arg(short, long = "agent", value_name = "AGENT", conflicts_with = "resume")]
    pub(crate) agents: Vec<String>,
    /// Which wall, instead of the agent file's
    #[arg(long, value_enum)]
    pub(crate) wall: Option<WallName>,
    /// Show what the agents tell of their reasoning too
    #[arg(long)]
    pub(crate) reasoning: bool,
    /// Neither offer nor keep what was typed
    #[arg(long)]
    pub(crate) no_history: bool,
}
