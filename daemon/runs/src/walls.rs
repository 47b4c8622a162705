use cordon_sandbox::{SandboxError, Wall, WallKind};
use std::sync::Arc;

/// The walls of this host.
#[async_trait::async_trait]
pub trait Walls: Send + Sync {
    /// A wall of this kind.
    ///
    /// # Errors
    /// When this host has none, with what to do about it.
    async fn wall(&self, kind: WallKind) -> Result<Arc<dyn Wall>, SandboxError>;

    /// Whether sandboxes behind this wall see what this process mounts before they are made.
    async fn shares_mounts(&self, kind: WallKind) -> bool {
        kind == WallKind::Local
    }
}
