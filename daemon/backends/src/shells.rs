//! What the shells that an agent starts see of its key.

use cordon_config::BackendKind;

/// The variable that carries a backend's key into its program, and what the program does with it
/// when it starts a shell.
#[must_use]
pub fn key_in_shells(kind: BackendKind) -> Option<(&'static str, bool)> {
    match kind {
        BackendKind::Codex => Some(("CODEX_API_KEY", false)),
        BackendKind::ClaudeCode => Some(("ANTHROPIC_API_KEY", true)),
        BackendKind::GeminiCli => Some(("GEMINI_API_KEY", true)),
        BackendKind::Copilot => Some(("COPILOT_GITHUB_TOKEN", false)),
        BackendKind::Command | BackendKind::Replay | BackendKind::Api(_) | BackendKind::Ag2 => None,
    }
}
