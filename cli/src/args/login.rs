//! `cordon login`.

use super::WallName;
use crate::terminal::DetachKeys;
use clap::{Args, builder::NonEmptyStringValueParser};

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// codex, claude_code, gemini_cli or copilot
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) backend: String,
    /// Where the program is: on this machine (local), which is the default, or in Cordon's image
    #[arg(long, value_enum)]
    pub(crate) wall: Option<WallName>,
    /// Keep an API key: it is asked for on the terminal without showing it, or read from standard input
    #[arg(long, visible_alias = "with-api-key", conflicts_with_all = ["wall", "detach_keys"])]
    pub(crate) api_key: bool,
    /// Keys that give it up; `none`: no keys do
    #[arg(long, value_name = "KEYS", default_value = "ctrl-]")]
    pub(crate) detach_keys: DetachKeys,
}
