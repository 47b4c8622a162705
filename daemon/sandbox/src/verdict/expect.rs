use crate::{Network, PathKind, PathSource, SandboxSpec, boot};
use cordon_policy::Access;
use cordon_proto::guest as pb;
use std::path::Path;

/// Of the system, and never an agent's to change.
const UNWRITABLE: [&str; 6] = ["/", "/etc", "/usr", "/proc/sys/kernel", "/dev", SandboxSpec::GUEST_INSIDE];

/// Metadata services, and addresses that answer on the public network.
const METADATA: &str = "169.254.169.254:80";
const PUBLIC: [&str; 2] = ["1.1.1.1:443", "[2606:4700:4700::1111]:443"];

/// What the probe is asked to try.
pub(super) fn request(spec: &SandboxSpec) -> pb::ProbeRequest {
    let mut request = pb::ProbeRequest {
        must_not_read: vec!["/etc/shadow".into()],
        must_not_write: UNWRITABLE.map(Into::into).to_vec(),
        must_write: vec!["/tmp".into(), boot::bytes(&spec.home)],
        ..Default::default()
    };
    request.must_not_read.extend(spec.canaries.iter().map(|path| boot::bytes(path)));
    for entry in &spec.paths {
        let path = boot::bytes(&entry.path);
        match (&entry.source, entry.access) {
            (PathSource::Empty, _) | (_, Access::None) => {
                if entry.kind == PathKind::File {
                    request.must_not_read.push(path.clone());
                }
                request.must_not_write.push(path);
            }
            (_, Access::Read) => {
                request.must_read.push(path.clone());
                request.must_not_write.push(path);
            }
            (_, Access::Write) => {
                request.must_read.push(path.clone());
                request.must_write.push(path);
            }
        }
    }
    match &spec.network {
        Network::Isolated => {
            request.must_not_connect = vec![METADATA.to_owned()];
            request.must_not_connect.extend(PUBLIC.map(str::to_owned));
        }
        Network::Bridge { granted } => {
            if !granted.iter().any(|address| address.to_string() == METADATA) {
                request.must_not_connect = vec![METADATA.to_owned()];
            }
        }
        Network::Host => {}
    }
    request
}

/// Whether something at or below a path may be written, by the nearest place that says so.
pub(super) fn is_writable(spec: &SandboxSpec, path: &Path) -> bool {
    let own = |place: &Path| match place.to_str() {
        Some("/tmp" | "/dev/shm" | "/dev/pts" | "/proc" | SandboxSpec::DIRECTORY_INSIDE) => Some(true),
        Some("/" | "/proc/sys" | "/proc/irq" | "/proc/bus" | "/proc/fs") => Some(false),
        _ if place == spec.home => Some(true),
        _ => None,
    };
    path.ancestors()
        .find_map(|place| {
            let entry = spec.paths.iter().rev().find(|entry| entry.path == place);
            entry.map(|e| e.access == Access::Write && e.source != PathSource::Empty).or_else(|| own(place))
        })
        .unwrap_or(false)
}
