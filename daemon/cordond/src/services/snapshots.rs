use super::{
    caller::Caller,
    stream::{Answers, Pieces, answer},
};
use crate::status::{invalid, of_run};
use cordon_proto::v1::{self, snapshots_server};
use cordon_runs::{Compared, DiffFormat, RunError, Runs};
use std::io::Write as _;
use tonic::{Request, Response, Status, Streaming};

pub(crate) struct SnapshotsService {
    pub(crate) runs: Runs,
}

/// How a difference is to be told.
pub(crate) fn compared(format: i32, colour: bool, paths: Vec<bytes::Bytes>) -> Result<Compared, Status> {
    let format = match v1::DiffFormat::try_from(format) {
        Ok(v1::DiffFormat::Unspecified | v1::DiffFormat::Unified) => DiffFormat::Unified,
        Ok(v1::DiffFormat::Stat) => DiffFormat::Stat,
        Ok(v1::DiffFormat::NameOnly) => DiffFormat::NameOnly,
        Ok(v1::DiffFormat::Json) => DiffFormat::Json,
        Err(_) => return Err(invalid("unknown-format", &format!("there is no diff format {format}"))),
    };
    Ok(Compared { format, colour, paths: paths.into_iter().map(Vec::from).collect() })
}

/// A difference as a stream of text.
pub(crate) fn told(
    tell: impl FnOnce(&mut dyn std::io::Write) -> Result<(), RunError> + Send + 'static,
) -> Answers<v1::DiffResponse> {
    answer(move |to| {
        let mut out = Pieces::new(to, |text| v1::DiffResponse { text: text.into() });
        tell(&mut out)?;
        out.flush().map_err(RunError::Told)
    })
}

#[tonic::async_trait]
impl snapshots_server::Snapshots for SnapshotsService {
    async fn list_snapshots(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsResponse>, Status> {
        let owner = Caller::of(&request)?.owns();
        let v1::ListSnapshotsRequest { run, agent } = request.into_inner();
        let snapshots = self.runs.snapshots(owner, &run, &agent).await.map_err(|e| of_run(&e))?;
        Ok(Response::new(v1::ListSnapshotsResponse { snapshots }))
    }

    async fn get_snapshot(
        &self,
        request: Request<v1::GetSnapshotRequest>,
    ) -> Result<Response<v1::Snapshot>, Status> {
        let owner = Caller::of(&request)?.owns();
        let found = self.runs.snapshot(owner, &request.into_inner().id).await;
        Ok(Response::new(found.map_err(|e| of_run(&e))?))
    }

    type DiffStream = Answers<v1::DiffResponse>;

    async fn diff(&self, request: Request<v1::DiffRequest>) -> Result<Response<Self::DiffStream>, Status> {
        let owner = Caller::of(&request)?.owns();
        let v1::DiffRequest { old, new, format, colour, paths } = request.into_inner();
        let how = compared(format, colour, paths)?;
        let runs = self.runs.clone();
        runs.known_all().await;
        Ok(Response::new(told(move |out| runs.diff(owner, &old, &new, &how, out))))
    }

    async fn label_snapshot(
        &self,
        request: Request<v1::LabelSnapshotRequest>,
    ) -> Result<Response<v1::Snapshot>, Status> {
        let owner = Caller::of(&request)?.owns();
        let v1::LabelSnapshotRequest { id, label, idempotency_key } = request.into_inner();
        let labelled = self.runs.label(owner, &id, &label, &idempotency_key).await;
        Ok(Response::new(labelled.map_err(|e| of_run(&e))?))
    }

    async fn remove_snapshots(
        &self,
        request: Request<v1::RemoveSnapshotsRequest>,
    ) -> Result<Response<v1::RemoveSnapshotsResponse>, Status> {
        let owner = Caller::of(&request)?.owns();
        let v1::RemoveSnapshotsRequest { ids, idempotency_key } = request.into_inner();
        let removed = self.runs.remove_snapshots(owner, &ids, &idempotency_key).await;
        removed.map_err(|e| of_run(&e))?;
        Ok(Response::new(v1::RemoveSnapshotsResponse {}))
    }

    async fn collect_garbage(
        &self,
        request: Request<v1::CollectGarbageRequest>,
    ) -> Result<Response<v1::CollectGarbageResponse>, Status> {
        let owner = Caller::of(&request)?.owns();
        let collected = self.runs.collect_garbage(owner, request.into_inner()).await;
        Ok(Response::new(collected.map_err(|e| of_run(&e))?))
    }

    async fn verify(
        &self,
        request: Request<v1::VerifyRequest>,
    ) -> Result<Response<v1::VerifyResponse>, Status> {
        let owner = Caller::of(&request)?.owns();
        Ok(Response::new(self.runs.verify(owner).await.map_err(|e| of_run(&e))?))
    }

    async fn restore(
        &self,
        request: Request<v1::RestoreRequest>,
    ) -> Result<Response<v1::RestoreResponse>, Status> {
        let owner = Caller::of(&request)?.owns();
        let v1::RestoreRequest { id, idempotency_key } = request.into_inner();
        // A client that hangs up must not leave half of it.
        let runs = self.runs.clone();
        let restored = tokio::spawn(async move { runs.restore(owner, &id, &idempotency_key).await }).await;
        let restored = restored.map_err(|_| Status::internal("the snapshot could not be restored"))?;
        Ok(Response::new(restored.map_err(|e| of_run(&e))?))
    }

    type ExportStream = Answers<v1::ExportResponse>;

    async fn export(
        &self,
        request: Request<v1::ExportRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        let owner = Caller::of(&request)?.owns();
        let id = request.into_inner().id;
        let runs = self.runs.clone();
        runs.known_all().await;
        Ok(Response::new(answer(move |to| {
            let mut out = Pieces::new(to, |data| v1::ExportResponse { data: data.into() });
            runs.export(owner, &id, &mut out)?;
            out.flush().map_err(RunError::Told)
        })))
    }

    async fn import(
        &self,
        request: Request<Streaming<v1::ImportRequest>>,
    ) -> Result<Response<v1::Snapshot>, Status> {
        let owner = Caller::of(&request)?.owns();
        super::import::import(&self.runs, owner, request.into_inner()).await
    }
    async fn push_snapshots(
        &self,
        request: Request<v1::PushSnapshotsRequest>,
    ) -> Result<Response<v1::PushSnapshotsResponse>, Status> {
        let owner = Caller::of(&request)?.owns();
        let v1::PushSnapshotsRequest { ids, idempotency_key } = request.into_inner();
        let pushed = self.runs.push_snapshots(owner, &ids, &idempotency_key).await;
        Ok(Response::new(pushed.map_err(|e| of_run(&e))?))
    }

    async fn fetch_snapshot(
        &self,
        request: Request<v1::FetchSnapshotRequest>,
    ) -> Result<Response<v1::Snapshot>, Status> {
        let owner = Caller::of(&request)?.owns();
        let fetched = self.runs.fetch_snapshot(owner, &request.into_inner().id).await;
        Ok(Response::new(fetched.map_err(|e| of_run(&e))?))
    }

    async fn list_bucket(
        &self,
        request: Request<v1::ListBucketRequest>,
    ) -> Result<Response<v1::ListBucketResponse>, Status> {
        let owner = Caller::of(&request)?.owns();
        let snapshots = self.runs.bucket_snapshots(owner).await.map_err(|e| of_run(&e))?;
        Ok(Response::new(v1::ListBucketResponse { snapshots }))
    }
}
