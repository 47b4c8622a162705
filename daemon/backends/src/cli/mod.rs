//! Agent programs that are run as they are.

pub(crate) mod claude_code;
mod claude_events;
pub(crate) mod codex;
mod codex_config;
mod codex_events;
