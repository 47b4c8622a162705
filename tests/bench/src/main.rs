//! Measures Cordon beside its peers: real programs, this machine, every side of a row in
//! the same rounds. Prints a table and keeps the numbers as JSON. Nothing passes or
//! fails here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod daemon;
mod docker;
mod local;
mod report;
mod spec;
mod stream;

use report::Report;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(20);
    let mut report = Report::default();
    local::start(&mut report, rounds).await;
    local::warm(&mut report, rounds * 5).await;
    docker::cold(&mut report, rounds.min(20)).await;
    docker::warm(&mut report, rounds).await;
    stream::output(&mut report, 5).await;
    daemon::start_and_memory(&mut report, rounds.min(20)).await;
    println!("{}", report.table());
    let file = std::env::args().nth(2).unwrap_or_else(|| "build/bench.json".to_owned());
    std::fs::write(&file, report.json()).unwrap_or_else(|e| panic!("write {file}: {e}"));
    eprintln!("kept as {file}");
}
