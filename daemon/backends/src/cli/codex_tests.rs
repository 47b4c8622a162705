use super::*;
use crate::login::testing::token;
use crate::testing::{argv, context, exit, play, turn};
use crate::{LoginServers, LoginSource, Surroundings};
use cordon_config::{BackendKind, Secret};
use cordon_sandbox::Forward;
use serde_json::json;
use std::path::Path;

fn home_with(auth: &serde_json::Value) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".codex")).unwrap();
    std::fs::write(home.path().join(KIND.personal), auth.to_string()).unwrap();
    home
}

fn for_home(home: &Path) -> Context {
    context(BackendKind::Codex, home)
}

fn hosts_of(needs: &Needs) -> Vec<String> {
    needs.hosts.iter().map(ToString::to_string).collect()
}

#[test]
fn a_key_goes_to_the_process_and_nowhere_else() {
    let mut context = for_home(Path::new("/nowhere"));
    context.agent.model = Some("gpt-5.5".into());
    context.agent.system_message = Some("Be the system message.".into());
    context.agent.env.insert("LANG".into(), "C".into());
    context.variables.insert("OPENAI_API_KEY".into(), "sk-from-the-variables\n".into());
    let needs = Codex.needs(&context).unwrap();
    assert_eq!(needs.secrets, ["sk-from-the-variables"]);
    assert_eq!(needs.image.as_deref(), Some("cordon/codex:latest"));
    assert_eq!(hosts_of(&needs), ["api.openai.com:443"]);
    assert!(needs.logins.is_empty() && needs.programs.is_empty() && needs.grant.is_none());
    let [config] = &needs.seeds[..] else { panic!("one file is seeded") };
    assert_eq!(config.path, Path::new(".codex/config.toml"));
    assert!(!String::from_utf8_lossy(&config.content).contains("sk-from"));

    let mut driver = Codex.turn(&context, turn("the prompt")).unwrap();
    let (plans, _, outcome) = play(&mut *driver, &[(&[], exit(0))]);
    assert_eq!(outcome.outcome, cordon_proto::v1::Outcome::AgentFailed);
    assert_eq!(
        argv(&plans[0]),
        [
            "codex",
            "exec",
            "--json",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            "--color=never",
            "--model=gpt-5.5",
            "-C",
            "/w",
            "-",
        ]
    );
    assert_eq!(plans[0].stdin.as_deref(), Some(&b"the prompt"[..]));
    let secret = ("CODEX_API_KEY".to_owned(), b"sk-from-the-variables".to_vec());
    assert_eq!(plans[0].env, [secret, ("LANG".to_owned(), b"C".to_vec())]);
}

#[test]
fn keys_are_looked_for_in_order() {
    let mut context = for_home(Path::new("/nowhere"));
    for (name, value) in [("CODEX_API_KEY", "third-key"), ("OPENAI_API_KEY", "second-key")] {
        context.variables.insert(name.into(), value.into());
        assert_eq!(Codex.needs(&context).unwrap().secrets, [value]);
    }
    context.agent.api_key = Some(Secret::new("first-key".into()));
    assert_eq!(Codex.needs(&context).unwrap().secrets, ["first-key"]);
    context.agent.api_key = Some(Secret::new("two\nlines".into()));
    let error = Codex.needs(&context).unwrap_err().to_string();
    assert!(error.contains("api_key") && !error.contains("lines."), "{error}");
}

#[test]
fn without_any_login_every_place_is_named() {
    let home = tempfile::tempdir().unwrap();
    let error = Codex.needs(&for_home(home.path())).unwrap_err();
    let BackendError::NoLogin { looked_at, .. } = &error else { panic!("{error}") };
    assert_eq!(looked_at.len(), 6);
    let text = error.to_string();
    for place in [
        "api_key",
        "OPENAI_API_KEY",
        "CODEX_API_KEY",
        "codex/key",
        "codex/login/auth.json",
        ".codex/auth.json",
        "codex login",
    ] {
        assert!(text.contains(place), "{text}");
    }
}

#[test]
fn a_fresh_login_is_mounted_and_its_values_are_secret() {
    let access = token(7200);
    let home = home_with(&json!({
        "OPENAI_API_KEY": null,
        "tokens": { "access_token": access, "refresh_token": "the-refresh-token", "id_token": "the-id-token" },
    }));
    let needs = Codex.needs(&for_home(home.path())).unwrap();
    assert_eq!(needs.kept, Some(Kept { kind: &KIND, source: LoginSource::Person }));
    assert_eq!(needs.secrets, ["the-id-token", &access, "the-refresh-token"]);
    assert_eq!(hosts_of(&needs), ["api.openai.com:443", "chatgpt.com:443"]);
    let mut driver = Codex.turn(&for_home(home.path()), turn("p")).unwrap();
    assert_eq!(play(&mut *driver, &[(&[], exit(0))]).0[0].env, []);
}

#[test]
fn cordons_own_login_comes_first_and_one_that_can_be_renewed_may_have_ended() {
    let tokens = json!({ "access_token": token(-3600), "refresh_token": "the-refresh-token" });
    let home = home_with(&json!({ "tokens": tokens }));
    let context = for_home(home.path());
    assert_eq!(Codex.needs(&context).unwrap().kept.unwrap().source, LoginSource::Person);
    let own = context.logins.join("codex/login");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("auth.json"), json!({ "OPENAI_API_KEY": "sk-of-cordon" }).to_string()).unwrap();
    let needs = Codex.needs(&context).unwrap();
    assert_eq!(needs.kept.unwrap().source, LoginSource::Own);
    assert_eq!(needs.secrets, ["sk-of-cordon"]);
    std::fs::write(own.join("auth.json"), "{}").unwrap();
    assert!(Codex.needs(&context).unwrap_err().to_string().contains("codex/login/auth.json"));
}

#[test]
fn a_login_is_renewed_without_a_model_and_without_a_secret_in_an_argument() {
    let none = LoginServers::default();
    let mut surroundings = Surroundings {
        wall: WallKind::Docker,
        program_path: &[],
        directory: Path::new("/run/cordon-logins/codex"),
        owner_home: Path::new("/nowhere"),
        servers: &none,
    };
    let renewal = KIND.renewal(&surroundings).unwrap().unwrap();
    assert_eq!(renewal.room.hosts, ["auth.openai.com:443".parse().unwrap()]);
    assert!(renewal.room.env.contains(&("CODEX_HOME".into(), "/run/cordon-logins/codex".into())));
    for (attempt, told) in renewal.attempts.iter().zip(["false", "true"]) {
        assert_eq!(attempt.argv.last().unwrap(), b"app-server");
        assert!(String::from_utf8_lossy(&attempt.stdin).contains(&format!("\"refreshToken\":{told}")));
    }
    let servers = LoginServers { codex: Some("http://127.0.0.1:8080/token".into()), copilot: None };
    surroundings.servers = &servers;
    let renewal = KIND.renewal(&surroundings).unwrap().unwrap();
    assert_eq!((renewal.room.hosts.len(), renewal.room.grant), (0, Some(("127.0.0.1".into(), 8080))));
}

#[test]
fn a_login_that_ends_and_cannot_be_renewed_is_refused() {
    for (tokens, why) in [
        (json!({ "access_token": token(-3600) }), "it expired 60 min ago"),
        (json!({ "access_token": token(300) }), "and needs 600 s"),
        (json!({ "access_token": "opaque" }), "does not say when"),
        (json!({}), "neither an API key nor tokens"),
    ] {
        let home = home_with(&json!({ "OPENAI_API_KEY": null, "tokens": tokens }));
        let error = Codex.needs(&for_home(home.path())).unwrap_err();
        assert!(matches!(error, BackendError::UnusableLogin { .. }));
        let text = error.to_string();
        assert!(text.contains(why) && text.contains("codex login"), "{text}");
        assert!(Codex.turn(&for_home(home.path()), turn("p")).is_err());
    }
}

#[test]
fn a_login_file_with_a_key_needs_no_token() {
    let home = home_with(&json!({ "OPENAI_API_KEY": "sk-in-the-file" }));
    assert_eq!(Codex.needs(&for_home(home.path())).unwrap().secrets, ["sk-in-the-file"]);
    let expired = json!({ "access_token": token(-1) });
    let home =
        home_with(&json!({ "auth_mode": "apikey", "OPENAI_API_KEY": "sk-in-the-file", "tokens": expired }));
    assert!(Codex.needs(&for_home(home.path())).is_ok());
}

#[test]
fn a_login_is_never_used_for_another_endpoint() {
    let home = home_with(&json!({ "tokens": { "access_token": token(7200) } }));
    let mut context = for_home(home.path());
    context.agent.base_url = Some("http://127.0.0.1:1234/v1".into());
    let needs = Codex.needs(&context).unwrap();
    assert!(needs.logins.is_empty() && needs.secrets.is_empty() && needs.hosts.is_empty());
    assert_eq!(needs.grant, Some(("127.0.0.1".to_owned(), 1234)));
    assert_eq!(needs.forward, Some(Forward { port: 1234, host: "127.0.0.1".into(), target_port: 1234 }));
    context.agent.base_url = Some("https://gateway.example.com/v1".into());
    assert!(matches!(Codex.needs(&context), Err(BackendError::NoLogin { .. })));
    context.agent.api_key = Some(Secret::new("sk-for-the-gateway".into()));
    assert_eq!(hosts_of(&Codex.needs(&context).unwrap()), ["gateway.example.com:443"]);
}

#[test]
fn settings_of_ours_cannot_be_contradicted() {
    let mut context = for_home(Path::new("/nowhere"));
    context.agent.api_key = Some(Secret::new("sk-some-key".into()));
    for name in ["CODEX_HOME", "CODEX_API_KEY", "CODEX_REFRESH_TOKEN_URL_OVERRIDE", "A=B", ""] {
        context.agent.env = [(name.to_owned(), "/elsewhere".to_owned())].into();
        assert!(matches!(Codex.needs(&context), Err(BackendError::Invalid(_))), "{name}");
    }
}

#[test]
fn a_recovered_turn_needs_no_login() {
    let context = for_home(Path::new("/nowhere"));
    assert!(Codex.turn(&context, turn("p")).is_err());
    let done = br#"{"type":"turn.completed","usage":{}}"#;
    let output = [(cordon_proto::v1::OutputStream::Stdout, &done[..])];
    let (plans, _, outcome) = play(&mut *Codex.recover(&context, turn("p")), &[(&output, exit(0))]);
    assert_eq!(outcome.outcome, cordon_proto::v1::Outcome::Success);
    assert_eq!(plans[0].env, []);
}
