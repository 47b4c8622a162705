//! "Paths and links", against every enforcer of ours: each attack as `fs_NN_name::enforcer`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What stands where an attack was is looked at once it is over.
#![allow(clippy::disallowed_methods)]

cordon_attacks::path_attacks!(tested_everywhere);
