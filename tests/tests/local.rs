//! The `command` backend behind the local wall, as root and as an ordinary user.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Outcome, OutputStream, event::Kind};
use cordon_tests::harness::{Host, User, attack, denials, need_root, output, skipped, summary, wait_until};
use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    time::Duration,
};

fn users() -> Vec<User> {
    if skipped("root") {
        return vec![User::Tester];
    }
    need_root();
    vec![User::Tester, User::Ordinary]
}

fn command_agent(cwd: &str, script: &str, more: &str) -> String {
    let script = serde_json::Value::from(script);
    format!(
        "agents:\n  - id: worker\n    backend:\n      type: command\n      cwd: {cwd}\n      command: [bash, -c, {script}]\n{more}"
    )
}

#[tokio::test]
async fn a_command_does_its_work_and_the_workspace_keeps_it() {
    for user in users() {
        let host = Host::start_as(user);
        let ws = host.tree("ws");
        let file = host.agent_file(
            "a.yaml",
            &command_agent(
                &ws.display().to_string(),
                "cat > prompt.txt; echo out; echo err >&2; printf '\\xff\\xfe'; id -u > uid.txt",
                "",
            ),
        );
        let ran = host.cordon(["run", file.to_str().unwrap(), "do the thing"]).expect_code(0);
        assert!(ran.stdout.contains("out"), "{}", ran.stdout);
        assert_eq!(fs::read_to_string(ws.join("prompt.txt")).unwrap(), "do the thing");
        assert_eq!(fs::read_to_string(ws.join("uid.txt")).unwrap().trim(), host.agent_uid().to_string());
        assert_eq!(fs::metadata(ws.join("prompt.txt")).unwrap().uid(), host.agent_uid());

        let mut api = host.api().await;
        let run = api.only_run().await;
        assert_eq!(run.outcome(), Outcome::Success);
        let events = api.events(&run.id, false).await;
        assert_eq!(output(&events, OutputStream::Stdout), b"out\n\xff\xfe");
        assert_eq!(output(&events, OutputStream::Stderr), b"err\n");
        let ended = summary(&events);
        let mut files: Vec<_> = ended
            .summary
            .unwrap()
            .files
            .iter()
            .map(|f| String::from_utf8_lossy(&f.path).into_owned())
            .collect();
        files.sort();
        assert!(
            files.iter().any(|f| f.ends_with("prompt.txt")) && files.iter().any(|f| f.ends_with("uid.txt"))
        );
        let ready = events.iter().find_map(|e| match &e.kind {
            Some(Kind::SandboxReady(ready)) => Some(ready.clone()),
            _ => None,
        });
        let ready = ready.expect("the probe's findings are in the journal");
        assert!(ready.findings.len() > 10 && ready.findings.iter().all(|f| f.ok), "{:?}", ready.findings);
    }
}

#[tokio::test]
async fn an_enemy_inside_gets_nowhere() {
    for user in users() {
        let host = Host::start_as(user);
        let ws = host.tree("ws");
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let outside = host.tree("outside");
        let canary = host.path("home").join("canary");
        host.put(&canary, "token-5b1f");
        let script = attack::script(&attack::Targets {
            canary: &canary,
            outside: &outside,
            port: listener.local_addr().unwrap().port(),
        });
        let file = host.agent_file("a.yaml", &command_agent(&ws.display().to_string(), &script, ""));
        let _ = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(0);
        let mut api = host.api().await;
        let run = api.only_run().await;
        let events = api.events(&run.id, false).await;
        let out = String::from_utf8_lossy(&output(&events, OutputStream::Stdout)).into_owned();
        assert!(out.contains("ATTACKS DONE"), "{out}");
        assert!(!out.contains("LEAK"), "{user:?}: {out}");
        assert!(!out.contains("token-5b1f"));
        assert!(out.contains("NoNewPrivs:\t1") && out.contains("CapBnd:\t0000000000000000"), "{out}");
        assert!(fs::read_dir(&outside).unwrap().next().is_none());
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "somebody connected to a service of the host");
    }
}

#[tokio::test]
async fn context_paths_are_what_the_file_says() {
    for (user, mode) in users().into_iter().flat_map(|user| [(user, "auto"), (user, "legacy")]) {
        let host = Host::start_as(user);
        let ws = host.tree("ws");
        let read = host.tree("read");
        let write = host.tree("write");
        host.put(&read.join("a"), "readable");
        host.put(&read.join(".env"), "SECRET=1");
        let sockets = [read.join("socket"), write.join("socket")];
        let listeners = sockets.each_ref().map(|path| UnixListener::bind(path).unwrap());
        for (socket, listener) in sockets.iter().zip(&listeners) {
            fs::set_permissions(socket, fs::Permissions::from_mode(0o777)).unwrap();
            listener.set_nonblocking(true).unwrap();
        }
        for name in [
            "keep/inner",
            ".git/hooks/pre-commit",
            ".git/config",
            ".git/HEAD",
            "src/deep/.claude/settings.json",
        ] {
            host.put(&write.join(name), "original");
        }
        for dir in ["keep", ".git", ".git/hooks", "src", "src/deep", "src/deep/.claude"] {
            host.give(&write.join(dir));
            let uid = host.agent_uid();
            if rustix::process::geteuid().is_root() {
                std::os::unix::fs::chown(write.join(dir), Some(uid), Some(uid)).unwrap();
            }
        }
        let inner = host.tree("ws/inner/deep");
        let _ = host.tree("ws/inner");
        host.put(&inner.join("file"), "kept");
        let script = format!(
            r#"exec 2>/dev/null
leak() {{ echo "LEAK $1"; }}
cat {read}/a
echo x > {read}/a && leak read-only
[ -n "$(cat {read}/.env)" ] && leak env
for socket in {read}/socket {write}/socket; do
  perl -MSocket -e 'socket S, PF_UNIX, SOCK_STREAM, 0; exit !connect S, sockaddr_un(shift)' $socket && leak $socket
done
perl -e 'print "CAN TRY\n"'
cd {write}
echo new > made && echo CREATED
echo x > keep/inner && leak protected-write
rm -rf keep && leak protected-remove
mv keep kept && leak protected-move
echo x > .git/hooks/pre-commit && leak hook
mv .git .git2 && leak move-above
mv .git/hooks .git/h && leak move-hooks
echo x > .git/config && leak config
echo x > src/deep/.claude/settings.json && leak nested-steering
mv src/deep src/other && leak move-nested
mv src source && leak move-top
mkdir .codex && leak absent-dir
echo x > .mcp.json && leak absent-file
mkdir .vscode/x && leak inside-placeholder
rm -rf .codex && leak remove-placeholder
ln .git/config linked && leak hard-link
echo ../evil > .git/commondir && leak commondir
echo x > .git/index && leak index
mkdir -p .git/modules/x && leak modules
cd {ws}
echo x > inner/deep/file && leak nested-read
mv inner other && leak nested-read-move
echo end
"#,
            read = read.display(),
            write = write.display(),
            ws = ws.display(),
        );
        let more = format!(
            "      context_paths:\n        - path: {}\n        - path: {}\n        - path: {}\n          permission: write\n          write_mode: {mode}\n          protected_paths: [keep]\n",
            inner.display(),
            read.display(),
            write.display()
        );
        let file = host.agent_file("a.yaml", &command_agent(&ws.display().to_string(), &script, &more));
        let _ = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(0);
        let mut api = host.api().await;
        let run = api.only_run().await;
        let events = api.events(&run.id, false).await;
        let out = String::from_utf8_lossy(&output(&events, OutputStream::Stdout)).into_owned();
        assert!(out.contains("readable") && out.contains("CREATED"), "{out}");
        assert!(out.contains("CAN TRY") && out.contains("end"), "{out}");
        for listener in listeners {
            assert!(listener.accept().is_err(), "somebody connected to a program of the host");
        }
        assert!(!out.contains("LEAK"), "{user:?}: {out}");
        assert_eq!(fs::read_to_string(write.join(".git/hooks/pre-commit")).unwrap(), "original");
        let mut left: Vec<_> =
            fs::read_dir(&write).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let expected: &[&str] = if mode == "legacy" {
            &[".git", "keep", "made", "socket", "src"]
        } else {
            &[".git", "keep", "socket", "src"]
        };
        assert_eq!(left, expected, "{mode}: placeholders were left behind");
        let told = summary(&events).summary.unwrap().files;
        assert_eq!(told.len(), 1, "only what the agent made is a change: {told:?}");
    }
}

#[tokio::test]
async fn a_refused_tool_call_says_which_rule_and_what_would_allow_it() {
    let host = Host::start();
    // Not below /tmp: inside, that is the agent's own, and a name missing there is no denial.
    let outside = tempfile::tempdir_in("/var/tmp").unwrap();
    let outside = outside.path();
    let shared = host.tree("shared");
    host.put(&outside.join("secret"), "token-replay");
    host.put(&shared.join("notes"), "to read");
    let text = format!(
        "agents:\n  - id: a\n    backend:\n      type: replay\n      context_paths: [{{path: {shared}}}]\n      steps:\n        - write: {{path: mine, content: made}}\n        - read: {shared}/notes\n        - read: {outside}/secret\n        - write: {{path: {shared}/notes, content: x}}\n",
        shared = shared.display(),
        outside = outside.display(),
    );
    let file = host.agent_file("a.yaml", &text);
    let _ = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(0);
    let mut api = host.api().await;
    let run = api.only_run().await;
    let events = api.events(&run.id, false).await;
    assert!(!format!("{events:?}").contains("token-replay"));
    let denied = denials(&events);
    let of = |target: String| {
        denied.iter().find(|d| d.target == target).unwrap_or_else(|| panic!("{target}: {denied:?}"))
    };
    let read = of(outside.join("secret").display().to_string());
    assert_eq!((read.operation.as_str(), read.layer.as_str()), ("read", "mount view"));
    assert!(read.would_allow.contains("context_paths"), "{read:?}");
    let write = of(shared.join("notes").display().to_string());
    assert!(write.would_allow.contains("permission: write") && write.origin.contains("a.yaml"), "{write:?}");
    assert_eq!(denied.len(), 2, "{denied:?}");
}

#[tokio::test]
async fn a_guard_that_is_replaced_on_the_host_ends_the_sandbox() {
    let host = Host::start();
    let ws = host.tree("ws");
    let tree = host.tree("tree");
    host.put(&tree.join(".env"), "SECRET=1");
    host.put(&tree.join("new"), "SECRET=2");
    let script =
        format!("touch started; while :; do cat {}/.env; sleep 0.01; done 2>/dev/null", tree.display());
    let more = format!("      context_paths:\n        - path: {}\n", tree.display());
    let file = host.agent_file("a.yaml", &command_agent(&ws.display().to_string(), &script, &more));
    let client = host.spawn(["run", file.to_str().unwrap(), "x"]);
    assert!(wait_until(Duration::from_secs(30), || ws.join("started").is_file()), "{}", host.log());
    // What an editor does that saves by renaming: the kernel takes the mount away with the name.
    fs::rename(tree.join("new"), tree.join(".env")).unwrap();
    let out = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(4), "{said}");
    assert!(said.contains("replaced on the host") && said.contains(".env"), "{said}");
}

#[test]
fn a_link_that_an_agent_may_have_made_leads_nowhere() {
    let host = Host::start();
    let ws = host.tree("ws");
    let victim = host.tree("victim");
    std::os::unix::fs::symlink(&victim, ws.join("shared")).unwrap();
    std::os::unix::fs::lchown(ws.join("shared"), Some(host.agent_uid()), None).unwrap();
    for more in ["      context_paths:\n        - path: LINK\n          permission: write\n", ""] {
        let link = ws.join("shared").display().to_string();
        let cwd = if more.is_empty() { link.clone() } else { host.tree("other").display().to_string() };
        let text = command_agent(&cwd, "touch ran", &more.replace("LINK", &link));
        let file = host.agent_file("a.yaml", &text);
        let ran = host.cordon(["run", file.to_str().unwrap(), "x"]);
        assert_ne!(ran.code, 0);
        assert!(ran.stderr.contains("symbolic link"), "{}{}", ran.stdout, ran.stderr);
        assert!(fs::read_dir(&victim).unwrap().next().is_none());
    }
}

#[test]
fn an_existing_workspace_is_never_emptied_and_removal_takes_only_our_own() {
    let host = Host::start();
    let ws = host.tree("ws");
    host.put(&ws.join("mine"), "1");
    let file = host.agent_file("a.yaml", &command_agent(&ws.display().to_string(), "ls > seen", ""));
    let ran = host.cordon(["run", file.to_str().unwrap(), "x", "--output", "json"]).expect_code(0);
    assert!(!ran.stdout.is_empty());
    assert!(fs::read_to_string(ws.join("seen")).unwrap().contains("mine"));
    let runs = host.cordon(["ps", "-a", "--output", "json"]).expect_code(0);
    let runs: serde_json::Value = serde_json::from_str(&runs.stdout).unwrap();
    let id = find_id(&runs).expect("a run id");
    let _ = host.cordon(["rm", &id, "--workspace"]).expect_code(0);
    assert!(ws.join("mine").is_file());
}

fn find_id(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Array(items) => items.iter().find_map(find_id),
        serde_json::Value::Object(map) => map
            .get("id")
            .and_then(|v| v.as_str().map(str::to_owned))
            .or_else(|| map.values().find_map(find_id)),
        _ => None,
    }
}
