//! Agent files: parse, validate, explain, JSON schema. Turns bytes into typed,
//! checked agents, or into every problem of the file at once with line, column and
//! excerpt. It resolves nothing on this machine but what is needed to check values.

mod agent;
mod secret;

pub use agent::{
    Agent, AgentFile, BackendKind, ContextPath, DockerOptions, Effort, ExecutionMode, ReplayStep, Timeouts,
};
pub use secret::Secret;
