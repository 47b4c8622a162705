//! Workspaces and staged trees as versioned objects: kept, compared, applied, put back.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{self as pb, Event, Outcome, SnapshotTaken, event::Kind};
use cordon_tests::harness::{Host, User, need_root, skipped, summary};

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
    let gone =
        cordon_tests::harness::wait_until(std::time::Duration::from_secs(30), || !ws.join("only").exists());
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
