//! `cordon-guest mcp`: the sandbox's tools as an MCP server on standard input and output.
//! Started by the daemon, or by the agent's own program; what it may do is what any process
//! inside may do, and the table says why the rest is refused.

use cordon_tools::{Table, Tools, serve};
use std::{
    error::Error,
    fs::File,
    io::{self, Read as _},
    sync::Arc,
};

/// Read-only for everybody inside.
const TABLE: &str = "/run/cordon-policy";
/// Ten thousand rules are a few megabytes.
const LIMIT: u64 = 64 << 20;

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("read {TABLE}: {error}"));
    let mut bytes = Vec::new();
    File::open(TABLE).map_err(named)?.take(LIMIT).read_to_end(&mut bytes).map_err(named)?;
    let tools = Arc::new(Tools::new(Table::decode(&bytes)?));
    // What a command leaves behind when it ends comes here, and is ended with it.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(tools, tokio::io::stdin(), tokio::io::stdout()))?;
    // Threads may still be reading; nobody waits for them.
    runtime.shutdown_background();
    Ok(())
}
