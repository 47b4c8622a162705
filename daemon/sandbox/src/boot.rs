//! What a guest is told before anything else, the same in both walls.

use crate::{Network, PathEntry, PathSource, Runtime, SandboxSpec};
use cordon_policy::Access;
use cordon_proto::guest as pb;
use std::{ops::RangeInclusive, os::unix::ffi::OsStrExt as _, path::Path};

/// Output that the guest keeps of each process while nobody reads. Some programs lose at their end
/// what has not been taken from them, and print 30 MB in one event before it.
const OUTPUT_BUFFER: RangeInclusive<u64> = 4 << 20..=64 << 20;
/// It counts as the sandbox's memory: of what that may have, no more than this part.
const OUTPUT_PART: u64 = 16;

/// Where programs and their libraries are. Optional, because images differ.
const PROGRAMS: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt"];

/// Readable and no more. Which files of these there are is up to the view.
const READABLE: [&str; 4] = ["/etc", "/proc", "/sys", "/dev"];

/// Devices that programs write to, the sandbox's own terminals, and shared memory.
const DEVICES: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/pts", "/dev/shm"];

/// The boot message of a sandbox. Landlock is optional in it and the number of
/// processes unlimited: the local wall, where no engine sees to that, adds to it. The sudo
/// image's weaker wall has neither a system call filter nor Landlock: both would take
/// `sudo` away.
pub(crate) fn boot(spec: &SandboxSpec) -> pb::Boot {
    pb::Boot {
        sandbox_id: spec.id.clone(),
        uid: spec.identity.uid,
        gid: spec.identity.gid,
        directory: SandboxSpec::DIRECTORY_INSIDE.into(),
        home: bytes(&spec.home),
        env: env(spec),
        files: spec
            .seeds
            .iter()
            .map(|seed| pb::SeedFile {
                path: bytes(&seed.path),
                content: seed.content.clone().into(),
                mode: seed.mode,
            })
            .collect(),
        // gVisor has none, and its own kernel in the place of ours.
        landlock: if spec.sudo || is_gvisor(spec) { Vec::new() } else { landlock(spec) },
        landlock_min_abi: 0,
        seccomp: !spec.sudo,
        rlimits: Some(pb::Rlimits {
            open_files: spec.limits.open_files,
            processes: 0,
            file_size_bytes: 0,
            no_core: true,
        }),
        proxy_port: if spec.egress.is_some() { u32::from(SandboxSpec::PROXY_PORT) } else { 0 },
        forwards: spec
            .forwards
            .iter()
            .map(|forward| pb::Forward {
                port: u32::from(forward.port),
                target: target(&forward.host, forward.target_port),
            })
            .collect(),
        output_buffer_bytes: output_buffer(spec.limits.memory_bytes),
        local: None,
        call: is_gvisor(spec),
    }
}

fn output_buffer(memory: u64) -> u64 {
    (memory / OUTPUT_PART).clamp(*OUTPUT_BUFFER.start(), *OUTPUT_BUFFER.end())
}

/// What the tools inside decide by: the same rules that the rest of the wall was made from.
pub(crate) fn table(spec: &SandboxSpec) -> pb::ToolTable {
    let rule = |rule: &cordon_policy::Rule| {
        let place = rule.origin.place.as_ref();
        pb::TableRule {
            path: bytes(&rule.path),
            access: match rule.access {
                Access::None => pb::Access::None,
                Access::Read => pb::Access::Read,
                Access::Write => pb::Access::Write,
            }
            .into(),
            source: rule.origin.source.key().to_owned(),
            file: place.map(|p| p.file.clone()).unwrap_or_default(),
            line: place.map(|p| p.line).unwrap_or_default(),
            column: place.map(|p| p.column).unwrap_or_default(),
        }
    };
    pb::ToolTable {
        rules: spec.policy.rules().map(rule).collect(),
        workspace: bytes(&spec.tools.workspace),
        read_before_delete: spec.tools.read_before_delete,
        allowed_commands: spec.tools.allowed_commands.clone(),
        blocked_commands: spec.tools.blocked_commands.clone(),
        only_writing_file_tools: spec.tools.only_writing_file_tools,
        result_bytes: spec.tools.result_bytes,
    }
}

/// Whether a kernel of its own stands between the sandbox and this machine's.
pub(crate) fn is_gvisor(spec: &SandboxSpec) -> bool {
    spec.runtime == Runtime::Gvisor
}

/// Whether nothing but loopback and the egress proxy is to be reached.
pub(crate) fn is_isolated(spec: &SandboxSpec) -> bool {
    spec.network == Network::Isolated
}

pub(crate) fn bytes(path: &Path) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(path.as_os_str().as_bytes())
}

fn target(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn env(spec: &SandboxSpec) -> Vec<pb::EnvVar> {
    let var = |name: &str, value: &[u8]| pb::EnvVar {
        name: name.to_owned(),
        value: bytes::Bytes::copy_from_slice(value),
    };
    let mut env = vec![
        var("HOME", spec.home.as_os_str().as_bytes()),
        var("PATH", b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        var("LANG", b"C.UTF-8"),
        var("TMPDIR", b"/tmp"),
        var("USER", b"agent"),
        var("LOGNAME", b"agent"),
        var("SHELL", b"/bin/bash"),
        var("TERM", b"xterm-256color"),
    ];
    if spec.egress.is_some() {
        let proxy = format!("http://127.0.0.1:{}", SandboxSpec::PROXY_PORT);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            env.push(var(name, proxy.as_bytes()));
            env.push(var(&name.to_lowercase(), proxy.as_bytes()));
        }
        for name in ["NO_PROXY", "no_proxy"] {
            env.push(var(name, b"localhost,127.0.0.1,::1"));
        }
        // Node ignores the others unless it is told to look.
        env.push(var("NODE_USE_ENV_PROXY", b"1"));
    }
    for (name, value) in &spec.env {
        env.retain(|known| known.name != *name);
        env.push(var(name, value.as_bytes()));
    }
    env
}

fn landlock(spec: &SandboxSpec) -> Vec<pb::PathRule> {
    let rule = |path: bytes::Bytes, access: pb::Access, execute, optional| pb::PathRule {
        path,
        access: access.into(),
        execute,
        optional,
    };
    let system = PROGRAMS.iter().map(|path| rule((*path).into(), pb::Access::Read, true, true));
    let readable = READABLE.iter().map(|path| rule((*path).into(), pb::Access::Read, false, true));
    let devices = DEVICES.iter().map(|path| rule((*path).into(), pb::Access::Write, false, true));
    // The directory of the sockets is missing here on purpose: it is the guest's.
    let own = [
        rule("/tmp".into(), pb::Access::Write, true, false),
        rule(bytes(&spec.home), pb::Access::Write, true, false),
        rule(SandboxSpec::GUEST_INSIDE.into(), pb::Access::Read, true, false),
        rule(SandboxSpec::TABLE_INSIDE.into(), pb::Access::Read, false, false),
    ];
    let granted = spec
        .paths
        .iter()
        .filter_map(|entry| Some(rule(bytes(&entry.path), granted(entry)?, entry.execute, false)));
    system.chain(readable).chain(devices).chain(own).chain(granted).collect()
}

fn granted(entry: &PathEntry) -> Option<pb::Access> {
    match (&entry.source, entry.access) {
        (PathSource::Empty, _) | (_, Access::None) => None,
        (_, Access::Read) => Some(pb::Access::Read),
        (_, Access::Write) => Some(pb::Access::Write),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PathKind, fixture};

    #[test]
    fn what_nobody_has_read_is_kept_within_the_sandboxs_memory() {
        for (memory, kept) in
            [(64 << 20, 4 << 20), (512 << 20, 32 << 20), (4 << 30, 64 << 20), (u64::MAX, 64 << 20)]
        {
            assert_eq!(output_buffer(memory), kept);
        }
    }

    #[test]
    fn the_guests_own_directory_is_never_granted() {
        let boot = boot(&fixture::spec());
        for rule in &boot.landlock {
            assert!(!Path::new(SandboxSpec::DIRECTORY_INSIDE).starts_with(text(&rule.path)), "{rule:?}");
        }
    }

    #[test]
    fn masked_paths_grant_nothing() {
        let mut spec = fixture::spec();
        let masked = |path: &str, access| PathEntry {
            path: path.into(),
            source: PathSource::Empty,
            kind: PathKind::File,
            access,
            execute: true,
        };
        spec.paths = vec![masked("/w/.env", Access::None), masked("/w/.envrc", Access::Read)];
        assert!(boot(&spec).landlock.iter().all(|rule| !rule.path.starts_with(b"/w")));
    }

    #[test]
    fn the_sudo_image_gets_neither_filter_nor_ruleset() {
        let spec = SandboxSpec { sudo: true, ..fixture::spec() };
        let boot = boot(&spec);
        assert!(boot.landlock.is_empty() && !boot.seccomp);
    }

    #[test]
    fn a_variable_of_the_caller_replaces_ours() {
        let spec = SandboxSpec { env: vec![("TERM".into(), "dumb".into())], ..fixture::spec() };
        let found: Vec<_> = boot(&spec).env.into_iter().filter(|v| v.name == "TERM").collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].value.as_ref(), b"dumb");
    }

    fn text(path: &[u8]) -> &str {
        std::str::from_utf8(path).unwrap()
    }
}
