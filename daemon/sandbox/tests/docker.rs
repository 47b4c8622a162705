//! The Docker wall against a real engine. Needs root, an engine, iptables, the image
//! debian:bookworm-slim, cordon/base and cordon/base-sudo, and the static guest at $CORDON_GUEST or below target/.

#![cfg(feature = "docker")]
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests are tests.

#[path = "docker/harness.rs"]
mod harness;

#[path = "docker/gvisor.rs"]
mod gvisor;
#[path = "docker/hardening.rs"]
mod hardening;
#[path = "docker/life.rs"]
mod life;
#[path = "docker/network.rs"]
mod network;
#[path = "docker/paths.rs"]
mod paths;
#[path = "docker/sources.rs"]
mod sources;
