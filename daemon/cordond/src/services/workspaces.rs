use super::{
    caller::Caller,
    stream::{Answers, answer},
};
use crate::status::of_run;
use cordon_proto::v1::{self, workspaces_server};
use cordon_runs::Runs;
use tonic::{Request, Response, Status};

pub(crate) struct WorkspacesService {
    pub(crate) runs: Runs,
}

#[tonic::async_trait]
impl workspaces_server::Workspaces for WorkspacesService {
    async fn list_workspaces(
        &self,
        request: Request<v1::ListWorkspacesRequest>,
    ) -> Result<Response<v1::ListWorkspacesResponse>, Status> {
        let owner = Caller::of(&request)?.owns();
        let workspaces = self.runs.workspaces(owner).await.map_err(|e| of_run(&e))?;
        Ok(Response::new(v1::ListWorkspacesResponse { workspaces }))
    }

    async fn get_workspace(
        &self,
        request: Request<v1::GetWorkspaceRequest>,
    ) -> Result<Response<v1::Workspace>, Status> {
        let owner = Caller::of(&request)?.owns();
        let found = self.runs.workspace(owner, &request.into_inner().name).await;
        Ok(Response::new(found.map_err(|e| of_run(&e))?))
    }

    async fn remove_workspace(
        &self,
        request: Request<v1::RemoveWorkspaceRequest>,
    ) -> Result<Response<v1::RemoveWorkspaceResponse>, Status> {
        let owner = Caller::of(&request)?.owns();
        let v1::RemoveWorkspaceRequest { name, idempotency_key } = request.into_inner();
        let removed = self.runs.remove_workspace(owner, &name, &idempotency_key).await;
        removed.map_err(|e| of_run(&e))?;
        Ok(Response::new(v1::RemoveWorkspaceResponse {}))
    }

    type ListTreeStream = Answers<v1::TreeNode>;

    async fn list_tree(
        &self,
        request: Request<v1::ListTreeRequest>,
    ) -> Result<Response<Self::ListTreeStream>, Status> {
        let owner = Caller::of(&request)?.owns();
        let v1::ListTreeRequest { name, path, depth } = request.into_inner();
        let runs = self.runs.clone();
        runs.known_all().await;
        Ok(Response::new(answer(move |to| {
            runs.list_tree(owner, &name, &path, depth, &mut |node| to.blocking_send(Ok(node)).is_ok())
        })))
    }

    type ReadFileStream = Answers<v1::ReadFileResponse>;

    async fn read_file(
        &self,
        request: Request<v1::ReadFileRequest>,
    ) -> Result<Response<Self::ReadFileStream>, Status> {
        let owner = Caller::of(&request)?.owns();
        let v1::ReadFileRequest { name, path } = request.into_inner();
        let runs = self.runs.clone();
        runs.known_all().await;
        Ok(Response::new(answer(move |to| {
            let mut send =
                |data: Vec<u8>| to.blocking_send(Ok(v1::ReadFileResponse { data: data.into() })).is_ok();
            runs.read_file(owner, &name, &path, &mut send)
        })))
    }
}
