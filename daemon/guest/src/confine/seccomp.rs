//! The system call filter. It allows by default and refuses what an agent never needs
//! and an escape often does; the view, Landlock and the empty capability sets are what
//! confines. Refusals are EPERM, so that a program says "not permitted" and goes on; where the
//! kernel can, it asks `refusals` for them, which tells the daemon.
#![allow(unsafe_code)]

use super::error::Error;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpArgLen::Qword, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};
use std::{
    collections::BTreeMap,
    os::fd::{FromRawFd as _, OwnedFd},
};

/// Numbers with their names.
macro_rules! calls {
    ($($name:ident,)*) => { &[$((libc::$name, stringify!($name)),)*] };
}

const REFUSED: &[(i64, &str)] = calls![
    // Other processes' memory and descriptors.
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_kcmp,
    // The view and the namespaces.
    SYS_mount,
    SYS_umount2,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsmount,
    SYS_fsconfig,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    // Kernel interfaces with a long record of holes.
    SYS_bpf,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_userfaultfd,
    SYS_perf_event_open,
    SYS_fanotify_init,
    // Files by handle go around every path.
    SYS_open_by_handle_at,
    SYS_name_to_handle_at,
    SYS_lookup_dcookie,
    // The machine itself.
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_syslog,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_vhangup,
    SYS_nfsservctl,
];

/// Added in 6.15 with the number that every architecture shares.
const NEWER: &[(i64, &str)] = &[(467, "SYS_open_tree_attr")];

/// Refused for some of their arguments only.
const LOOKED_INTO: &[(i64, &str)] = calls![
    SYS_clone,
    SYS_ioctl,
    SYS_personality,
    SYS_socket,
    SYS_socketpair,
    SYS_prlimit64,
    SYS_sched_setaffinity,
    SYS_sched_setscheduler,
    SYS_sched_setparam,
    SYS_sched_setattr,
    SYS_setpriority,
    SYS_ioprio_set,
];

/// A call's name, for a person.
pub(crate) fn name_of(number: i64) -> String {
    let known = [REFUSED, NEWER, REFUSED_HERE, LOOKED_INTO].into_iter().flatten();
    let found = known.into_iter().find(|(n, _)| *n == number).map(|(_, name)| *name);
    found.map_or_else(|| format!("call {number}"), |n| n.trim_start_matches("SYS_").to_owned())
}

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[(i64, &str)] =
    calls![SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib, SYS_ustat, SYS_sysfs, SYS__sysctl,];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[(i64, &str)] = &[];

const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Installs both filters on this thread and all it starts. What comes back is where the
/// kernel tells what the first one refuses; none where it cannot, and refuses by itself.
pub(super) fn restrict() -> Result<Option<OwnedFd>, Error> {
    let wrong = |e: &dyn std::fmt::Display| Error::Seccomp(e.to_string());
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| wrong(&e))?;
    let rules = rules().map_err(|e| wrong(&e))?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32), arch)
            .map_err(|e| wrong(&e))?;
    let program: seccompiler::BpfProgram =
        filter.try_into().map_err(|e: seccompiler::BackendError| wrong(&e))?;
    let listener = listen(&program);
    if listener.is_none() {
        seccompiler::apply_filter(&program).map_err(|e| wrong(&e))?;
    }
    seccompiler::apply_filter(&numbers()).map_err(|e| wrong(&e))?;
    Ok(listener)
}

/// Installs the program with every refusal told first. None when this kernel does not know
/// how, or when somebody around this sandbox listens already: nothing is installed then.
fn listen(program: &[sock_filter]) -> Option<OwnedFd> {
    if !crate::refusals::is_understood() {
        return None;
    }
    let mut told = telling(program);
    let length = u16::try_from(told.len()).ok()?;
    let program = libc::sock_fprog { len: length, filter: told.as_mut_ptr() };
    // SAFETY: the structure and the program that it points at outlive the call, which copies
    // both; the length is the program's. A descriptor that comes back is new, closes on exec,
    // and is nobody else's.
    unsafe {
        let listener = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        );
        let listener = i32::try_from(listener).ok().filter(|fd| *fd >= 0)?;
        Some(OwnedFd::from_raw_fd(listener))
    }
}

/// The same program, with its one answer to a refused call replaced.
fn telling(program: &[sock_filter]) -> Vec<libc::sock_filter> {
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    let told = |op: &sock_filter| {
        let k = if op.code == RETURN && op.k == refused { libc::SECCOMP_RET_USER_NOTIF } else { op.k };
        libc::sock_filter { code: op.code, jt: op.jt, jf: op.jf, k }
    };
    program.iter().map(told).collect()
}

const RETURN: u16 = 0x06; // BPF_RET | BPF_K

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = [REFUSED, NEWER, REFUSED_HERE]
        .into_iter()
        .flatten()
        .map(|(number, _)| (*number, Vec::new()))
        .collect();
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
    for protocol in [libc::IPPROTO_SCTP, libc::IPPROTO_DCCP, libc::IPPROTO_UDPLITE, libc::IPPROTO_MPTCP] {
        for family in [libc::AF_INET, libc::AF_INET6] {
            socket.push(SeccompRule::new(vec![is(0, family)?, is(2, protocol)?])?);
        }
    }
    rules.insert(libc::SYS_socket, socket);
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(vec![is_not(0, libc::AF_UNIX)?])?]);
    spare_the_guest(&mut rules)?;
    Ok(rules)
}

/// The guest is of the same user as the agent, who could take its descriptors or processor time
/// away by the numbers of limits and priorities. A thread may still pin and rank itself.
fn spare_the_guest(rules: &mut BTreeMap<i64, Vec<SeccompRule>>) -> Result<(), seccompiler::BackendError> {
    let is = |arg, v: u64| SeccompCondition::new(arg, Dword, SeccompCmpOp::Eq, v);
    // Any thread's number stands for its whole process here. To look is fine.
    let others = SeccompCondition::new(0, Dword, SeccompCmpOp::Ne, 0)?;
    let changes = SeccompCondition::new(2, Qword, SeccompCmpOp::Ne, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![others, changes])?]);
    for call in [
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
    ] {
        rules.insert(call, vec![SeccompRule::new(vec![is(0, 1)?])?]);
    }
    // A process, a group, a user, each call with numbers of its own for them.
    for (call, process, group, user) in [(libc::SYS_setpriority, 0, 1, 2), (libc::SYS_ioprio_set, 1, 2, 3)] {
        let first = |which| SeccompRule::new(vec![is(0, which)?, is(1, 1)?]);
        rules.insert(call, vec![first(process)?, first(group)?, SeccompRule::new(vec![is(0, user)?])?]);
    }
    Ok(())
}

/// A second program for what the first cannot say: another answer than EPERM. `clone3`
/// passes its flags where no filter can see them, and programs fall back to
/// `clone` when it does not exist; the numbers of the x32 interface are the same calls by
/// another name. A foreign architecture is killed here as in the first program.
fn numbers() -> Vec<sock_filter> {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
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
        for (number, _) in REFUSED {
            assert!(rules[number].is_empty(), "{number} is refused whatever its arguments");
        }
        for number in [libc::SYS_clone, libc::SYS_ioctl, libc::SYS_personality, libc::SYS_socket] {
            assert!(!rules[&number].is_empty(), "{number} would be refused altogether");
        }
    }
    #[test]
    fn only_the_answer_to_a_refused_call_is_replaced() {
        let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        let refuse = SeccompAction::Errno(libc::EPERM as u32);
        let filter = SeccompFilter::new(rules().unwrap(), SeccompAction::Allow, refuse, arch).unwrap();
        let program: seccompiler::BpfProgram = filter.try_into().unwrap();
        let told = telling(&program);
        let answers = |k: u32| told.iter().filter(|op| op.code == RETURN && op.k == k).count();
        assert_eq!(answers(libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned()), 0);
        assert!(answers(libc::SECCOMP_RET_USER_NOTIF) > 0 && answers(libc::SECCOMP_RET_ALLOW) > 0);
        assert!(answers(libc::SECCOMP_RET_KILL_PROCESS) > 0);
        let changed = program.iter().zip(&told).filter(|(a, b)| a.k != b.k).count();
        assert_eq!(changed, answers(libc::SECCOMP_RET_USER_NOTIF));
    }

    #[test]
    fn every_refused_call_has_a_name() {
        for number in rules().unwrap().keys() {
            assert!(!name_of(*number).starts_with("call "), "{number}");
        }
    }
}
