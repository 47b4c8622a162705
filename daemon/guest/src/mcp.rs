//! `cordon-guest mcp`: the sandbox's tools as an MCP server on standard input and output.
//! Started by the daemon, or by the agent's own program; what it may do is what any process
//! inside may do, and the table says why the rest is refused.

use cordon_tools::{Table, Tools, serve, standard};
use rustix::process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior, setsid};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};
use std::{
    error::Error,
    fs::File,
    io::{self, Read as _},
    sync::Arc,
    time::Duration,
};

/// Read-only for everybody inside.
const TABLE: &str = "/run/cordon-policy";
/// Ten thousand rules are a few megabytes.
const LIMIT: u64 = 64 << 20;
/// What a thread within a system call gets to come back.
const GRACE: Duration = Duration::from_millis(100);

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    // The commands that it runs are of the same user, and have no business in its memory: before all else.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    kernel()?;
    // What a command leaves behind when it ends comes here, and is ended with it.
    set_child_subreaper(Some(getpid()))?;
    // Who started it on a terminal shares that terminal with no command. A group's leader cannot
    // leave it, and then has none either: the daemon starts leaders.
    let _ = setsid();
    let tools = Arc::new(Tools::new(Table::decode(&table()?)?));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = runtime.block_on(async {
        let (input, output) = standard()?;
        serve(tools, input, output).await
    });
    runtime.shutdown_timeout(GRACE);
    Ok(served?)
}

/// Without this call the tools cannot open a thing safely. Said at the start, whoever starts them
/// hears of it before they are used.
fn kernel() -> io::Result<()> {
    match openat2(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        Err(Errno::NOSYS) => Err(io::Error::other(
            "the kernel of this sandbox has no openat2, without which the tools open nothing: it is that of \
             an older gVisor, or of Linux before 5.6",
        )),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn table() -> io::Result<Vec<u8>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("read {TABLE}: {error}"));
    let mut bytes = Vec::new();
    let read = File::open(TABLE).map_err(named)?.take(LIMIT + 1).read_to_end(&mut bytes).map_err(named)?;
    if read as u64 > LIMIT {
        return Err(io::Error::other(format!("read {TABLE}: it is larger than 64 MB")));
    }
    Ok(bytes)
}
