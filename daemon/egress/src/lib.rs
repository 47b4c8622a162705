//! The way out of a sandbox: an HTTP proxy (CONNECT and absolute form) on the
//! sandbox's own unix socket, which allows what the policy names and nothing
//! else. Names are resolved here, once per connection, and the checked address
//! is the one that is dialled. This crate knows no sandbox and no run; refusals
//! go out through a channel.

mod address;
mod decision;
mod forward;
mod hello;
mod network;
mod policy;
mod proxy;
mod refusals;
mod target;
mod tunnel;

pub use address::{is_link_local, is_metadata, is_public};
pub use network::{Network, SystemNetwork};
pub use policy::{EgressPolicy, Grant};
pub use proxy::{ProxyLimits, serve, serve_with};
