//! What drives an agent inside a sandbox: one file a program. A backend says what
//! it needs of the sandbox, and drives a turn as a pure state machine: it is told
//! what processes printed and answers with events and the next process. It starts
//! nothing itself, so that a restarted daemon can feed it the journal again.

pub mod api;
mod cli;
mod command;
mod contract;
mod credential;
mod denial;
mod driver;
mod endpoint;
mod error;
mod events;
mod hints;
mod interactive;
mod json;
mod kept;
mod keys;
mod lines;
mod login;
mod process;
mod program;
mod python;
mod redact;
mod replay;
mod servers;
mod session;
mod shells;
#[cfg(test)]
mod testing;
mod text;
mod versions;

pub use contract::{
    Backend, Context, Driver, ExecPlan, Exit, Login, Needs, Step, Turn, TurnOutcome, Variables,
};
pub use denial::denial_event;
pub use error::BackendError;
pub use hints::explained;
pub use kept::{
    Attempt, Ends, Facts, Kept, LARGEST_LOGIN, LOGIN_KINDS, LOGINS_INSIDE, LoginKind, LoginServers,
    LoginSource, Renewal, Room, SigningIn, Surroundings, login_kind,
};
pub use keys::{KEY_FILE, check as check_key, kept as kept_key};
pub use python::{Python, python_at, python_on};
pub use redact::{REDACTED, Redactor};
pub use session::{session_paths, session_paths_of};
pub use shells::key_in_shells;
pub use versions::checked;

use cordon_config::BackendKind;

/// The backend of this kind.
#[must_use]
pub fn backend(kind: BackendKind) -> &'static dyn Backend {
    match kind {
        BackendKind::Codex => &cli::codex::Codex,
        BackendKind::ClaudeCode => &cli::claude_code::ClaudeCode,
        BackendKind::GeminiCli => &cli::gemini::Gemini,
        BackendKind::Copilot => &cli::copilot::Copilot,
        BackendKind::Command => &command::Command,
        BackendKind::Replay => &replay::Replay,
        BackendKind::Ag2 => &cli::ag2::Ag2,
        BackendKind::Api(_) => &api::ModelApi,
    }
}
