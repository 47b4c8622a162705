//! What Claude Code asks a person before it begins to work: answered beforehand, because the
//! agent file says it, or because the sandbox makes it no question.

use super::claude_login::variable;
use crate::{Context, credential::Credential};
use cordon_sandbox::SeedFile;
use serde_json::{Map, Value, json};

/// The program's own state.
const STATE: &str = ".claude/.claude.json";
/// As much of the end of a key as the program keeps of one that was approved.
const KEY_END: usize = 20;

/// The state of a program that was welcomed before.
pub(super) fn seed(context: &Context, credential: &Credential) -> SeedFile {
    let workspace = context.workspace.display().to_string();
    let project = json!({ "hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true });
    let mut state = json!({
        "hasCompletedOnboarding": true,
        "lastOnboardingVersion": "9999.0.0",
        "theme": "dark",
        // The sandbox is the boundary; what the workspace brings is left out by an argument.
        "bypassPermissionsModeAccepted": true,
        "projects": Map::from_iter([(workspace, project)]),
    });
    if let Some(("ANTHROPIC_API_KEY", key)) = variable(credential) {
        let from = key.char_indices().rev().nth(KEY_END - 1).map_or(0, |(at, _)| at);
        let end = key.get(from..).unwrap_or_default();
        state["customApiKeyResponses"] = json!({ "approved": [end], "rejected": Value::Array(Vec::new()) });
    }
    SeedFile { path: STATE.into(), content: state.to_string().into_bytes(), mode: 0o600 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;
    use cordon_config::BackendKind;
    use std::path::Path;

    #[test]
    fn nothing_is_left_to_ask() {
        let context = context(BackendKind::ClaudeCode, Path::new("/nowhere"));
        let key = Credential::Key("sk-0123456789abcdefghijklmnopqrst".to_owned());
        let state: Value = serde_json::from_slice(&seed(&context, &key).content).unwrap();
        let workspace = context.workspace.display().to_string();
        assert_eq!(state["hasCompletedOnboarding"], true);
        assert_eq!(state["projects"][workspace]["hasTrustDialogAccepted"], true);
        assert_eq!(state["customApiKeyResponses"]["approved"][0], "abcdefghijklmnopqrst");
        let short = Credential::Key("short".to_owned());
        let state: Value = serde_json::from_slice(&seed(&context, &short).content).unwrap();
        assert_eq!(state["customApiKeyResponses"]["approved"][0], "short");
        let token = Credential::Token("token".to_owned());
        let none: Value = serde_json::from_slice(&seed(&context, &token).content).unwrap();
        assert_eq!(none["customApiKeyResponses"], Value::Null);
    }
}
