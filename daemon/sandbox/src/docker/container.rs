//! One sandbox's container, as it is asked for: everything that the wall hardens
//! is in this one value.

use super::{
    engine::{Machine, refuse},
    gvisor,
    mounts::View,
    names::{self, Names},
};
use crate::{Network, SandboxError, SandboxSpec, boot};
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use std::collections::HashMap;

/// A container refuses to start with less.
const LEAST_MEMORY: u64 = 16 << 20;

/// What sudo and a package manager need, and no more: nothing that reaches the
/// kernel, the network's set-up, devices or other processes' memory.
const SUDO_CAPABILITIES: [&str; 7] =
    ["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"];
const SUDO_WARNING: &str = "sudo is on: the agent can become root inside, change the container's own files and     programs, and leave files of root in its writable trees; Landlock and our system call filter are off, and     what protects the host is the mount view, the network rules and the engine's defaults";

/// What the engine is asked to make, and what is said about it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) body: ContainerCreateBody,
    pub(super) warnings: Vec<String>,
}

/// Refuses what this wall cannot hold, before anything is made.
pub(super) fn check(spec: &SandboxSpec, allow_host_network: bool) -> Result<(), SandboxError> {
    names::check_id(&spec.id)?;
    if spec.identity.uid == 0 || spec.identity.gid == 0 {
        return Err(refuse(
            format!("user {}:{}", spec.identity.uid, spec.identity.gid),
            "an agent never runs as root",
            "Give the workspace to a user other than root",
        ));
    }
    if spec.network == Network::Host && !allow_host_network {
        return Err(refuse(
            "network_mode: host",
            "the operator of this daemon does not allow the host's network",
            "Use bridge or none, or start cordond with --allow-host-network",
        ));
    }
    if spec.network == Network::Host && boot::is_gvisor(spec) {
        return Err(refuse(
            "network_mode: host with the runtime runsc",
            "gVisor keeps this machine's kernel away from the agent, and the host's network would hand it over",
            "Use bridge or none, or the engine's own runtime",
        ));
    }
    if !(spec.limits.cpus.is_finite() && spec.limits.cpus >= 0.01) {
        return Err(refuse(
            format!("cpu limit {}", spec.limits.cpus),
            "it is not a number of processors from 0.01 on",
            "Correct the limit",
        ));
    }
    if spec.limits.memory_bytes < LEAST_MEMORY {
        return Err(refuse(
            format!("memory limit of {} bytes", spec.limits.memory_bytes),
            "no sandbox starts in less than 16 MiB",
            "Raise the limit",
        ));
    }
    Ok(())
}

pub(super) fn wanted(
    spec: &SandboxSpec,
    names: &Names,
    image: &str,
    view: View,
    machine: &Machine,
) -> Wanted {
    let mut warnings = machine.unlimited.clone();
    let open_files = open_files(spec.limits.open_files, &mut warnings);
    let cpus = spec.limits.cpus.min(machine.cpus);
    let memory = whole(spec.limits.memory_bytes);
    let network = match spec.network {
        Network::Isolated => "none".to_owned(),
        Network::Bridge { .. } => names.network.clone(),
        Network::Host => {
            warnings
                .push("the sandbox shares the host's network: every local service is reachable".to_owned());
            "host".to_owned()
        }
    };
    if spec.sudo {
        warnings.push(SUDO_WARNING.to_owned());
    }
    let hostname = names::hostname(&spec.labels.agent);
    let host_config = HostConfig {
        mounts: Some(view.mounts),
        tmpfs: Some(view.tmpfs),
        // Packages are what sudo is for.
        readonly_rootfs: Some(!spec.sudo),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: spec.sudo.then(|| SUDO_CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: (!spec.sudo).then(|| vec!["no-new-privileges:true".to_owned()]),
        privileged: Some(false),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        pids_limit: Some(whole(spec.limits.pids)),
        memory: Some(memory),
        // The sum of memory and swap: so there is no swap to escape into.
        memory_swap: Some(memory),
        #[allow(clippy::cast_possible_truncation)] // At least 0.01, at most the machine's processors.
        nano_cpus: Some((cpus * 1e9) as i64),
        ulimits: Some(vec![ulimit("nofile", open_files), ulimit("core", 0)]),
        oom_score_adj: Some(500),
        init: Some(false),
        // Output goes through the guest; an engine's log would be an unbounded copy.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        // Only networks of the engine's own making bring the container's name along.
        extra_hosts: (spec.network == Network::Isolated).then(|| vec![format!("{hostname}:127.0.0.1")]),
        sysctls: matches!(spec.network, Network::Bridge { .. }).then(no_ipv6),
        network_mode: Some(network),
        runtime: boot::is_gvisor(spec).then(|| gvisor::RUNTIME.to_owned()),
        ..HostConfig::default()
    };
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec![SandboxSpec::GUEST_INSIDE.to_owned(), "serve".to_owned()]),
        cmd: Some(Vec::new()),
        // With the group named, the image's own group file adds no others.
        user: Some(format!("{}:{}", spec.identity.uid, spec.identity.gid)),
        working_dir: Some("/".to_owned()),
        // With the host's network the name is the host's.
        hostname: (spec.network != Network::Host).then_some(hostname),
        labels: Some(names::labels(&spec.labels, &spec.id)),
        // An image's own check would be run by the engine, again and again.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        attach_stdin: Some(false),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        tty: Some(false),
        open_stdin: Some(false),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    };
    Wanted { body, warnings }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn ulimit(name: &str, value: u64) -> ResourcesUlimits {
    let value = Some(whole(value));
    ResourcesUlimits { name: Some(name.to_owned()), soft: value, hard: value }
}

fn no_ipv6() -> HashMap<String, String> {
    ["all", "default"].map(|which| (format!("net.ipv6.conf.{which}.disable_ipv6"), "1".to_owned())).into()
}

/// Where even root may not raise its own limit, the engine could not either, and
/// the container would not start.
fn open_files(wanted: u64, warnings: &mut Vec<String>) -> u64 {
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if wanted > hard {
        warnings
            .push(format!("open files are limited to {hard} rather than {wanted}, this machine's own limit"));
    }
    wanted.min(hard)
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
