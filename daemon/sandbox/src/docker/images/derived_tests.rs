use super::*;
use proptest::prelude::*;

fn packages(system: &[&str], python: &[&str], npm: &[&str]) -> Packages {
    let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    Packages { system: list(system), python: list(python), npm: list(npm) }
}

fn derived<'a>(id: &'a str, packages: &'a Packages) -> Derived<'a> {
    Derived { name: "cordon/codex:latest", id, packages }
}

#[test]
fn the_same_content_has_one_name_in_any_order() {
    let (one, two) = (packages(&["jq", "bc"], &["a"], &[]), packages(&["bc", "jq", "bc"], &["a"], &[]));
    assert_eq!(derived("sha256:1", &one).tag(), derived("sha256:1", &two).tag());
    assert_ne!(derived("sha256:1", &one).tag(), derived("sha256:2", &one).tag());
    // The same words in other lists are something else.
    let three = packages(&["jq", "bc"], &[], &["a"]);
    assert_ne!(derived("sha256:1", &one).tag(), derived("sha256:1", &three).tag());
}

#[test]
fn the_builder_gets_lists_and_no_shell() {
    let all = packages(&["g++", "jq=1.6-2.1"], &["requests[socks]>=2,<3"], &["@types/node@^20"]);
    check(&all).unwrap();
    let text = derived("sha256:1", &all).dockerfile();
    for line in text.lines().filter(|line| line.starts_with("RUN")) {
        let list: Vec<String> = serde_json::from_str(line.strip_prefix("RUN ").unwrap()).unwrap();
        assert!(list[0] != "sh" && list[0] != "bash", "{line}");
    }
    assert!(text.contains(r#""--","g++","jq=1.6-2.1","npm","python3-pip"]"#), "{text}");
    assert!(text.contains(r#""--","requests[socks]>=2,<3"]"#), "{text}");
}

#[test]
fn what_is_no_name_is_refused() {
    let bad = [
        "",
        "-y",
        "--allow-unauthenticated",
        "jq;id",
        "jq id",
        "jq\nRUN id",
        "jq\\",
        "$(id)",
        "`id`",
        "a&&b",
        "a|b",
        "\"x\"",
        "./x.deb",
        "/etc/passwd",
        "../x",
        "file:x",
        "git+https://x/y",
        "x.tgz",
        "http://x",
        "a\u{200b}b",
        "a\0",
    ];
    for name in bad {
        for all in [packages(&[name], &[], &[]), packages(&[], &[name], &[]), packages(&[], &[], &[name])] {
            assert!(check(&all).unwrap_err().is_refusal(), "{all:?}");
        }
    }
    assert!(check(&packages(&["jq-"], &[], &[])).is_err());
    for name in ["a/b", "@a", "@a/b/c", "@/b", "x@file.tgz", "x@git/y"] {
        assert!(check(&packages(&[], &[], &[name])).is_err(), "{name}");
    }
}

#[test]
fn a_failure_names_the_package_and_what_was_said() {
    let all = packages(&["jq", "no-such-thing"], &[], &[]);
    let last = [
        "an earlier step".to_owned(),
        "Step 4/7 : RUN jq no-such-thing".to_owned(),
        " ---> Running in 5f588b0d9789".to_owned(),
        "Reading package lists...".to_owned(),
        "\u{1b}[91mE: Unable to locate package no-such-thing\u{1b}[0m".to_owned(),
        "\u{1b}[0mRemoving intermediate container 5f588b0d9789".to_owned(),
    ];
    let error = derived("sha256:1", &all).failure("returned a non-zero code: 100", &last);
    let text = error.to_string();
    assert!(error.is_refusal() && text.contains("preinstall (no-such-thing)"), "{text}");
    assert!(
        text.contains(": Reading package lists... | E: Unable to locate package no-such-thing. "),
        "{text}"
    );
    assert!(!text.contains("(jq") && !text.contains("Running") && !text.contains("earlier"), "{text}");
    assert_eq!(bare("@types/node@^20"), "@types/node");
    assert_eq!(bare("requests[socks]>=2"), "requests");
}

proptest! {
    #[test]
    fn whatever_passes_stays_one_argument(name in "\\PC{0,40}") {
        for all in [packages(&[&name], &[], &[]), packages(&[], &[&name], &[]), packages(&[], &[], &[&name])] {
            if check(&all).is_ok() {
                prop_assert!(!name.starts_with('-') && !name.contains(char::is_whitespace));
                let text = derived("sha256:1", &all).dockerfile();
                let kept = text.lines().filter_map(|line| line.strip_prefix("RUN ")).any(|list| {
                    serde_json::from_str::<Vec<String>>(list).unwrap().contains(&name)
                });
                prop_assert!(kept, "{text}");
            }
        }
    }
}
