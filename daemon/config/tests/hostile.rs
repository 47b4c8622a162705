//! Files that are no agent files: broken, huge, or made to hurt.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{errors, parse, parse_as};
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn only(text: &str, reason: &str, line: u32, words: &str) {
    let parsed = parse(text);
    let errors = errors(&parsed);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!((errors[0].reason, errors[0].line), (reason, line), "{:#?}", errors[0]);
    assert!(errors[0].message.contains(words), "{:#?}", errors[0]);
}

#[test]
fn what_is_not_yaml_is_one_problem_with_its_place() {
    only("agents: [\n  {id: a\n", "syntax", 2, "unclosed bracket");
    only("a: b: c\n", "syntax", 1, "not YAML");
    only("", "syntax", 0, "empty");
    only("# nothing\n", "syntax", 0, "empty");
    only("a: 1\n---\nb: 1\n", "syntax", 2, "second document");
    only("a: *nobody\n", "syntax", 1, "not YAML");
    only("a: &a [*a]\n", "syntax", 1, "inside what it names");
    only("? [a]\n: b\n", "syntax", 1, "cannot be a key");
    only("a: !!python/object:os.system x\n", "syntax", 1, "tag");
    only("%YAML 1.1\n---\na: 1\n", "syntax", 1, "not YAML");
}

#[test]
fn formats_go_by_the_name() {
    let yaml = b"agent: {id: a, backend: {type: command, command: [ls]}}";
    let json =
        br#"{"agent": {"id": "a\u00e4\ud83d\ude00", "backend": {"type": "command", "command": ["l\/s"]}}}"#;
    for name in ["a.yaml", "a.yml", "a.YAML"] {
        assert!(parse_as(name, yaml, &[]).file.is_some(), "{name}");
    }
    let parsed = parse_as("a.json", json, &[]);
    // The id is bad, and reading it shows that escapes mean the same as in JSON.
    assert_eq!(errors(&parsed).len(), 1);
    assert!(errors(&parsed)[0].excerpt.contains("ud83d"), "{:#?}", parsed.problems);
    let parsed = parse_as(
        "a.json",
        br#"{"agent": {"id": "a", "backend": {"type": "command", "command": ["l\/s"]}}}"#,
        &[],
    );
    assert_eq!(parsed.file.unwrap().agents[0].command, ["l/s"]);
    let parsed = parse_as("a.json", yaml, &[]);
    assert_eq!((errors(&parsed)[0].reason, errors(&parsed)[0].line), ("syntax", 1));
    for name in ["a.toml", "a", "yaml", ""] {
        assert_eq!(errors(&parse_as(name, yaml, &[]))[0].reason, "unsupported-format", "{name}");
    }
    assert_eq!(errors(&parse_as("a.yaml", b"a: \xff", &[]))[0].reason, "syntax");
    assert_eq!(errors(&parse_as("a.yaml", &vec![b' '; (1 << 20) + 1], &[]))[0].reason, "too-large");
}

#[test]
fn duplicate_keys_are_errors_beside_the_others() {
    let parsed = parse("agent: {id: a, id: b, backend: {type: codx}}\n");
    let reasons: Vec<_> = errors(&parsed).iter().map(|p| p.reason).collect();
    assert_eq!(reasons, ["duplicate-key", "unknown-backend"]);
}

#[test]
fn merge_keys_give_way_to_own_keys() {
    let text = "agents:\n  - id: a\n    backend: &b {type: command, command: [ls], cwd: one}\n  - id: b\n    backend: {<<: *b, cwd: two}\n";
    let parsed = parse(text);
    assert_eq!(parsed.problems, []);
    let file = parsed.file.unwrap();
    assert_eq!(file.agents[1].command, ["ls"]);
    assert_eq!(file.agents[1].cwd.as_deref().unwrap().to_str(), Some("two"));
    only("agent: {<<: 1}\n", "syntax", 1, "`<<` needs a map");
    // Quoted, it is a key like any other.
    assert_eq!(
        errors(&parse("'<<': {}\nagent: {id: a, backend: {type: command, command: [ls]}}"))[0].reason,
        "unknown-key"
    );
}

/// No file of 1 MiB may take long, in a debug build on a busy machine neither.
#[track_caller]
fn is_quick(text: &str) {
    let start = Instant::now();
    let parsed = parse(text);
    assert!(!errors(&parsed).is_empty());
    assert!(parsed.problems.len() <= 101);
    let shown: usize = parsed.problems.iter().map(|p| format!("{p:?}").len()).sum();
    assert!(shown < 500_000, "{shown}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn bombs_do_not_go_off() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for n in 1..30 {
        let alias = format!("*a{}", n - 1);
        bomb.push_str(&format!("a{n}: &a{n} [{}]\n", vec![alias; 10].join(",")));
    }
    is_quick(&bomb);
    let mut merges = "m0: &m0 {k: v}\n".to_owned();
    for n in 1..2000 {
        merges.push_str(&format!("m{n}: &m{n} {{<<: [*m{p}, *m{p}], k{n}: v}}\n", p = n - 1));
    }
    is_quick(&merges);
    is_quick(&format!("a: &a '{}'\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 10_000].join(",")));
    is_quick(&"[".repeat(1_000_000));
    is_quick(&"{a: ".repeat(250_000));
    is_quick(&"- ".repeat(500_000));
    is_quick(&"? ".repeat(500_000));
    is_quick(&(0..60_000).map(|n| format!("k{n}: 1\n")).collect::<String>());
    is_quick(&(0..9_000).map(|n| format!("k{n}: 1\n")).collect::<String>());
    is_quick(&format!("{}: 1\n", "k".repeat(1_000)));
    is_quick(&format!("? {}\n: 1\n", "k".repeat(900_000)));
    is_quick(&format!("agents: [{}]\n", "{id: '', backend: 1},".repeat(5_000)));
    is_quick(&format!("a: {}\n", "${".repeat(500_000)));
    is_quick(&format!("agent: {{id: a, system_message: \"{}\"}}\n", "${".repeat(500_000)));
    is_quick(&format!("agent: {{id: a, backend: {{type: \"{}\"}}}}\n", "codex".repeat(200_000)));
    is_quick(&format!("x: '{}", "\n".repeat(1_000_000)));
    is_quick(&format!("{}x: [", "token:\n".repeat(100_000)));
    let deep: String = (0..40)
        .map(|n| format!("a{n}: &a{n} [{}]\n", if n == 0 { "x".to_owned() } else { format!("*a{}", n - 1) }))
        .collect();
    is_quick(&deep);
    is_quick(
        &(0..2_000)
            .map(|n| {
                format!("a{n}: &a{n} [{}]\n", if n == 0 { "x".to_owned() } else { format!("*a{}", n - 1) })
            })
            .collect::<String>(),
    );
}

/// Pieces that agent files are made of, and pieces that break them.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "agents",
        "agent",
        "id",
        "backend",
        "type",
        "codex",
        "command",
        "replay",
        "steps",
        "exec",
        "cwd",
        "context_paths",
        "path",
        "permission",
        "write",
        "protected_paths",
        "api_key",
        "egress",
        "allow",
        "env",
        "timeout_settings",
        "orchestrator",
        "coordination",
        "reasoning",
        "effort",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        "\n- ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "'",
        "\"",
        "|",
        ">",
        "|\n ",
        "&a ",
        "*a",
        "<<: ",
        "!!str ",
        "!x ",
        "# ",
        "---\n",
        "...",
        "${KEY}",
        "${",
        "$${",
        "~",
        "null",
        "1",
        "1.5",
        ".inf",
        "true",
        "no",
        "..",
        "../x",
        "/",
        "\t",
        "\\",
        "\u{feff}",
        "ä",
        "\u{1b}",
        "\0",
        "\r\n",
        "? ",
        "%YAML 1.2\n",
        "2g",
        "*.a.b:1",
    ];
    prop_oneof![9 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for name in ["a.yaml", "a.json"] {
            let parsed = parse_as(name, &bytes, &[]);
            errors(&parsed);
        }
    }

    #[test]
    fn any_yaml_like_text_is_parsed_or_refused(pieces in prop::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        for problem in parse(&text).problems {
            prop_assert!(!problem.excerpt.replace('\n', "").chars().any(char::is_control));
            prop_assert!(!problem.message.chars().any(char::is_control), "{:?}", problem.message);
            prop_assert!(!problem.key.chars().any(char::is_control));
            prop_assert!(problem.line as usize <= text.lines().count() + 1);
            prop_assert!(!problem.message.contains("key-from-outside"));
            prop_assert!(problem.line == 0 || problem.column > 0);
        }
    }

    /// A valid file with one piece put anywhere: this goes deeper than text made of nothing.
    #[test]
    fn a_broken_file_is_parsed_or_refused(at in any::<prop::sample::Index>(), piece in piece(), cut in 0_usize..8) {
        let file = include_str!("../../../configs/two-agents.yaml");
        let mut chars: Vec<char> = file.chars().collect();
        let at = at.index(chars.len());
        let end = (at + cut).min(chars.len());
        chars.splice(at..end, piece.chars());
        let parsed = parse(&chars.into_iter().collect::<String>());
        errors(&parsed);
    }
}
