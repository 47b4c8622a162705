//! A vendor's own servers, by their names: for programs that know no others.
#![allow(clippy::unwrap_used)]

use crate::harness::wait_until;
use nix::sched::{CloneFlags, unshare};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

/// The vendor's servers. They end with this.
#[derive(Debug)]
pub struct Vendor {
    server: Child,
    directory: PathBuf,
}

impl Vendor {
    /// From now on this thread, and all that it starts, is in a network in which there is nothing
    /// but the vendor.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn begin(directory: &Path, names: &[&str]) -> Self {
        let asset = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/vendor").join(name);
        fs::create_dir(directory).unwrap();
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
        assert!(Command::new("mkfifo").arg(directory.join("go")).status().unwrap().success());
        let begin = "read go < \"$1/go\"; ip link set lo up; ip addr add 160.79.104.10/24 dev ours; \
                     ip link set ours up; exec python3 \"$0\" 160.79.104.10 \"$1\"";
        let mut server = Command::new("unshare");
        server.args(["-n", "bash", "-c", begin]).arg(asset("serve.py")).arg(directory);
        let vendor = Self { server: server.spawn().unwrap(), directory: directory.to_path_buf() };
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", vendor.server.id());
        assert!(wait_until(Duration::from_secs(10), || fs::read_link(&theirs).is_ok_and(|ns| ns != own)));
        let mut network = Command::new("bash");
        network.arg(asset("network.sh")).arg(directory).arg(vendor.server.id().to_string()).args(names);
        assert!(network.status().unwrap().success());
        assert!(wait_until(Duration::from_secs(20), || vendor.seen() == ["ready"]));
        vendor
    }

    /// What its servers have noted, a line each.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("seen")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
