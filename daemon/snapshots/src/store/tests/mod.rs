//! Tests that reach below the store's surface.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod crash;
mod formats;

use super::{Store, StoreOptions, disk::Disk};
use std::path::Path;

fn open(dir: &Path, disk: Disk) -> Store {
    Store::open_with(&dir.join("store"), "alice", StoreOptions::default(), disk).unwrap()
}

/// In memory where that can be had: what is synced is the tests' own affair.
fn home() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
