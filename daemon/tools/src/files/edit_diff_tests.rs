use super::*;
use proptest::prelude::*;

/// What a reader of the diff gets when she applies it.
fn patched(old: &str, diff: &str) -> String {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let mut at = 0;
    let mut out = String::new();
    for line in diff.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix("@@ -") {
            let range = rest.split(' ').next().unwrap();
            let mut numbers = range.split(',').map(|n| n.parse::<usize>().unwrap());
            let (start, many) = (numbers.next().unwrap(), numbers.next().unwrap_or(1));
            let start = if many == 0 { start } else { start - 1 };
            out.extend(old[at..start].iter().copied());
            at = start;
        } else if line.starts_with('\\') {
            assert_eq!(out.pop(), Some('\n'));
        } else {
            let (mark, text) = line.split_at(1);
            if mark != "+" {
                assert_eq!(old[at].trim_end_matches('\n'), text.trim_end_matches('\n'));
                at += 1;
            }
            if mark != "-" {
                out.push_str(text);
            }
        }
    }
    out.extend(old[at..].iter().copied());
    out
}

#[test]
fn what_a_diff_looks_like() {
    let old = "a\nb\nc\nd\ne\nf\ng\n";
    let diff = unified(old, "a\nb\nc\nD\ne\nf\ng\n", 1, 1000);
    assert_eq!(diff.text, "@@ -3,3 +3,3 @@\n c\n-d\n+D\n e\n");
    assert_eq!((diff.added, diff.removed, diff.cut), (1, 1, false));
    assert_eq!(unified("", "a\n", 3, 1000).text, "@@ -0,0 +1 @@\n+a\n");
    assert_eq!(unified("a\n", "", 3, 1000).text, "@@ -1 +0,0 @@\n-a\n");
    assert_eq!(unified(old, old, 3, 1000), Unified::default());
    assert_eq!(unified("a", "b", 3, 1000).text.matches("No newline").count(), 2);
}

#[test]
fn long_diffs_are_cut_and_say_so() {
    let old: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
    let diff = unified(&old, "", 3, 2000);
    assert!(diff.cut && diff.text.len() <= 2300, "{}", diff.text.len());
    assert_eq!(diff.removed, 10_000);
    assert!(diff.note().unwrap().contains("10000 removed"));
    let diff = unified(&"x".repeat(1 << 20), &"y".repeat(1 << 20), 3, 2000);
    assert!(diff.cut && diff.text.len() < 2300);
    let long = "é".repeat(5000);
    assert!(unified(&long, "e", 3, 101).cut);
}

#[test]
fn a_very_large_change_does_not_take_for_ever() {
    let old: String = (0..300_000).map(|n| format!("{n}\n")).collect();
    let new: String = (0..300_000).map(|n| format!("{}\n", n * 7)).collect();
    let diff = unified(&old, &new, 3, 2000);
    assert!(diff.cut);
    assert!(diff.added > 200_000);
}

proptest! {
    #[test]
    fn applying_a_diff_gives_the_new_text(
        old in proptest::collection::vec("[ab]{0,1}", 0..12),
        new in proptest::collection::vec("[ab]{0,1}", 0..12),
        ends in any::<(bool, bool)>(),
        context in 0_usize..4,
    ) {
        let text = |lines: Vec<String>, end| lines.join("\n") + if end { "\n" } else { "" };
        let (old, new) = (text(old, ends.0), text(new, ends.1));
        let diff = unified(&old, &new, context, 1 << 20);
        prop_assert!(!diff.cut);
        if old.ends_with('\n') && new.ends_with('\n') {
            prop_assert_eq!(patched(&old, &diff.text), new);
        }
    }
}
