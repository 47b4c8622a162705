use cordon_proto::guest as pb;
use cordon_sandbox::{
    SandboxError,
    guest::{Guest, Process},
};

/// What a turn needs of a guest.
#[async_trait::async_trait]
pub(crate) trait Inside: Send + Sync {
    async fn exec(&self, start: pb::Start) -> Result<Process, SandboxError>;
    async fn attach(&self, process_id: &str, offset: u64) -> Result<Process, SandboxError>;
    async fn signal(&self, process_id: &str, signal: u32, stragglers: bool) -> Result<(), SandboxError>;
    /// Whether the guest was ever told to start this process.
    async fn knows(&self, process_id: &str) -> Result<bool, SandboxError>;
}

#[async_trait::async_trait]
impl Inside for Guest {
    async fn exec(&self, start: pb::Start) -> Result<Process, SandboxError> {
        Guest::exec(self, start).await
    }

    async fn attach(&self, process_id: &str, offset: u64) -> Result<Process, SandboxError> {
        Guest::attach(self, process_id, offset).await
    }

    async fn signal(&self, process_id: &str, signal: u32, stragglers: bool) -> Result<(), SandboxError> {
        Guest::signal(self, process_id, signal, stragglers).await
    }

    async fn knows(&self, process_id: &str) -> Result<bool, SandboxError> {
        Ok(self.list().await?.processes.iter().any(|p| p.process_id == process_id))
    }
}
