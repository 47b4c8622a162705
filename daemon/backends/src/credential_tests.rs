use crate::testing::{context, turn};
use crate::{Context, KEY_FILE, Kept, LOGIN_KINDS, LoginKind, LoginServers, LoginSource, Step, Surroundings};
use crate::{backend, login::testing::token};
use cordon_config::{BackendKind, Secret};
use cordon_sandbox::WallKind;
use proptest::prelude::*;
use serde_json::json;
use std::{collections::BTreeMap, fs, path::Path};

/// A login file of each, with this in the place of its secret.
fn file_of(kind: &LoginKind, secret: &str) -> String {
    match kind.backend {
        BackendKind::Codex => {
            json!({ "tokens": { "access_token": token(7200), "refresh_token": secret } }).to_string()
        }
        BackendKind::ClaudeCode => {
            json!({ "claudeAiOauth": { "accessToken": "a", "refreshToken": secret, "expiresAt": 1_u64 << 45 } })
                .to_string()
        }
        BackendKind::GeminiCli => json!({ "refresh_token": secret }).to_string(),
        _ => format!("// managed\n{{\"authTokens\":{{\"https://github.com:me\":{{\"token\":{secret:?}}}}}}}"),
    }
}

fn put(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// What the program gets that a person would not want to be shown.
fn given(context: &Context) -> Vec<String> {
    backend(context.agent.backend).needs(context).unwrap().secrets
}

fn variables(context: &Context) -> BTreeMap<String, String> {
    let mut driver = backend(context.agent.backend).turn(context, turn("p")).unwrap();
    let (_, Step::Exec(plan)) = driver.next() else { panic!("nothing is started") };
    plan.env.iter().map(|(n, v)| (n.clone(), String::from_utf8_lossy(v).into_owned())).collect()
}

#[test]
fn of_every_program_the_same_order_holds() {
    for kind in LOGIN_KINDS {
        let name = kind.backend.name();
        let home = tempfile::tempdir().unwrap();
        let mut context = context(kind.backend, home.path());
        let missing = backend(kind.backend).needs(&context).unwrap_err().to_string();
        for place in [kind.personal, KEY_FILE, kind.file, "cordon login"] {
            assert!(missing.contains(place), "{name}: {place}: {missing}");
        }
        put(&home.path().join(kind.personal), &file_of(kind, "secret-of-the-person"));
        assert!(given(&context).contains(&"secret-of-the-person".to_owned()), "{name}");
        put(&context.logins.join(name).join("login").join(kind.file), &file_of(kind, "secret-of-cordon"));
        let needs = backend(kind.backend).needs(&context).unwrap();
        assert!(needs.secrets.contains(&"secret-of-cordon".to_owned()), "{name}");
        // Kept fresh, or its program does that itself.
        match kind.renewal.is_some() {
            true => assert_eq!(needs.kept, Some(Kept { kind, source: LoginSource::Own })),
            false => assert!(needs.logins[0].host.ends_with(Path::new("login").join(kind.file))),
        }
        put(&context.logins.join(name).join(KEY_FILE), "key-that-is-kept");
        assert_eq!(given(&context), ["key-that-is-kept"], "{name}");
        assert!(variables(&context).values().any(|v| v == "key-that-is-kept"), "{name}");
        for variable in backend(kind.backend).variables().iter().filter(|v| !v.starts_with("AZURE")) {
            let mut context = context.clone();
            context.variables.insert((*variable).to_owned(), "from-the-environment".to_owned());
            assert_eq!(given(&context), ["from-the-environment"], "{name}: {variable}");
        }
        // What Cordon keeps is for the program's own service.
        context.agent.model = Some("a-model".to_owned());
        context.agent.base_url = Some("https://gateway.example.com".to_owned());
        let refused = backend(kind.backend).needs(&context).unwrap_err().to_string();
        assert!(refused.contains("Set api_key"), "{name}: {refused}");
        context.agent.base_url = Some("http://10.1.2.3:4000".to_owned());
        assert_eq!(given(&context), Vec::<String>::new(), "{name}");
        assert!(variables(&context).values().all(|v| v != "key-that-is-kept"), "{name}");
        // A key that is none is not passed over.
        context.agent.base_url = None;
        put(&context.logins.join(name).join(KEY_FILE), "two\nlines");
        let unusable = backend(kind.backend).needs(&context).unwrap_err().to_string();
        assert!(unusable.contains("line break") && !unusable.contains("two"), "{name}: {unusable}");
    }
}

#[test]
fn a_key_of_the_file_goes_where_the_file_says_also_for_another_model() {
    let home = tempfile::tempdir().unwrap();
    for name in ["chatcompletion", "openai", "claude"] {
        let provider = crate::api::provider(name).unwrap();
        let mut context = context(BackendKind::Api(provider), home.path());
        context.agent.base_url = Some("https://inhouse.test/v1".into());
        context.agent.api_key = Some(Secret::new("sk-inhouse".into()));
        let of = |name: &str, base| {
            let other = crate::api::provider(name).unwrap();
            crate::api::target_of(&context, other, base, Some("m2"))
        };
        let same = of(name, None).unwrap();
        assert_eq!(same.endpoint.host().0, "inhouse.test", "{name}");
        assert_eq!(same.key.unwrap().reveal(), "sk-inhouse");
        // Another provider gets neither.
        let other = of("vllm", None).unwrap();
        assert_eq!(other.endpoint.host().0, "localhost");
        assert!(other.key.is_none_or(|key| key.reveal() != "sk-inhouse"));
    }
}

#[test]
fn the_key_of_a_model_api_goes_to_its_own_hosts_alone() {
    let home = tempfile::tempdir().unwrap();
    let openai = cordon_providers::provider("openai").unwrap();
    let mut context = context(BackendKind::Api(openai), home.path());
    context.agent.model = Some("a-model".to_owned());
    let key = |context: &Context| crate::api::target(context).map(|t| t.key.map(|k| k.reveal().to_owned()));
    let missing = key(&context).unwrap_err().to_string();
    assert!(missing.contains("openai/key") && missing.contains("cordon login openai --api-key"), "{missing}");
    put(&context.logins.join("openai").join(KEY_FILE), "key-that-is-kept");
    assert_eq!(key(&context).unwrap().as_deref(), Some("key-that-is-kept"));
    context.variables.insert("OPENAI_API_KEY".to_owned(), "from-the-environment".to_owned());
    assert_eq!(key(&context).unwrap().as_deref(), Some("from-the-environment"));
    context.variables.clear();
    for elsewhere in
        ["https://gateway.example.com/v1", "http://api.openai.com/v1", "http://localhost:4000/v1"]
    {
        context.agent.base_url = Some(elsewhere.to_owned());
        assert!(key(&context).map_or(true, |k| k.is_none()), "{elsewhere}");
    }
}

#[test]
fn everybody_can_log_in_and_says_what_a_person_has_to_do() {
    let servers = LoginServers::default();
    let surroundings = Surroundings {
        wall: WallKind::Docker,
        program_path: &[],
        directory: Path::new("/run/cordon-logins/x"),
        owner_home: Path::new("/nowhere"),
        servers: &servers,
    };
    for kind in LOGIN_KINDS {
        let plan = kind.signing_in(&surroundings).unwrap();
        let room = &plan.room;
        assert!(!plan.note.is_empty() && !room.hosts.is_empty() && room.grant.is_none(), "{kind:?}");
        let inside = "/run/cordon-logins/x";
        let led = room.env.iter().any(|(_, v)| v == inside)
            || room.seeds.iter().any(|s| s.content.starts_with(inside.as_bytes()));
        assert!(led, "{kind:?} writes elsewhere");
    }
    let servers = LoginServers { codex: None, copilot: Some("corp.ghe.com".to_owned()) };
    let copilot = LOGIN_KINDS.into_iter().find(|k| k.backend == BackendKind::Copilot).unwrap();
    let plan = copilot.signing_in(&Surroundings { servers: &servers, ..surroundings }).unwrap();
    let hosts: Vec<String> = plan.room.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["corp.ghe.com:443", "api.corp.ghe.com:443"]);
    assert!(plan.argv.ends_with(&[b"--host".to_vec(), b"https://corp.ghe.com".to_vec()]), "{:?}", plan.argv);
    let servers = LoginServers { codex: None, copilot: Some("http://me:secret@corp".to_owned()) };
    let error = copilot.signing_in(&Surroundings { servers: &servers, ..surroundings }).unwrap_err();
    assert!(
        error.to_string().contains("COPILOT_GH_HOST") && !error.to_string().contains("secret"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn no_login_file_makes_a_program_panic(text in "\\PC{0,60}", number in any::<f64>()) {
        for kind in LOGIN_KINDS {
            let _ = kind.look(text.as_bytes());
            let odd = json!({ "refresh_token": text, "expiry_date": number, "authTokens": { "a": [text], "b": { "c": text } } });
            let _ = kind.look(odd.to_string().as_bytes());
        }
    }
}
