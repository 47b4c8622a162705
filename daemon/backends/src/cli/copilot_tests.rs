use super::*;
use crate::testing::{argv, context, exit, play, turn};
use cordon_config::{BackendKind, Effort, Secret};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn for_home(home: &Path) -> Context {
    context(BackendKind::Copilot, home)
}

fn variable(context: &Context) -> Option<(String, Vec<u8>)> {
    let mut driver = Copilot.turn(context, turn("p")).unwrap();
    play(&mut *driver, &[(&[], exit(0)), (&[], exit(1))]).0[0].env.first().cloned()
}

#[test]
fn a_provider_of_ones_own_leaves_github_out() {
    let mut context = for_home(Path::new("/nowhere"));
    context.agent.model = Some("gpt-6".into());
    context.agent.effort = Some(Effort::XHigh);
    context.agent.system_message = Some("Be the system message.".into());
    context.agent.base_url = Some("http://localhost:4000/v1".into());
    context.agent.api_key = Some(Secret::new("sk-of-the-provider".into()));
    context.variables.insert("GH_TOKEN".into(), "gho_never-used".into());
    let needs = Copilot.needs(&context).unwrap();
    assert_eq!(needs.secrets, ["sk-of-the-provider"]);
    for (name, value) in [
        ("COPILOT_PROVIDER_BASE_URL", "http://127.0.0.1:4000/v1"),
        ("COPILOT_OFFLINE", "true"),
        ("COPILOT_AUTO_UPDATE", "false"),
        ("COPILOT_PKG_CACHE_HOME", "/opt/copilot"),
    ] {
        assert!(needs.env.contains(&(name.to_owned(), value.to_owned())), "{name}: {:?}", needs.env);
    }
    assert_eq!(needs.seeds[0].content, b"Be the system message.");
    assert!(needs.hosts.is_empty() && needs.logins.is_empty());

    let mut driver = Copilot.turn(&context, turn("the prompt")).unwrap();
    let (plans, _, _) = play(&mut *driver, &[(&[], exit(0)), (&[], exit(1))]);
    assert_eq!(
        argv(&plans[0]),
        [
            "copilot",
            "--output-format=json",
            "--stream=on",
            "--no-ask-user",
            "--no-color",
            "--no-remote",
            "--no-remote-export",
            "--disable-client-telemetry",
            "--secret-env-vars=COPILOT_GITHUB_TOKEN,GH_TOKEN,GITHUB_TOKEN,COPILOT_PROVIDER_API_KEY",
            "--yolo",
            "--usage-output-file",
            "/home/agent/.copilot/cordon-usage.json",
            "--model=gpt-6",
            "--reasoning-effort=xhigh",
            "--session-id=0f1e2d3c-0000-4000-8000-0123456789ab",
        ]
    );
    assert_eq!(plans[0].stdin.as_deref(), Some(&b"the prompt"[..]));
    assert_eq!(plans[0].env, [(PROVIDER_KEY.to_owned(), b"sk-of-the-provider".to_vec())]);
    assert_eq!(plans[1].argv.last().unwrap(), b"/home/agent/.copilot/cordon-usage.json");
    assert_eq!(plans[1].env, []);
}

#[test]
fn a_provider_needs_a_model_and_a_public_one_a_key() {
    let mut context = for_home(Path::new("/nowhere"));
    context.agent.base_url = Some("http://10.0.0.7:8000/v1".into());
    assert!(Copilot.needs(&context).unwrap_err().to_string().contains("model"));
    context.agent.model = Some("m".into());
    assert!(Copilot.needs(&context).unwrap().secrets.is_empty());
    assert_eq!(variable(&context), None);
    context.variables.insert("GH_TOKEN".into(), "gho_x".into());
    context.agent.base_url = Some("https://gateway.example.com/v1".into());
    assert!(matches!(Copilot.needs(&context), Err(BackendError::NoLogin { .. })));
}

#[test]
fn a_key_that_would_mask_the_programs_own_words_is_refused() {
    let mut context = for_home(Path::new("/nowhere"));
    context.agent.model = Some("m".into());
    context.agent.base_url = Some("http://10.0.0.7:8000/v1".into());
    for (key, fine) in
        [("t", false), ("data", false), ("ollama", true), ("x", false), ("sk-0123456789", true)]
    {
        context.agent.api_key = Some(Secret::new(key.into()));
        let needs = Copilot.needs(&context);
        assert_eq!(needs.is_ok(), fine, "{key}");
        assert!(needs.err().is_none_or(|e| !e.to_string().contains(&format!("`{key}`"))), "the key is shown");
    }
}

#[test]
fn tokens_and_the_login_are_looked_for_in_order() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".copilot")).unwrap();
    let mut context = for_home(home.path());
    let file = home.path().join(LOGIN);
    // The file is there as soon as the program ran once; a login it is only with tokens.
    for text in
        ["// managed\n{\"firstLaunchAt\":\"x\"}\n", "{\"copilotTokens\":{}, \"authTokens\":{\"a\":{}}}"]
    {
        std::fs::write(&file, text).unwrap();
        let text = Copilot.needs(&context).unwrap_err().to_string();
        for place in ["api_key", "COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN", ".copilot/config.json"] {
            assert!(text.contains(place), "{text}");
        }
    }
    let newer = r#"{"authTokens":{"https://github.com:me:github":{"token":"gho_newer"}}}"#;
    std::fs::write(&file, newer).unwrap();
    assert_eq!(Copilot.needs(&context).unwrap().secrets, ["gho_newer"]);
    std::fs::write(&file, "// managed\n{\"copilotTokens\":{\"https://github.com:me\":\"gho_login\"}}\n")
        .unwrap();
    let needs = Copilot.needs(&context).unwrap();
    assert_eq!(needs.secrets, ["gho_login"]);
    assert_eq!(needs.logins[0].inside, Path::new("/home/agent/.copilot/config.json"));
    assert!(needs.hosts.iter().any(|h| h.to_string() == "api.github.com:443"));
    assert_eq!(variable(&context), None);
    for (name, value) in [("GITHUB_TOKEN", "third"), ("GH_TOKEN", "second"), (TOKEN, "first-of-them")] {
        context.variables.insert(name.into(), value.into());
        assert_eq!(variable(&context), Some((TOKEN.to_owned(), value.as_bytes().to_vec())));
        assert!(Copilot.needs(&context).unwrap().logins.is_empty());
    }
    context.agent.api_key = Some(Secret::new("of-the-agent-file".into()));
    assert_eq!(variable(&context), Some((TOKEN.to_owned(), b"of-the-agent-file".to_vec())));
}

#[test]
fn what_the_owner_has_unpacked_is_used_when_it_is_whole_and_of_this_version() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let package = root.join("lib");
    std::fs::create_dir(&package).unwrap();
    std::fs::write(package.join("copilot"), b"\x7fELF").unwrap();
    std::fs::set_permissions(package.join("copilot"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(package.join("package.json"), br#"{"version":"1.0.102"}"#).unwrap();
    let mut context = for_home(&root.join("home"));
    context.wall = WallKind::Local;
    context.agent.api_key = Some(Secret::new("gho_some-token".into()));
    context.program_path = vec![package.clone()];
    let needs = |context: &Context| {
        let needs = Copilot.needs(context).unwrap();
        let cache = needs.env.iter().find(|(n, _)| n == "COPILOT_PKG_CACHE_HOME").map(|(_, v)| v.clone());
        (needs.programs, cache)
    };
    let program = package.join("copilot");
    assert_eq!(needs(&context), (vec![program.clone()], None));
    let home = root.join("home/.cache/copilot");
    let unpacked = home.join("pkg").join(format!("linux-{}", program::platform())).join("1.0.102");
    std::fs::create_dir_all(&unpacked).unwrap();
    assert_eq!(needs(&context), (vec![program.clone()], None));
    std::fs::write(unpacked.join(".extraction-complete"), "").unwrap();
    let cache = Some(home.to_str().unwrap().to_owned());
    assert_eq!(needs(&context), (vec![program.clone(), unpacked], cache));
    std::fs::write(package.join("package.json"), br#"{"version":"../../../.."}"#).unwrap();
    assert_eq!(needs(&context), (vec![program], None));
}

#[test]
fn settings_of_ours_cannot_be_contradicted() {
    let mut context = for_home(Path::new("/nowhere"));
    context.agent.api_key = Some(Secret::new("gho_some-token".into()));
    for name in ["COPILOT_HOME", "GH_TOKEN", "COPILOT_ALLOW_ALL", "COPILOT_PROVIDER_HEADERS"] {
        context.agent.env = [(name.to_owned(), "x".to_owned())].into();
        assert!(matches!(Copilot.needs(&context), Err(BackendError::Invalid(_))), "{name}");
    }
    // Which protocol a provider speaks is the user's to say.
    context.agent.env = [("COPILOT_PROVIDER_WIRE_API".to_owned(), "responses".to_owned())].into();
    assert!(Copilot.needs(&context).is_ok());
}
