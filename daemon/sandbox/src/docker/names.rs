use crate::{Labels, SandboxError};

/// Label of the sandbox id, on containers and networks.
pub(super) const LABEL_SANDBOX: &str = "cordon.sandbox";
/// Label of the daemon's identity.
pub(super) const LABEL_DAEMON: &str = "cordon.daemon";
/// Label of the run id.
pub(super) const LABEL_RUN: &str = "cordon.run";
/// Label of the agent id.
pub(super) const LABEL_AGENT: &str = "cordon.agent";
/// Label of the owner's user id.
pub(super) const LABEL_OWNER: &str = "cordon.owner";

/// The names of everything that is made for one sandbox. They follow from the
/// daemon and the sandbox id alone, so that a daemon that died half-way finds
/// what it had made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The container.
    pub(super) container: String,
    /// The network, when the sandbox has one of its own.
    pub(super) network: String,
    /// The bridge's interface on the host: at most 15 bytes.
    pub(super) bridge: String,
    /// Chain for what arrives from the bridge for this host: at most 28 bytes.
    pub(super) input: String,
    /// Chain for what arrives from the bridge for elsewhere.
    pub(super) forward: String,
}

impl Names {
    pub(super) fn new(daemon: &str, id: &str) -> Self {
        let (daemon_hash, id_hash) = (short_hash(daemon), long_hash(daemon, id));
        Self {
            container: format!("cordon-{daemon_hash}-{id}"),
            network: format!("cordon-{daemon_hash}-{id}"),
            bridge: format!("cdn{id_hash}"),
            input: format!("CDN{daemon_hash}-{id_hash}-I"),
            forward: format!("CDN{daemon_hash}-{id_hash}-F"),
        }
    }

    /// What the chains of one daemon's sandboxes begin with.
    pub(super) fn chain_prefix(daemon: &str) -> String {
        format!("CDN{}-", short_hash(daemon))
    }

    pub(super) fn chains(&self) -> Vec<String> {
        vec![self.input.clone(), self.forward.clone()]
    }
}

/// Refuses ids that could not stand in names, labels and paths.
pub(super) fn check_id(id: &str) -> Result<(), SandboxError> {
    if crate::directory::is_id(id) {
        return Ok(());
    }
    Err(SandboxError::Unenforceable {
        rule: format!("sandbox id {id:?}"),
        wall: super::WALL,
        why: "it is not made of 1 to 32 of the characters a-z and 0-9".to_owned(),
        fix: "This is a fault of the caller; report it".to_owned(),
    })
}

pub(super) fn labels(labels: &Labels, id: &str) -> std::collections::HashMap<String, String> {
    [
        (LABEL_RUN, labels.run.clone()),
        (LABEL_AGENT, labels.agent.clone()),
        (LABEL_OWNER, labels.owner.to_string()),
        (LABEL_DAEMON, labels.daemon.clone()),
        (LABEL_SANDBOX, id.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// The agent's id as a host name.
pub(super) fn hostname(agent: &str) -> String {
    let name: String = agent
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(63)
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "agent".to_owned() } else { name.to_owned() }
}

/// Tells the releases of a program apart. What it names is compared byte by byte.
pub(super) fn content_hash(content: &[u8]) -> String {
    format!("{:016x}", hash(&[content]))
}

fn short_hash(daemon: &str) -> String {
    format!("{:08x}", hash(&[daemon.as_bytes()]) >> 32)
}

fn long_hash(daemon: &str, id: &str) -> String {
    format!("{:012x}", hash(&[daemon.as_bytes(), b"/", id.as_bytes()]) >> 16)
}

// Names must be the same in every release, which the standard hasher does not
// promise. Two sandboxes with one name would be an error of the engine, not a
// shared bridge: nothing rests on this being hard to invert.
fn hash(parts: &[&[u8]]) -> u64 {
    let fnv1a = parts.iter().copied().flatten().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The last bytes have not reached every bit yet.
    let mixed = (fnv1a ^ (fnv1a >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_where_they_are_used() {
        let id = "a".repeat(32);
        let names = Names::new(&"d".repeat(200), &id);
        assert_eq!(names.bridge.len(), 15);
        assert!(names.input.len() <= 28 && names.forward.len() <= 28, "{names:?}");
        assert!(names.input.starts_with(&Names::chain_prefix(&"d".repeat(200))));
    }

    #[test]
    fn names_differ_by_daemon_and_by_sandbox() {
        let all = [Names::new("d1", "x"), Names::new("d2", "x"), Names::new("d1", "y")];
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert!(a.bridge != b.bridge && a.input != b.input && a.container != b.container);
            }
        }
    }

    #[test]
    fn only_plain_ids_are_taken() {
        for bad in ["", "A", "a b", "../x", "a\n", "ä", &"a".repeat(33)] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
        assert!(check_id("0190a3").is_ok());
    }

    #[test]
    fn any_agent_id_becomes_a_host_name() {
        assert_eq!(hostname("Agent_1.b"), "agent-1-b");
        assert_eq!(hostname("___"), "agent");
        assert_eq!(hostname(&"x".repeat(100)).len(), 63);
    }
}
