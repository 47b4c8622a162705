//! Sandboxes: the contract that every wall keeps, the walls themselves, the
//! connection to the guest inside, and the verdict on its probe. What is allowed
//! is decided in `cordon-policy`; what runs inside is decided by the callers.

mod error;
pub mod guest;
mod spec;
mod wall;

pub use error::SandboxError;
pub use spec::{
    Forward, Identity, Labels, Network, PathEntry, PathKind, PathSource, SandboxSpec, SeedFile, WallKind,
};
pub use wall::{EgressRecord, Finding, HostCheck, Sandbox, SandboxRecord, Wall, WallRecord};
