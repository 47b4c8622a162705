//! Agent programs that are run as they are.

pub(crate) mod ag2;
mod ag2_events;
pub(crate) mod claude_code;
mod claude_events;
pub(crate) mod claude_login;
mod claude_settings;
mod claude_welcome;
pub(crate) mod codex;
mod codex_config;
mod codex_events;
pub(crate) mod codex_login;
pub(crate) mod copilot;
mod copilot_driver;
mod copilot_events;
pub(crate) mod copilot_login;
pub(crate) mod gemini;
mod gemini_events;
pub(crate) mod gemini_login;
mod gemini_settings;
mod quirks;
