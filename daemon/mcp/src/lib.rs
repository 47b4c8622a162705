//! The MCP servers of one agent behind one list of tools: the guest's own, the user's that
//! run inside the sandbox, and the user's that the daemon reaches over HTTP. It starts them,
//! names and filters their tools, calls them, and serves the whole to any MCP client. What
//! they say is hostile and bounded here. It decides no path and runs nothing on the host; it
//! knows no run and no journal: who wants to know of calls gives an [`Observer`].

mod arguments;
mod custom;
mod denial;
mod error;
mod filter;
mod host;
mod http;
mod inside;
mod launch;
mod names;
mod paced;
mod result;
mod serve;
mod server;
mod tools;
mod weigh;

#[cfg(test)]
mod tests;

pub use custom::{
    CUSTOM_TOOLS_PROGRAM, CUSTOM_TOOLS_READY, CUSTOM_TOOLS_SERVER, CUSTOM_TOOLS_VARIABLE, PYTHON,
    check_custom_tools, custom_tools_config,
};
pub use denial::ToolDenial;
pub use error::{CallError, HostError, ObserverFailed, ServerError};
pub use host::{Host, Inside, Observer, Tool};
pub use http::install_tls;
pub use names::composed;
pub use result::CallResult;

use std::time::Duration;

/// The longest line, and the largest message over HTTP, that a server may send.
pub const LONGEST_MESSAGE: usize = 64 << 20;
/// How long a tool may take where nothing else is said.
pub const CALL: Duration = Duration::from_secs(400);
/// How long the guest's own server may take until it is ready.
pub const READY: Duration = Duration::from_secs(30);
/// The most tools of one server.
pub const MOST_TOOLS: usize = 1000;
