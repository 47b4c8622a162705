//! System calls that an agent has no use for: each is tried, and must be refused before the kernel looks at it.

use crate::{Attack, Enforcer, Run};

/// Told behind the local wall, where no engine's filter answers first.
fn local(enforcer: Enforcer, calls: &'static [&'static str]) -> &'static [&'static str] {
    if enforcer == Enforcer::Local { calls } else { &[] }
}

/// KX-03.
pub const IO_URING: Attack = Attack {
    id: "KX-03",
    what: "get an io_uring, whose operations no filter sees",
    runs: |_| {
        vec![Run::script(
            r#"
call io_uring_setup '1, $b'
call io_uring_enter '-1, 0, 0, 0, 0, 0'
call io_uring_register '-1, 0, 0, 0'
echo DONE
"#,
        )]
    },
    told: |enforcer| local(enforcer, &["io_uring_setup", "io_uring_enter", "io_uring_register"]),
    ..Attack::NONE
};

/// KX-05.
pub const INTERFACES: Attack = Attack {
    id: "KX-05",
    what: "use keys, bpf, perf, userfaultfd, fanotify, handles of processes' memory",
    runs: |_| {
        vec![Run::script(
            r#"
call keyctl '0, -3, 1'
call keyctl '6, -3, $b, 100' keyctl-describe
call add_key '"user\0", "cordon\0", "x", 1, -3'
call request_key '"user\0", "cordon\0", 0, -3'
call bpf '0, $b, 128'
call bpf '5, $b, 128' bpf-load
call perf_event_open '$b, 0, -1, -1, 0'
call userfaultfd '1'
call userfaultfd '0x80801' userfaultfd-flags
call fanotify_init '0, 0'
call fanotify_init '0x200, 0' fanotify-fid
call kcmp '1, $$, 0, 0, 0'
call personality '0x0040000'
call personality '0x0400000' personality-read-implies-exec
call prctl '35, 1, 0x400000, 0, 0' prctl-set-mm
echo DONE
"#,
        )]
    },
    told: |enforcer| {
        local(
            enforcer,
            &[
                "keyctl",
                "add_key",
                "request_key",
                "bpf",
                "perf_event_open",
                "userfaultfd",
                "fanotify_init",
                "kcmp",
                "personality",
            ],
        )
    },
    ..Attack::NONE
};

/// KX-05, of the machine. No argument does anything, were it let through.
pub const MACHINE: Attack = Attack {
    id: "KX-05",
    what: "load a kernel or a module, reboot, swap, set the clock or the host's name, ports, log",
    runs: |_| {
        vec![Run::script(
            r#"
call kexec_load '0, 0, 0, 0'
call kexec_file_load '-1, -1, 1, $e, 0'
call init_module '$b, 1, $e'
call finit_module '-1, $e, 0'
call delete_module '$p, 0x800'
call reboot '0, 0, 0, 0'
call swapon '$p, 0'
call acct '$p'
call quotactl '0x800001, $p, 0, $b'
call syslog '3, $b, 100'
call settimeofday '0, 0'
call sethostname '"owned", 5'
call vhangup ''
call iopl '3'
call ioperm '0x80, 1, 1'
call modify_ldt '0, $b, 64'
echo DONE
"#,
        )]
    },
    told: |enforcer| {
        local(
            enforcer,
            &[
                "kexec_load",
                "init_module",
                "finit_module",
                "delete_module",
                "reboot",
                "swapon",
                "acct",
                "settimeofday",
                "iopl",
                "modify_ldt",
            ],
        )
    },
    ..Attack::NONE
};

/// KX-05, of namespaces and mounts.
pub const NAMESPACES: Attack = Attack {
    id: "KX-05",
    what: "make or join a namespace, mount by either interface, change the root",
    runs: |_| {
        vec![Run::script(
            r#"
for flag in 0x10000000 0x00020000 0x40000000 0x20000000 0x04000000 0x08000000 0x02000000 0x00000080; do
  call unshare "$flag" "unshare $flag"
done
call clone '0x10000011, 0, 0, 0, 0' clone-new-user
call clone3 '$b, 88'
for kind in user mnt pid net ipc uts cgroup; do
  call setns "fd('/proc/self/ns/$kind'), 0" "setns $kind"
  call setns "fd('/proc/1/ns/$kind'), 0" "setns $kind of 1"
done
call mount '"none\0", "/tmp\0", "tmpfs\0", 0, 0'
call mount '$e, "$ENV{RO}\0", $e, 0x1020, 0' remount-writable
call mount '"$ENV{WS}/src\0", "$ENV{RO}\0", $e, 0x1000, 0' bind-over
call mount '$e, "/\0", $e, 0x44000, 0' make-shared
call umount2 '"$ENV{WS}/hidden\0", 2'
call umount2 '"$ENV{WS}/keep\0", 2' umount-keep
call umount2 '"/proc\0", 2' umount-proc
call open_tree '-100, "/\0", 1'
call open_tree_attr '-100, "/\0", 1, $b, 32'
call fsopen '"tmpfs\0", 0'
call fspick '-100, "/\0", 0'
call move_mount '-100, "$ENV{WS}/src\0", -100, "$ENV{RO}\0", 0'
call mount_setattr '-100, "$ENV{RO}\0", 0, pack("Q4", 0, 1, 0, 0), 32'
call pivot_root '".\0", ".\0"'
call chroot '"/tmp\0"'
no unshare-program unshare -Urm true
no bind-by-program unshare -Urm mount --bind "$WS/src" "$RO"
no fuse bash -c 'exec 3<>/dev/fuse'
cat "$WS/hidden"
echo DONE
"#,
        )]
    },
    // The mount over a masked file cannot be taken away; what is below it was never read.
    told: |enforcer| {
        local(
            enforcer,
            &[
                "unshare",
                "clone",
                "setns",
                "mount",
                "umount2",
                "open_tree",
                "fsopen",
                "fspick",
                "move_mount",
                "mount_setattr",
                "pivot_root",
                "chroot",
            ],
        )
    },
    ..Attack::NONE
};

/// KX-05: around every path.
pub const HANDLES: Attack = Attack {
    id: "KX-05",
    what: "open the host's root by a file handle (the shocker exploit)",
    runs: |_| {
        vec![Run::script(
            r#"
call name_to_handle_at '-100, "$ENV{WS}\0", pack("Ii", 120, 0) . "\0" x 120, $b, 0'
# Inode 2 is the root of ext4, 128 of XFS, 256 of btrfs; the mount is the workspace's own filesystem.
perl -e 'open D, "<", $ENV{WS}; for $inode (2, 128, 256) { $h = pack("IiQ", 8, 1, $inode);
  $fd = syscall($ENV{NR_open_by_handle_at}, fileno(D), $h, 0x10000); next if $fd < 0;
  print "GOT open_by_handle_at\n"; opendir R, "/proc/self/fd/$fd"; print join(" ", readdir R), "\n";
  open C, "<", "/proc/self/fd/$fd$ENV{CANARY}" and print <C> }'
call open_by_handle_at '-100, pack("IiQ", 8, 1, 2), 0x10000'
echo DONE
"#,
        )]
    },
    told: |enforcer| local(enforcer, &["name_to_handle_at", "open_by_handle_at"]),
    ..Attack::NONE
};

/// KX-05: the same calls by their other names.
pub const OTHER_ENTRIES: Attack = Attack {
    id: "KX-05",
    what: "enter the kernel by int 0x80 and by the x32 numbers, which filters for 64-bit calls do not see",
    runs: |_| {
        vec![Run::script(
            r#"
export NR_x32=$((0x40000000 | 39)) NR_x32_ptrace=$((0x40000000 | 521))
[ "$(uname -m)" = x86_64 ] || { echo DONE; exit; }
call x32 '' x32-getpid
call x32_ptrace '0, 0, 0, 0' x32-ptrace
# A whole program: getpid by the 32-bit entry; 42 when it answers.
perl -e 'my $code = pack "H*", "b814000000" . "cd80" . "85c0" . "bf01000000" . "7e05" . "bf2a000000" . "b83c000000" . "0f05";
  my $size = 120 + length $code;
  print pack("H*", "7f454c46020101" . "00" x 9), pack("S2 L Q3 L S6", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0),
    pack("L2 Q6", 1, 5, 0, 0x400000, 0x400000, $size, $size, 0x1000), $code' > entry
chmod +x entry
./entry; [ $? = 42 ] && got int-0x80
# That it is a program at all: the same without the foreign entry.
perl -e 'my $code = pack "H*", "bf07000000" . "b83c000000" . "0f05"; my $size = 120 + length $code;
  print pack("H*", "7f454c46020101" . "00" x 9), pack("S2 L Q3 L S6", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0),
    pack("L2 Q6", 1, 5, 0, 0x400000, 0x400000, $size, $size, 0x1000), $code' > native
chmod +x native
./native; [ $? = 7 ] || echo "BROKEN the program does not run"
echo DONE
"#,
        )]
    },
    ..Attack::NONE
};

/// NW-06 and its neighbours, as far as a filter decides.
pub const FAMILIES: Attack = Attack {
    id: "KX-05",
    what: "get sockets of rarely used families: packet, raw, vsock, AF_ALG, generic netlink, XDP, SCTP and others",
    runs: |_| {
        vec![Run::script(
            r#"
try() { call socket "$2, $3, $4" "$1"; }
try packet 17 3 768; try packet-datagram 17 2 768
try raw-icmp 2 3 1; try raw-tcp 2 3 6; try raw-ipv6 10 3 58
try alg 38 5 0; try vsock 40 1 0; try vsock-datagram 40 2 0
try netlink-generic 16 3 16; try netlink-audit 16 3 9; try netlink-netfilter 16 3 12; try netlink-uevent 16 3 15
try netlink-diag 16 3 4; try netlink-xfrm 16 3 6; try netlink-crypto 16 3 21; try netlink-selinux 16 3 7
try key 15 3 2; try bluetooth 31 3 0; try can 29 3 1; try tipc 30 5 0; try rds 21 5 0; try xdp 44 3 0
try smc 43 1 0; try kcm 41 5 0; try qipcrtr 42 2 0; try llc 26 1 0; try ax25 3 5 0; try ppp 24 3 0; try nfc 39 5 0
try sctp 2 1 132; try sctp-packets 2 5 132; try dccp 2 6 33; try udplite 2 2 136
echo DONE
"#,
        )]
    },
    told: |enforcer| local(enforcer, &["socket"]),
    ..Attack::NONE
};
