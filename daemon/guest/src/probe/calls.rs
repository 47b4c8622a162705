#![allow(unsafe_code)]

//! System calls that must be refused, each tried with arguments that do no harm should it be
//! allowed after all, and with which an allowed call fails otherwise than
//! with "not permitted".

use cordon_proto::guest::{ProbeResponse, probe_response::SyscallResult};
use libc::c_long;

/// A null pointer or a zero.
const NONE: c_long = 0;

/// Name, number, arguments.
fn table() -> Vec<(&'static str, c_long, [c_long; 5])> {
    let none = [NONE; 5];
    let with = |first: i32| [c_long::from(first), NONE, NONE, NONE, NONE];
    let mut table = vec![
        ("ptrace", libc::SYS_ptrace, [c_long::MAX, NONE, NONE, NONE, NONE]),
        ("process_vm_readv", libc::SYS_process_vm_readv, none),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, with(-1)),
        ("mount", libc::SYS_mount, none),
        ("umount2", libc::SYS_umount2, none),
        ("open_tree", libc::SYS_open_tree, with(-1)),
        ("move_mount", libc::SYS_move_mount, with(-1)),
        ("fsopen", libc::SYS_fsopen, none),
        ("mount_setattr", libc::SYS_mount_setattr, with(-1)),
        ("pivot_root", libc::SYS_pivot_root, none),
        ("chroot", libc::SYS_chroot, none),
        ("unshare(CLONE_NEWUSER)", libc::SYS_unshare, with(libc::CLONE_NEWUSER)),
        ("unshare(CLONE_NEWNS)", libc::SYS_unshare, with(libc::CLONE_NEWNS)),
        // Threads must share their memory: without the filter this is an invalid argument.
        ("clone(CLONE_NEWUSER)", libc::SYS_clone, with(libc::CLONE_NEWUSER | libc::CLONE_THREAD)),
        ("clone3", libc::SYS_clone3, none),
        ("setns", libc::SYS_setns, with(-1)),
        ("bpf", libc::SYS_bpf, with(-1)),
        ("keyctl", libc::SYS_keyctl, [c_long::MAX, NONE, NONE, NONE, NONE]),
        ("add_key", libc::SYS_add_key, none),
        ("io_uring_setup", libc::SYS_io_uring_setup, none),
        ("userfaultfd", libc::SYS_userfaultfd, with(-1)),
        ("perf_event_open", libc::SYS_perf_event_open, none),
        ("fanotify_init", libc::SYS_fanotify_init, with(-1)),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, with(-1)),
        ("kexec_load", libc::SYS_kexec_load, with(-1)),
        ("finit_module", libc::SYS_finit_module, with(-1)),
        ("reboot", libc::SYS_reboot, none),
        ("syslog", libc::SYS_syslog, with(-1)),
        ("ioctl(TIOCSTI)", libc::SYS_ioctl, [-1, libc::TIOCSTI as c_long, NONE, NONE, NONE]),
        (
            "ioctl(TIOCSTI, high bits)",
            libc::SYS_ioctl,
            [-1, (1 << 32) | libc::TIOCSTI as c_long, NONE, NONE, NONE],
        ),
        ("personality(ADDR_NO_RANDOMIZE)", libc::SYS_personality, with(libc::ADDR_NO_RANDOMIZE)),
        ("socket(AF_PACKET)", libc::SYS_socket, socket(libc::AF_PACKET, libc::SOCK_RAW)),
        ("socket(AF_VSOCK)", libc::SYS_socket, socket(libc::AF_VSOCK, libc::SOCK_STREAM)),
        ("socket(AF_ALG)", libc::SYS_socket, socket(libc::AF_ALG, libc::SOCK_SEQPACKET)),
        (
            "socket(NETLINK_AUDIT)",
            libc::SYS_socket,
            [c_long::from(libc::AF_NETLINK), c_long::from(libc::SOCK_RAW), 9, NONE, NONE],
        ),
        (
            "socket(SOCK_RAW)",
            libc::SYS_socket,
            [c_long::from(libc::AF_INET), c_long::from(libc::SOCK_RAW), 1, NONE, NONE],
        ),
    ];
    if cfg!(target_arch = "x86_64") {
        // getpid by its x32 number.
        table.push(("x32 getpid", 0x4000_0000 | libc::SYS_getpid, none));
    }
    table
}

fn socket(family: i32, kind: i32) -> [c_long; 5] {
    [c_long::from(family), c_long::from(kind), NONE, NONE, NONE]
}

/// Tries each call and reports what came back.
pub(super) fn look(response: &mut ProbeResponse) {
    response.syscalls = table()
        .into_iter()
        .map(|(name, number, [a, b, c, d, e])| {
            // SAFETY: every pointer among the arguments is null, which the kernel answers
            // with an error; no call of the table can touch this process's memory, and
            // one that succeeds changes nothing that this process uses afterwards.
            let result = unsafe { libc::syscall(number, a, b, c, d, e) };
            let errno =
                if result == -1 { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 };
            SyscallResult { name: name.to_owned(), errno: errno.cast_unsigned() }
        })
        .collect();
}
