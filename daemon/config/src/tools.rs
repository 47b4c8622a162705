use crate::Secret;
use cordon_policy::Place;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

/// What the tools that Cordon serves an agent do, and which further servers there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolOptions {
    /// `mcp_servers`.
    pub servers: Vec<McpServer>,
    /// `custom_tools`.
    pub custom: Vec<CustomTool>,
    /// `custom_tools_python`: absolute; none: `python3` of the sandbox.
    pub custom_python: Option<PathBuf>,
    /// `allowed_tools` of the backend: of all tools only these; none: any.
    pub allowed: Option<Vec<String>>,
    /// `exclude_tools` of the backend.
    pub excluded: Vec<String>,
    /// `enable_mcp_command_line`: a CLI program is offered Cordon's own tools, too.
    pub offer_own: bool,
    /// `enforce_read_before_delete`.
    pub read_before_delete: bool,
    /// `exclude_file_operation_mcps`.
    pub only_writing_file_tools: bool,
    /// `command_line_allowed_commands`; each is a valid regular expression.
    pub allowed_commands: Vec<String>,
    /// `command_line_blocked_commands`; each is a valid regular expression.
    pub blocked_commands: Vec<String>,
}

impl Default for ToolOptions {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            custom: Vec::new(),
            custom_python: None,
            allowed: None,
            excluded: Vec::new(),
            offer_own: false,
            read_before_delete: true,
            only_writing_file_tools: false,
            allowed_commands: Vec::new(),
            blocked_commands: Vec::new(),
        }
    }
}

impl ToolOptions {
    /// Values that must never be shown.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let of_servers = self.servers.iter().flat_map(|s| &s.secrets);
        of_servers.chain(self.custom.iter().flat_map(|t| &t.secrets)).map(Secret::reveal)
    }
}

/// One function of `custom_tools`.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomTool {
    /// Where it is.
    pub code: ToolCode,
    /// The function's name; none: the file's `main`, or its first public function.
    pub function: Option<String>,
    /// `name`, which models see behind `custom_tool__`; none: the function's.
    pub name: Option<String>,
    /// `description`, in place of the docstring's.
    pub description: Option<String>,
    /// `preset_args`.
    pub preset: Map<String, Value>,
    /// What of the above must never be shown.
    pub secrets: Vec<Secret>,
    /// Where it begins in the file.
    pub place: Place,
}

impl fmt::Debug for CustomTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of the arguments some may be secret.
        let mut shown = f.debug_struct("CustomTool");
        shown.field("code", &self.code).field("function", &self.function).field("name", &self.name);
        shown.field("preset", &self.preset.keys()).field("place", &self.place).finish_non_exhaustive()
    }
}

/// Where the code of a custom tool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolCode {
    /// A Python file of the user's: absolute, and there.
    File(PathBuf),
    /// A module of the interpreter inside.
    Module(String),
    /// A function that the `massgen` package of the interpreter inside brings.
    BuiltIn,
}

/// One entry of `mcp_servers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpServer {
    /// `[A-Za-z0-9_-]`, at most 50 characters, unique for the agent, without `__`.
    pub name: String,
    /// How it is reached.
    pub transport: McpTransport,
    /// How long it may take until it is ready.
    pub ready_within: Duration,
    /// `allowed_tools`: of its tools only these; none: any.
    pub allowed: Option<Vec<String>>,
    /// `exclude_tools`.
    pub excluded: Vec<String>,
    /// What of the above must never be shown.
    pub secrets: Vec<Secret>,
    /// Where it begins in the file.
    pub place: Place,
}

/// How an MCP server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpTransport {
    /// A program inside the sandbox, which speaks on its standard input and output.
    Stdio {
        /// Program and arguments.
        argv: Vec<String>,
        /// Its own variables.
        env: BTreeMap<String, Secret>,
        /// Absolute, or relative to the workspace, which it is when absent.
        cwd: Option<PathBuf>,
    },
    /// A service outside, which the daemon reaches over HTTP.
    Http {
        /// An http or https URL, with whatever secret the user put into its query.
        url: Secret,
        /// Sent with every request.
        headers: BTreeMap<String, Secret>,
        /// How long one call may take.
        call_within: Duration,
        /// `security.allow_localhost`.
        allow_localhost: bool,
        /// `security.allow_private_ips`.
        allow_private: bool,
    },
}
