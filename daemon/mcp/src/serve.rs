//! The host as an MCP server itself.

use crate::{CallError, Host, error::words};
use cordon_wire::Wire;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult, PaginatedRequestParams,
        ServerCapabilities, ServerConfig,
    },
    service::{RequestContext, ServerInitializeError, serve_server},
};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

struct Handler {
    host: Arc<Host>,
    /// Cancelled when nobody waits for answers any more.
    ended: CancellationToken,
}

impl Host {
    /// Serves all tools to one client, line by line, until it hangs up. Dropping the future
    /// lets go of the client and of the calls that it waits for.
    ///
    /// # Errors
    /// When the client does not speak the protocol, in words.
    pub async fn serve<R, W>(self: Arc<Self>, read: R, write: W) -> Result<(), String>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let ended = CancellationToken::new();
        // Whoever drops the future waits for no answer.
        let _ended = ended.clone().drop_guard();
        let wire = Wire::new(read, write, ended.clone());
        let broken = wire.failure();
        let served = match serve_server(Handler { host: self, ended }, wire).await {
            Ok(session) => session.waiting().await.map(drop).map_err(|e| words(&e.to_string())),
            // Whoever hangs up without a session has asked for nothing.
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(words(&error.to_string())),
        };
        match broken.take() {
            Some(error) => Err(words(&error.to_string())),
            None => served,
        }
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        info.server_info = Implementation::new("cordon", env!("CARGO_PKG_VERSION"));
        info.instructions = Some(
            "Files and commands of one sandbox. A refusal says which rule refused and what would allow it."
                .to_owned(),
        );
        info
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.host.list_tools().iter().map(|t| t.0.clone()).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let call = self.host.call(&request.name, request.arguments.unwrap_or_default());
        let called = tokio::select! {
            called = call => called,
            // Dropped: and so the server behind is told, too.
            () = context.ct.cancelled() => {
                return Err(ErrorData::internal_error("the call was cancelled", None));
            }
            () = self.ended.cancelled() => {
                return Err(ErrorData::internal_error("the stream has ended", None));
            }
        };
        match called {
            Ok(result) => Ok(CallToolResponse::Complete(result.inner)),
            Err(error @ (CallError::UnknownTool(_) | CallError::Arguments(_))) => {
                Err(ErrorData::invalid_params(error.to_string(), None))
            }
            Err(error) => Err(ErrorData::internal_error(error.to_string(), None)),
        }
    }
}
