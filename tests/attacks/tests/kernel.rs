//! "Kernel and process", against every wall of ours: each attack as `kx_NN_name::enforcer`; and those for which more than
//! one program inside is needed: neighbours, stops, hosts that lack something, sandboxes in sandboxes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What stands where an attack was is looked at once it is over.
#![allow(clippy::disallowed_methods)]

#[path = "kernel/degraded.rs"]
mod degraded;
#[path = "kernel/neighbours.rs"]
mod neighbours;
#[path = "kernel/nested.rs"]
mod nested;
#[path = "kernel/starts.rs"]
mod starts;
#[path = "kernel/stop.rs"]
mod stop;
#[path = "kernel/terminal.rs"]
mod terminal;

use cordon_attacks::{
    World,
    enforcer::wall::{self, Cell},
};
use cordon_sandbox::{SandboxSpec, Wall};
use cordon_tests::harness::skipped;

/// One of our two walls.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Local,
    Docker,
}

impl Kind {
    /// None when the tester leaves it out.
    fn wanted(self) -> bool {
        !skipped(match self {
            Self::Local => "local",
            Self::Docker => "docker",
        })
    }

    fn wall(self, world: &World) -> Box<dyn Wall> {
        match self {
            Self::Local => Box::new(wall::local(world)),
            Self::Docker => Box::new(wall::docker(world)),
        }
    }

    fn cell(self, world: &World, spec: SandboxSpec) -> Cell {
        Cell::of_spec(self.wall(world), spec).unwrap()
    }
}

cordon_attacks::kernel_attacks!(tested);
