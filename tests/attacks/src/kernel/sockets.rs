//! Doors that are no files: sockets of services, names without a path, loopback, the guest's own socket, terminals.

use super::ours_only;
use crate::{Attack, Enforcer, Run, enforcer::wall::FOUND_SOCKET};

/// KX-10.
pub const SERVICES: Attack = Attack {
    id: "KX-10",
    what: "connect to services by their sockets: docker, containerd, podman, dbus, systemd, agents for keys, one outside",
    runs: |_| {
        vec![Run::script(
            r#"
for path in /var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock /run/podman/podman.sock /run/crio/crio.sock \
  /run/dbus/system_bus_socket /run/systemd/private /run/systemd/journal/stdout /run/user/*/bus /run/libvirt/libvirt-sock \
  /tmp/ssh-*/agent.* /run/user/*/gnupg/S.gpg-agent /tmp/.X11-unix/X0 /run/snapd.socket /dev/log "$OUTSIDE/socket"; do
  reach "$path" "sockaddr_un(q($path))"
done
ln -s "$OUTSIDE/socket" door; reach linked 'sockaddr_un("door")'
ln "$OUTSIDE/socket" hard && reach hard-linked 'sockaddr_un("hard")'
mv "$OUTSIDE/socket" moved && reach moved 'sockaddr_un("moved")'
reach by-proc 'sockaddr_un("/proc/1/root$ENV{OUTSIDE}/socket")'
echo DONE
"#,
        )]
    },
    ..Attack::NONE
};

/// KX-10: connecting is no writing to a mount.
pub const SHARED_SOCKET: Attack = Attack {
    id: "KX-10",
    what: "connect to a live socket inside a tree that is shared read-only",
    prepare: |world| world.listen("a socket in a read-only tree", &world.path("ro").join(FOUND_SOCKET)),
    runs: |_| vec![Run::script("reach read-only-tree 'sockaddr_un(\"$ENV{RO}/socket\")'; echo DONE")],
    ..Attack::NONE
};

/// KX-10: nobody looked for it when the sandbox was planned.
pub const LATE_SOCKET: Attack = Attack {
    id: "KX-10",
    what: "connect to a socket that appears in a tree shared read-only while the sandbox runs",
    prepare: |world| world.listen("a late socket in a read-only tree", &world.path("ro/late")),
    runs: |_| vec![Run::script("reach late 'sockaddr_un(\"$ENV{RO}/late\")'; echo DONE")],
    // The kernel can refuse it since Landlock ABI 9; before, what SECURITY.md says remains.
    known: |enforcer| match enforcer {
        Enforcer::Tools | Enforcer::Local | Enforcer::Docker if super::landlock_abi() < 9 => {
            &["a late socket in a read-only tree was reached", "the canary was read"]
        }
        _ => &[],
    },
    ..Attack::NONE
};

/// Names without a path.
pub const ABSTRACT: Attack = Attack {
    id: "KX-10",
    what: "connect to an abstract socket of the host",
    runs: |_| {
        vec![Run::script(
            r#"
reach abstract 'pack("Sa*", 1, "\0$ENV{ABSTRACT}")'
perl -MSocket -e 'socket S, PF_UNIX, SOCK_DGRAM, 0; send S, "x", 0, pack("Sa*", 1, "\0$ENV{ABSTRACT}") and print "GOT datagram\n"'
grep -c "$ABSTRACT" /proc/net/unix | grep -qx 0 || got listed
echo DONE
"#,
        )]
    },
    ..Attack::NONE
};

/// The host by its own addresses.
pub const LOOPBACK: Attack = Attack {
    id: "KX-10",
    what: "connect and send to ports of the host by loopback, its own addresses, gateways and mapped IPv6",
    runs: |_| {
        let mut addresses: Vec<String> =
            ["127.0.0.1", "127.0.0.2", "0.0.0.0", "169.254.169.254", "172.17.0.1"].map(str::to_owned).into();
        addresses.extend(own_addresses());
        vec![Run::script(format!(
            r#"
gateway=$(perl -ne '/^\S+\t0{{8}}\t(..)(..)(..)(..)/ and print join ".", map hex, $4, $3, $2, $1' /proc/net/route)
for address in {} $gateway; do
  timeout 1 bash -c "exec 3<>/dev/tcp/$address/$PORT && head -n 1 <&3"
  bash -c "echo x > /dev/udp/$address/$PORT"
done 2>/dev/null
for address in ::1 ::ffff:127.0.0.1; do timeout 1 bash -c "exec 3<>/dev/tcp/$address/$PORT && head -n 1 <&3"; done 2>/dev/null
echo DONE
"#,
            addresses.join(" ")
        ))]
    },
    ..Attack::NONE
};

fn own_addresses() -> Vec<String> {
    let out = std::process::Command::new("hostname").arg("-I").output();
    let text = out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().filter(|address| address.contains('.')).map(str::to_owned).collect()
}

/// The agent as its own daemon.
pub const GUEST: Attack = Attack {
    id: "KX-10",
    what: "speak to the guest as if one were the daemon; pass it descriptors; listen in its place",
    runs: |_| {
        vec![Run::script(
            r#"
for name in guest.sock egress.sock; do
  perl -MSocket -e '
    my $name = shift; socket S, PF_UNIX, SOCK_STREAM, 0; connect S, sockaddr_un("/run/cordon/$name") or exit;
    $SIG{ALRM} = sub { exit }; alarm 3; $SIG{PIPE} = "IGNORE";
    syswrite S, $name eq "guest.sock" ? "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" : "CONNECT 127.0.0.1:$ENV{PORT} HTTP/1.1\r\n\r\n";
    print "GOT an answer of $name\n" if (sysread S, $b, 64) && ($name eq "guest.sock" || $b =~ /200/)' "$name"
  # A descriptor in a message: of a directory, so that whoever takes it could be led about.
  perl -MSocket -e '
    my $name = shift; socket S, PF_UNIX, SOCK_STREAM, 0; connect S, sockaddr_un("/run/cordon/$name") or exit;
    opendir D, "/"; my $c = pack "Q i i i x4", 20, 1, 1, fileno D; my $d = "x"; my $v = pack "PQ", $d, 1;
    my $m = pack "Q L x4 P Q P Q i x4", 0, 0, $v, 1, $c, length $c, 0; $SIG{PIPE} = "IGNORE";
    syscall 46, fileno S, $m, 0; alarm 2; $SIG{ALRM} = sub { exit }; print "GOT an answer to a descriptor\n" if sysread S, $b, 9' "$name"
done
# The guest's program run once more, by the agent: as server, as launcher, as tool.
timeout 5 /run/cordon-guest serve </dev/null >/dev/null 2>&1; [ $? = 0 ] && got second-server
timeout 5 /run/cordon-guest launch </dev/null >/dev/null 2>&1; [ $? = 0 ] && got launcher
/run/cordon-guest tool read "$CANARY"; /run/cordon-guest tool read "$WS/hidden"
echo x | /run/cordon-guest tool write "$WS/keep/file"; echo x | /run/cordon-guest tool write "$OUTSIDE/made"
echo DONE
"#,
        )]
    },
    spared: |enforcer| ours_only(enforcer, "nothing of ours is in it"),
    ..Attack::NONE
};

/// KX-06.
pub const TERMINAL: Attack = Attack {
    id: "KX-06",
    what: "type into the terminal that somebody else reads (TIOCSTI, TIOCLINUX), or take another one's terminal",
    runs: |_| {
        let script = r#"
perl -e 'for (["TIOCSTI", 0x5412, "x"], ["TIOCSTI-high-bits", 0x100005412, "x"], ["TIOCLINUX", 0x541c, "\3"], ["TIOCSCTTY", 0x540e, 1],
  ["TIOCCONS", 0x541d, 0], ["TIOCSETD", 0x5423, pack "i", 18]) {
    my ($name, $number, $argument) = @$_;
    for my $f (*STDIN, *STDOUT) { print "GOT $name\n" if $name ne "TIOCSCTTY" && ioctl $f, $number, $argument } }'
for tty in /dev/tty0 /dev/tty1 /dev/console /dev/ttyS0; do no "$tty" bash -c "exec 3<>$tty"; done
ls /dev/pts | grep -qvx -e ptmx -e '[0-4]' && got terminals-of-others
echo DONE
"#;
        vec![
            Run { terminal: true, ..Run::script(script) },
            Run::script(format!("script -qc {} /dev/null", quoted(script))),
        ]
    },
    ..Attack::NONE
};

fn quoted(text: &str) -> String {
    // `script` runs /bin/sh; the functions of the prelude are bash's.
    let inner = format!(
        "got() {{ echo \"GOT $*\"; }}\nno() {{ local name=$1; shift; if \"$@\" >/dev/null 2>&1; then got \"$name\"; fi; }}\n{text}"
    );
    let once = format!("'{}'", inner.replace('\'', "'\\''"));
    let command = format!("bash -c {once}");
    format!("'{}'", command.replace('\'', "'\\''"))
}
