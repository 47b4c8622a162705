use super::*;
use crate::testing::{argv, context, exit, play, turn};
use cordon_config::{BackendKind, ContextPath, Effort, Secret};
use cordon_policy::Place;
use serde_json::{Value, json};
use std::path::Path;

fn for_home(home: &Path) -> Context {
    context(BackendKind::GeminiCli, home)
}

fn settings(needs: &Needs) -> Value {
    serde_json::from_slice(&needs.seeds[0].content).unwrap()
}

fn preload() -> (String, Vec<u8>) {
    (NODE_OPTIONS.to_owned(), b"--import=file:///home/agent/.gemini/cordon-preload.mjs".to_vec())
}

fn home_with(login: &Value) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".gemini")).unwrap();
    std::fs::write(home.path().join(LOGIN), login.to_string()).unwrap();
    home
}

#[test]
fn a_key_goes_to_the_process_and_nowhere_else() {
    let mut context = for_home(Path::new("/nowhere"));
    context.agent.model = Some("gemini-2.5-pro".into());
    context.agent.effort = Some(Effort::Low);
    context.agent.system_message = Some("Be the system message.".into());
    context.agent.base_url = Some("http://localhost:4000".into());
    context.variables.insert("GEMINI_API_KEY".into(), "AIza-from-variables".into());
    let needs = Gemini.needs(&context).unwrap();
    assert_eq!(needs.secrets, ["AIza-from-variables"]);
    assert!(needs.env.contains(&("GOOGLE_GEMINI_BASE_URL".to_owned(), "http://127.0.0.1:4000".to_owned())));
    assert!(needs.env.iter().all(|(_, v)| !v.contains("AIza")));
    assert_eq!(needs.seeds[2].content, b"Be the system message.");
    assert!(needs.seeds.iter().all(|s| !String::from_utf8_lossy(&s.content).contains("AIza")));
    assert!(needs.hosts.is_empty() && needs.logins.is_empty());

    let mut driver = Gemini.turn(&context, turn("the prompt")).unwrap();
    let (plans, _, _) = play(&mut *driver, &[(&[], exit(0))]);
    assert_eq!(
        argv(&plans[0]),
        [
            "gemini",
            "--output-format=stream-json",
            "--approval-mode=yolo",
            "--extensions=none",
            "--allowed-mcp-server-names=__none__",
            "--model=gemini-2.5-pro",
        ]
    );
    assert_eq!(plans[0].stdin.as_deref(), Some(&b"the prompt"[..]));
    assert_eq!(plans[0].env, [("GEMINI_API_KEY".to_owned(), b"AIza-from-variables".to_vec()), preload()]);
}

#[test]
fn keys_come_before_the_login_and_a_missing_one_names_every_place() {
    let home = home_with(&json!({ "access_token": "ya29.a", "refresh_token": "1//r", "id_token": "ey.i" }));
    let mut context = for_home(home.path());
    let needs = Gemini.needs(&context).unwrap();
    assert_eq!(needs.secrets, ["ya29.a", "1//r", "ey.i"]);
    let host = home.path().canonicalize().unwrap().join(LOGIN);
    assert_eq!(needs.logins, [Login { host, inside: "/home/agent/.gemini/oauth_creds.json".into() }]);
    assert_eq!(settings(&needs)["security"]["auth"]["selectedType"], "oauth-personal");
    assert!(needs.hosts.iter().any(|h| h.to_string() == "cloudcode-pa.googleapis.com:443"));
    let plain = play(&mut *Gemini.turn(&context, turn("p")).unwrap(), &[(&[], exit(0))]).0;
    assert_eq!(plain[0].env, [preload()]);
    for (name, value) in [("GOOGLE_API_KEY", "the-third"), ("GEMINI_API_KEY", "the-second")] {
        context.variables.insert(name.into(), value.into());
        let needs = Gemini.needs(&context).unwrap();
        assert_eq!(needs.secrets, [value]);
        assert!(needs.logins.is_empty());
        assert_eq!(settings(&needs)["security"]["auth"]["selectedType"], "gemini-api-key");
    }
    context.agent.api_key = Some(Secret::new("the-first".into()));
    assert_eq!(Gemini.needs(&context).unwrap().secrets, ["the-first"]);

    let empty = tempfile::tempdir().unwrap();
    let text = Gemini.needs(&for_home(empty.path())).unwrap_err().to_string();
    for place in ["api_key", "GEMINI_API_KEY", "GOOGLE_API_KEY", ".gemini/oauth_creds.json"] {
        assert!(text.contains(place), "{text}");
    }
    let hollow = home_with(&json!({ "expiry_date": 1 }));
    let error = Gemini.needs(&for_home(hollow.path())).unwrap_err();
    assert!(matches!(error, BackendError::UnusableLogin { .. }), "{error}");
}

#[test]
fn a_login_is_never_used_for_another_endpoint() {
    let home = home_with(&json!({ "access_token": "ya29.a" }));
    let mut context = for_home(home.path());
    context.agent.base_url = Some("https://gateway.example.com".into());
    assert!(matches!(Gemini.needs(&context), Err(BackendError::NoLogin { .. })));
    context.agent.base_url = Some("http://10.1.2.3:4000".into());
    let needs = Gemini.needs(&context).unwrap();
    assert!(needs.logins.is_empty() && needs.secrets.is_empty());
    let plans = play(&mut *Gemini.turn(&context, turn("p")).unwrap(), &[(&[], exit(0))]).0;
    assert_eq!(plans[0].env, [(KEY.to_owned(), NO_KEY.as_bytes().to_vec()), preload()]);
}

#[test]
fn a_prompt_is_never_a_command_to_the_program() {
    let mut context = for_home(Path::new("/nowhere"));
    context.agent.api_key = Some(Secret::new("some-key".into()));
    for (prompt, sent) in [("/mcp list", "\n/mcp list"), ("do it", "do it"), ("\n/x", "\n/x")] {
        let plans = play(&mut *Gemini.turn(&context, turn(prompt)).unwrap(), &[(&[], exit(0))]).0;
        assert_eq!(plans[0].stdin.as_deref(), Some(sent.as_bytes()));
    }
    let error = Gemini.turn(&context, turn(&"x".repeat(LONGEST_PROMPT))).err().unwrap().to_string();
    assert!(error.contains("8388608"), "{error}");
}

#[test]
fn its_file_tools_may_use_the_context_paths() {
    let dir = tempfile::tempdir().unwrap();
    let mut context = for_home(Path::new("/nowhere"));
    context.agent.api_key = Some(Secret::new("some-key".into()));
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    context.agent.context_paths = [dir.path().to_path_buf(), file]
        .map(|path| ContextPath {
            path,
            write: false,
            write_mode: Default::default(),
            protected: Vec::new(),
            allow: Vec::new(),
            place: Place { file: "a.yaml".into(), line: 1, column: 1 },
        })
        .into();
    let root = dir.path().canonicalize().unwrap();
    let settings = settings(&Gemini.needs(&context).unwrap());
    assert_eq!(settings["context"]["includeDirectories"], json!([root.to_str().unwrap()]));
}

#[test]
fn settings_of_ours_cannot_be_contradicted() {
    let mut context = for_home(Path::new("/nowhere"));
    context.agent.api_key = Some(Secret::new("some-key".into()));
    for name in
        ["GEMINI_CLI_HOME", "NODE_OPTIONS", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"]
    {
        context.agent.env = [(name.to_owned(), "x".to_owned())].into();
        assert!(matches!(Gemini.needs(&context), Err(BackendError::Invalid(_))), "{name}");
    }
    context.agent.env.clear();
    context.agent.base_url = Some("http://gateway.example.com".into());
    let error = Gemini.needs(&context).unwrap_err().to_string();
    assert!(error.contains("plain http"), "{error}");
}
