//! The server behind the protocol: lists the tools and calls them.

use crate::{Answer, Piece, Tools, error::shown};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ProtocolVersion, ResourceContents, ServerCapabilities,
        ServerConfig, Tool, ToolAnnotations,
    },
    service::RequestContext,
};
use std::{fmt::Write as _, sync::Arc};
use tokio_util::sync::CancellationToken;

pub(crate) struct Handler {
    tools: Arc<Tools>,
    listed: Vec<Tool>,
    /// Cancelled when nobody waits for answers any more.
    ended: CancellationToken,
}

impl Handler {
    pub(crate) fn new(tools: Arc<Tools>, ended: CancellationToken) -> Self {
        let listed = tools.list().iter().map(describe).collect();
        Self { tools, listed, ended }
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_protocol_version(ProtocolVersion::V_2025_11_25)
            .with_server_info(Implementation::new("cordon", env!("CARGO_PKG_VERSION")))
            .with_instructions(format!(
                "Files and a shell inside a sandbox. The workspace is {}; relative paths begin there. \
                 A refusal names the rule that refuses, and is final: no other spelling, link or command \
                 leads around it.",
                self.tools.workspace().display(),
            ))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.listed.clone()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let cancel = context.ct.child_token();
        // Whatever ends this call ends what it started.
        let _ended = cancel.clone().drop_guard();
        let call = self.tools.call(&request.name, request.arguments.unwrap_or_default(), cancel.clone());
        tokio::pin!(call);
        let answer = tokio::select! {
            biased;
            answer = &mut call => answer,
            () = self.ended.cancelled() => {
                cancel.cancel();
                return Err(ErrorData::internal_error("the stream has ended", None));
            }
        };
        match answer {
            Some(answer) => Ok(result(answer).into()),
            None => {
                Err(ErrorData::invalid_params(format!("there is no tool {}", shown(&request.name)), None))
            }
        }
    }
}

fn describe(tool: &crate::Tool) -> Tool {
    let mut hints = ToolAnnotations::new().read_only(tool.read_only);
    if !tool.read_only {
        hints = hints.destructive(true);
    }
    if tool.is_file_tool {
        hints = hints.open_world(false);
    }
    Tool::new(tool.name, tool.description, tool.schema.clone()).with_annotations(hints)
}

fn result(answer: Answer) -> CallToolResult {
    let pieces = answer.pieces.into_iter().map(block).collect();
    let mut result =
        if answer.is_error { CallToolResult::error(pieces) } else { CallToolResult::success(pieces) };
    result.structured_content = answer.structured;
    result
}

fn block(piece: Piece) -> ContentBlock {
    match piece {
        Piece::Text(text) => ContentBlock::text(text),
        Piece::Image { data, mime } => ContentBlock::image(STANDARD.encode(data), mime),
        Piece::Audio { data, mime } => ContentBlock::audio(STANDARD.encode(data), mime),
        Piece::Blob { data, mime, path } => ContentBlock::resource(
            ResourceContents::blob(STANDARD.encode(data), file_uri(&path)).with_mime_type(mime),
        ),
    }
}

/// Whatever is in a name, it stays the path.
fn file_uri(path: &str) -> String {
    let mut uri = String::from("file://");
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}
