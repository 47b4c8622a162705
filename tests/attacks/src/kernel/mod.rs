//! "Kernel and process": attacks that run programs.

pub mod bombs;
pub mod calls;
pub mod exec;
pub mod host;
mod numbers;
pub mod processes;
pub mod sockets;

pub(crate) use numbers::NUMBERS;

/// Every attack of this part: `name => attack`. `$each` is a macro that makes something of the list.
#[macro_export]
macro_rules! kernel_attacks {
    ($each:ident) => {
        $crate::$each! {
            kx_01_exec_by_another_name => $crate::kernel::exec::BY_ANOTHER_NAME,
            kx_01_loader_tricks => $crate::kernel::exec::LOADER,
            kx_03_io_uring => $crate::kernel::calls::IO_URING,
            kx_04_memory_of_other_processes => $crate::kernel::processes::MEMORY,
            kx_04_proc_of_other_processes => $crate::kernel::processes::PROC,
            kx_04_proc_self_mem => $crate::kernel::processes::OWN_MEMORY,
            kx_05_kernel_interfaces => $crate::kernel::calls::INTERFACES,
            kx_05_machine => $crate::kernel::calls::MACHINE,
            kx_05_namespaces_and_mounts => $crate::kernel::calls::NAMESPACES,
            kx_05_file_handles => $crate::kernel::calls::HANDLES,
            kx_05_other_entries => $crate::kernel::calls::OTHER_ENTRIES,
            kx_05_socket_families => $crate::kernel::calls::FAMILIES,
            kx_05_identity => $crate::kernel::processes::IDENTITY,
            kx_06_terminal_injection => $crate::kernel::sockets::TERMINAL,
            kx_10_sockets_of_services => $crate::kernel::sockets::SERVICES,
            kx_10_socket_in_a_shared_tree => $crate::kernel::sockets::SHARED_SOCKET,
            kx_10_late_socket_in_a_shared_tree => $crate::kernel::sockets::LATE_SOCKET,
            kx_10_abstract_socket => $crate::kernel::sockets::ABSTRACT,
            kx_10_ports_of_the_host => $crate::kernel::sockets::LOOPBACK,
            kx_10_guest_socket => $crate::kernel::sockets::GUEST,
            kx_13_chosen_directory => $crate::kernel::exec::CHOSEN_DIRECTORY,
            kx_15_forks => $crate::kernel::bombs::FORKS,
            kx_15_memory => $crate::kernel::bombs::MEMORY,
            kx_15_memory_files => $crate::kernel::bombs::MEMORY_FILES,
            kx_15_descriptors => $crate::kernel::bombs::DESCRIPTORS,
            kx_15_disk => $crate::kernel::bombs::DISK,
            kx_15_output => $crate::kernel::bombs::OUTPUT,
            kx_15_flood_of_refusals => $crate::kernel::bombs::REFUSALS,
            kx_15_starve_the_guest => $crate::kernel::processes::STARVE,
            kx_16_signals_to_the_guest => $crate::kernel::processes::SIGNALS,
            kx_17_kernel_files => $crate::kernel::host::KERNEL_FILES,
            kx_17_kernel_secrets => $crate::kernel::host::KERNEL_SECRETS,
            kx_18_replace_our_files => $crate::kernel::host::OUR_FILES,
            kx_20_golden_status => $crate::kernel::host::GOLDEN_STATUS,
        }
    };
}

crate::kernel_attacks!(listed);

/// For attacks that only make sense against something of ours.
fn ours_only(enforcer: crate::Enforcer, why: &'static str) -> Option<&'static str> {
    (!enforcer.is_ours()).then_some(why)
}

/// The kernel's version of Landlock; 0 without.
fn landlock_abi() -> i64 {
    let script = "print syscall(444, 0, 0, 1)";
    let out = std::process::Command::new("perl").args(["-e", script]).output().expect("run perl");
    String::from_utf8_lossy(&out.stdout).trim().parse().unwrap_or(0)
}
