use super::*;
use crate::Identity;

fn spec() -> SandboxSpec {
    SandboxSpec { paths: Vec::new(), ..crate::fixture::spec() }
}

fn machine() -> Machine {
    Machine { cpus: 2.0, unlimited: vec!["the engine cannot limit swap on this kernel".to_owned()] }
}

fn made(spec: &SandboxSpec) -> Wanted {
    let names = Names::new(&spec.labels.daemon, &spec.id);
    wanted(spec, &names, "sha256:x", View::default(), &machine())
}

#[test]
fn every_container_is_hardened() {
    for network in [Network::Isolated, Network::Bridge { granted: Vec::new() }, Network::Host] {
        let body = made(&SandboxSpec { network, ..spec() }).body;
        let host = body.host_config.unwrap();
        assert_eq!(body.user.as_deref(), Some("1000:1000"));
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.cap_add, None);
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges:true"]);
        assert_eq!(host.readonly_rootfs, Some(true));
        assert_eq!(host.privileged, Some(false));
        assert_eq!(host.ipc_mode.as_deref(), Some("private"));
        assert_eq!((host.pid_mode, host.uts_mode, host.userns_mode), (None, None, None));
        assert_eq!((host.binds, host.devices, host.group_add), (None, None, None));
        assert_eq!((host.masked_paths, host.readonly_paths), (None, None));
        assert_eq!(host.memory, host.memory_swap);
        assert!(host.memory.unwrap() > 0 && host.pids_limit.unwrap() > 0 && host.nano_cpus.unwrap() > 0);
        assert_eq!(host.log_config.unwrap().typ.as_deref(), Some("none"));
    }
}

#[test]
fn the_network_is_what_was_asked_for() {
    let mode = |network| made(&SandboxSpec { network, ..spec() }).body.host_config.unwrap();
    assert_eq!(mode(Network::Isolated).network_mode.as_deref(), Some("none"));
    let bridge = mode(Network::Bridge { granted: Vec::new() });
    assert_eq!(bridge.network_mode, Some(Names::new("d", "a1").network));
    assert_eq!(bridge.sysctls.unwrap()["net.ipv6.conf.all.disable_ipv6"], "1");
}

#[test]
fn root_and_the_hosts_network_are_refused() {
    for (uid, gid) in [(0, 1000), (1000, 0)] {
        let spec = SandboxSpec { identity: Identity { uid, gid }, ..spec() };
        assert!(check(&spec, true).unwrap_err().is_refusal());
    }
    let host = SandboxSpec { network: Network::Host, ..spec() };
    assert!(check(&host, false).unwrap_err().to_string().contains("allow-host-network"));
    assert!(check(&host, true).is_ok());
}

#[test]
fn sudo_weakens_what_it_must_and_says_so() {
    let made = made(&SandboxSpec { sudo: true, ..spec() });
    let host = made.body.host_config.unwrap();
    assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
    assert_eq!(host.cap_add.unwrap(), SUDO_CAPABILITIES);
    assert_eq!((host.security_opt, host.privileged), (None, Some(false)));
    assert_eq!(made.body.user.as_deref(), Some("1000:1000"));
    assert!(made.warnings.iter().any(|w| w.contains("sudo is on")));
}

#[test]
fn limits_out_of_range_are_refused_and_others_fitted() {
    let limits = |change: fn(&mut cordon_policy::Limits)| {
        let mut spec = spec();
        change(&mut spec.limits);
        spec
    };
    for bad in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        let mut spec = spec();
        spec.limits.cpus = bad;
        assert!(check(&spec, false).is_err(), "{bad}");
    }
    assert!(check(&limits(|l| l.memory_bytes = 1), false).is_err());
    let host = made(&limits(|l| l.cpus = 64.0)).body.host_config.unwrap();
    assert_eq!(host.nano_cpus, Some(2_000_000_000));
    assert_eq!(made(&limits(|l| l.memory_bytes = u64::MAX)).body.host_config.unwrap().memory, Some(i64::MAX));
}

#[test]
fn what_cannot_be_limited_is_said() {
    let mut spec = spec();
    spec.limits.open_files = u64::MAX;
    let warnings = made(&spec).warnings;
    assert!(warnings.iter().any(|w| w.contains("swap")));
}
