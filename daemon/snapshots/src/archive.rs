//! Snapshots as tar archives.
//!
//! **Out**: POSIX pax, the same bytes for the same tree. Names of any bytes, modes, times to
//! the nanosecond, symbolic links, hard links (the first name whole), empty directories, holes
//! (sparse format 1.0, which GNU tar and libarchive restore). Owner 0 without a name.
//!
//! **In**: ustar, pax and GNU archives with long names and sparse files. An archive is hostile:
//! it goes straight into the store, as names and content, and touches no directory, so that
//! there is nothing for a name to escape from. A name that a program unpacking the archive
//! could be led astray by refuses the whole archive all the same: what a snapshot is
//! restored from should not be what another tool reads differently. Devices, FIFOs and setuid bits stay
//! behind; the first two are named in the snapshot.

mod blocks;
mod error;
mod export;
mod header;
mod import;
mod names;
mod pax;
mod sparse;
mod tree;

pub use error::{ArchiveError, Refusal};
pub use export::export;
pub use import::{ImportRequest, import};
