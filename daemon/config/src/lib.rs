//! Agent files: parse, validate, explain, JSON schema. Turns bytes into typed,
//! checked agents, or into every problem of the file at once with line, column and
//! excerpt. It resolves nothing on this machine but what is needed to check values.

mod agent;
mod api;
mod backends;
mod build;
mod check;
mod excerpt;
mod honour;
mod keys;
mod mask;
mod parse;
mod problem;
mod program;
mod report;
mod scalar;
mod schema;
mod secret;
mod shape;
mod suggest;
mod tools;
mod tree;
mod variables;

pub use agent::{
    Agent, AgentFile, BackendKind, ContextPath, DockerOptions, DriftPolicy, Effort, ExecutionMode, Protected,
    ReplayStep, Timeouts, WriteMode,
};
pub use api::{ApiOptions, LmStudio, Media, MediaModel, TurnLimits, WebSearch};
pub use backends::{Asked, BackendInfo, asked, backends};
pub use honour::table as keys_table;
pub use parse::{Parsed, Source, parse, parse_with};
pub use problem::{Problem, Severity};
pub use program::{
    AdditionalMount, Ag2, Azure, CredentialMount, Credentials, Packages, PermissionMode, ProgramOptions,
    Runtime,
};
pub use schema::schema;
pub use secret::Secret;
pub use tools::{CustomTool, McpServer, McpTransport, ToolCode, ToolOptions};
pub use variables::{ENV_FILE, ENVIRONMENT};
