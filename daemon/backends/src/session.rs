//! Where each program keeps its sessions, below the home.

use cordon_config::BackendKind;

/// What a kept home keeps of all its names that begin with a dot, from one run to the next: what
/// the program goes on with its session from. `*` stands for one name. Everything else that
/// programs and shells read there is configuration, which the agent of an earlier run, under
/// other rules, must not have chosen.
#[must_use]
pub fn session_paths(kind: BackendKind) -> &'static [&'static str] {
    match kind {
        BackendKind::Codex => &[".codex/sessions"],
        BackendKind::ClaudeCode => &[".claude/projects"],
        // Beside the chats lie programs that it runs (`tmp/bin`).
        BackendKind::GeminiCli => {
            &[".gemini/projects.json", ".gemini/tmp/*/.project_root", ".gemini/tmp/*/chats"]
        }
        BackendKind::Copilot => &[".copilot/session-state"],
        BackendKind::Ag2 => &[".cordon-ag2/sessions"],
        BackendKind::Command | BackendKind::Replay | BackendKind::Api(_) => &[],
    }
}

/// As [`session_paths`], of the backend with this `type:`.
#[must_use]
pub fn session_paths_of(name: &str) -> &'static [&'static str] {
    use BackendKind::{Ag2, ClaudeCode, Codex, Copilot, GeminiCli};
    let kind = [Codex, ClaudeCode, GeminiCli, Copilot, Ag2].into_iter().find(|kind| kind.name() == name);
    kind.map_or(&[], session_paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_with_sessions_keeps_them_and_nothing_at_the_top() {
        for name in ["codex", "claude_code", "gemini_cli", "copilot"] {
            let paths = session_paths_of(name);
            assert!(!paths.is_empty(), "{name}");
            assert!(paths.iter().all(|p| p.starts_with('.') && p.contains('/')), "{paths:?}");
        }
        assert!(session_paths_of("command").is_empty() && session_paths_of("unknown").is_empty());
    }
}
