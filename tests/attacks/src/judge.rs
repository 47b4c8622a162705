use crate::{Attack, Enforcer, Place, Said, World, open};
use std::{
    fmt,
    time::{Duration, Instant},
};

/// No single call takes longer, whatever it meets.
const PATIENCE: Duration = Duration::from_secs(30);

/// How an attack ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was changed, read, reached or given.
    Survived,
    /// The enemy was given something that has no business inside, and the canary is as it was.
    Open(Vec<String>),
    /// The canary was changed, read or reached.
    Escaped(Vec<String>),
    /// There is nothing to attack, and why.
    NotApplicable(&'static str),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Survived => "survived",
            Self::Open(_) => "open",
            Self::Escaped(_) => "escaped",
            Self::NotApplicable(_) => "n.a.",
        })
    }
}

impl Outcome {
    /// What tells that it did not survive.
    #[must_use]
    pub fn evidence(&self) -> &[String] {
        match self {
            Self::Open(evidence) | Self::Escaped(evidence) => evidence,
            Self::Survived | Self::NotApplicable(_) => &[],
        }
    }
}

/// Does an attack, on a world of its own.
///
/// # Panics
/// When the attack could not be done as it is written: a wall that was not attacked has not held.
#[must_use]
pub fn attempt(attack: &Attack, enforcer: Enforcer) -> Outcome {
    if let Some(why) = (attack.spared)(enforcer) {
        return Outcome::NotApplicable(why);
    }
    let mut world = World::new();
    (attack.prepare)(&world);
    world.watch();
    let mut said = Said::default();
    let mut done = 0;
    {
        let mut place =
            open(enforcer, &world, attack).unwrap_or_else(|why| panic!("{enforcer} made no place: {why}"));
        // Tools first: programs may take away what the calls are about.
        for call in (attack.calls)(&world) {
            let begun = Instant::now();
            let Some(output) = place.call(&call) else { break };
            done += 1;
            if enforcer.is_ours() {
                assert!(
                    call.must.holds(&output),
                    "{call:?} was answered (code {:?}, denied: {}):\n{}",
                    output.code,
                    output.denied,
                    output.text()
                );
                assert!(begun.elapsed() < PATIENCE, "{call:?} took {:?}", begun.elapsed());
            }
            said.bytes.extend_from_slice(&output.bytes);
        }
        for run in (attack.runs)(&world) {
            let Some(output) = place.run(&world, &run) else { break };
            done += 1;
            let finished = output.text().lines().any(|line| line.trim_end().ends_with("DONE"));
            let excused = run.may_die || (run.may_not_start && !output.started);
            assert!(finished || excused, "the script broke:\n{}\n{output:?}", output.text());
            assert!(!output.text().contains("BROKEN"), "{}", output.text());
            said.bytes.extend_from_slice(&output.bytes);
        }
        if done > 0 {
            is_told(place.as_mut(), (attack.told)(enforcer));
        }
        if done > 0 && enforcer.is_ours() {
            still_answers(place.as_mut(), &world, &said);
        }
    }
    if done == 0 {
        return Outcome::NotApplicable(match enforcer {
            Enforcer::NpmServer => "runs no programs",
            _ => "serves no tools",
        });
    }
    if std::env::var_os("CORDON_ATTACK_SHOW").is_some() {
        eprintln!("--- {} {} {enforcer}\n{}", attack.id, attack.name, said.text());
    }
    judge(attack, &mut world, &said)
}

/// Waits until every one of these refusals has been told, typed.
fn is_told(place: &mut dyn Place, wanted: &[&str]) {
    let mut missing = wanted.to_vec();
    while !missing.is_empty() {
        let Some(denial) = place.denial() else { panic!("the daemon was not told of {missing:?}") };
        assert_eq!(denial.layer, cordon_policy::Layer::Seccomp, "{denial}");
        missing.retain(|name| !denial.target.starts_with(name));
    }
}

/// The place must be of use to its owner after any attack from within it.
fn still_answers(place: &mut dyn Place, world: &World, said: &Said) {
    if let Some(after) = place.run(world, &crate::Run::script("echo DONE")) {
        assert!(
            after.text().contains("DONE"),
            "the place does not answer any more: {after:?}\n{}",
            said.text()
        );
    }
}

/// Looks at what came of it.
#[must_use]
pub fn judge(attack: &Attack, world: &mut World, said: &Said) -> Outcome {
    let mut harm = world.harm(&said.bytes);
    harm.extend((attack.look)(world));
    if !harm.is_empty() {
        return Outcome::Escaped(harm);
    }
    let text = said.text();
    let mut given: Vec<String> =
        text.lines().filter_map(|line| line.trim().strip_prefix("GOT ")).map(str::to_owned).collect();
    given.sort();
    given.dedup();
    if given.is_empty() { Outcome::Survived } else { Outcome::Open(given) }
}

/// Fails unless an enforcer of ours holds.
///
/// # Panics
/// When it does not hold, or could not be attacked.
pub fn survive(attack: &Attack, enforcer: Enforcer) {
    if cordon_tests::harness::skipped(enforcer.group()) {
        return;
    }
    let outcome = attempt(attack, enforcer);
    if let Outcome::NotApplicable(why) = outcome {
        eprintln!("n.a.: {why}");
        return;
    }
    assert_eq!(
        outcome.evidence(),
        (attack.known)(enforcer),
        "{} {}: {}",
        attack.id,
        attack.name,
        attack.what
    );
}
