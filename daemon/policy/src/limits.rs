use std::{fmt, str::FromStr, time::Duration};

/// The network of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetworkMode {
    /// Loopback only.
    None,
    /// A bridge of the sandbox's own.
    Bridge,
    /// The host's network; only where the operator allows it.
    Host,
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Bridge => "bridge",
            Self::Host => "host",
        })
    }
}

/// Not one of the network modes.
#[derive(Debug, thiserror::Error)]
#[error("unknown network mode {0:?}; it is one of none, bridge, host")]
pub struct UnknownNetworkMode(pub String);

impl FromStr for NetworkMode {
    type Err = UnknownNetworkMode;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "bridge" => Ok(Self::Bridge),
            "host" => Ok(Self::Host),
            other => Err(UnknownNetworkMode(other.to_owned())),
        }
    }
}

/// What one sandbox may use up. Finite by default.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Memory of all processes together, bytes.
    pub memory_bytes: u64,
    /// Processor cores, fractions allowed.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: u64,
    /// Open files per process.
    pub open_files: u64,
    /// Size of /tmp and of the home, bytes each.
    pub tmp_bytes: u64,
    /// A sandbox older than this is ended.
    pub wall_clock: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 4 << 30,
            cpus: 2.0,
            pids: 1024,
            open_files: 65_536,
            tmp_bytes: 1 << 30,
            wall_clock: Duration::from_secs(6 * 3600),
        }
    }
}
