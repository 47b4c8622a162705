//! "Paths and links", against every enforcer of ours: each attack as `fs_NN_name::enforcer`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

cordon_attacks::path_attacks!(tested);
