//! Prints who survives what, as the Markdown table of SECURITY.md. With `--why`, the evidence below it; with
//! `--trees`, the table of trees alone.
#![allow(clippy::print_stdout)]

use cordon_attacks::{
    Attack, Enforcer, Outcome, attempt,
    trees::{self, Fate, Op},
};
use cordon_tests::harness::skipped;

fn main() {
    let why = std::env::args().any(|argument| argument == "--why");
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted =
        |attack: &Attack| only.is_empty() || only.iter().any(|part| attack.name.contains(part.as_str()));
    if std::env::args().any(|argument| argument == "--trees") {
        let notes = trees(&only);
        println!("\n{}", notes.join("\n"));
        return;
    }
    let enforcers: Vec<Enforcer> =
        Enforcer::ALL.into_iter().filter(|enforcer| !skipped(enforcer.group())).collect();
    let head: Vec<String> = enforcers.iter().map(ToString::to_string).collect();
    println!("| attack | {} |", head.join(" | "));
    println!("|---|{}", "---|".repeat(head.len()));
    let mut notes = Vec::new();
    for attack in cordon_attacks::all().into_iter().filter(wanted) {
        let outcomes: Vec<Outcome> = enforcers.iter().map(|enforcer| attempt(&attack, *enforcer)).collect();
        let cell = |(enforcer, outcome): (&Enforcer, &Outcome)| {
            let known = (attack.known)(*enforcer);
            let as_said =
                !known.is_empty() && outcome.evidence().iter().map(String::as_str).eq(known.iter().copied());
            if as_said { format!("{outcome} (known)") } else { outcome.to_string() }
        };
        let row: Vec<String> = enforcers.iter().zip(&outcomes).map(cell).collect();
        println!("| {}: {} | {} |", attack.id, attack.what, row.join(" | "));
        for (enforcer, outcome) in enforcers.iter().zip(&outcomes) {
            let name = attack.name;
            match outcome {
                Outcome::NotApplicable(reason) => notes.push(format!("- {name}, {enforcer}: n.a., {reason}")),
                _ => {
                    let evidence =
                        outcome.evidence().iter().map(|line| format!("- {name}, {enforcer}: {line}"));
                    notes.extend(evidence);
                }
            }
        }
    }
    notes.extend(trees(&only));
    if why {
        println!("\n{}", notes.join("\n"));
    }
}

/// The second table: trees made by an enemy, and what of Cordon looks at them. Gives the evidence.
fn trees(only: &[String]) -> Vec<String> {
    let head: Vec<String> = Op::ALL.iter().map(ToString::to_string).collect();
    println!("\n| tree | {} |", head.join(" | "));
    println!("|---|{}", "---|".repeat(head.len()));
    let mut notes = Vec::new();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
    for attack in trees::all().into_iter().filter(|attack| wanted(attack.name)) {
        let fates: Vec<Fate> = Op::ALL.iter().map(|op| trees::attempt(&attack, *op)).collect();
        let row: Vec<String> = fates.iter().map(ToString::to_string).collect();
        println!("| {}: {} | {} |", attack.id, attack.what, row.join(" | "));
        for (op, fate) in Op::ALL.iter().zip(&fates) {
            if let Fate::Failed(wrong) = fate {
                notes.extend(wrong.iter().map(|line| format!("- {}, {op}: {line}", attack.name)));
            }
        }
    }
    notes
}
