//! "Kernel and process", against every wall of ours: each attack as `kx_NN_name::enforcer`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

cordon_attacks::kernel_attacks!(tested);
