//! The table that people read is the one that was printed: every attack is in it, and what it says of
//! Cordon is what the tests of the same attacks show.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;

fn rows(name: &str) -> Vec<Vec<String>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (_, after) = text.split_once("<!-- attacks: begin -->").expect("a table of attacks begins");
    let (table, _) = after.split_once("<!-- attacks: end -->").expect("and ends");
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect();
    table.lines().filter(|line| line.starts_with("| ")).map(cells).collect()
}

#[test]
fn every_attack_is_in_the_tables_and_none_escapes_from_us_unsaid() {
    let told = rows("SECURITY.md");
    assert_eq!(told, rows("README.md"), "the two tables differ; `make attacks` prints a new one");
    let second = told.iter().position(|row| row[0] == "tree").expect("a table of trees");
    let (enforced, trees) = told.split_at(second);
    let head = enforced.first().unwrap();
    assert_eq!(head[..5], ["attack", "tools alone", "tools", "local", "docker"], "{head:?}");
    let named = |rows: &[Vec<String>]| -> BTreeSet<String> {
        rows.iter().skip(1).map(|row| row[0].clone()).collect()
    };
    let known: BTreeSet<String> =
        cordon_attacks::all().iter().map(|attack| format!("{}: {}", attack.id, attack.what)).collect();
    assert_eq!(named(enforced), known, "`make attacks` prints the table for both files");
    for row in enforced.iter().skip(1) {
        for ours in &row[1..5] {
            let fine = ours == "survived" || ours.starts_with("n.a.") || ours.contains("(known)");
            assert!(fine, "{row:?}");
        }
    }
    let ops: Vec<String> = cordon_attacks::trees::Op::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(trees[0][1..], ops);
    let known: BTreeSet<String> =
        cordon_attacks::trees::all().iter().map(|attack| format!("{}: {}", attack.id, attack.what)).collect();
    assert_eq!(named(trees), known, "`make attacks` prints the table for both files");
    for row in trees.iter().skip(1) {
        assert!(row[1..].iter().all(|ours| ours == "survived" || ours == "n.a."), "{row:?}");
    }
}
