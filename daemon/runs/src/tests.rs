//! Runs without a wall: what is accepted, answered again, refused and forgotten.

use crate::{Options, RunError, Runs, StartRequest, Walls, plan::Host, plan::Owner};
use cordon_backends::LoginServers;
use cordon_proto::v1::{Outcome, RunState, event::Kind};
use cordon_sandbox::{SandboxError, Wall, WallKind};
use std::{path::Path, sync::Arc};

const FILE: &[u8] =
    b"agent:\n  id: a\n  backend:\n    type: command\n    command: [\"true\"]\n    cwd: work\n";

/// A machine on which no sandbox can be made.
struct NoWalls;

#[async_trait::async_trait]
impl Walls for NoWalls {
    async fn wall(&self, _: WallKind) -> Result<Arc<dyn Wall>, SandboxError> {
        let (why, fix) = ("this test has none".to_owned(), "Use another".to_owned());
        Err(SandboxError::Unavailable { what: "the wall".to_owned(), why, fix })
    }
}

async fn runs(state: &Path) -> Runs {
    let host = Host {
        state: state.canonicalize().unwrap(),
        daemon: "test".to_owned(),
        program_path: vec!["/usr/bin".into(), "/bin".into()],
    };
    let runs = Runs::open(
        Options {
            host,
            journal_limit: 1 << 30,
            home_limit: 1 << 30,
            snapshot_quota: None,
            bucket: None,
            login_servers: LoginServers::default(),
        },
        Arc::new(NoWalls),
    )
    .unwrap();
    runs.recover().await;
    runs
}

fn request(state: &Path, key: &str, prompt: &str) -> StartRequest {
    let (uid, gid) = (nix::unistd::Uid::effective().as_raw(), nix::unistd::Gid::effective().as_raw());
    StartRequest {
        name: "a.yaml".to_owned(),
        content: FILE.to_vec(),
        directory: state.to_path_buf(),
        variables: Default::default(),
        prompt: prompt.to_owned(),
        agents: Vec::new(),
        wall: Some(WallKind::Local),
        from_snapshots: Default::default(),
        resume: String::new(),
        key: key.to_owned(),
        owner: Owner { uid, gid, home: state.to_path_buf() },
    }
}

async fn events(runs: &Runs, id: &str) -> Vec<Kind> {
    let mut reader = runs.watch(0, id, 0).await.unwrap();
    let mut kinds = Vec::new();
    while let Some(batch) = reader.next(true).await.unwrap() {
        kinds.extend(batch.into_iter().filter_map(|e| e.kind));
    }
    kinds
}

#[tokio::test]
async fn a_run_that_no_wall_takes_is_refused_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let runs = runs(dir.path()).await;
    let run = runs.start(request(dir.path(), "", "fix it")).await.unwrap();
    let kinds = events(&runs, &run.id).await;
    assert!(matches!(&kinds[0], Kind::RunStarted(s) if s.prompt == "fix it"), "{kinds:?}");
    let error = kinds.iter().find_map(|k| match k {
        Kind::Error(e) => Some((e.reason.clone(), e.message.clone())),
        _ => None,
    });
    let (reason, message) = error.unwrap();
    assert_eq!(reason, "wall-unavailable");
    assert!(message.contains("this test has none"), "{message}");
    assert!(matches!(kinds.last(), Some(Kind::RunEnded(e)) if e.outcome() == Outcome::Refused), "{kinds:?}");
    let ended = runs.get(0, &run.id[..10]).await.unwrap();
    assert_eq!((ended.state(), ended.outcome()), (RunState::Ended, Outcome::Refused));
    assert_eq!(ended.journal_events, kinds.len() as u64);
    assert!(!dir.path().join("runs").join(&run.id).join("secrets").try_exists().unwrap());
}

#[tokio::test]
async fn the_same_key_is_the_same_run_also_at_once_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = runs(dir.path()).await;
    let (a, b) = tokio::join!(
        first.start(request(dir.path(), "k", "fix it")),
        first.start(request(dir.path(), "k", "fix it"))
    );
    let id = a.unwrap().id;
    assert_eq!(b.unwrap().id, id);
    let other = first.start(request(dir.path(), "k", "break it")).await.unwrap_err();
    assert!(matches!(other, RunError::KeyReused { .. }), "{other}");
    events(&first, &id).await;
    drop(first);
    let second = runs(dir.path()).await;
    assert_eq!(second.start(request(dir.path(), "k", "fix it")).await.unwrap().id, id);
    assert_eq!(second.list(0).await.len(), 1);
}

#[tokio::test]
async fn another_user_sees_nothing_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let runs = runs(dir.path()).await;
    let run = runs.start(request(dir.path(), "", "x")).await.unwrap();
    events(&runs, &run.id).await;
    let stranger = run.owner_uid + 1;
    assert!(runs.list(stranger).await.is_empty());
    for error in [
        runs.get(stranger, &run.id).await.unwrap_err(),
        runs.watch(stranger, &run.id, 0).await.map(drop).unwrap_err(),
        runs.stop(stranger, &run.id, "").await.unwrap_err(),
        runs.remove(stranger, &run.id, "", true).await.unwrap_err(),
    ] {
        assert!(matches!(error, RunError::NotFound { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_removed_run_is_gone_and_removing_it_again_with_the_same_key_is_fine() {
    let dir = tempfile::tempdir().unwrap();
    let runs = runs(dir.path()).await;
    let run = runs.start(request(dir.path(), "", "x")).await.unwrap();
    events(&runs, &run.id).await;
    let workspace = run.agents[0].workspace.clone();
    std::fs::write(Path::new(&workspace).join("left"), "x").unwrap();
    std::os::unix::fs::symlink(dir.path().join("runs"), Path::new(&workspace).join("trap")).unwrap();
    runs.remove(0, &run.id, "r", true).await.unwrap();
    runs.remove(0, &run.id, "r", true).await.unwrap();
    assert!(matches!(runs.remove(0, &run.id, "s", true).await, Err(RunError::NotFound { .. })));
    assert!(!Path::new(&workspace).try_exists().unwrap());
    assert!(dir.path().join("runs").try_exists().unwrap(), "a link was followed");
}

#[tokio::test]
async fn what_cannot_be_accepted_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let runs = runs(dir.path()).await;
    let mut unknown = request(dir.path(), "k", "x");
    unknown.agents = vec!["nobody".to_owned()];
    assert!(matches!(runs.start(unknown).await, Err(RunError::Agent { .. })));
    let mut broken = request(dir.path(), "k", "x");
    broken.content = b"agent: [".to_vec();
    assert!(matches!(runs.start(broken).await, Err(RunError::InvalidFile { .. })));
    assert!(std::fs::read_dir(dir.path().join("runs")).unwrap().next().is_none());
    // The key is free again.
    runs.start(request(dir.path(), "k", "x")).await.unwrap();
    runs.shutdown(true).await;
    assert!(matches!(runs.start(request(dir.path(), "", "x")).await, Err(RunError::ShuttingDown)));
}

#[tokio::test]
async fn a_run_without_its_record_was_never_accepted_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let half = dir.path().join("runs/0123");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("secrets"), "{}").unwrap();
    let runs = runs(dir.path()).await;
    assert!(!half.try_exists().unwrap());
    assert!(runs.list(0).await.is_empty());
}

#[tokio::test]
async fn another_user_finds_no_snapshot_change_or_workspace() {
    let dir = tempfile::tempdir().unwrap();
    let runs = runs(dir.path()).await;
    let run = runs.start(request(dir.path(), "", "x")).await.unwrap();
    events(&runs, &run.id).await;
    let owner = run.owner_uid;
    let stranger = owner + 1;
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("f"), "x").unwrap();
    let store = runs.0.shared.stores.of(owner, None).unwrap();
    let wanted = cordon_snapshots::SnapshotRequest { run: run.id.clone(), ..Default::default() };
    let id = store.snapshot(&tree, &wanted).unwrap().id.to_string();
    assert!(runs.snapshots(owner, "", "").await.unwrap().iter().any(|s| s.id == id));
    assert_eq!(runs.workspaces(owner).await.unwrap().len(), 1);
    let mut read = Vec::new();
    let keep = |read: &mut Vec<u8>, piece: Vec<u8>| {
        read.extend(piece);
        true
    };
    runs.read_file(owner, &id, b"f", &mut |piece| keep(&mut read, piece)).unwrap();
    assert_eq!(read, b"x");

    assert!(runs.snapshots(stranger, "", "").await.unwrap().is_empty());
    assert!(runs.workspaces(stranger).await.unwrap().is_empty());
    let options = || crate::ApplyOptions {
        run: run.id.clone(),
        agent: String::new(),
        paths: Vec::new(),
        on_drift: Some(crate::OnDrift::Fail),
        classes: Vec::new(),
        leave_out: false,
    };
    let how = crate::Compared::default();
    let path = run.agents[0].workspace.clone();
    let mut out = Vec::new();
    let errors = [
        runs.snapshot(stranger, &id).await.map(drop).unwrap_err(),
        runs.diff(stranger, &id, &id, &how, &mut out).unwrap_err(),
        runs.diff_run(stranger, &run.id, "", &how, &mut out).unwrap_err(),
        runs.label(stranger, &id, "mine", "").await.map(drop).unwrap_err(),
        runs.remove_snapshots(stranger, std::slice::from_ref(&id), "").await.unwrap_err(),
        runs.restore(stranger, &id, "").await.map(drop).unwrap_err(),
        runs.export(stranger, &id, &mut out).unwrap_err(),
        runs.plan_apply(stranger, options()).await.map(drop).unwrap_err(),
        runs.apply(stranger, options(), "", "").await.map(drop).unwrap_err(),
        runs.workspace(stranger, &run.id).await.map(drop).unwrap_err(),
        runs.workspace(stranger, &path).await.map(drop).unwrap_err(),
        runs.remove_workspace(stranger, &run.id, "").await.unwrap_err(),
        runs.list_tree(stranger, &id, b"", 0, &mut |_| true).unwrap_err(),
        runs.read_file(stranger, &path, b"f", &mut |_| true).unwrap_err(),
    ];
    for (n, error) in errors.iter().enumerate() {
        let missing = matches!(
            error,
            RunError::NotFound { .. }
                | RunError::SnapshotNotFound { .. }
                | RunError::WorkspaceNotFound { .. }
        );
        assert!(missing, "{n}: {error}");
    }
    assert!(out.is_empty());
    let freed = runs.collect_garbage(stranger, Default::default()).await.unwrap();
    assert!(freed.removed.is_empty());
    assert_eq!(runs.verify(stranger).await.unwrap().snapshots, 0);
    assert!(runs.snapshots(owner, "", "").await.unwrap().iter().any(|s| s.id == id));
}
