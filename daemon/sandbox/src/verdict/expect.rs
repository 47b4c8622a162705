use crate::{Network, PathSource, SandboxSpec, boot};
use cordon_policy::{Access, Source};
use cordon_proto::guest as pb;
use std::path::Path;

/// Of the system, and never an agent's to change.
const UNWRITABLE: [&str; 6] = ["/", "/etc", "/usr", "/proc/sys/kernel", "/dev", SandboxSpec::GUEST_INSIDE];

/// Metadata services, and addresses that answer on the public network.
const METADATA: &str = "169.254.169.254:80";
const PUBLIC: [&str; 2] = ["1.1.1.1:443", "[2606:4700:4700::1111]:443"];

/// What the probe is asked to try in every sandbox, whatever its policy.
pub(super) fn request(spec: &SandboxSpec) -> pb::ProbeRequest {
    let mut request = pb::ProbeRequest {
        must_not_read: vec!["/etc/shadow".into()],
        must_not_write: UNWRITABLE.map(Into::into).to_vec(),
        must_write: vec!["/tmp".into(), boot::bytes(&spec.home)],
        ..Default::default()
    };
    request.must_not_read.extend(spec.canaries.iter().map(|path| boot::bytes(path)));
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

/// Whether a mount there may be writable, by the nearest rule or place of the wall's own.
pub(super) fn is_writable(spec: &SandboxSpec, path: &Path) -> bool {
    let own = |place: &Path| match place.to_str() {
        Some("/tmp" | "/dev/shm" | "/dev/pts" | "/proc" | SandboxSpec::DIRECTORY_INSIDE) => Some(true),
        Some("/" | "/dev" | "/proc/sys" | "/proc/irq" | "/proc/bus" | "/proc/fs") => Some(false),
        _ if place == spec.home => Some(true),
        _ => None,
    };
    let ruled = |place: &Path| {
        let rule = spec.policy.rule_for(place).filter(|rule| rule.path == place)?;
        // What the system grants is for the devices of a place and not for the place.
        Some(rule.access == Access::Write).filter(|_| rule.origin.source != Source::System)
    };
    let held = spec.paths.iter().any(|entry| entry.path == path && entry.source == PathSource::Empty);
    !held && path.ancestors().find_map(|place| ruled(place).or_else(|| own(place))).unwrap_or(false)
}
