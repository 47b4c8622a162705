//! The commands about logins, against a daemon that says what it was told to say.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod double;

use double::{Host, State, terminal::Dialogue, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_are_listed_and_forgotten_and_nothing_is_obeyed() {
    let host = Host::new(State::default());
    let (out, err, code) = text(&host.cordon(&["logins"]).await);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<_> = out.lines().collect();
    assert!(
        lines[1].contains("cordon login") && lines[1].contains("yes") && lines[1].contains("never"),
        "{out}"
    );
    assert!(lines[2].contains("your own") && lines[2].contains("unusable"), "{out}");
    assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}') && out.contains(double::trees::SHOWN));
    let (out, _, _) = text(&host.cordon(&["logins", "--output", "json"]).await);
    let logins: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&logins[0]["source"], &logins[1]["used"]), (&"cordon".into(), &false.into()));
    let (out, _, code) = text(&host.cordon(&["logout", "codex"]).await);
    assert!(code == 0 && out.contains("forgot") && out.contains("your own stays"), "{out}");
    let (out, _, _) = text(&host.cordon(&["logout", "claude_code"]).await);
    assert!(out.contains("had no login"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_logs_in_on_the_terminal() {
    let host = Host::new(State::default());
    let (_, err, code) = text(&host.cordon(&["login", "codex"]).await);
    assert!(code == 2 && err.contains("needs a terminal"), "{err}");
    for (typed, code, said) in
        [("yes\r", 0, "logged in"), ("no\r", 3, "exited with code 1"), ("\u{1d}", 130, "nothing is kept")]
    {
        let mut command = host.command();
        command.args(["login", "codex", "--wall", "docker"]);
        let (rest, exit) = tokio::task::block_in_place(|| {
            let mut dialogue = Dialogue::begin(command, 100);
            dialogue.answer("the code is 1234", typed);
            tokio::runtime::Handle::current().block_on(dialogue.end())
        });
        assert!(exit == code && rest.contains(said), "{exit}: {rest}");
    }
    let asked = host.look(|state| state.asked_login.clone());
    assert_eq!((asked.len(), asked[0].wall.as_str(), asked[0].size.unwrap().columns), (3, "docker", 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_typed_or_piped_and_never_shown() {
    const KEY: &str = "sk-the-key-of-the-person";
    let host = Host::new(State::default());
    for (keys, code, said) in [
        (format!("{KEY}\r"), 0, "the key is kept"),
        (format!("wrong\u{15}{KEY}x\u{7f}\r"), 0, "the key is kept"),
        (format!("{KEY}\u{3}"), 130, "nothing is kept"),
    ] {
        let mut command = host.command();
        command.args(["login", "codex", "--api-key"]);
        let (rest, exit) = tokio::task::block_in_place(|| {
            let mut dialogue = Dialogue::begin(command, 100);
            dialogue.answer("API key of codex", &keys);
            tokio::runtime::Handle::current().block_on(dialogue.end())
        });
        assert!(exit == code && rest.contains(said) && !rest.contains("sk-"), "{exit}: {rest}");
    }
    let with = |name: &'static str, input: &'static [u8]| {
        let mut command = host.command().into_std();
        command.args(["login", name, "--with-api-key"]).stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        tokio::task::block_in_place(|| {
            let mut child = command.spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
            text(&child.wait_with_output().unwrap())
        })
    };
    let (out, err, code) = with("codex", b"  sk-the-key-of-the-person\n");
    assert!(code == 0 && out.is_empty() && err.contains("the key is kept") && !err.contains("sk-"), "{err}");
    let (_, err, code) = with("nobody", b"sk-the-key-of-the-person\n");
    assert!(code == 3 && !err.contains("sk-"), "{err}");
    let (_, err, code) = with("codex", b"\xff\xfe");
    assert!(code == 2 && err.contains("not text"), "{err}");
    assert_eq!(
        host.look(|state| state.kept_keys.iter().map(|k| k.key.clone()).collect::<Vec<_>>()),
        [KEY; 3]
    );
    let (out, _, code) = text(&host.cordon(&["logout", "codex", "--api-key"]).await);
    assert!(code == 0 && out.contains("own key of codex"), "{out}");
}
