//! "Kernel and process": attacks that run programs.

pub mod exec;
mod numbers;

pub(crate) use numbers::NUMBERS;

/// Every attack of this part: `name => attack`. `$each` is a macro that makes something of the list.
#[macro_export]
macro_rules! kernel_attacks {
    ($each:ident) => {
        $crate::$each! {
            kx_01_exec_by_another_name => $crate::kernel::exec::BY_ANOTHER_NAME,
            kx_01_loader_tricks => $crate::kernel::exec::LOADER,
        }
    };
}

crate::kernel_attacks!(listed);
