//! The gRPC services: they translate and check, the other crates decide.

mod agents;
mod caller;
mod exec;
mod images;
mod mcp;
mod probe;
mod runs;
mod system;

pub(crate) use agents::AgentsService;
pub(crate) use images::ImagesService;
pub(crate) use runs::RunsService;
pub(crate) use system::{About, SystemService};

/// The largest request.
pub(crate) const REQUEST_LIMIT: usize = 16 << 20;
