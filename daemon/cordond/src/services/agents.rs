use super::{
    backends,
    caller::{Caller, agent_file, inspect},
};
use crate::status::of_run;
use cordon_config::{Parsed, Source, parse, schema};
use cordon_proto::v1::{self, agents_server};
use cordon_runs::Runs;
use std::{collections::BTreeMap, path::Path};
use tonic::{Request, Response, Status};

pub(crate) struct AgentsService {
    pub(crate) runs: Runs,
}

#[tonic::async_trait]
impl agents_server::Agents for AgentsService {
    async fn validate(
        &self,
        request: Request<v1::ValidateRequest>,
    ) -> Result<Response<v1::ValidateResponse>, Status> {
        Caller::of(&request)?;
        let file = agent_file(request.into_inner().agent_file)?;
        // Looks for context paths.
        let parsed = tokio::task::spawn_blocking(move || {
            let parsed = read(&file);
            let variables: BTreeMap<String, String> = file.variables.into_iter().collect();
            let agents = parsed.file.iter().flat_map(|f| &f.agents);
            let models: Vec<_> = agents.filter_map(|a| backends::model_agent(a, &variables)).collect();
            (parsed, models)
        });
        let (parsed, models) =
            parsed.await.map_err(|_| Status::internal("the agent file could not be checked"))?;
        Ok(Response::new(v1::ValidateResponse {
            valid: parsed.file.is_some(),
            agents: parsed.file.iter().flat_map(|f| f.agents.iter().map(|a| a.id.clone())).collect(),
            problems: parsed.problems.iter().map(problem).collect(),
            variables: parsed.variables,
            models,
        }))
    }

    async fn schema(
        &self,
        _request: Request<v1::SchemaRequest>,
    ) -> Result<Response<v1::SchemaResponse>, Status> {
        Ok(Response::new(v1::SchemaResponse { json: schema().to_string() }))
    }

    async fn list_backends(
        &self,
        _request: Request<v1::ListBackendsRequest>,
    ) -> Result<Response<v1::ListBackendsResponse>, Status> {
        let backends = cordon_config::backends().iter().map(backends::backend).collect();
        Ok(Response::new(v1::ListBackendsResponse { backends }))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let caller = Caller::of(&request)?;
        let v1::ExplainRequest { agent_file, agent, paths } = request.into_inner();
        let request = inspect(caller, agent_file, agent, "").await?;
        let rows = self.runs.explain(request, paths).await.map_err(|e| of_run(&e))?;
        Ok(Response::new(v1::ExplainResponse { rows }))
    }
}

fn read(file: &v1::AgentFile) -> Parsed {
    let variables: BTreeMap<String, String> = file.variables.clone().into_iter().collect();
    parse(&Source {
        name: &file.name,
        content: &file.content,
        directory: Path::new(&file.directory),
        variables: &variables,
    })
}

fn problem(problem: &cordon_config::Problem) -> v1::Problem {
    v1::Problem {
        severity: problem.severity.to_string(),
        reason: problem.reason.to_owned(),
        message: problem.message.clone(),
        key: problem.key.clone(),
        line: problem.line,
        column: problem.column,
        excerpt: problem.excerpt.clone(),
        help: problem.help.clone(),
    }
}
