//! A real daemon with a state directory and a socket of its own, and the real client:
//! what every end-to-end test starts from.

mod api;
pub mod attack;
mod clis;
mod daemon;
mod look;
mod need;
mod packages;
mod tmux;

pub use api::{Api, denials, messages, output, summary};
pub use clis::{Cli, KEY, More, Where, agent_text};
pub use daemon::{Host, Ran, User};
pub use look::{containers_of, networks_of, processes_mentioning, wait_until};
pub use need::{
    bin, claude, codex, copilot, copilot_cache, gemini, has_runtime, need_docker, need_image, need_root,
    node, skipped,
};
pub use packages::{Index, done};
pub use tmux::{LIMIT, Tmux};
