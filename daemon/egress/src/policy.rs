use cordon_policy::HostRule;
use std::fmt;

/// One destination outside that is granted by name, whatever address it has:
/// loopback and private addresses are allowed for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Host name or address as the agent file has it.
    pub host: String,
    /// Exactly this port.
    pub port: u16,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What one sandbox may reach. The default allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// Hosts whose public addresses may be reached.
    pub allow: Vec<HostRule>,
    /// Exact destinations that may be on this machine or a private network.
    pub grants: Vec<Grant>,
}
