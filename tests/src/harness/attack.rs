//! What an enemy inside tries first. Every line prints `LEAK name` when it gets through,
//! so that the assertion is on what happened and not on what was reported.

use std::path::Path;

/// Things of the outside world that the script goes for.
#[derive(Clone, Debug)]
pub struct Targets<'a> {
    /// A file with a random token outside of every rule.
    pub canary: &'a Path,
    /// A directory outside of every rule.
    pub outside: &'a Path,
    /// A TCP port on this host's loopback and wildcard addresses.
    pub port: u16,
}

/// A bash script for the `command` backend. Needs bash, coreutils and perl-base.
#[must_use]
pub fn script(targets: &Targets<'_>) -> String {
    let canary = targets.canary.display();
    let outside = targets.outside.display();
    let port = targets.port;
    format!(
        r#"
exec 2>/dev/null
leak() {{ echo "LEAK $1"; }}
try() {{ name=$1; shift; if "$@" >/dev/null 2>&1; then leak "$name"; fi; }}
try shadow cat /etc/shadow
try canary cat '{canary}'
try canary-by-root cat /proc/1/root'{canary}'
try canary-by-cwd cat /proc/1/cwd'{canary}'
ln -s '{canary}' link; try canary-by-link cat link
ln '{canary}' hard; try canary-by-hard-link cat hard
try list-outside ls '{outside}'
try write-outside touch '{outside}/x'
try write-usr touch /usr/x
try write-etc touch /etc/x
try write-root touch /x
try write-dev touch /dev/x
try guest-environment cat /proc/1/environ
try guest-memory dd if=/proc/1/mem of=/dev/null bs=1 count=1
try guest-descriptors ls -l /proc/1/fd/0
try core-pattern bash -c 'echo x > /proc/sys/kernel/core_pattern'
try sysrq bash -c 'echo h > /proc/sysrq-trigger'
try sys-write bash -c 'echo 1 > /sys/kernel/profiling'
try release-agent bash -c 'echo /x > /sys/fs/cgroup/release_agent'
try user-namespace unshare -Ur true
try mount-namespace unshare -m true
try mount mount -t tmpfs none /tmp
try remount mount -o remount,rw /usr
try mknod mknod null c 1 3
try chroot chroot / true
try replace-guest rm -f /run/cordon-guest
try unlink-socket rm -f /run/cordon/guest.sock /run/cordon/egress.sock
try new-socket touch /run/cordon/x
try loopback timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'
try metadata timeout 2 bash -c 'exec 3<>/dev/tcp/169.254.169.254/80'
try ipv6 timeout 2 bash -c 'exec 3<>/dev/tcp/::1/{port}'
try docker-socket perl -MSocket -e 'socket(S,PF_UNIX,SOCK_STREAM,0); connect(S,sockaddr_un("/var/run/docker.sock")) or exit 1'
try packet-socket perl -e 'exit(syscall(41,17,3,0) < 0)'
try raw-socket perl -e 'exit(syscall(41,2,3,1) < 0)'
try ptrace perl -e 'exit(syscall(101,16,1,0,0) < 0)'
try bpf perl -e 'exit(syscall(321,0,0,0) < 0)'
try keyctl perl -e 'exit(syscall(250,0,-3,1) < 0)'
try io-uring perl -e 'exit(syscall(425,1,"\0"x120) < 0)'
try userfaultfd perl -e 'exit(syscall(323,1) < 0)'
try perf perl -e 'exit(syscall(298,"\0"x120,0,-1,-1,0) < 0)'
try setns perl -e 'open F,"</proc/self/ns/net"; exit(syscall(308,fileno(F),0) < 0)'
try setuid perl -e '$> = 0; exit($> != 0)'
perl -MSocket -e 'socket(S,PF_UNIX,SOCK_STREAM,0); connect(S,sockaddr_un("/run/cordon/guest.sock")) or exit 1; syswrite S,"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"; sysread(S,$b,64)>0 or exit 1' && leak guest-socket
# A pid beyond our own namespace would be visible here.
n=$(ls -d /proc/[0-9]* | wc -l); [ "$n" -lt 12 ] || leak "processes $n"
kill -9 1; 
echo "uid $(id -u) gid $(id -g)"
grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status
echo done > result.txt
echo ATTACKS DONE
"#
    )
}
