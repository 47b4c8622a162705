//! The four real CLIs in every wall, each in the situations that people meet, against the scripted
//! provider. What a run finds is kept in `build/matrix`, and the README must say the same.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_tests::{
    harness::{Cli, Host, User, Where, has_runtime, need_docker, need_image, skipped},
    matrix::{Cell, Found, Situation, keep, told},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    time::Instant,
};

#[path = "matrix/broken.rs"]
mod broken;
#[path = "matrix/place.rs"]
mod place;
#[path = "matrix/work.rs"]
mod work;

use place::Place;

/// Cells of one column at a time: each waits more than it computes.
const WIDE: usize = 2;

/// Why nothing of this can be tried here.
fn absent(at: Where) -> Option<String> {
    if skipped("clis") {
        return Some("CORDON_TEST_SKIP names clis".into());
    }
    if at != Where::Local {
        if skipped("docker") {
            return Some("CORDON_TEST_SKIP names docker".into());
        }
        need_docker();
    }
    (at == Where::Gvisor && !has_runtime("runsc")).then(|| "the engine has no runtime runsc".into())
}

fn attempt(place: &Place, situation: Situation) {
    match situation {
        Situation::Command => work::command(place),
        Situation::Edit => work::edit(place),
        Situation::Denial => work::denial(place),
        Situation::Mcp => work::mcp(place),
        Situation::Resume => work::resume(place),
        Situation::Cancel => work::cancel(place),
        Situation::Refused => broken::refused(place),
        Situation::Unauthorized => broken::unauthorized(place),
        Situation::RateLimited => broken::rate_limited(place),
        Situation::Flood => broken::flood(place),
    }
}

fn cell(place: &Place, situation: Situation) -> Cell {
    let began = Instant::now();
    let found = match catch_unwind(AssertUnwindSafe(|| attempt(place, situation))) {
        Ok(()) => Found::Works,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Found::Fails(text.unwrap_or_else(|| "it panicked".into()))
        }
    };
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Cell { situation: situation.name().to_owned(), found, ms }
}

/// Everything that is to be tried of one program in one place.
fn column(cli: Cli, at: Where) {
    if let Some(why) = absent(at) {
        let not_run =
            |s: &Situation| Cell { situation: s.name().to_owned(), found: Found::NotRun(why.clone()), ms: 0 };
        return keep(cli, at, &Situation::ALL.iter().map(not_run).collect::<Vec<_>>());
    }
    if at != Where::Local {
        need_image(cli.image());
    }
    // One situation alone, for whoever works on it.
    let only = std::env::var("CORDON_MATRIX").ok();
    let wanted = |s: &Situation| only.as_deref().is_none_or(|only| only == s.name());
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let place = Place { host: &host, runtime: &runtime, cli, at };
    let left = Mutex::new(Situation::ALL.into_iter().filter(wanted).collect::<Vec<_>>().into_iter());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WIDE {
            scope.spawn(|| {
                while let Some(situation) = { left.lock().unwrap().next() } {
                    let cell = cell(&place, situation);
                    done.lock().unwrap().push(cell);
                }
            });
        }
    });
    let cells = done.into_inner().unwrap();
    for cell in &cells {
        println!("{:>7} ms  {:<16} {}", cell.ms, cell.situation, cell.shown());
    }
    let failed: Vec<&Cell> = cells.iter().filter(|cell| cell.found != Found::Works).collect();
    keep(cli, at, &cells);
    assert!(failed.is_empty(), "{cli} in {at}: {failed:#?}");
    for (situation, said) in told(cli, at) {
        let Some(cell) = cells.iter().find(|cell| cell.situation == situation) else { continue };
        assert_eq!(said, cell.shown(), "{cli}, {at}, {situation}: `make matrix` prints a new table");
    }
}

macro_rules! columns {
    ($($name:ident: $cli:ident $at:ident,)*) => {
        $(#[test] fn $name() { column(Cli::$cli, Where::$at); })*
    };
}

columns! {
    codex_local: Codex Local,
    claude_code_local: ClaudeCode Local,
    gemini_cli_local: GeminiCli Local,
    copilot_local: Copilot Local,
    codex_docker: Codex Docker,
    claude_code_docker: ClaudeCode Docker,
    gemini_cli_docker: GeminiCli Docker,
    copilot_docker: Copilot Docker,
    codex_gvisor: Codex Gvisor,
    claude_code_gvisor: ClaudeCode Gvisor,
    gemini_cli_gvisor: GeminiCli Gvisor,
    copilot_gvisor: Copilot Gvisor,
}
