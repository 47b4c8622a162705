use super::{
    caller::Caller,
    snapshots::{compared, told},
    stream::Answers,
};
use crate::status::{invalid, of_run};
use cordon_proto::v1::{self, changes_server};
use cordon_runs::{ApplyOptions, OnDrift, Runs};
use tonic::{Request, Response, Status};

pub(crate) struct ChangesService {
    pub(crate) runs: Runs,
}

#[tonic::async_trait]
impl changes_server::Changes for ChangesService {
    type DiffRunStream = Answers<v1::DiffResponse>;

    async fn diff_run(
        &self,
        request: Request<v1::DiffRunRequest>,
    ) -> Result<Response<Self::DiffRunStream>, Status> {
        let owner = Caller::of(&request)?.owns();
        let v1::DiffRunRequest { run, agent, format, colour, paths } = request.into_inner();
        let how = compared(format, colour, paths)?;
        let runs = self.runs.clone();
        runs.known_all().await;
        Ok(Response::new(told(move |out| runs.diff_run(owner, &run, &agent, &how, out))))
    }

    async fn plan_apply(
        &self,
        request: Request<v1::PlanApplyRequest>,
    ) -> Result<Response<v1::PlanApplyResponse>, Status> {
        let owner = Caller::of(&request)?.owns();
        let options = options(request.into_inner())?;
        let planned = self.runs.plan_apply(owner, options).await;
        Ok(Response::new(planned.map_err(|e| of_run(&e))?))
    }

    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Result<Response<v1::ApplyResponse>, Status> {
        let owner = Caller::of(&request)?.owns();
        let v1::ApplyRequest { plan, fingerprint, idempotency_key } = request.into_inner();
        let plan = plan.ok_or_else(|| invalid("no-plan", "the request does not say what is planned"))?;
        let options = options(plan)?;
        // A client that hangs up must not leave half of it.
        let runs = self.runs.clone();
        let applied =
            tokio::spawn(async move { runs.apply(owner, options, &fingerprint, &idempotency_key).await });
        let applied = applied.await.map_err(|_| Status::internal("the changes could not be applied"))?;
        Ok(Response::new(applied.map_err(|e| of_run(&e))?))
    }
}

fn options(request: v1::PlanApplyRequest) -> Result<ApplyOptions, Status> {
    let on_drift = match request.on_drift() {
        v1::OnDrift::Unspecified => None,
        v1::OnDrift::Fail => Some(OnDrift::Fail),
        v1::OnDrift::Skip => Some(OnDrift::Skip),
        v1::OnDrift::Ours => Some(OnDrift::Ours),
        v1::OnDrift::Merge => Some(OnDrift::Merge),
    };
    if v1::OnDrift::try_from(request.on_drift).is_err() {
        return Err(invalid("unknown-drift", "there is no such answer to drift"));
    }
    Ok(ApplyOptions {
        run: request.run,
        agent: request.agent,
        paths: request.paths.into_iter().map(Vec::from).collect(),
        on_drift,
        classes: request.classes,
        leave_out: request.leave_out,
    })
}
