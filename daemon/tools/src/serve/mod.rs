//! The tools as an MCP server on a byte stream. The protocol itself is the library's; the
//! stream is ours: what comes over it is hostile, sizes included.

mod handler;
mod standard;
#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use cordon_wire::inspect;
pub use standard::{StandardInput, StandardOutput, standard};

use crate::Tools;
use cordon_wire::Wire;
use handler::Handler;
use rmcp::service::{ServerInitializeError, serve_server};
use std::{io, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Serves the tools until the other side ends its stream. Calls that are still being answered
/// then have a second to end; after that they are cancelled, and every command with them.
///
/// # Errors
/// When the stream breaks.
pub async fn serve(
    tools: Arc<Tools>,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> io::Result<()> {
    let ended = CancellationToken::new();
    let wire = Wire::new(input, output, ended.clone());
    let broken = wire.failure();
    let served = match serve_server(Handler::new(tools.clone(), ended.clone()), wire).await {
        Ok(session) => session.waiting().await.map(drop).map_err(io::Error::other),
        // Whoever ends the stream without a session has asked for nothing.
        Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(error) => Err(io::Error::other(error)),
    };
    ended.cancel();
    tools.end().await;
    match broken.take() {
        Some(error) => Err(error),
        None => served,
    }
}
