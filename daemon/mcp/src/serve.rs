//! The host as an MCP server itself.

use crate::{CallError, Host, LONGEST_MESSAGE, error::words};
use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt as _,
    model::{
        CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult, PaginatedRequestParams,
        ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
    transport::async_rw::AsyncRwTransport,
};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a request is, beside the arguments that it may carry.
const ENVELOPE: usize = 1 << 20;

struct Handler(Arc<Host>);

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
        let transport = AsyncRwTransport::new_server(read, write)
            .with_max_line_length(LONGEST_MESSAGE.saturating_add(ENVELOPE));
        let serving = Handler(self).serve(transport).await;
        let running = serving.map_err(|e| words(&e.to_string()))?;
        running.waiting().await.map(drop).map_err(|e| words(&e.to_string()))
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
        let tools = self.0.list_tools().iter().map(|t| t.0.clone()).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let call = self.0.call(&request.name, request.arguments.unwrap_or_default());
        let called = tokio::select! {
            called = call => called,
            // Dropped: and so the server behind is told, too.
            () = context.ct.cancelled() => {
                return Err(ErrorData::internal_error("the call was cancelled", None));
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
