use super::super::claude_login::{NO_KEY, TOKEN};
use super::*;
use crate::testing::{argv, context, exit, play, turn};
use cordon_config::{BackendKind, Effort, Secret};
use serde_json::json;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

fn for_home(home: &Path) -> Context {
    context(BackendKind::ClaudeCode, home)
}

fn home_with(seconds: i64) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".claude")).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let oauth = json!({ "claudeAiOauth": {
        "accessToken": "the-access-token", "refreshToken": "the-refresh-token", "expiresAt": (now + seconds) * 1000,
    }});
    std::fs::write(home.path().join(KIND.personal), oauth.to_string()).unwrap();
    home
}

#[test]
fn a_trusted_repository_brings_its_settings_and_servers() {
    let mut context = for_home(Path::new("/nowhere"));
    context.variables.insert("ANTHROPIC_API_KEY".into(), "sk-ant-x".into());
    context.agent.program.trust_repository = true;
    let mut driver = ClaudeCode.turn(&context, turn("p")).unwrap();
    let argv = argv(&play(&mut *driver, &[(&[], exit(0))]).0[0]);
    assert!(
        !argv.iter().any(|a| a.contains("setting-sources") || a.contains("strict") || a.contains("add-dir"))
    );
}

#[test]
fn a_key_goes_to_the_process_and_nowhere_else() {
    let mut context = for_home(Path::new("/nowhere"));
    context.agent.model = Some("claude-opus-4-6".into());
    context.agent.effort = Some(Effort::High);
    context.agent.system_message = Some("Be the system message.".into());
    context.agent.base_url = Some("http://localhost:4000".into());
    context.variables.insert("ANTHROPIC_API_KEY".into(), "sk-ant-from-variables".into());
    let needs = ClaudeCode.needs(&context).unwrap();
    assert_eq!(needs.secrets, ["sk-ant-from-variables"]);
    assert!(needs.env.contains(&("ANTHROPIC_BASE_URL".to_owned(), "http://127.0.0.1:4000".to_owned())));
    assert!(needs.env.iter().all(|(_, v)| !v.contains("sk-ant")));
    assert!(needs.seeds.iter().any(|seed| seed.content == b"Be the system message."));
    assert!(needs.hosts.is_empty() && needs.logins.is_empty());

    let mut driver = ClaudeCode.turn(&context, turn("the prompt")).unwrap();
    let (plans, _, _) = play(&mut *driver, &[(&[], exit(0))]);
    assert_eq!(
        argv(&plans[0]),
        [
            "claude",
            "-p",
            "--output-format=stream-json",
            "--verbose",
            "--include-partial-messages",
            "--dangerously-skip-permissions",
            "--disallowedTools=WebSearch",
            "--disallowedTools=WebFetch",
            "--setting-sources=user",
            "--strict-mcp-config",
            "--model=claude-opus-4-6",
            "--effort=high",
            "--append-system-prompt-file",
            "/home/agent/.claude/cordon-system-prompt.md",
            "--add-dir=/w",
        ]
    );
    assert_eq!(plans[0].stdin.as_deref(), Some(&b"the prompt"[..]));
    assert_eq!(plans[0].env, [("ANTHROPIC_API_KEY".to_owned(), b"sk-ant-from-variables".to_vec())]);
}

#[test]
fn keys_tokens_and_logins_are_looked_for_in_order() {
    let home = home_with(7200);
    let mut context = for_home(home.path());
    let needs = ClaudeCode.needs(&context).unwrap();
    assert_eq!(needs.secrets, ["the-access-token", "the-refresh-token"]);
    assert_eq!(needs.kept, Some(Kept { kind: &KIND, source: crate::LoginSource::Person }));
    let variable = |context: &Context| {
        let mut driver = ClaudeCode.turn(context, turn("p")).unwrap();
        play(&mut *driver, &[(&[], exit(0))]).0[0].env.first().cloned()
    };
    assert_eq!(variable(&context), None);
    for (name, value, carried_by) in [
        (TOKEN, "the-long-lived-token", TOKEN),
        ("ANTHROPIC_API_KEY", "the-third-key", "ANTHROPIC_API_KEY"),
        ("CLAUDE_CODE_API_KEY", "the-second-key", "ANTHROPIC_API_KEY"),
    ] {
        context.variables.insert(name.into(), value.into());
        assert_eq!(variable(&context), Some((carried_by.to_owned(), value.as_bytes().to_vec())));
        assert!(ClaudeCode.needs(&context).unwrap().kept.is_none());
    }
}

#[test]
fn an_expired_login_is_refused_and_a_missing_one_names_every_place() {
    for seconds in [-5, 300] {
        let home = home_with(seconds);
        assert!(ClaudeCode.needs(&for_home(home.path())).unwrap().kept.is_some());
        let file = home.path().join(KIND.personal);
        let text = std::fs::read_to_string(&file).unwrap().replace("refreshToken", "none");
        std::fs::write(&file, text).unwrap();
        let error = ClaudeCode.needs(&for_home(home.path())).unwrap_err();
        assert!(matches!(error, BackendError::UnusableLogin { .. }), "{error}");
    }
    let empty = tempfile::tempdir().unwrap();
    let text = ClaudeCode.needs(&for_home(empty.path())).unwrap_err().to_string();
    for place in ["api_key", "CLAUDE_CODE_API_KEY", "ANTHROPIC_API_KEY", TOKEN, ".credentials.json"] {
        assert!(text.contains(place), "{text}");
    }
}

#[test]
fn a_login_is_never_used_for_another_endpoint() {
    let home = home_with(7200);
    let mut context = for_home(home.path());
    context.variables.insert(TOKEN.into(), "the-long-lived-token".into());
    context.agent.base_url = Some("https://gateway.example.com".into());
    assert!(matches!(ClaudeCode.needs(&context), Err(BackendError::NoLogin { .. })));
    context.agent.base_url = Some("http://10.1.2.3:4000".into());
    let needs = ClaudeCode.needs(&context).unwrap();
    assert!(needs.logins.is_empty() && needs.secrets.is_empty());
    let mut driver = ClaudeCode.turn(&context, turn("p")).unwrap();
    let env = play(&mut *driver, &[(&[], exit(0))]).0[0].env.clone();
    assert_eq!(env, [("ANTHROPIC_API_KEY".to_owned(), NO_KEY.as_bytes().to_vec())]);
}

#[test]
fn settings_of_ours_cannot_be_contradicted() {
    let mut context = for_home(Path::new("/nowhere"));
    context.agent.api_key = Some(Secret::new("sk-some-key".into()));
    for name in ["CLAUDE_CONFIG_DIR", "ANTHROPIC_API_KEY", TOKEN] {
        context.agent.env = [(name.to_owned(), "x".to_owned())].into();
        assert!(matches!(ClaudeCode.needs(&context), Err(BackendError::Invalid(_))), "{name}");
    }
}
