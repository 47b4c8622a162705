//! Workspaces and staged trees as versioned objects: kept, compared, applied, put back.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{self as pb, Event, Outcome, SnapshotTaken, event::Kind};
use cordon_tests::harness::{Host, User, need_root, skipped, summary};

#[path = "snapshots/places.rs"]
mod places;

fn users() -> Vec<User> {
    if skipped("root") {
        return vec![User::Tester];
    }
    need_root();
    vec![User::Tester, User::Ordinary]
}

/// One agent that runs a script.
fn agent(id: &str, cwd: &str, script: &str, more: &str) -> String {
    let script = serde_json::Value::from(script);
    format!(
        "  - id: {id}\n    backend:\n      type: command\n      cwd: {cwd}\n      command: [bash, -c, {script}]\n{more}"
    )
}

fn file(agents: &[String]) -> String {
    format!("agents:\n{}", agents.concat())
}

fn taken(events: &[Event]) -> Vec<(String, SnapshotTaken)> {
    let pick = |e: &Event| match &e.kind {
        Some(Kind::SnapshotTaken(taken)) => Some((e.agent.clone(), taken.clone())),
        _ => None,
    };
    events.iter().filter_map(pick).collect()
}

fn reason(status: &tonic::Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn diff_of(run: &str, format: pb::DiffFormat) -> pb::DiffRunRequest {
    pb::DiffRunRequest { run: run.to_owned(), format: format.into(), ..Default::default() }
}

#[tokio::test]
async fn a_workspace_is_kept_before_and_after_a_turn() {
    for user in users() {
        let host = Host::start_as(user);
        let ws = host.tree("ws");
        host.put(&ws.join("old"), "one\n");
        host.put(&ws.join("gone"), "x\n");
        let script = "echo two >> old; rm gone; mkdir -p d; echo new > d/made; mkfifo pipe";
        let text = file(&[agent("worker", &ws.display().to_string(), script, "")]);
        let path = host.agent_file("a.yaml", &text);
        let _ = host.cordon(["run", path.to_str().unwrap(), "x"]).expect_code(0);
        let mut api = host.api().await;
        let run = api.only_run().await;
        let events = api.events(&run.id, false).await;
        let told = taken(&events);
        let kinds: Vec<_> = told.iter().map(|(_, t)| (t.kind.as_str(), t.turn)).collect();
        assert_eq!(kinds, [("base", 0), ("turn", 1)], "{told:?}");
        let files: Vec<_> = summary(&events).summary.unwrap().files;
        let mut rows: Vec<_> = files
            .iter()
            .map(|f| (String::from_utf8_lossy(&f.path).into_owned(), f.change.as_str()))
            .collect();
        rows.sort();
        let at = |name: &str| ws.join(name).display().to_string();
        assert_eq!(
            rows,
            [(at("d"), "added"), (at("d/made"), "added"), (at("gone"), "removed"), (at("old"), "modified")]
        );

        let kept = api.snapshots_of(&run.id).await;
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert_eq!((kept[0].kind.as_str(), kept[1].kind.as_str()), ("base", "turn"));
        assert_eq!(kept[1].parents, [kept[0].id.clone()]);
        assert_eq!(kept[1].tree, ws.display().to_string().as_bytes());
        assert_eq!((kept[1].skipped_total, kept[1].skipped[0].reason.as_str()), (1, "fifo"));
        assert_eq!(told[1].1.snapshot_id, kept[1].id);

        let diff = api.diff_run(diff_of(&run.id, pb::DiffFormat::Unified)).await.unwrap();
        assert!(diff.contains("+two") && diff.contains("+new") && diff.contains("gone"), "{diff}");
        let names = api.diff_run(diff_of(&run.id[..12], pb::DiffFormat::NameOnly)).await.unwrap();
        assert_eq!(names, "A d\nA d/made\nD gone\nM old\n");
        let json = api.diff_run(diff_of(&run.id, pb::DiffFormat::Json)).await.unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["trees"][0]["changes"].as_array().unwrap().len(), 4, "{json}");

        // Of a snapshot, the live tree and a workspace by every name it has.
        assert_eq!(api.read_file(&kept[0].id[..10], "old").await.unwrap(), b"one\n");
        assert_eq!(api.read_file(&run.id, "old").await.unwrap(), b"one\ntwo\n");
        assert_eq!(api.read_file(&format!("{}/worker", run.id), "d/made").await.unwrap(), b"new\n");
        assert_eq!(api.tree(&ws.display().to_string()).await.unwrap(), ["d", "d/made", "old"]);
        assert_eq!(api.tree(&kept[0].id).await.unwrap(), ["gone", "old"]);
        let live = pb::DiffRequest {
            old: kept[1].id.clone(),
            format: pb::DiffFormat::NameOnly.into(),
            ..Default::default()
        };
        assert_eq!(api.diff(live.clone()).await.unwrap(), "");
        host.put(&ws.join("later"), "z");
        assert_eq!(api.diff(live).await.unwrap(), "A later\n");
    }
}

#[tokio::test]
async fn an_emptied_workspace_and_an_interrupted_turn_are_kept_too() {
    let host = Host::start();
    let ws = host.tree("ws");
    host.put(&ws.join("only"), "precious");
    let script = "rm only; sleep 360931";
    let text = file(&[agent("worker", &ws.display().to_string(), script, "")]);
    let path = host.agent_file("a.yaml", &text);
    let _ = host.cordon(["run", path.to_str().unwrap(), "--detach", "x"]).expect_code(0);
    let mut api = host.api().await;
    let run = api.only_run().await;
    let gone = cordon_tests::harness::wait_until(std::time::Duration::from_secs(30), || {
        !ws.join("only").try_exists().unwrap()
    });
    assert!(gone, "{}", host.log());
    // While it lives there is nothing to compare, and nothing of it may be removed.
    let early = api.diff_run(diff_of(&run.id, pb::DiffFormat::Unified)).await.unwrap_err();
    assert_eq!((early.code(), reason(&early).as_str()), (tonic::Code::FailedPrecondition, "still-running"));
    let base = api.snapshots_of(&run.id).await.remove(0);
    let remove = pb::RemoveSnapshotsRequest { ids: vec![base.id.clone()], ..Default::default() };
    assert!(api.snapshots.remove_snapshots(remove).await.is_err());
    let stop = pb::StopRunRequest { id: run.id.clone(), ..Default::default() };
    api.runs.stop_run(stop).await.unwrap();
    let events = api.events(&run.id, false).await;
    assert_eq!(summary(&events).outcome(), Outcome::Cancelled);
    let kept = api.snapshots_of(&run.id).await;
    assert_eq!(kept.len(), 2);
    assert_eq!((kept[1].files, kept[0].files), (0, 1));
    assert_eq!(api.read_file(&base.id, "only").await.unwrap(), b"precious");
}

/// Runs a one-agent file in `ws` to its end.
async fn run_in(host: &Host, ws: &std::path::Path, name: &str, script: &str) -> pb::Run {
    let text = file(&[agent("worker", &ws.display().to_string(), script, "")]);
    let path = host.agent_file(name, &text);
    let _ = host.cordon(["run", path.to_str().unwrap(), "x"]).expect_code(0);
    newest(host).await
}

async fn newest(host: &Host) -> pb::Run {
    let mut runs = host.api().await.list().await;
    runs.sort_by_key(|r| r.id.clone());
    runs.pop().unwrap()
}

#[tokio::test]
async fn a_workspace_is_put_back_and_what_was_there_is_kept() {
    for user in users() {
        let host = Host::start_as(user);
        let ws = host.tree("ws");
        host.put(&ws.join("a"), "before\n");
        host.put(&ws.join("d/e"), "deep\n");
        host.give(&ws.join("d"));
        std::os::unix::fs::chown(ws.join("d"), Some(host.agent_uid()), Some(host.agent_uid())).unwrap();
        let run = run_in(&host, &ws, "a.yaml", "echo after > a; rm -r d; echo x > new; ln -s a link").await;
        let mut api = host.api().await;
        let kept = api.snapshots_of(&run.id).await;
        host.put(&ws.join("mine"), "the person's own");
        let request = pb::RestoreRequest { id: kept[0].id.clone(), idempotency_key: "r1".to_owned() };
        let restored = api.snapshots.restore(request.clone()).await.unwrap().into_inner();
        assert!(restored.changed >= 4, "{restored:?}");
        assert_eq!(restored.tree, ws.display().to_string().as_bytes());
        assert_eq!(std::fs::read_to_string(ws.join("a")).unwrap(), "before\n");
        assert_eq!(std::fs::read_to_string(ws.join("d/e")).unwrap(), "deep\n");
        for gone in ["new", "link", "mine"] {
            assert!(ws.join(gone).symlink_metadata().is_err(), "{gone}");
        }
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(std::fs::metadata(ws.join("d/e")).unwrap().uid(), host.agent_uid());
        // The same request again changes nothing, and answers the same.
        host.put(&ws.join("later"), "x");
        assert_eq!(api.snapshots.restore(request).await.unwrap().into_inner(), restored);
        assert!(ws.join("later").try_exists().unwrap());
        let before = restored.before.unwrap();
        assert_eq!(before.kind, "restore");
        assert_eq!(api.read_file(&before.id, "mine").await.unwrap(), b"the person's own");
        let again = pb::RestoreRequest { id: before.id, idempotency_key: String::new() };
        api.snapshots.restore(again).await.unwrap();
        assert_eq!(std::fs::read_to_string(ws.join("mine")).unwrap(), "the person's own");
        assert_eq!(std::fs::read_link(ws.join("link")).unwrap(), std::path::Path::new("a"));
    }
}

#[tokio::test]
async fn a_workspace_that_a_run_uses_is_not_put_back() {
    let host = Host::start();
    let ws = host.tree("ws");
    let run = run_in(&host, &ws, "a.yaml", "echo 1 > a").await;
    let mut api = host.api().await;
    let kept = api.snapshots_of(&run.id).await;
    let text = file(&[agent("worker", &ws.display().to_string(), "touch b; sleep 360932", "")]);
    let path = host.agent_file("b.yaml", &text);
    let _ = host.cordon(["run", path.to_str().unwrap(), "--detach", "x"]).expect_code(0);
    let request = pb::RestoreRequest { id: kept[0].id.clone(), ..Default::default() };
    let refused = api.snapshots.restore(request.clone()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (tonic::Code::FailedPrecondition, "workspace-in-use")
    );
    let stop = pb::StopRunRequest { id: newest(&host).await.id, ..Default::default() };
    api.runs.stop_run(stop).await.unwrap();
    api.snapshots.restore(request).await.unwrap();
    assert!(std::fs::read_dir(&ws).unwrap().next().is_none());
}

#[tokio::test]
async fn snapshots_are_labelled_carried_collected_and_removed() {
    let host = Host::start();
    let ws = host.tree("ws");
    let mut runs = Vec::new();
    for n in 0..3 {
        let script = format!("head -c 300000 /dev/urandom > big; echo {n} > n");
        runs.push(run_in(&host, &ws, "a.yaml", &script).await);
    }
    let mut api = host.api().await;
    let all = api.snapshots_of("").await;
    assert_eq!(all.len(), 6);
    let first = &api.snapshots_of(&runs[0].id).await[1];
    let label = |id: &str, label: &str| pb::LabelSnapshotRequest {
        id: id.to_owned(),
        label: label.to_owned(),
        ..Default::default()
    };
    let labelled = api.snapshots.label_snapshot(label(&first.id[..9], "good")).await.unwrap().into_inner();
    assert_eq!((labelled.label.as_str(), &labelled.id), ("good", &first.id));
    let bad = api.snapshots.label_snapshot(label(&first.id, "a\x1b[2J")).await.unwrap_err();
    assert_eq!(bad.code(), tonic::Code::InvalidArgument);

    // Out as a tar, and in again as another snapshot of the same tree.
    let mut stream =
        api.snapshots.export(pb::ExportRequest { id: first.id.clone() }).await.unwrap().into_inner();
    let mut tar = Vec::new();
    while let Some(piece) = stream.message().await.unwrap() {
        tar.extend_from_slice(&piece.data);
    }
    assert!(tar.len() > 300_000);
    let pieces = |tar: &[u8]| {
        let piece = |(n, data): (usize, &[u8])| pb::ImportRequest {
            label: if n == 0 { "came in".to_owned() } else { String::new() },
            data: data.to_vec().into(),
            idempotency_key: String::new(),
        };
        tokio_stream::iter(tar.chunks(50_000).enumerate().map(piece).collect::<Vec<_>>())
    };
    let imported = api.snapshots.import(pieces(&tar)).await.unwrap().into_inner();
    assert_eq!((imported.kind.as_str(), imported.label.as_str()), ("import", "came in"));
    let compare = pb::DiffRequest { old: first.id.clone(), new: imported.id.clone(), ..Default::default() };
    assert_eq!(api.diff(compare).await.unwrap(), "");
    let cut = api.snapshots.import(pieces(&tar[..tar.len() / 2])).await.unwrap_err();
    assert_eq!((cut.code(), reason(&cut).as_str()), (tonic::Code::InvalidArgument, "bad-archive"));
    let homeless = pb::RestoreRequest { id: imported.id.clone(), ..Default::default() };
    assert_eq!(reason(&api.snapshots.restore(homeless).await.unwrap_err()), "no-tree");

    let removed = host.cordon(["rm", &runs[1].id]).expect_code(0);
    assert!(removed.stderr.is_empty(), "{}", removed.stderr);
    assert_eq!(api.snapshots_of(&runs[1].id).await.len(), 2, "a run's snapshots outlive it");
    let collect = |dry_run| pb::CollectGarbageRequest { keep_count: 1, dry_run, ..Default::default() };
    let told = api.snapshots.collect_garbage(collect(true)).await.unwrap().into_inner();
    assert_eq!(api.snapshots_of("").await.len(), 7);
    let done = api.snapshots.collect_garbage(collect(false)).await.unwrap().into_inner();
    assert_eq!(done.removed, told.removed);
    assert_eq!(done.removed.len(), 2, "{done:?}");
    assert!(done.stored_bytes > 900_000, "{done:?}");
    // The newest of each tree, what is labelled, and bases of runs that are there.
    let kept: Vec<_> = api.snapshots_of("").await;
    let mut expected =
        vec![first.id.clone(), imported.id.clone(), all[5].id.clone(), all[0].id.clone(), all[4].id.clone()];
    expected.sort();
    let mut ids: Vec<_> = kept.iter().map(|s| s.id.clone()).collect();
    ids.sort();
    assert_eq!(ids, expected, "{kept:#?}");
    let verified = api.snapshots.verify(pb::VerifyRequest {}).await.unwrap().into_inner();
    assert_eq!(verified.snapshots, 5);
    assert!(verified.faults.is_empty() && verified.bytes > 0, "{verified:?}");

    let remove = |ids: &[&str], key: &str| pb::RemoveSnapshotsRequest {
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        idempotency_key: key.to_owned(),
    };
    let missing = api.snapshots.remove_snapshots(remove(&[&first.id, "00000000"], "")).await.unwrap_err();
    assert_eq!((missing.code(), reason(&missing).as_str()), (tonic::Code::NotFound, "snapshot-not-found"));
    assert_eq!(api.snapshots_of("").await.len(), 5, "all or nothing");
    api.snapshots.remove_snapshots(remove(&[&first.id], "k")).await.unwrap();
    api.snapshots.remove_snapshots(remove(&[&first.id], "k")).await.unwrap();
    assert_eq!(api.snapshots_of("").await.len(), 4);
    let rest: Vec<String> = api.snapshots_of("").await.into_iter().map(|s| s.id).collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    api.snapshots.remove_snapshots(remove(&rest, "")).await.unwrap();
    let done = api.snapshots.collect_garbage(collect(false)).await.unwrap().into_inner();
    assert!(done.freed_bytes > 900_000 && done.stored_bytes < 10_000, "{done:?}");
}

#[tokio::test]
async fn workspaces_are_listed_looked_into_and_removed_when_they_are_cordons_own() {
    let host = Host::start();
    let ws = host.tree("ws");
    let theirs = run_in(&host, &ws, "a.yaml", "ln -s /etc/passwd link; mkfifo pipe; echo x > f").await;
    let made = run_in(&host, std::path::Path::new("rel/ative"), "b.yaml", "echo y > g").await;
    let mut api = host.api().await;
    let list = api.workspaces.list_workspaces(pb::ListWorkspacesRequest {}).await.unwrap();
    let list = list.into_inner().workspaces;
    let rows: Vec<_> = list.iter().map(|w| (w.run.as_str(), w.made, w.in_use, w.files)).collect();
    assert_eq!(rows, [(made.id.as_str(), true, false, 1), (theirs.id.as_str(), false, false, 1)]);
    let get = |name: &str| pb::GetWorkspaceRequest { name: name.to_owned() };
    for name in [theirs.id.as_str(), &format!("{}/worker", theirs.id), &ws.display().to_string()] {
        let found = api.workspaces.get_workspace(get(name)).await.unwrap().into_inner();
        assert_eq!(found.path, ws.display().to_string(), "{name}");
    }
    // No link is followed, nothing that is no file is opened, and nothing leaves the tree.
    for (path, code) in [
        ("link", tonic::Code::NotFound),
        ("pipe", tonic::Code::NotFound),
        ("../state/lock", tonic::Code::InvalidArgument),
        ("none", tonic::Code::NotFound),
    ] {
        let refused = api.read_file(&theirs.id, path).await.unwrap_err();
        assert_eq!(refused.code(), code, "{path}: {refused:?}");
    }
    assert_eq!(api.tree(&theirs.id).await.unwrap(), ["f", "link"]);
    let remove = |name: &str, key: &str| pb::RemoveWorkspaceRequest {
        name: name.to_owned(),
        idempotency_key: key.to_owned(),
    };
    let refused = api.workspaces.remove_workspace(remove(&theirs.id, "")).await.unwrap_err();
    assert_eq!(reason(&refused), "not-made-by-cordon");
    assert!(ws.join("f").try_exists().unwrap());
    api.workspaces.remove_workspace(remove(&made.id, "w")).await.unwrap();
    api.workspaces.remove_workspace(remove(&made.id, "w")).await.unwrap();
    assert!(!std::path::Path::new(&made.agents[0].workspace).try_exists().unwrap());
    assert_eq!(
        api.workspaces
            .list_workspaces(pb::ListWorkspacesRequest {})
            .await
            .unwrap()
            .into_inner()
            .workspaces
            .len(),
        1
    );
    let unknown = api.workspaces.get_workspace(get("/nowhere")).await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (tonic::Code::NotFound, "workspace-not-found"));
}

/// `context_paths` with one writable tree.
fn staged(tree: &std::path::Path) -> String {
    format!("      context_paths:\n        - path: {}\n          permission: write\n", tree.display())
}

fn plan_of(run: &str) -> pb::PlanApplyRequest {
    pb::PlanApplyRequest { run: run.to_owned(), ..Default::default() }
}

fn apply_of(plan: pb::PlanApplyRequest, fingerprint: &str, key: &str) -> pb::ApplyRequest {
    let (fingerprint, idempotency_key) = (fingerprint.to_owned(), key.to_owned());
    pb::ApplyRequest { plan: Some(plan), fingerprint, idempotency_key }
}

fn rows(plan: &pb::PlanApplyResponse) -> Vec<(String, String, String)> {
    let changes = plan.trees.iter().flat_map(|t| &t.changes);
    let row = |c: &pb::PlannedChange| {
        (String::from_utf8_lossy(&c.path).into_owned(), c.what.clone(), c.verdict.clone())
    };
    changes.map(row).collect()
}

fn row(path: &str, what: &str, verdict: &str) -> (String, String, String) {
    (path.to_owned(), what.to_owned(), verdict.to_owned())
}

/// A user's project with a hidden and a guarded file.
fn project(host: &Host) -> std::path::PathBuf {
    let tree = host.tree("project");
    host.put(&tree.join("src/a.txt"), "one\ntwo\nthree\nfour\nfive\n");
    host.put(&tree.join("gone.txt"), "bye\n");
    host.put(&tree.join(".env"), "TOKEN=sk-hidden-4711\n");
    host.put(&tree.join(".git/config"), "[core]\n");
    for dir in ["src", ".git"] {
        std::os::unix::fs::chown(tree.join(dir), Some(host.agent_uid()), Some(host.agent_uid())).unwrap();
    }
    tree
}

const EDIT: &str =
    "cd PROJECT; sed -i s/two/TWO/ src/a.txt; rm gone.txt; echo made > new.txt; cat .env; ls -a";

fn names(tree: &std::path::Path) -> Vec<String> {
    let mut all: Vec<String> =
        std::fs::read_dir(tree).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

#[tokio::test]
async fn a_staged_tree_stays_as_it_is_until_the_changes_are_applied() {
    for user in users() {
        let host = Host::start_as(user);
        let (ws, tree) = (host.tree("ws"), project(&host));
        let script = EDIT.replace("PROJECT", &tree.display().to_string());
        let text = file(&[agent("worker", &ws.display().to_string(), &script, &staged(&tree))]);
        let path = host.agent_file("a.yaml", &text);
        let ran = host.cordon(["run", path.to_str().unwrap(), "x"]).expect_code(0);
        let mut api = host.api().await;
        let run = api.only_run().await;
        let events = api.events(&run.id, false).await;
        assert!(!ran.stdout.contains("sk-hidden"), "{}", ran.stdout);
        assert_eq!(
            names(&tree),
            [".env", ".git", "gone.txt", "src"],
            "{user:?}: the user's tree was touched"
        );
        assert!(std::fs::read_to_string(tree.join("src/a.txt")).unwrap().contains("two"));
        let told = taken(&events);
        assert_eq!(told.len(), 4, "{told:?}");
        let mut changed: Vec<_> = summary(&events)
            .summary
            .unwrap()
            .files
            .iter()
            .map(|f| (String::from_utf8_lossy(&f.path).into_owned(), f.change.clone()))
            .collect();
        changed.sort();
        let at = |name: &str, how: &str| (tree.join(name).display().to_string(), how.to_owned());
        assert_eq!(changed, [at("gone.txt", "removed"), at("new.txt", "added"), at("src/a.txt", "modified")]);
        let left = |place: &str| std::fs::read_dir(host.path("state").join(place)).map_or(0, Iterator::count);
        assert_eq!((left("forks"), left("views")), (0, 0), "{}", host.log());

        let diff = api.diff_run(diff_of(&run.id, pb::DiffFormat::NameOnly)).await.unwrap();
        assert!(diff.contains("D gone.txt\nA new.txt\nM src/a.txt\n"), "{diff}");
        let plan = api.changes.plan_apply(plan_of(&run.id)).await.unwrap().into_inner();
        assert_eq!(
            rows(&plan),
            [
                row("gone.txt", "removed", "apply"),
                row("new.txt", "added", "apply"),
                row("src/a.txt", "modified", "apply")
            ]
        );
        assert!(!plan.refused && !plan.empty && plan.needs.is_empty(), "{plan:?}");
        let wrong = api.changes.apply(apply_of(plan_of(&run.id), "0000", "")).await.unwrap_err();
        assert_eq!(
            (wrong.code(), reason(&wrong).as_str()),
            (tonic::Code::FailedPrecondition, "plan-changed")
        );
        let request = apply_of(plan_of(&run.id), &plan.fingerprint, "k1");
        let applied = api.changes.apply(request.clone()).await.unwrap().into_inner();
        assert_eq!(applied.changed, 3, "{applied:?}");
        assert_eq!(names(&tree), [".env", ".git", "new.txt", "src"]);
        assert!(std::fs::read_to_string(tree.join("src/a.txt")).unwrap().contains("TWO"));
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(std::fs::metadata(tree.join("new.txt")).unwrap().uid(), host.agent_uid());
        // The same request again is the same answer, and another one with its key is none.
        let again = api.changes.apply(request).await.unwrap().into_inner();
        assert_eq!(again.changed, 3);
        let other = api.changes.apply(apply_of(plan_of(&run.id), "ffff", "k1")).await.unwrap_err();
        assert_eq!(reason(&other), "idempotency-key-reused");
        let plan = api.changes.plan_apply(plan_of(&run.id)).await.unwrap().into_inner();
        assert!(plan.empty, "{plan:?}");
        // What the user's rules hide is nowhere in the store.
        assert!(!found_below(&host.path("state").join("snapshots"), b"sk-hidden-4711"));
        let kept = api.snapshots_of(&run.id).await;
        let of_tree: Vec<_> =
            kept.iter().filter(|s| s.tree == tree.display().to_string().as_bytes()).collect();
        assert_eq!(of_tree.len(), 2);
        assert!(of_tree[0].skipped.iter().any(|s| s.path == b".env".as_slice() && s.reason == "hidden"));
    }
}

/// Whether some bytes stand in any file below a directory, as they are.
fn found_below(directory: &std::path::Path, bytes: &[u8]) -> bool {
    let mut waiting = vec![directory.to_path_buf()];
    while let Some(at) = waiting.pop() {
        for entry in std::fs::read_dir(&at).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(path);
            } else if std::fs::read(&path).unwrap().windows(bytes.len()).any(|w| w == bytes) {
                return true;
            }
        }
    }
    false
}

#[tokio::test]
async fn changes_are_classed_filtered_and_merged() {
    let host = Host::start();
    let (ws, tree) = (host.tree("ws"), project(&host));
    let script = format!(
        "cd {}; sed -i s/two/TWO/ src/a.txt; echo 'all: evil' > Makefile; echo x > CLAUDE.md; ln -s /etc/passwd out; chmod +x gone.txt",
        tree.display()
    );
    let text = file(&[agent("worker", &ws.display().to_string(), &script, &staged(&tree))]);
    let text = format!("{text}orchestrator: {{coordination: {{drift_conflict_policy: skip}}}}\n");
    let path = host.agent_file("a.yaml", &text);
    let _ = host.cordon(["run", path.to_str().unwrap(), "x"]).expect_code(0);
    let mut api = host.api().await;
    let run = api.only_run().await;

    // Whatever is more than data is refused until it is named, and links that leave never come.
    let plan = api.changes.plan_apply(plan_of(&run.id)).await.unwrap().into_inner();
    assert!(plan.refused, "{plan:?}");
    assert_eq!(plan.needs, ["runs-later", "steers-agents"]);
    let refused = api.changes.apply(apply_of(plan_of(&run.id), &plan.fingerprint, "")).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (tonic::Code::FailedPrecondition, "apply-refused")
    );
    let unknown = pb::PlanApplyRequest { classes: vec!["everything".to_owned()], ..plan_of(&run.id) };
    assert_eq!(api.changes.plan_apply(unknown).await.unwrap_err().code(), tonic::Code::InvalidArgument);

    let only = pb::PlanApplyRequest { paths: vec![b"src".to_vec().into()], ..plan_of(&run.id) };
    let plan = api.changes.plan_apply(only.clone()).await.unwrap().into_inner();
    assert_eq!(rows(&plan), [row("src/a.txt", "modified", "apply")]);
    let absolute = tree.join("src/a.txt").display().to_string().into_bytes();
    let same = pb::PlanApplyRequest { paths: vec![absolute.into()], ..plan_of(&run.id) };
    assert_eq!(rows(&api.changes.plan_apply(same).await.unwrap().into_inner()), rows(&plan));
    let outside = pb::PlanApplyRequest { paths: vec![b"/etc/passwd".to_vec().into()], ..plan_of(&run.id) };
    assert_eq!(api.changes.plan_apply(outside).await.unwrap_err().code(), tonic::Code::InvalidArgument);

    // The user went on meanwhile: what was planned no longer holds, and drift is asked about.
    host.put(&tree.join("src/a.txt"), "one\ntwo\nthree\nfour\nFIVE\n");
    let late = api.changes.apply(apply_of(only.clone(), &plan.fingerprint, "")).await.unwrap_err();
    assert_eq!(reason(&late), "plan-changed");
    let drifted = api.changes.plan_apply(only.clone()).await.unwrap().into_inner();
    assert_eq!(rows(&drifted), [row("src/a.txt", "modified", "left-out")], "as the agent file says");
    let strict = pb::PlanApplyRequest { on_drift: pb::OnDrift::Fail.into(), ..only.clone() };
    let drifted = api.changes.plan_apply(strict).await.unwrap().into_inner();
    assert_eq!(rows(&drifted), [row("src/a.txt", "modified", "refused")]);
    let merge = pb::PlanApplyRequest {
        on_drift: pb::OnDrift::Merge.into(),
        classes: vec!["runs-later".to_owned()],
        leave_out: true,
        ..plan_of(&run.id)
    };
    let plan = api.changes.plan_apply(merge.clone()).await.unwrap().into_inner();
    assert_eq!(
        rows(&plan),
        [
            row("CLAUDE.md", "added", "left-out"),
            row("Makefile", "added", "apply"),
            row("gone.txt", "mode", "apply"),
            row("out", "added", "left-out"),
            row("src/a.txt", "modified", "merge"),
        ]
    );
    // Merged bytes are part of what was agreed to.
    host.put(&tree.join("src/a.txt"), "one\ntwo\nthree\nFOUR\nFIVE\n");
    let late = api.changes.apply(apply_of(merge.clone(), &plan.fingerprint, "")).await.unwrap_err();
    assert_eq!(reason(&late), "plan-changed");
    let plan = api.changes.plan_apply(merge.clone()).await.unwrap().into_inner();
    api.changes.apply(apply_of(merge, &plan.fingerprint, "")).await.unwrap();
    assert_eq!(std::fs::read_to_string(tree.join("src/a.txt")).unwrap(), "one\nTWO\nthree\nFOUR\nFIVE\n");
    assert_eq!(names(&tree), [".env", ".git", "Makefile", "gone.txt", "src"]);
}

/// What no snapshot could hold is neither the agent's to change nor to remove.
#[tokio::test]
async fn what_is_not_known_is_not_removed() {
    for user in users() {
        let host = Host::start_as(user);
        let (ws, tree) = (host.tree("ws"), project(&host));
        let script = format!(
            "cd {}; rm src/a.txt; mkfifo src/a.txt; echo 1 > added.txt; chmod 000 added.txt; echo 2 > more.txt",
            tree.display()
        );
        let text = file(&[agent("worker", &ws.display().to_string(), &script, &staged(&tree))]);
        let path = host.agent_file("a.yaml", &text);
        let _ = host.cordon(["run", path.to_str().unwrap(), "x"]).expect_code(0);
        let mut api = host.api().await;
        let run = api.only_run().await;
        let plan = api.changes.plan_apply(plan_of(&run.id)).await.unwrap().into_inner();
        let rows: Vec<_> =
            rows(&plan).into_iter().filter(|r| *r != row("added.txt", "added", "apply")).collect();
        assert_eq!(rows, [row("more.txt", "added", "apply")]);
        api.changes.apply(apply_of(plan_of(&run.id), &plan.fingerprint, "")).await.unwrap();
        assert!(tree.join("src/a.txt").is_file() && tree.join("more.txt").is_file());
    }
}

#[tokio::test]
async fn a_run_begins_from_a_snapshot() {
    for user in users() {
        let host = Host::start_as(user);
        let ws = host.tree("ws");
        host.put(&ws.join("a"), "1\n");
        let first = run_in(&host, &ws, "a.yaml", "echo 2 >> a; mkdir d; chmod 700 d; echo in > d/f").await;
        let mut api = host.api().await;
        let kept = api.snapshots_of(&first.id).await.pop().unwrap();
        let text = file(&[agent("worker", &ws.display().to_string(), "cat a d/f; echo 3 >> a", "")]);
        let start = |from: &str| pb::StartRunRequest {
            agent_file: Some(pb::AgentFile {
                name: "b.yaml".to_owned(),
                content: text.clone().into(),
                directory: host.path("files").display().to_string(),
                variables: Default::default(),
            }),
            prompt: "x".to_owned(),
            wall: "local".to_owned(),
            from_snapshots: [("worker".to_owned(), from.to_owned())].into(),
            ..Default::default()
        };
        let unknown = api.runs.start_run(start("0000000000")).await.unwrap_err();
        assert_eq!(
            (unknown.code(), reason(&unknown).as_str()),
            (tonic::Code::NotFound, "snapshot-not-found")
        );
        let run = api.runs.start_run(start(&kept.id[..16])).await.unwrap().into_inner().run.unwrap();
        let events = api.events(&run.id, true).await;
        assert_eq!(summary(&events).outcome(), Outcome::Success, "{events:#?}");
        let out = cordon_tests::harness::output(&events, pb::OutputStream::Stdout);
        assert_eq!(String::from_utf8_lossy(&out), "1\n2\nin\n");
        let own = std::path::PathBuf::from(&run.agents[0].workspace);
        assert!(own.starts_with(host.path("state").join("workspaces")), "{own:?}");
        assert_eq!(std::fs::read_to_string(own.join("a")).unwrap(), "1\n2\n3\n");
        assert_eq!(
            std::fs::read_to_string(ws.join("a")).unwrap(),
            "1\n2\n",
            "the first workspace was touched"
        );
        let began = api.snapshots_of(&run.id).await.remove(0);
        let compare = pb::DiffRequest { old: kept.id.clone(), new: began.id, ..Default::default() };
        assert_eq!(api.diff(compare).await.unwrap(), "");
    }
}

#[tokio::test]
async fn agents_see_each_others_latest_trees_and_no_names() {
    let host = Host::start();
    let (one, two) = (host.tree("first-secret-name"), host.tree("second-secret-name"));
    host.put(&one.join("plan"), "from one, before\n");
    let look = "p=$(ls -d /peers); ls $p; cat $p/agent1/plan; cat $p/agent2/answer; touch $p/x $p/agent1/x 2>/dev/null && echo LEAK; grep -h peers /proc/self/mountinfo";
    let agents = |first: &str, second: &str| {
        let text = file(&[
            agent("alpha-id", &one.display().to_string(), first, ""),
            agent("beta-id", &two.display().to_string(), second, ""),
        ]);
        format!("{text}orchestrator:\n  agent_temporary_workspace: /peers\n")
    };
    let first =
        agents("sed -i s/before/after/ plan; ls /peers", "echo from two > answer; cat /peers/agent1/plan");
    let path = host.agent_file("a.yaml", &first);
    let ran = host.cordon(["run", path.to_str().unwrap(), "x"]).expect_code(0);
    assert!(ran.stdout.contains("from one, before"), "{}", ran.stdout);
    let path = host.agent_file("a.yaml", &agents(look, "true"));
    let _ = host.cordon(["run", path.to_str().unwrap(), "-a", "alpha-id", "x"]).expect_code(0);
    let mut api = host.api().await;
    let run = newest(&host).await;
    assert_eq!(run.agents.len(), 1);
    let events = api.events(&run.id, false).await;
    let out = cordon_tests::harness::output(&events, pb::OutputStream::Stdout);
    let out = String::from_utf8_lossy(&out).into_owned();
    assert!(out.starts_with("agent1\nagent2\nfrom one, after\nfrom two\n"), "{out}");
    assert!(!out.contains("LEAK"), "{out}");
    for name in ["alpha", "beta", "secret-name"] {
        assert!(!out.contains(name), "{name}: {out}");
    }
    assert_eq!(std::fs::read_dir(host.path("state/views")).map_or(0, Iterator::count), 0);
}

#[tokio::test]
async fn a_killed_daemon_keeps_what_the_agent_did_and_leaves_no_fork() {
    let mut host = Host::start();
    let (ws, tree) = (host.tree("ws"), project(&host));
    let script = format!(
        "cd {tree}; echo early > early.txt; touch {ws}/started; until [ -e {ws}/go ]; do sleep 0.05; done; echo late > late.txt",
        tree = tree.display(),
        ws = ws.display()
    );
    let text = file(&[agent("worker", &ws.display().to_string(), &script, &staged(&tree))]);
    let path = host.agent_file("a.yaml", &text);
    let _ = host.cordon(["run", path.to_str().unwrap(), "--detach", "x"]).expect_code(0);
    let run = host.api().await.only_run().await;
    let wait = std::time::Duration::from_secs(30);
    let started = cordon_tests::harness::wait_until(wait, || ws.join("started").try_exists().unwrap());
    assert!(started, "{}", host.log());
    host.kill_daemon();
    // The agent ends while nobody looks.
    host.put(&ws.join("go"), "");
    host.start_daemon();
    let mut api = host.api().await;
    let events = api.events(&run.id, true).await;
    assert_eq!(summary(&events).outcome(), Outcome::Success, "{events:#?}");
    let told = taken(&events);
    let kinds: Vec<_> = told.iter().map(|(_, t)| t.kind.as_str()).collect();
    assert_eq!(kinds, ["base", "base", "turn", "turn"], "told once each: {told:?}");
    assert_eq!(api.snapshots_of(&run.id).await.len(), 4);
    let plan = api.changes.plan_apply(plan_of(&run.id)).await.unwrap().into_inner();
    assert_eq!(rows(&plan), [row("early.txt", "added", "apply"), row("late.txt", "added", "apply")]);
    assert_eq!(std::fs::read_dir(host.path("state/forks")).map_or(0, Iterator::count), 0);
    assert_eq!(names(&tree), [".env", ".git", "gone.txt", "src"]);
}

/// Kills the guest around an agent's process, from outside.
fn kill_the_guest_of(command: &str) {
    let pids = std::process::Command::new("pgrep").args(["-f", command]).output().unwrap();
    for pid in String::from_utf8_lossy(&pids.stdout).lines() {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)).unwrap().to_owned();
        let guest = std::fs::read_to_string(format!("/proc/{parent}/comm"));
        if guest.is_ok_and(|comm| comm.starts_with("cordon-guest")) {
            let pid = nix::unistd::Pid::from_raw(parent.parse().unwrap());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

#[tokio::test]
async fn a_daemon_killed_with_the_sandbox_still_keeps_the_fork() {
    let mut host = Host::start();
    let (ws, tree) = (host.tree("ws"), project(&host));
    let script = format!(
        "cd {}; echo work > work.txt; touch {}/started; exec sleep 360933",
        tree.display(),
        ws.display()
    );
    let text = file(&[agent("worker", &ws.display().to_string(), &script, &staged(&tree))]);
    let path = host.agent_file("a.yaml", &text);
    let _ = host.cordon(["run", path.to_str().unwrap(), "--detach", "x"]).expect_code(0);
    let run = host.api().await.only_run().await;
    let wait = std::time::Duration::from_secs(30);
    let started = cordon_tests::harness::wait_until(wait, || ws.join("started").try_exists().unwrap());
    assert!(started, "{}", host.log());
    host.kill_daemon();
    kill_the_guest_of("sleep 360933");
    // A fork that no run has ever heard of, as a kill in the midst of planning leaves it.
    let orphan = host.path("state/forks/0123456789abcdef/0/0/tree");
    std::fs::create_dir_all(&orphan).unwrap();
    std::fs::write(orphan.join("f"), "x").unwrap();
    host.start_daemon();
    let mut api = host.api().await;
    let stop = pb::StopRunRequest { id: run.id.clone(), ..Default::default() };
    api.runs.stop_run(stop).await.unwrap();
    let events = api.events(&run.id, true).await;
    assert_ne!(summary(&events).outcome(), Outcome::Success);
    let plan = api.changes.plan_apply(plan_of(&run.id)).await.unwrap().into_inner();
    assert_eq!(rows(&plan), [row("work.txt", "added", "apply")]);
    let gone = cordon_tests::harness::wait_until(wait, || {
        std::fs::read_dir(host.path("state/forks")).map_or(0, Iterator::count) == 0
    });
    assert!(gone, "{}", host.log());
}
