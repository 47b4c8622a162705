//! Every example of the published MassGen package: accepted, or refused for a reason that is in a
//! table of the documents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use cordon_config::{Parsed, Problem, Severity, Source, parse_with};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// The release that `scripts/setup-tests.sh` fetches.
const RELEASE: &str = "0.1.97";

/// Where its `configs` are: `scripts/setup-tests.sh` puts them there.
fn corpus() -> Option<PathBuf> {
    if std::env::var("CORDON_TEST_SKIP").is_ok_and(|skip| skip.split(',').any(|s| s == "massgen")) {
        return None;
    }
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../build/massgen");
    let directory = std::env::var_os("CORDON_TEST_MASSGEN").map_or(own, PathBuf::from);
    assert!(
        directory.join("configs").is_dir(),
        "{} has no MassGen examples: `scripts/setup-tests.sh` fetches them; without a network, name massgen in \
         CORDON_TEST_SKIP",
        directory.display()
    );
    Some(directory)
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json") {
            found.push(path);
        }
    }
}

/// Parsed as its user would have it: what it names is there, and every variable is set.
fn check(file: &Path) -> Parsed {
    let content = fs::read(file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy();
    let with = |variables: &BTreeMap<String, String>| {
        let source = Source { name: &name, content: &content, directory: Path::new("/project"), variables };
        parse_with(&source, &|path| Ok(!path.starts_with("/project/massgen/tool")))
    };
    let mut variables = BTreeMap::from([("HOME".to_owned(), "/home/user".to_owned())]);
    for name in with(&variables).variables {
        let place = name.ends_with("_URL") || name.ends_with("ENDPOINT");
        let value = if place { "https://resource.example" } else { "a-value" };
        variables.entry(name).or_insert_with(|| value.to_owned());
    }
    variables.insert("HOME".to_owned(), "/home/user".to_owned());
    with(&variables)
}

/// Why files are refused: the reason and the end of the key of the problem, whose it is, and in words.
const REASONS: &[(&str, &str, Whose, &str)] = &[
    ("unsupported-backend", ".type", Whose::Nobody, "a backend that Cordon has not"),
    ("not-supported-yet", "_config", Whose::Declined, "AG2 is not driven by its agents' configuration yet"),
    ("missing-key", "", Whose::Nobody, "no agent file: it has no agents"),
    ("unknown-key", "gemini", Whose::Nobody, "no agent file: it has no agents"),
    (
        "old-key",
        "timeout",
        Whose::MassGen,
        "it belongs in `timeout_settings`: MassGen does not read it either",
    ),
    (
        "missing-key",
        ".command_line_docker_network_mode",
        Whose::Declined,
        "the network of a container is said by the file, not guessed",
    ),
    (
        "not-supported-yet",
        ".permissions",
        Whose::Declined,
        "commands are not judged by their words: the sandbox decides by what they touch",
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Its backend is none of ours, or it is no agent file: it does not count.
    Nobody,
    /// MassGen's own mistake.
    MassGen,
    /// A feature that Cordon declines.
    Declined,
}

fn why(problem: &Problem) -> (Whose, String) {
    let fits = |reason: &str, key: &str| {
        problem.reason == reason
            && if key.is_empty() { problem.key.is_empty() } else { problem.key.ends_with(key) }
    };
    let known = REASONS.iter().find(|(reason, key, ..)| fits(reason, key));
    let (_, _, whose, words) = known.unwrap_or_else(|| panic!("a reason that no table has: {problem:#?}"));
    let key = problem.key.rsplit('.').next().unwrap();
    let key = if key.is_empty() { String::new() } else { format!("`{key}`: ") };
    (*whose, format!("{key}{words}"))
}

/// The last part of a key, without its number.
fn short(key: &str) -> &str {
    let last = key.rsplit('.').next().unwrap_or_default();
    last.split('[').next().unwrap_or_default()
}

struct Told {
    table: String,
    accepted: usize,
    counted: usize,
}

fn tell(corpus: &Path) -> Told {
    let mut found = Vec::new();
    files(&corpus.join("configs"), &mut found);
    found.sort();
    let mut rows = String::new();
    let (mut accepted, mut elsewhere) = (0, 0);
    for file in &found {
        let parsed = check(file);
        let name = file.strip_prefix(corpus.join("configs")).unwrap().display().to_string();
        let of = |severity| parsed.problems.iter().filter(move |p| p.severity == severity);
        let refused: BTreeSet<_> = of(Severity::Error).map(|p| why(p).1).collect();
        let no_backend = of(Severity::Error).any(|p| why(p).0 == Whose::Nobody);
        let warned: BTreeSet<_> = of(Severity::Warning).map(|p| format!("`{}`", short(&p.key))).collect();
        let list = |of: BTreeSet<String>| of.into_iter().collect::<Vec<_>>().join(", ");
        let (verdict, reason) = match (refused.is_empty(), warned.is_empty()) {
            (true, true) => ("accepted", String::new()),
            (true, false) => ("accepted", format!("with a warning for {}", list(warned))),
            (false, _) => ("refused", list(refused)),
        };
        accepted += usize::from(verdict == "accepted");
        elsewhere += usize::from(no_backend);
        let _ = writeln!(rows, "| {name} | {verdict} | {reason} |");
    }
    let counted = found.len() - elsewhere;
    let table = format!(
        "{accepted} of {} files are accepted; {elsewhere} are no agent files, or name a backend that Cordon has not.\n\n| file | verdict | why |\n|---|---|---|\n{rows}",
        found.len()
    );
    Told { table, accepted, counted }
}

#[test]
fn every_example_of_massgen_is_accepted_or_refused_for_a_known_reason() {
    let Some(corpus) = corpus() else { return };
    let told = tell(&corpus);
    let Told { accepted, counted, .. } = told;
    assert!(counted > 200, "{counted}");
    assert!(accepted * 100 >= counted * 95, "{accepted} of {counted} are accepted:\n{}", told.table);
    const BEGIN: &str = "<!-- examples: begin -->\n";
    const END: &str = "<!-- examples: end -->\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/MASSGEN.md");
    let text = fs::read_to_string(path).unwrap();
    let (before, after) = text.split_once(BEGIN).expect("a table begins");
    let (found, after) = after.split_once(END).expect("and ends");
    assert!(before.contains(RELEASE), "the document names the release");
    if std::env::var_os("CORDON_WRITE_TABLES").is_some() {
        fs::write(path, [before, BEGIN, &told.table, END, after].concat()).unwrap();
        return;
    }
    assert_eq!(
        found, told.table,
        "CORDON_WRITE_TABLES=1 cargo test -p cordon-config --test massgen writes it"
    );
}
