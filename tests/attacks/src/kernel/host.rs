//! Files by which a kernel, a machine or our own guest is steered.

use super::ours_only;
use crate::{Attack, Run};

/// KX-17. What is written is what stands there already, so that no wall that gives way is any harm to the machine.
pub const KERNEL_FILES: Attack = Attack {
    id: "KX-17",
    what: "write core_pattern, modprobe, release_agent, uevent_helper, binfmt_misc, sysctls, sysrq, /sys",
    runs: |_| {
        vec![Run::script(
            r#"
for file in /proc/sys/kernel/{core_pattern,modprobe,hotplug,hostname,domainname,randomize_va_space,panic,ns_last_pid,yama/ptrace_scope} \
  /proc/sys/vm/{overcommit_memory,panic_on_oom,drop_caches} /proc/sys/fs/{suid_dumpable,protected_symlinks,file-max} \
  /proc/sys/net/ipv4/ip_forward /proc/sys/user/max_user_namespaces /proc/irq/0/smp_affinity /proc/irq/default_smp_affinity \
  /sys/kernel/{uevent_helper,profiling,kexec_crash_size,mm/ksm/run} /sys/module/*/parameters/* \
  /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/notify_on_release \
  /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/*/memory.limit_in_bytes /sys/fs/cgroup/memory.max; do
  [ -e "$file" ] || continue
  # Opened for writing, and not written: that is enough to tell.
  no "$file" bash -c 'exec 3>>"$0"' "$file"
done
for file in /proc/sysrq-trigger /proc/sys/fs/binfmt_misc/register /proc/bus/pci/00/00.0 /proc/scsi/scsi /proc/mtrr /proc/acpi/wakeup; do
  [ -e "$file" ] || continue
  no "$file" perl -e 'use Fcntl; sysopen F, $ARGV[0], O_WRONLY or exit 1; exit !-s "/proc/self/fd/" . fileno F if -s F; exit !(-f F && !-z F || (stat F)[7] == 0 && !masked()); sub masked { (stat F)[6] || (stat F)[3] == 0 || -c F }' "$file"
done
no cgroup-mount bash -c 'mkdir -p cg && mount -t cgroup -o rdma none cg'
no cgroup2-mount bash -c 'mkdir -p cg && mount -t cgroup2 none cg'
no cgroup-in-namespaces unshare -UrmC bash -c 'mkdir -p cg && mount -t cgroup2 none cg'
echo DONE
"#,
        )]
    },
    ..Attack::NONE
};

/// KX-17 and what the mask paths are for.
pub const KERNEL_SECRETS: Attack = Attack {
    id: "KX-17",
    what: "read the machine: kcore, kernel log, keys, timers, devices; make device files",
    runs: |_| {
        vec![Run::script(
            r#"
for file in /proc/kcore /proc/keys /proc/timer_list /proc/latency_stats /proc/kmsg /proc/kpagecount /proc/kpageflags /proc/vmallocinfo /proc/slabinfo \
  /sys/firmware/efi/efivars /sys/kernel/debug/. /sys/kernel/tracing/trace /sys/kernel/security/. /dev/mem /dev/kmsg /dev/port /dev/sda /dev/vda /dev/fuse /dev/kvm \
  /dev/net/tun /dev/loop-control /dev/uinput /dev/snapshot /dev/nvram /dev/hwrng /dev/vsock /dev/vhost-net /dev/mapper/control /dev/btrfs-control; do
  [ -n "$(timeout 2 head -c 64 "$file" 2>/dev/null | tr -d '\0')" ] && got "$file"
done
[ -n "$(ls -A /sys/firmware /sys/kernel/debug /sys/kernel/tracing /sys/fs/bpf 2>/dev/null | grep -v :)" ] && got sys-directories
for device in 'mem c 1 1' 'kmsg c 1 11' 'disk b 254 0' 'disk b 8 0' 'fuse c 10 229' 'kvm c 10 232'; do
  set -- $device
  for place in . /tmp /dev/shm; do
    rm -f "$place/$1"; mknod "$place/$1" "$2" "$3" "$4" 2>/dev/null && timeout 2 head -c 1 "$place/$1" >/dev/null 2>&1 && got "device $1"
    rm -f "$place/$1"
  done
done
no dmesg dmesg
no disk-label blkid -p /dev/vda
echo DONE
"#,
        )]
    },
    ..Attack::NONE
};

/// CVE-2019-5736 and everything that the daemon put into a sandbox.
pub const OUR_FILES: Attack = Attack {
    id: "KX-18",
    what: "replace what the daemon put there: the guest, its policy table, its sockets, its directory",
    runs: |_| {
        vec![Run::script(
            r#"
printf '#!/bin/sh\ntouch %s\n' "$MARKER" > evil; chmod +x evil
for file in /run/cordon-guest /run/cordon-policy /proc/1/exe; do
  no "write $file" bash -c "exec 3>>'$file'"
  no "truncate $file" truncate -s 0 "$file"
  no "replace $file" mv -fT evil "$file"
  no "remove $file" rm -f "$file"
  no "link over $file" ln -sfT "$WS/evil" "$file"
  no "mode of $file" chmod 777 "$file"
  no "time of $file" touch -d 2000-01-01 "$file"
  no "attribute of $file" setfattr -n user.x -v y "$file"
  no "exchange $file" perl -e '$e = "evil\0"; $f = "$ARGV[0]\0"; exit(syscall(316, -100, $e, -100, $f, 2) != 0)' "$file"
done
no "new file beside" touch /run/x
for name in guest.sock egress.sock boot.pb last-words x; do
  no "write /run/cordon/$name" bash -c "echo x >> /run/cordon/$name"
  no "remove /run/cordon/$name" bash -c "test -e /run/cordon/$name && rm /run/cordon/$name"
  no "read /run/cordon/$name" head -c 1 "/run/cordon/$name"
done
no "list /run/cordon" ls /run/cordon
no "move /run/cordon" mv /run/cordon /run/away
no "bind a socket there" perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("/run/cordon/new.sock")) or exit 1'
# By a program that runs it at the same moment (the runc exploit): a descriptor of the running binary, reopened for writing.
/run/cordon-guest mcp </dev/null >/dev/null 2>&1 &
no "running guest" bash -c "for i in \$(seq 50); do exec 3>>/proc/$!/exe && exit 0; done 2>/dev/null; exit 1"
wait
echo DONE
"#,
        )]
    },
    spared: |enforcer| ours_only(enforcer, "nothing of ours is in it"),
    ..Attack::NONE
};

/// KX-20.
pub const GOLDEN_STATUS: Attack = Attack {
    id: "KX-20",
    what: "capabilities, no_new_privs, filter, namespaces, read-only system and mounts, compared with a golden table",
    runs: |world| {
        let host = ["cgroup", "ipc", "mnt", "net", "pid", "uts"].map(|kind| {
            let name = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
            format!("{}\n", name.display())
        });
        let _ = world;
        vec![Run::script(format!(
            r#"
expect() {{ grep -q "^$1:[[:space:]]*$2\$" /proc/self/status || got "$1 is not $2"; }}
for set in CapInh CapPrm CapEff CapBnd CapAmb; do expect $set 0000000000000000; done
expect NoNewPrivs 1
expect Seccomp 2
host='{}'
for kind in cgroup ipc mnt net pid uts; do
  case $host in *"$(readlink /proc/self/ns/$kind)"*) got "the host's $kind namespace" ;; esac
done
for path in / /etc /usr /bin /proc/sys /sys; do
  [ -d "$path" ] && [ -w "$path" ] && got "$path is writable"
done
# Where nothing can gain anything by an exec, a mount need not forbid it too.
grep -q '^NoNewPrivs:.*1' /proc/self/status || while read -r _ _ _ _ point options _; do
  case $point in /proc | /dev/pts | /dev) continue ;; esac
  case ,$options, in *,rw,*) case ,$options, in *,nosuid,*) ;; *) got "$point may have setuid programs" ;; esac ;; esac
done < /proc/self/mountinfo
[ "$(ulimit -c)" = 0 ] || got cores
[ "$(umask)" = 0022 ] || got "umask"
echo DONE
"#,
            host.concat()
        ))]
    },
    ..Attack::NONE
};
