//! `cordon login`.

use super::WallName;
use crate::terminal::DetachKeys;
use clap::{Args, builder::NonEmptyStringValueParser};

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// codex or claude_code
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) backend: String,
    /// Where the program is: on this machine (local), which is the default, or in Cordon's image
    #[arg(long, value_enum)]
    pub(crate) wall: Option<WallName>,
    /// Keys that give it up; `none`: no keys do
    #[arg(long, value_name = "KEYS", default_value = "ctrl-]")]
    pub(crate) detach_keys: DetachKeys,
}
