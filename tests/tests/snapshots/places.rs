//! Where snapshots are kept, what is not in them, and the walls and sessions that they are taken of.

use super::*;

#[tokio::test]
async fn no_secret_is_in_a_snapshot_a_view_or_a_journal_of_an_apply() {
    const KEY: &str = "sk-cordon-4f1c-very-secret";
    let mut host = Host::without_daemon(User::Tester);
    host.set_env("TRIED_TEST_KEY", KEY);
    host.start_daemon();
    let (ws, tree) = (host.tree("ws"), project(&host));
    let script = format!("echo ok > {}/done.txt; ls -a ~; echo \"$TRIED_TEST_KEY\"", tree.display());
    let credentials = "      command_line_docker_credentials: {env_vars: [TRIED_TEST_KEY]}\n";
    let more = format!("{}{credentials}", staged(&tree));
    let text = file(&[agent("worker", &ws.display().to_string(), &script, &more)]);
    let path = host.agent_file("a.yaml", &text);
    let _ = host.cordon(["run", path.to_str().unwrap(), "x"]).expect_code(0);
    let mut api = host.api().await;
    let run = api.only_run().await;
    let plan = api.changes.plan_apply(plan_of(&run.id)).await.unwrap().into_inner();
    api.changes.apply(apply_of(plan_of(&run.id), &plan.fingerprint, "")).await.unwrap();
    for place in ["snapshots", "views", "forks", "journals", "stores", "workspaces", "runs"] {
        assert!(!found_below(&host.path("state").join(place), KEY.as_bytes()), "{place}");
    }
    // Stored bytes are compressed: look at what they are, too.
    for snapshot in api.snapshots_of("").await {
        for name in api.tree(&snapshot.id).await.unwrap() {
            if let Ok(bytes) = api.read_file(&snapshot.id, &name).await {
                assert!(!bytes.windows(KEY.len()).any(|w| w == KEY.as_bytes()), "{name}");
                assert!(!bytes.windows(9).any(|w| w == b"sk-hidden"), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn snapshots_are_kept_where_the_file_says_and_only_as_many_as_fit() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut host = Host::without_daemon(User::Tester);
    host.set_flag("--snapshot-quota=100KiB");
    host.start_daemon();
    let ws = host.tree("ws");
    let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(elsewhere.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let run = |storage: &str, script: &str| {
        let text = file(&[agent("worker", &ws.display().to_string(), script, "")]);
        let path =
            host.agent_file("a.yaml", &format!("{text}orchestrator:\n  snapshot_storage: {storage}\n"));
        host.cordon(["run", path.to_str().unwrap(), "x"])
    };
    let _ = run("mine/kept", "echo 1 > a").expect_code(0);
    let _ = run(&elsewhere.path().display().to_string(), "echo 2 > a").expect_code(0);
    let mut api = host.api().await;
    let all = api.snapshots_of("").await;
    let places: Vec<_> = all.iter().map(|s| s.storage.clone()).collect();
    let relative = host.path("state/stores/0/mine/kept").display().to_string();
    let absolute = elsewhere.path().display().to_string();
    assert_eq!(places, [relative.clone(), relative, absolute.clone(), absolute]);
    assert_eq!(api.read_file(&all[3].id, "a").await.unwrap(), b"2\n");
    std::fs::set_permissions(elsewhere.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let open = run(&elsewhere.path().display().to_string(), "true");
    assert!(open.code != 0 && open.stderr.contains("chmod it to 0700"), "{}", open.stderr);
    std::fs::set_permissions(elsewhere.path(), std::fs::Permissions::from_mode(0o700)).unwrap();

    // What does not fit is an error that says so, and the outcome, too.
    let full = run("mine/kept", "head -c 300000 /dev/urandom > big");
    assert_eq!(full.code, 4, "{}{}", full.stdout, full.stderr);
    assert!(full.stdout.contains("was not kept"), "{}", full.stdout);
    let last = newest(&host).await;
    let events = api.events(&last.id, false).await;
    let quota =
        events.iter().any(|e| matches!(&e.kind, Some(Kind::Error(e)) if e.reason == "snapshot-quota"));
    assert!(quota, "{events:#?}");
    let diff = api.diff_run(diff_of(&last.id, pb::DiffFormat::Stat)).await.unwrap_err();
    assert_eq!(reason(&diff), "not-kept");
    // And a run that cannot be kept does not begin.
    let refused = run("mine/kept", "echo RAN");
    assert!(refused.code != 0 && !refused.stdout.contains("RAN"), "{}", refused.stdout);
}

#[tokio::test]
async fn docker_stages_trees_and_shows_peers_as_the_local_wall_does() {
    const IMAGE: &str = "debian:bookworm-slim";
    if skipped("docker") {
        return;
    }
    cordon_tests::harness::need_image(IMAGE);
    let host = Host::start();
    let (ws, tree) = (host.tree("ws"), project(&host));
    host.put(&tree.join("one-file"), "single\n");
    let script = format!("{}; ls /peers/agent1", EDIT.replace("PROJECT", &tree.display().to_string()));
    host.put(&ws.join("mine"), "x");
    let more = format!(
        "{}      command_line_execution_mode: docker\n      command_line_docker_image: {IMAGE}\n",
        staged(&tree)
    );
    let text = file(&[agent("worker", &ws.display().to_string(), &script, &more)]);
    let text = format!("{text}orchestrator:\n  agent_temporary_workspace: /peers\n");
    let path = host.agent_file("a.yaml", &text);
    let ran = host.cordon(["run", path.to_str().unwrap(), "x"]).expect_code(0);
    assert!(ran.stdout.contains("mine") && !ran.stdout.contains("sk-hidden"), "{}", ran.stdout);
    assert_eq!(names(&tree), [".env", ".git", "gone.txt", "one-file", "src"]);
    let mut api = host.api().await;
    let run = api.only_run().await;
    let plan = api.changes.plan_apply(plan_of(&run.id)).await.unwrap().into_inner();
    api.changes.apply(apply_of(plan_of(&run.id), &plan.fingerprint, "")).await.unwrap();
    assert_eq!(names(&tree), [".env", ".git", "new.txt", "one-file", "src"]);
    assert_eq!(std::fs::read_dir(host.path("state/forks")).map_or(0, Iterator::count), 0);
}

#[tokio::test]
async fn a_single_file_is_staged_applied_and_put_back_alone() {
    for user in users() {
        let host = Host::start_as(user);
        let (ws, tree) = (host.tree("ws"), host.tree("notes"));
        host.put(&tree.join("todo.txt"), "one\n");
        host.put(&tree.join("other"), "untouched\n");
        let todo = tree.join("todo.txt");
        let script = format!("echo two >> {}; ls {}", todo.display(), tree.display());
        let text = file(&[agent("worker", &ws.display().to_string(), &script, &staged(&todo))]);
        let path = host.agent_file("a.yaml", &text);
        let ran = host.cordon(["run", path.to_str().unwrap(), "x"]).expect_code(0);
        assert!(!ran.stdout.contains("other"), "{}", ran.stdout);
        assert_eq!(std::fs::read_to_string(&todo).unwrap(), "one\n");
        let mut api = host.api().await;
        let run = api.only_run().await;
        let plan = api.changes.plan_apply(plan_of(&run.id)).await.unwrap().into_inner();
        assert_eq!(rows(&plan), [row("todo.txt", "modified", "apply")]);
        let kept = api.snapshots_of(&run.id).await;
        let base = kept.iter().find(|s| s.tree.ends_with(b"todo.txt") && s.kind == "base").unwrap();
        api.changes.apply(apply_of(plan_of(&run.id), &plan.fingerprint, "")).await.unwrap();
        assert_eq!(std::fs::read_to_string(&todo).unwrap(), "one\ntwo\n");
        let request = pb::RestoreRequest { id: base.id.clone(), ..Default::default() };
        api.snapshots.restore(request).await.unwrap();
        assert_eq!(std::fs::read_to_string(&todo).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(tree.join("other")).unwrap(), "untouched\n");
    }
}

#[tokio::test]
async fn a_session_of_tools_works_on_a_fork_too() {
    use std::io::Write as _;
    let host = Host::start();
    let (ws, tree) = (host.tree("ws"), project(&host));
    let text = file(&[agent("worker", &ws.display().to_string(), "true", &staged(&tree))]);
    let path = host.agent_file("a.yaml", &text);
    let mut command = host.command("cordon");
    command.args(["mcp", path.to_str().unwrap(), "--wall", "local"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut client = command.spawn().unwrap();
    let mut stdin = client.stdin.take().unwrap();
    let mut stdout = std::io::BufReader::new(client.stdout.take().unwrap());
    let mut answer = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        line
    };
    let hello = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    writeln!(stdin, "{hello}").unwrap();
    assert!(answer().contains("cordon"));
    writeln!(stdin, "{}", serde_json::json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .unwrap();
    let made = tree.join("by-tool.txt").display().to_string();
    let call = serde_json::json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "write_file", "arguments": {"path": made, "content": "made\n"}}});
    writeln!(stdin, "{call}").unwrap();
    let said = answer();
    assert!(!said.contains("\"isError\":true") && !said.contains("\"error\""), "{said}");
    drop(stdin);
    assert!(client.wait().unwrap().success());
    assert_eq!(names(&tree), [".env", ".git", "gone.txt", "src"]);
    let mut api = host.api().await;
    let run = api.only_run().await;
    let plan = api.changes.plan_apply(plan_of(&run.id)).await.unwrap().into_inner();
    assert_eq!(rows(&plan), [row("by-tool.txt", "added", "apply")]);
}
