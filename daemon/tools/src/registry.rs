use crate::{Answer, Table, ToolError, arguments, bash, files, resolve::Resolver, workspace};
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::{future::Future, path::Path, sync::Arc};
use tokio_util::sync::CancellationToken;

/// What one call works with.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) state: Arc<State>,
    /// Cancelled when nobody wants the answer any more.
    pub(crate) cancel: CancellationToken,
}

impl Call {
    pub(crate) fn resolver(&self) -> Resolver<'_> {
        Resolver::new(&self.state.table)
    }
}

/// What all calls share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) table: Table,
    pub(crate) files: files::Known,
    pub(crate) bash: bash::Shells,
}

type Handler =
    Box<dyn Fn(Call, Map<String, Value>) -> BoxFuture<'static, Result<Answer, ToolError>> + Send + Sync>;

/// One tool.
pub struct Tool {
    /// What a model calls it.
    pub name: &'static str,
    /// For the model.
    pub description: &'static str,
    /// JSON schema of its arguments.
    pub schema: Map<String, Value>,
    /// Whether it changes nothing.
    pub read_only: bool,
    pub(crate) is_file_tool: bool,
    handler: Handler,
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tool({})", self.name)
    }
}

impl Tool {
    /// A tool that waits: its future is dropped when the call is cancelled.
    pub(crate) fn new<A, F, R>(name: &'static str, description: &'static str, run: F) -> Self
    where
        A: DeserializeOwned + JsonSchema,
        F: Fn(Call, A) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Answer, ToolError>> + Send + 'static,
    {
        let schema = arguments::schema::<A>();
        let handler: Handler = Box::new(move |call, given| match arguments::read::<A>(given) {
            Ok(read) => Box::pin(run(call, read)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        });
        Self { name, description, schema, read_only: false, is_file_tool: false, handler }
    }

    /// A tool that works on files and blocks while it does.
    pub(crate) fn file<A, F>(name: &'static str, description: &'static str, run: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        F: Fn(&Call, A) -> Result<Answer, ToolError> + Send + Sync + Copy + 'static,
    {
        let wait = move |call: Call, arguments: A| async move {
            tokio::task::spawn_blocking(move || run(&call, arguments))
                .await
                .map_err(|_| ToolError::Failed(format!("{name} failed within itself")))?
        };
        Self { is_file_tool: true, ..Self::new(name, description, wait) }
    }

    /// Says that it changes nothing.
    pub(crate) fn reads(mut self) -> Self {
        self.read_only = true;
        self
    }
}

/// The tools of one sandbox.
#[derive(Debug)]
pub struct Tools {
    state: Arc<State>,
    tools: Vec<Tool>,
    /// The daemon's own way to what no model is shown. Whoever calls them is bound by the same policy.
    unlisted: Vec<Tool>,
}

impl Tools {
    /// The tools that a table asks for.
    #[must_use]
    pub fn new(table: Table) -> Self {
        let only_writing = table.only_writing_file_tools;
        let mut tools = files::tools();
        if only_writing {
            tools.retain(|tool| ["write_file", "edit_file"].contains(&tool.name));
        } else {
            tools.extend(workspace::tools());
        }
        tools.extend(bash::tools());
        let state = Arc::new(State { table, files: files::Known::default(), bash: bash::Shells::default() });
        Self { state, tools, unlisted: files::unlisted() }
    }

    /// Where relative paths begin.
    #[must_use]
    pub fn workspace(&self) -> &Path {
        &self.state.table.workspace
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Every tool that is listed.
    #[must_use]
    pub fn list(&self) -> &[Tool] {
        &self.tools
    }

    /// Calls a tool; none: there is no such tool. What went wrong is an answer as well.
    /// Cancelling ends what the tool started.
    pub async fn call(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        cancel: CancellationToken,
    ) -> Option<Answer> {
        let tool = self.tools.iter().chain(&self.unlisted).find(|tool| tool.name == name)?;
        let call = Call { state: self.state.clone(), cancel };
        Some((tool.handler)(call, arguments).await.unwrap_or_else(Answer::from))
    }

    /// Ends every command that still runs, with all that it started. None starts after that.
    pub async fn end(&self) {
        self.state.bash.end().await;
    }
}
