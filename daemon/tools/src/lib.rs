//! The tools that a sandbox serves to its agent: files, the workspace and a shell, as an
//! MCP server on a byte stream. Every path is resolved by the kernel, descriptor by
//! descriptor; the policy decides on the opened object, and what follows is done to that
//! object. The tools run inside the sandbox, with no more rights than any other process
//! there: they make refusals legible, the wall around them makes them final.

mod answer;
mod arguments;
mod bash;
mod error;
mod files;
mod registry;
mod resolve;
mod serve;
mod table;
#[cfg(test)]
mod testing;
mod workspace;

pub use answer::{Answer, Piece};
pub use error::ToolError;
pub use registry::{Tool, Tools};
#[doc(hidden)]
pub use serve::inspect;
pub use serve::{StandardInput, StandardOutput, serve, standard};
pub use table::{Table, TableError};
