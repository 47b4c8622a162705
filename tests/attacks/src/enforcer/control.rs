//! What others use, with their usual options and the same binds.

use super::{Place, Said, wall::IMAGE};
use crate::{Call, Run, World};
use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

/// A program that runs a command behind a wall of its own; a new one for each command.
pub(super) struct Control {
    make: fn(&World, &Run) -> Command,
}

impl Control {
    pub(super) fn docker(_: &World) -> Self {
        Self { make: docker }
    }

    pub(super) fn bwrap(_: &World) -> Self {
        Self { make: bwrap }
    }
}

impl Place for Control {
    fn run(&mut self, world: &World, run: &Run) -> Option<Said> {
        let mut command = (self.make)(world, run);
        command.args(["timeout", "-s", "KILL", "60", "/bin/bash", "-c"]);
        command.arg(format!("{}{}", world.prelude(), run.script)).stdin(Stdio::null());
        let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let mut bytes = out.stdout;
        bytes.extend_from_slice(&out.stderr);
        let code = out.status.code().and_then(|code| u32::try_from(code).ok());
        // What the control itself says is that there is no place.
        let started = !bytes.starts_with(b"bwrap: ") && !bytes.starts_with(b"docker: ");
        Some(Said { bytes, code, started, denied: false })
    }

    fn call(&mut self, _: &Call) -> Option<Said> {
        None
    }
}

fn docker(world: &World, run: &Run) -> Command {
    let mut command = Command::new("docker");
    command.args(["run", "--rm"]);
    if run.terminal {
        command.arg("--tty");
    }
    for (name, options) in [("ws", ""), ("ws/keep", ":ro"), ("ws/held", ":ro"), ("ro", ":ro")] {
        let path = world.path(name).display().to_string();
        command.arg("--volume").arg(format!("{path}:{path}{options}"));
    }
    command.arg("--volume").arg(format!("/dev/null:{}:ro", world.path("ws/hidden").display()));
    command.arg("--workdir").arg(run.cwd.clone().unwrap_or_else(|| world.workspace())).arg(IMAGE);
    command
}

fn bwrap(world: &World, run: &Run) -> Command {
    let mut command = Command::new("bwrap");
    command.args([
        "--unshare-all",
        "--die-with-parent",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]);
    command.arg("--bind").args([world.workspace(), world.workspace()]);
    for name in ["ws/keep", "ws/held"] {
        command.arg("--ro-bind").args([world.path(name), world.path(name)]);
    }
    command.args(["--ro-bind", "/dev/null"]).arg(world.path("ws/hidden"));
    command.arg("--chdir").arg(run.cwd.clone().unwrap_or_else(|| world.workspace()));
    if rustix::process::geteuid().is_root() {
        command.uid(world.uid).gid(world.uid);
    }
    command.current_dir("/");
    command
}
