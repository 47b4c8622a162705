use serde::{Deserialize, Serialize};

/// A tool call by what it does; the provider picks the tool that the client offers for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Run this with a shell.
    Shell(String),
    /// Write a file. The path is best absolute: not every client takes others.
    Write {
        /// Where.
        path: String,
        /// What.
        content: String,
    },
    /// Read a file. Some clients edit only what they have read.
    Read(String),
    /// Replace a line of a file by another.
    Edit {
        /// Which file.
        path: String,
        /// The line as it is, without its end.
        old: String,
        /// As it shall be.
        new: String,
    },
    /// A tool of an MCP server, by whatever name the client offers it.
    Mcp {
        /// The server.
        server: String,
        /// The server's name of the tool.
        tool: String,
        /// Arguments.
        arguments: serde_json::Value,
    },
    /// Exactly this tool.
    Tool {
        /// Name as the client offers it.
        name: String,
        /// Arguments.
        arguments: serde_json::Value,
    },
}

impl Call {
    /// Whether a tool of this name, as a client offers it, is a server's tool.
    pub(super) fn is_mcp(offered: &str, server: &str, tool: &str) -> bool {
        let joined = |sep: &str| format!("{server}{sep}{tool}");
        let name = offered.strip_prefix("mcp_").unwrap_or(offered).trim_start_matches('_');
        ["__", "_", "-"].iter().any(|sep| name == joined(sep))
    }
}
