//! The services about trees.

use super::{Answers, Double};
use cordon_proto::v1::{
    changes_server::Changes, snapshots_server::Snapshots, workspaces_server::Workspaces, *,
};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

/// In a name, a label, a path: what would be obeyed, and what would be hidden.
pub const EVIL: &str = "x\u{1b}[2J\ny\u{202e}";
/// The same, as a person may see it.
pub const SHOWN: &str = "x\\x1b[2J\\ny\\u{202e}";

/// What an agent did to `/w`.
pub fn change(path: &str, classes: &[&str]) -> PlannedChange {
    let class = |name: &&str| ChangeClass { name: (*name).into(), why: format!("why {name}") };
    PlannedChange {
        path: path.as_bytes().to_vec().into(),
        what: "modified".into(),
        classes: classes.iter().map(class).collect(),
        verdict: "apply".into(),
        ..PlannedChange::default()
    }
}

pub fn the_snapshot(id: &str) -> Snapshot {
    Snapshot {
        id: format!("{id}0c0b22de44556677"),
        run: "0199-run".into(),
        agent: EVIL.into(),
        turn: Some(1),
        tree: EVIL.as_bytes().to_vec().into(),
        kind: "turn".into(),
        label: EVIL.into(),
        files: 3,
        bytes: 12_345,
        added_bytes: 67,
        ..Snapshot::default()
    }
}

fn stream<T: Send + 'static>(answers: Vec<T>) -> Response<Answers<T>> {
    Response::new(Box::pin(tokio_stream::iter(answers.into_iter().map(Ok))))
}

/// Cut where it hurts most: after every byte.
fn cut(text: &str) -> Response<Answers<DiffResponse>> {
    stream(text.bytes().map(|b| DiffResponse { text: vec![b].into() }).collect())
}

impl Double {
    fn text(&self, format: DiffFormat) -> Response<Answers<DiffResponse>> {
        let said = self.state().diff.clone();
        match format {
            _ if said.as_deref() == Some("") => stream(Vec::new()),
            DiffFormat::Json => cut("{\"changes\":[{\"path\":\"a\u{9b}\"}]}"),
            DiffFormat::Stat => cut("M a | +1 -1\n1 path changed, 1 lines added, 1 removed\n"),
            DiffFormat::NameOnly => cut("M a\n"),
            _ => cut(said.as_deref().unwrap_or("\u{1b}[32m+new\u{1b}[0m\n\u{1b}[2J\u{1b}[8mhidden")),
        }
    }

    /// As the daemon decides: a class that is not allowed is left out, or refuses the whole.
    fn plan(&self, asked: &PlanApplyRequest) -> PlanApplyResponse {
        let state = self.state();
        let mut plan = PlanApplyResponse { run: "0199-run".into(), agent: "a".into(), ..Default::default() };
        let mut changes = state.changes.clone();
        for change in &mut changes {
            let missing: Vec<_> = (change.classes.iter().map(|c| c.name.clone()))
                .filter(|c| c != "data" && !asked.classes.contains(c))
                .collect();
            if !missing.is_empty() {
                change.verdict = if asked.leave_out { "left-out" } else { "refused" }.into();
                change.why = "its class was not allowed".into();
                plan.needs.extend(missing);
            } else if change.verdict == "drift" {
                let skip = asked.on_drift() == OnDrift::Skip;
                change.verdict = if skip { "left-out" } else { "refused" }.into();
                change.why = "both changed lines 1-3".into();
            }
            plan.refused |= change.verdict == "refused";
        }
        plan.needs.sort();
        plan.needs.dedup();
        plan.empty = !changes.iter().any(|c| c.verdict == "apply" || c.verdict == "merge");
        plan.fingerprint = format!("{}:{}:{}", asked.classes.join(","), asked.leave_out, changes.len());
        if !changes.is_empty() {
            plan.trees.push(TreePlan { tree: b"/w".to_vec().into(), changes });
        }
        plan
    }
}

#[tonic::async_trait]
impl Changes for Double {
    type DiffRunStream = Answers<DiffResponse>;
    async fn diff_run(
        &self,
        request: Request<DiffRunRequest>,
    ) -> Result<Response<Answers<DiffResponse>>, Status> {
        let request = request.into_inner();
        self.state().asked_diff_run.push(request.clone());
        Ok(self.text(request.format()))
    }

    async fn plan_apply(
        &self,
        request: Request<PlanApplyRequest>,
    ) -> Result<Response<PlanApplyResponse>, Status> {
        let request = request.into_inner();
        let plan = self.plan(&request);
        self.state().asked_plan.push(request);
        Ok(Response::new(plan))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let request = request.into_inner();
        self.state().asked_apply.push(request.clone());
        let meanwhile = self.state().changes_meanwhile.take();
        if let Some(changes) = meanwhile {
            self.state().changes = changes;
            let details = ErrorDetails::with_error_info("plan-changed", "cordon", []);
            return Err(Status::with_error_details(Code::FailedPrecondition, "changed", details));
        }
        let plan = self.plan(&request.plan.unwrap_or_default());
        assert_eq!(plan.fingerprint, request.fingerprint);
        let changed = plan.trees.iter().flat_map(|t| &t.changes).filter(|c| c.verdict == "apply").count();
        Ok(Response::new(ApplyResponse { done: Some(plan), changed: changed as u64 }))
    }
}

#[tonic::async_trait]
impl Snapshots for Double {
    async fn list_snapshots(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        self.state().asked_list.push(request.into_inner());
        let snapshots = vec![the_snapshot("3f9a"), the_snapshot("4e00")];
        Ok(Response::new(ListSnapshotsResponse { snapshots }))
    }

    async fn get_snapshot(&self, request: Request<GetSnapshotRequest>) -> Result<Response<Snapshot>, Status> {
        match request.into_inner().id.as_str() {
            "none" => Err(Status::not_found("there is no snapshot none")),
            _ => Ok(Response::new(the_snapshot("3f9a"))),
        }
    }

    type DiffStream = Answers<DiffResponse>;
    async fn diff(&self, request: Request<DiffRequest>) -> Result<Response<Answers<DiffResponse>>, Status> {
        let request = request.into_inner();
        self.state().asked_diff.push(request.clone());
        Ok(self.text(request.format()))
    }

    async fn restore(&self, request: Request<RestoreRequest>) -> Result<Response<RestoreResponse>, Status> {
        self.state().asked_restore.push(request.into_inner());
        let before = Some(the_snapshot("be40"));
        let tree = EVIL.as_bytes().to_vec().into();
        Ok(Response::new(RestoreResponse { before, tree, changed: 2 }))
    }

    async fn label_snapshot(
        &self,
        request: Request<LabelSnapshotRequest>,
    ) -> Result<Response<Snapshot>, Status> {
        let request = request.into_inner();
        assert!(!request.idempotency_key.is_empty());
        Ok(Response::new(Snapshot { label: request.label, ..the_snapshot("3f9a") }))
    }

    async fn remove_snapshots(
        &self,
        request: Request<RemoveSnapshotsRequest>,
    ) -> Result<Response<RemoveSnapshotsResponse>, Status> {
        self.state().asked_remove.push(request.into_inner());
        Ok(Response::new(RemoveSnapshotsResponse {}))
    }

    type ExportStream = Answers<ExportResponse>;
    async fn export(
        &self,
        request: Request<ExportRequest>,
    ) -> Result<Response<Answers<ExportResponse>>, Status> {
        let piece = |data: &[u8]| Ok(ExportResponse { data: data.to_vec().into() });
        let mut pieces = vec![piece(b"tar\x1b\xff"), piece(b"end")];
        if request.into_inner().id == "broken" {
            pieces[1] = Err(Status::data_loss("the store is damaged"));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces))))
    }

    async fn import(&self, request: Request<Streaming<ImportRequest>>) -> Result<Response<Snapshot>, Status> {
        let mut requests = request.into_inner();
        let mut whole = ImportRequest::default();
        let mut data = Vec::new();
        while let Some(piece) = requests.message().await? {
            data.extend_from_slice(&piece.data);
            if whole.idempotency_key.is_empty() {
                whole = piece;
            } else {
                assert!(piece.label.is_empty() && piece.idempotency_key.is_empty());
            }
        }
        whole.data = data.into();
        self.state().asked_import.push(whole);
        Ok(Response::new(Snapshot { kind: "import".into(), ..the_snapshot("1111") }))
    }

    async fn collect_garbage(
        &self,
        request: Request<CollectGarbageRequest>,
    ) -> Result<Response<CollectGarbageResponse>, Status> {
        self.state().asked_collect.push(request.into_inner());
        let removed = vec![EVIL.into()];
        Ok(Response::new(CollectGarbageResponse { removed, freed_bytes: 1_000, stored_bytes: 2_000_000 }))
    }

    async fn verify(&self, _: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        let faults = if self.state().faulty {
            vec![StoreFault { what: EVIL.into(), touched: vec![EVIL.into()] }]
        } else {
            Vec::new()
        };
        Ok(Response::new(VerifyResponse { snapshots: 2, objects: 1, bytes: 5, faults }))
    }

    async fn push_snapshots(
        &self,
        request: Request<PushSnapshotsRequest>,
    ) -> Result<Response<PushSnapshotsResponse>, Status> {
        let request = request.into_inner();
        let pushed = request.ids.iter().filter(|id| *id != "there").count() as u64;
        if request.ids.iter().any(|id| id == "nowhere") {
            let mut details =
                ErrorDetails::with_error_info("no-bucket", "cordon", std::collections::HashMap::new());
            details.add_help_link("`cordond --snapshot-bucket s3://BUCKET/PREFIX` gives it one", "");
            let message = "this daemon has no bucket for snapshots";
            return Err(Status::with_error_details(Code::FailedPrecondition, message, details));
        }
        let mut state = self.state();
        state.asked_push.push(request);
        // The answer of the first is lost: it is asked for again, with the same key.
        if state.asked_push.len() == 1 {
            return Err(Status::unavailable("gone"));
        }
        Ok(Response::new(PushSnapshotsResponse { pushed, bytes: 1_000 * pushed }))
    }

    async fn fetch_snapshot(
        &self,
        request: Request<FetchSnapshotRequest>,
    ) -> Result<Response<Snapshot>, Status> {
        let parent = request.into_inner().id;
        Ok(Response::new(Snapshot { kind: "fetch".into(), parents: vec![parent], ..the_snapshot("2222") }))
    }

    async fn list_bucket(
        &self,
        _: Request<ListBucketRequest>,
    ) -> Result<Response<ListBucketResponse>, Status> {
        let empty = self.state().faulty;
        let snapshots = if empty { Vec::new() } else { vec![the_snapshot("b0c4")] };
        Ok(Response::new(ListBucketResponse { snapshots }))
    }
}

fn the_workspace() -> Workspace {
    Workspace {
        path: EVIL.into(),
        made: true,
        run: "0199-run".into(),
        agent: EVIL.into(),
        last_snapshot: "3f9a0c0b22de44556677".into(),
        files: 3,
        bytes: 12_345,
        ..Workspace::default()
    }
}

#[tonic::async_trait]
impl Workspaces for Double {
    async fn list_workspaces(
        &self,
        _: Request<ListWorkspacesRequest>,
    ) -> Result<Response<ListWorkspacesResponse>, Status> {
        Ok(Response::new(ListWorkspacesResponse { workspaces: vec![the_workspace()] }))
    }

    async fn get_workspace(&self, _: Request<GetWorkspaceRequest>) -> Result<Response<Workspace>, Status> {
        Ok(Response::new(the_workspace()))
    }

    async fn remove_workspace(
        &self,
        request: Request<RemoveWorkspaceRequest>,
    ) -> Result<Response<RemoveWorkspaceResponse>, Status> {
        match request.into_inner().name.as_str() {
            "/mine" => Err(Status::failed_precondition("Cordon did not make /mine")),
            _ => Ok(Response::new(RemoveWorkspaceResponse {})),
        }
    }

    type ListTreeStream = Answers<TreeNode>;
    async fn list_tree(
        &self,
        request: Request<ListTreeRequest>,
    ) -> Result<Response<Answers<TreeNode>>, Status> {
        self.state().asked_tree.push(request.into_inner());
        let node = |path: &str, kind: &str| TreeNode {
            path: path.as_bytes().to_vec().into(),
            kind: kind.into(),
            mode: 0o755,
            size: 7,
            target: EVIL.as_bytes().to_vec().into(),
            ..TreeNode::default()
        };
        Ok(stream(vec![node("src", "directory"), node(&format!("src/{EVIL}"), "file"), node("l", "symlink")]))
    }

    type ReadFileStream = Answers<ReadFileResponse>;
    async fn read_file(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<Answers<ReadFileResponse>>, Status> {
        let request = request.into_inner();
        let data = [b"of ".as_slice(), &request.path, b"\x1b[2J\xff\n"].concat();
        Ok(stream(data.chunks(2).map(|c| ReadFileResponse { data: c.to_vec().into() }).collect()))
    }
}
