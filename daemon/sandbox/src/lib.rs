//! Sandboxes: the contract that every wall keeps, the walls themselves, the
//! connection to the guest inside, and the verdict on its probe. What is allowed
//! is decided in `cordon-policy`; what runs inside is decided by the callers.

mod boot;
mod calls;
mod directory;
#[cfg(feature = "docker")]
pub mod docker;
mod egress;
mod error;
#[cfg(test)]
mod fixture;
pub mod guest;
mod local;
mod spec;
mod verdict;
mod wall;

pub use directory::remove_at;
#[cfg(feature = "docker")]
pub use docker::{DockerOptions, DockerWall};
pub use error::SandboxError;
pub use local::{LocalOptions, LocalWall};
pub use spec::{
    Forward, Identity, Labels, Network, Packages, PathEntry, PathKind, PathSource, Runtime, SandboxSpec,
    SeedFile, ToolSettings, WallKind,
};
pub use wall::{EgressRecord, Finding, HostCheck, Sandbox, SandboxRecord, Wall, WallRecord};
