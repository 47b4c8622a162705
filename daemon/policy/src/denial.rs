use crate::{Operation, Origin};
use std::fmt;

/// Which part of a wall refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// The path is not in the mount view, or is mounted read-only.
    MountView,
    /// Landlock.
    Landlock,
    /// The system call filter.
    Seccomp,
    /// The egress proxy.
    Egress,
    /// The network namespace: there is no route.
    Network,
    /// The guest's own tools.
    Guest,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MountView => "mount view",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Egress => "egress",
            Self::Network => "network namespace",
            Self::Guest => "guest",
        })
    }
}

/// A refused operation with its typed reason. The same value reaches the agent,
/// the person and the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What was tried.
    pub operation: Operation,
    /// On what: a path or an address, escaped for display.
    pub target: String,
    /// Which rule decided, in words.
    pub rule: String,
    /// Where that rule comes from.
    pub origin: Origin,
    /// Who enforced it.
    pub layer: Layer,
    /// The smallest change that would allow it; empty when nothing can.
    pub would_allow: String,
}

impl Denial {
    /// The same denial, enforced by somebody else than the wall's mount view.
    #[must_use]
    pub fn by(mut self, layer: Layer) -> Self {
        self.layer = layer;
        self
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} denied by {}: {}", self.operation, self.target, self.layer, self.rule)?;
        if self.would_allow.is_empty() { Ok(()) } else { write!(f, " ({})", self.would_allow) }
    }
}
