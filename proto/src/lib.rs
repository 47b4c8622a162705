//! The protocols of Cordon and the code generated from them: `cordon.v1`, the
//! public API, and `cordon.guest.v1`, between the daemon and the guest inside a
//! sandbox. Nothing here decides anything.

/// The public API.
pub mod v1 {
    tonic::include_proto!("cordon.v1");
}

/// The daemon's side of the wall and the guest's.
pub mod guest {
    tonic::include_proto!("cordon.guest.v1");
}

/// The encoded descriptor set of every protocol here, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
