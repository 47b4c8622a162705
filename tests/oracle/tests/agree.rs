//! Everybody has to say the same of the same attempt. A seed that ever showed a disagreement
//! stands in `seeds.txt` and is tried first, every time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use cordon_oracle::{
    operation::{Attempt, Verb},
    reference::Reference,
    script::Outcome,
    tools, walls,
    world::{CANARY, World},
};
use cordon_policy::{Operation, Policy};
use cordon_sandbox::{DockerOptions, DockerWall, LocalOptions, LocalWall, Wall};
use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

const SEEDS: &str = include_str!("../seeds.txt");
/// Worlds and attempts of each, beside the kept seeds.
const LOCAL: (usize, usize) = (50, 60);
const DOCKER: (usize, usize) = (8, 150);
const EXDEV: i32 = 18;

fn seeds(worlds: usize) -> Vec<u64> {
    let kept = SEEDS.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    let from = |first: u64| (0..worlds as u64).map(move |n| first.wrapping_add(n.wrapping_mul(0x9e37_79b9)));
    match std::env::var("CORDON_ORACLE_SEED").ok().as_deref() {
        // Worlds that nobody has seen before.
        Some("now") => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
            from(u64::try_from(now).unwrap_or(7)).collect()
        }
        Some(seed) => vec![seed.parse().expect("CORDON_ORACLE_SEED is a number, or `now`")],
        // The same worlds every time: a failure is the change's doing.
        None => kept.chain(from(0x00c0_4d04)).collect(),
    }
}

/// What the product's one decision function says.
fn decided(policy: &Policy, reference: &Reference<'_>, attempt: &Attempt) -> bool {
    let follow = matches!(attempt.verb, Verb::Read | Verb::List | Verb::Write | Verb::Execute);
    let path = reference.walk(&attempt.path, follow).unwrap().path;
    let to = || reference.walk(attempt.to.as_ref().unwrap(), false).unwrap().path;
    let verdict = match attempt.verb {
        Verb::Read => policy.decide(&path, Operation::Read),
        Verb::List => policy.decide(&path, Operation::List),
        Verb::Write => policy.decide(&path, Operation::Write),
        Verb::Create => policy.decide(&path, Operation::Create),
        Verb::Delete => policy.decide(&path, Operation::Delete),
        Verb::Execute => policy.decide(&path, Operation::Execute),
        Verb::Rename => return policy.decide_rename(&path, &to()).is_allowed(),
        Verb::Link => return policy.decide_link(&path, &to()).is_allowed(),
    };
    verdict.is_allowed()
}

/// Whether the kernel let it happen; none: two mounts, which no rule is about.
fn happened(attempt: &Attempt, outcome: &Outcome) -> Option<bool> {
    match (attempt.verb, outcome) {
        (Verb::Rename | Verb::Link, Outcome::Errno(EXDEV)) => None,
        (_, Outcome::Errno(_)) => Some(false),
        // What hides something is empty.
        (Verb::Read, Outcome::Done(content)) => {
            Some(fs::read(&attempt.path).is_ok_and(|real| real == *content))
        }
        (Verb::List, Outcome::Done(names)) => Some(names.windows(5).any(|w| w == b".mark")),
        (_, Outcome::Done(_)) => Some(true),
    }
}

struct Told {
    compared: usize,
    disagreements: Vec<String>,
}

impl Told {
    fn new() -> Self {
        Self { compared: 0, disagreements: Vec::new() }
    }

    fn compare(
        &mut self,
        seed: u64,
        world: &World,
        who: &str,
        attempt: &Attempt,
        (expected, found): (bool, bool),
        why: &str,
    ) {
        self.compared += 1;
        if expected != found {
            let word = |allowed| if allowed { "allowed" } else { "refused" };
            self.disagreements.push(format!(
                "seed {seed}: {who} says {}, the rules say {}: {attempt:?}\n  {why}\n  rules {:?}",
                word(found),
                word(expected),
                world.rules
            ));
        }
    }

    fn end(self, least: usize) {
        println!("{} verdicts compared", self.compared);
        let text = self.disagreements.join("\n");
        assert!(text.is_empty(), "{} disagreements:\n{text}", self.disagreements.len());
        assert!(self.compared >= least, "only {} verdicts were compared", self.compared);
    }
}

/// What the rules say of every attempt, as far as it can be said.
fn expected(world: &World) -> Vec<Option<bool>> {
    let reference = Reference(&world.rules);
    world.attempts.iter().map(|attempt| reference.allows(attempt)).collect()
}

#[test]
fn the_decision_function_agrees_with_the_reference() {
    let mut told = Told::new();
    for seed in seeds(150) {
        let world = World::new(seed, 150, true);
        let reference = Reference(&world.rules);
        for (attempt, expected) in world.attempts.iter().zip(expected(&world)) {
            if let Some(expected) = expected {
                let found = decided(&world.policy, &reference, attempt);
                told.compare(seed, &world, "decide", attempt, (expected, found), "");
            }
        }
    }
    told.end(10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_agree_without_a_wall() {
    let mut told = Told::new();
    for seed in seeds(70) {
        let world = World::new(seed, 100, false);
        let tools = tools::tools(&world);
        for (attempt, expected) in world.attempts.iter().zip(expected(&world)) {
            let Some(answer) = tools::ask(&tools, attempt).await else { continue };
            assert!(
                !format!("{answer:?}").contains(CANARY),
                "seed {seed}: the canary was read by {attempt:?}"
            );
            world.assert_canary();
            if let Some(expected) = expected {
                let denied = answer.structured.as_ref().is_some_and(|s| s.get("denial").is_some());
                let why = answer.all_text();
                if answer.is_error && !denied && is_beyond_the_rules(attempt) {
                    continue;
                }
                assert!(denied || !answer.is_error, "seed {seed}: {attempt:?} failed otherwise: {why}");
                told.compare(seed, &world, "the tool", attempt, (expected, !denied), &why);
            }
        }
    }
    told.end(1_500);
}

/// What a tool does not do for reasons of its own, of which the rules know nothing: it writes through
/// no hard link in place, and moves no pipe.
fn is_beyond_the_rules(attempt: &Attempt) -> bool {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let meta = attempt.real.0.symlink_metadata().unwrap();
    match attempt.verb {
        Verb::Write => meta.nlink() > 1,
        Verb::Rename => meta.file_type().is_fifo(),
        _ => false,
    }
}

async fn walled(
    wall: &dyn Wall,
    state: &Path,
    image: Option<&str>,
    seeds: Vec<u64>,
    count: usize,
    odd: bool,
) -> Told {
    let mut told = Told::new();
    let daemon = state.file_name().unwrap().to_string_lossy().to_lowercase();
    for (number, seed) in seeds.into_iter().enumerate() {
        let world = World::new(seed, count, odd);
        let id = format!("o{}n{number}", std::process::id());
        let outcomes = walls::ask(wall, &walls::spec(&world, &id, &daemon, image), &world.attempts).await;
        let outcomes = outcomes.unwrap_or_else(|why| panic!("seed {seed}: {why}\n  rules {:?}", world.rules));
        assert_eq!(outcomes.len(), world.attempts.len(), "seed {seed}");
        world.assert_canary();
        for ((attempt, outcome), expected) in world.attempts.iter().zip(&outcomes).zip(expected(&world)) {
            // Where nobody inside can see the way, nothing may come of it.
            let expected = expected.unwrap_or(false);
            if let Some(found) = happened(attempt, outcome) {
                told.compare(seed, &world, "the kernel", attempt, (expected, found), &format!("{outcome:?}"));
            }
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_wall_agrees() {
    if walls::skipped("local") {
        return;
    }
    let state = tempfile::Builder::new().prefix("oracle-").tempdir_in("/var/tmp").unwrap();
    let wall = LocalWall::new(LocalOptions { state: state.path().to_path_buf(), guest: walls::guest() });
    walled(&wall, state.path(), None, seeds(LOCAL.0), LOCAL.1, true).await.end(2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_wall_agrees() {
    if walls::skipped("docker") {
        return;
    }
    let state = tempfile::Builder::new().prefix("oracle-").tempdir_in("/var/tmp").unwrap();
    let options = DockerOptions {
        state: state.path().to_path_buf(),
        guest: walls::guest(),
        docker_host: None,
        allow_host_network: false,
    };
    let wall = DockerWall::connect(options);
    walled(&wall, state.path(), Some("debian:bookworm-slim"), seeds(DOCKER.0), DOCKER.1, false)
        .await
        .end(800);
}
