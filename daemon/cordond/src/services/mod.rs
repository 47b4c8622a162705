//! The gRPC services: they translate and check, the other crates decide.

mod agents;
mod attach;
mod backends;
mod caller;
mod changes;
mod exec;
mod images;
mod import;
mod logins;
mod mcp;
mod probe;
mod runs;
mod snapshots;
mod stream;
mod system;
mod workspaces;

pub(crate) use agents::AgentsService;
pub(crate) use changes::ChangesService;
pub(crate) use images::ImagesService;
pub(crate) use logins::LoginsService;
pub(crate) use runs::RunsService;
pub(crate) use snapshots::SnapshotsService;
pub(crate) use system::{About, SystemService};
pub(crate) use workspaces::WorkspacesService;

/// The largest request.
pub(crate) const REQUEST_LIMIT: usize = 16 << 20;
