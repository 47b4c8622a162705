use crate::{
    ServerError,
    error::words,
    launch::{Launch, Launched},
    tools,
};
use rmcp::{
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject, Tool},
    service::ServiceError,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// One server: alive, or dead with a reason.
pub(crate) struct Server {
    /// None: the guest's own.
    pub(crate) name: Option<String>,
    pub(crate) names: Names,
    launch: Launch,
    ready_within: Duration,
    call_within: Duration,
    /// What no message may hold.
    hidden: Vec<String>,
    state: Mutex<State>,
}

/// How its tools are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// As `mcp__SERVER__TOOL`, unless they are the guest's.
    Composed,
    /// As the server names them.
    Plain,
}

struct State {
    up: Option<Arc<Launched>>,
    /// Why it is not up.
    why: ServerError,
}

impl Server {
    pub(crate) fn new(
        name: Option<String>,
        launch: Launch,
        (ready_within, call_within): (Duration, Duration),
    ) -> Self {
        let hidden = match &launch {
            Launch::Http(target) => target.hidden(),
            _ => Vec::new(),
        };
        let why = ServerError::Start("it was not started".to_owned());
        let state = Mutex::new(State { up: None, why });
        let names = Names::Composed;
        Self { name, names, launch, ready_within, call_within, hidden, state }
    }

    pub(crate) fn named(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// What it said of itself when it was started.
    pub(crate) async fn instructions(&self) -> Option<String> {
        let state = self.state.lock().await;
        state.up.as_ref()?.running.peer().peer_info()?.instructions.clone()
    }

    /// Starts it and asks for its tools.
    pub(crate) async fn start(&self) -> Result<Vec<Tool>, ServerError> {
        let mut state = self.state.lock().await;
        let up = self.launch(&mut state).await?;
        let listed = tokio::time::timeout(self.ready_within, tools::list(up.running.peer())).await;
        let listed = match listed {
            Ok(Err(error)) => Err(up.ending.explain(error).await),
            Ok(listed) => listed,
            Err(_) => Err(ServerError::Silent { seconds: self.ready_within.as_secs() }),
        };
        listed.map_err(|error| {
            let error = self.hide(error);
            // Nobody calls what nobody was told of.
            state.up = None;
            state.why = error.clone();
            error
        })
    }

    /// Calls a tool. An answer of the server, whichever it is, is a result.
    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: JsonObject,
    ) -> Result<CallToolResult, ServerError> {
        let up = self.up().await?;
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        // Dropping it tells the server that nobody waits any more.
        let answered = tokio::time::timeout(self.call_within, up.running.peer().call_tool_once(params)).await;
        let refusal = |text: &str| CallToolResult::error(vec![ContentBlock::text(text)]);
        match answered {
            Ok(Ok(CallToolResponse::Complete(result))) => Ok(result),
            Ok(Ok(_)) => Ok(refusal("the tool asks for something that cannot be given here")),
            Ok(Err(ServiceError::McpError(error))) => {
                Ok(refusal(&format!("error {}: {}", error.code.0, words(&error.message))))
            }
            Ok(Err(error)) => {
                let error = ServerError::Protocol(words(&error.to_string()));
                Err(self.hide(up.ending.explain(error).await))
            }
            Err(_) => Err(ServerError::Silent { seconds: self.call_within.as_secs() }),
        }
    }

    async fn up(&self) -> Result<Arc<Launched>, ServerError> {
        let mut state = self.state.lock().await;
        if let Some(up) = &state.up {
            if !up.running.is_closed() && !up.running.peer().is_transport_closed() {
                return Ok(up.clone());
            }
            let why = up.ending.reason().await.unwrap_or_else(|| "it closed the connection".to_owned());
            state.why = ServerError::Ended(why);
            state.up = None;
        }
        Err(state.why.clone())
    }

    async fn launch(&self, state: &mut State) -> Result<Arc<Launched>, ServerError> {
        match self.launch.start(self.ready_within).await {
            Ok(launched) => {
                let up = Arc::new(launched);
                state.up = Some(up.clone());
                Ok(up)
            }
            Err(error) => {
                let error = self.hide(error);
                state.why = error.clone();
                Err(error)
            }
        }
    }

    fn hide(&self, error: ServerError) -> ServerError {
        let clean = |text: String| {
            self.hidden.iter().fold(text, |text, hidden| text.replace(hidden.as_str(), "(its URL)"))
        };
        match error {
            ServerError::Start(text) => ServerError::Start(clean(text)),
            ServerError::Protocol(text) => ServerError::Protocol(clean(text)),
            ServerError::Ended(text) => ServerError::Ended(clean(text)),
            other => other,
        }
    }
}
