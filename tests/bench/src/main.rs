//! Measures Cordon beside its peers: real programs, this machine, every side of a row in
//! the same rounds. Prints a table and keeps the numbers as JSON. Nothing passes or
//! fails here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod daemon;
mod docker;
mod local;
mod mcp;
mod models;
mod report;
mod snapshots;
mod spec;
mod stream;
mod turns;

use report::Report;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(20);
    let mut report = Report::default();
    // One group alone, for whoever works on it.
    let only = std::env::args().nth(3);
    let wanted = |group: &str| only.as_deref().is_none_or(|only| only == group);
    if wanted("sandbox") {
        local::start(&mut report, rounds).await;
        local::warm(&mut report, rounds * 5).await;
        docker::cold(&mut report, rounds.min(20)).await;
        docker::warm(&mut report, rounds).await;
        stream::output(&mut report, 5).await;
    }
    if wanted("tools") {
        mcp::server(&mut report, rounds);
        mcp::bash(&mut report, rounds * 5);
        mcp::decision(&mut report, rounds);
    }
    if wanted("daemon") {
        daemon::start_and_memory(&mut report, rounds.min(20)).await;
    }
    if wanted("turns") {
        turns::all(&mut report, rounds.min(10)).await;
    }
    if wanted("snapshots") {
        snapshots::all(&mut report, rounds.min(3));
    }
    if wanted("models") {
        models::all(&mut report, rounds).await;
    }
    if wanted("agents") {
        agents::calls(&mut report, rounds.min(10)).await;
        agents::idle(&mut report).await;
    }
    println!("{}", report.table());
    let file = std::env::args().nth(2).unwrap_or_else(|| "build/bench.json".to_owned());
    std::fs::write(&file, report.json()).unwrap_or_else(|e| panic!("write {file}: {e}"));
    eprintln!("kept as {file}");
}
