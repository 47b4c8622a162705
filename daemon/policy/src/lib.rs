//! The policy of one sandbox as pure data: ordered path rules, the decision
//! function, denials, network mode and limits. Every enforcer is compiled from
//! it. This crate does no I/O and knows no wall; whoever builds a policy has
//! canonicalised its paths before.

mod access;
mod denial;
mod fix;
mod host_rule;
mod limits;
mod policy;
mod rule;
mod trees;
mod view;

pub use access::{Access, Operation};
pub use denial::{Denial, Layer};
pub use host_rule::{HostRule, HostRuleError};
pub use limits::{Limits, NetworkMode, UnknownNetworkMode};
pub use policy::{Policy, PolicyError, Verdict};
pub use rule::{Origin, Place, Rule, Source, UnknownSource};
pub use trees::machine_tree;
pub use view::{Fact, Mount, MountKind, Unenforceable, Why};
