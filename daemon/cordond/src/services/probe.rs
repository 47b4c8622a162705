//! A probe as JSON, for `cordon doctor --inside`.

use cordon_proto::guest::ProbeResponse;
use serde_json::{Value, json};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn mask(set: u64) -> String {
    format!("{set:#x}")
}

pub(crate) fn to_json(probe: &ProbeResponse) -> Value {
    let list = |items: Vec<Value>| Value::Array(items);
    json!({
        "uid": probe.uid,
        "gid": probe.gid,
        "groups": probe.groups,
        "capabilities": {
            "inheritable": mask(probe.cap_inheritable),
            "permitted": mask(probe.cap_permitted),
            "effective": mask(probe.cap_effective),
            "bounding": mask(probe.cap_bounding),
            "ambient": mask(probe.cap_ambient),
        },
        "no_new_privs": probe.no_new_privs,
        "seccomp": { "mode": probe.seccomp_mode, "filters": probe.seccomp_filters },
        "landlock": { "abi": probe.landlock_abi, "enforced": probe.landlock_enforced },
        "mounts": list(probe.mounts.iter().map(|m| json!({
            "path": text(&m.path), "filesystem": m.filesystem, "options": m.options,
        })).collect()),
        "descriptors": list(probe.descriptors.iter().map(|d| json!({
            "number": d.number, "target": text(&d.target),
        })).collect()),
        "addresses": probe.addresses,
        "routes": probe.routes,
        "namespaces": list(probe.namespaces.iter().map(|n| json!({
            "kind": n.kind, "inode": n.inode,
        })).collect()),
        "paths": list(probe.paths.iter().map(|p| json!({
            "path": text(&p.path), "operation": p.operation, "errno": p.errno,
        })).collect()),
        "connects": list(probe.connects.iter().map(|c| json!({
            "address": c.address, "connected": c.connected, "error": c.error,
        })).collect()),
        "visible_pids": probe.visible_pids,
        "system_calls": list(probe.syscalls.iter().map(|s| json!({
            "name": s.name, "errno": s.errno,
        })).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_keeps_its_numbers() {
        let probe = ProbeResponse { uid: 7, cap_bounding: 0x21, seccomp_mode: 2, ..Default::default() };
        let json = to_json(&probe);
        assert_eq!(json["uid"], 7);
        assert_eq!(json["capabilities"]["bounding"], "0x21");
        assert_eq!(json["seccomp"]["mode"], 2);
    }
}
