//! The system call filter. It allows by default and refuses what an agent never needs
//! and an escape often does; the view, Landlock and the empty capability sets are what
//! confines. Refusals are EPERM, so that a program says "not permitted" and goes on.

use super::error::Error;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpArgLen::Qword, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;

const REFUSED: &[i64] = &[
    // Other processes' memory and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // The view and the namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Kernel interfaces with a long record of holes.
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_fanotify_init,
    // Files by handle go around every path.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_lookup_dcookie,
    // The machine itself.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
];

/// Added in 6.15 with the number that every architecture shares.
const OPEN_TREE_ATTR: i64 = 467;

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Installs both filters on this thread and all it starts.
pub(super) fn restrict() -> Result<(), Error> {
    let wrong = |e: &dyn std::fmt::Display| Error::Seccomp(e.to_string());
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| wrong(&e))?;
    let rules = rules().map_err(|e| wrong(&e))?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32), arch)
            .map_err(|e| wrong(&e))?;
    let program: seccompiler::BpfProgram =
        filter.try_into().map_err(|e: seccompiler::BackendError| wrong(&e))?;
    seccompiler::apply_filter(&program).map_err(|e| wrong(&e))?;
    seccompiler::apply_filter(&numbers()).map_err(|e| wrong(&e))
}

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().chain(REFUSED_HERE).map(|number| (*number, Vec::new())).collect();
    let value = |v: i32| u64::from(v.cast_unsigned());
    let is = |arg, v: i32| SeccompCondition::new(arg, Dword, SeccompCmpOp::Eq, value(v));
    let is_not = |arg, v: i32| SeccompCondition::new(arg, Dword, SeccompCmpOp::Ne, value(v));

    // A process with new namespaces has every capability in them.
    let mut clone = Vec::new();
    for flag in NAMESPACES {
        let has = SeccompCondition::new(0, Qword, SeccompCmpOp::MaskedEq(value(flag)), value(flag))?;
        clone.push(SeccompRule::new(vec![has])?);
    }
    rules.insert(libc::SYS_clone, clone);

    // Typing into the terminal that somebody else reads. The kernel looks at the low
    // half of the request only, and so does this.
    let mut ioctl = Vec::new();
    for request in [libc::TIOCSTI as i32, libc::TIOCLINUX as i32] {
        ioctl.push(SeccompRule::new(vec![is(1, request)?])?);
    }
    rules.insert(libc::SYS_ioctl, ioctl);

    // Neither another execution domain nor fixed addresses.
    rules.insert(libc::SYS_personality, vec![SeccompRule::new(vec![is_not(0, 0)?, is_not(0, -1)?])?]);

    let other_family = SeccompRule::new(vec![
        is_not(0, libc::AF_UNIX)?,
        is_not(0, libc::AF_INET)?,
        is_not(0, libc::AF_INET6)?,
        is_not(0, libc::AF_NETLINK)?,
    ])?;
    let other_netlink = SeccompRule::new(vec![is(0, libc::AF_NETLINK)?, is_not(2, libc::NETLINK_ROUTE)?])?;
    let mut socket = vec![other_family, other_netlink];
    for protocol in [libc::IPPROTO_SCTP, libc::IPPROTO_DCCP, libc::IPPROTO_UDPLITE] {
        for family in [libc::AF_INET, libc::AF_INET6] {
            socket.push(SeccompRule::new(vec![is(0, family)?, is(2, protocol)?])?);
        }
    }
    rules.insert(libc::SYS_socket, socket);
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(vec![is_not(0, libc::AF_UNIX)?])?]);
    Ok(rules)
}

/// A second program for what the first cannot say: another answer than EPERM. `clone3`
/// passes its flags where no filter can see them, and programs fall back to
/// `clone` when it does not exist; the numbers of the x32 interface are the same calls by
/// another name. A foreign architecture is killed here as in the first program.
fn numbers() -> Vec<sock_filter> {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const X32: u32 = 0x4000_0000;
    let op = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let missing = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    vec![
        op(LOAD, 0, 0, 4),
        op(EQUAL, 1, 0, NATIVE),
        op(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        op(LOAD, 0, 0, 0),
        op(AT_LEAST, 2, 0, X32),
        op(EQUAL, 1, 0, libc::SYS_clone3 as u32),
        op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        op(RETURN, 0, 0, missing),
    ]
}

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xC000_00B7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_refused_and_looked_into() {
        let rules = rules().unwrap();
        for number in REFUSED {
            assert!(rules[number].is_empty(), "{number} is refused whatever its arguments");
        }
        for number in [libc::SYS_clone, libc::SYS_ioctl, libc::SYS_personality, libc::SYS_socket] {
            assert!(!rules[&number].is_empty(), "{number} would be refused altogether");
        }
    }
}
