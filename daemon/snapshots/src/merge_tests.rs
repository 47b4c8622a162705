use super::*;
use proptest::prelude::*;

const TIME: Duration = Duration::from_secs(5);

fn plain(base: &str, ours: &str, theirs: &str) -> Merged {
    merge(base.as_bytes(), ours.as_bytes(), theirs.as_bytes(), Prefer::Neither, TIME)
}

fn clean(text: &str) -> Merged {
    Merged::Clean(text.as_bytes().to_vec())
}

#[test]
fn changes_apart_are_both_taken() {
    assert_eq!(plain("1\n2\n3\n", "0\n1\n2\n3\n", "1\n2\n4\n"), clean("0\n1\n2\n4\n"));
    assert_eq!(plain("1\n2\n3\n", "2\n3\n", "1\n2\n3\n4"), clean("2\n3\n4"));
}

#[test]
fn changes_that_touch_are_a_conflict_and_say_where() {
    let expected = Conflict { base: 1..3, ours: 1..3, theirs: 1..3 };
    assert_eq!(plain("1\n2\n3\n4\n", "1\nx\n3\n4\n", "1\n2\ny\n4\n"), Merged::Conflicts(vec![expected]));
    let expected = Conflict { base: 1..1, ours: 1..2, theirs: 1..2 };
    assert_eq!(plain("1\n2\n", "1\na\n2\n", "1\nb\n2\n"), Merged::Conflicts(vec![expected]));
}

#[test]
fn a_last_line_without_newline_never_runs_into_another() {
    assert!(matches!(plain("1", "1\n2", "0\n1"), Merged::Conflicts(_)));
    assert_eq!(plain("1\n2\n3", "0\n1\n2\n3", "1\n2\n3\n"), clean("0\n1\n2\n3\n"));
}

#[test]
fn ours_is_taken_where_it_is_preferred_and_there_alone() {
    let merged = merge(b"1\n2\n3\n4\n", b"1\nx\n3\n4\n", b"1\ny\n3\nz\n", Prefer::Ours, TIME);
    assert_eq!(merged, clean("1\nx\n3\nz\n"));
}

/// A text of different lines, and two that were made of it by removing, replacing and adding
/// lines that stand nowhere else.
fn three() -> impl Strategy<Value = (Vec<u32>, Vec<u32>, Vec<u32>)> {
    let edits = || prop::collection::vec(0u8..12, 20);
    (0usize..20, edits(), edits()).prop_map(|(count, a, b)| {
        let base: Vec<u32> = (0..u32::try_from(count).unwrap()).collect();
        let side = |edits: &[u8], mark: u32| {
            let mut out = Vec::new();
            for (line, edit) in base.iter().zip(edits) {
                match edit {
                    0 => {}
                    1 => out.push(mark + line),
                    2 => out.extend([mark + line, *line]),
                    _ => out.push(*line),
                }
            }
            out
        };
        (base.clone(), side(&a, 1000), side(&b, 2000))
    })
}

fn text(lines: &[u32]) -> String {
    lines.iter().map(|l| format!("{l}\n")).collect()
}

proptest! {
    #[test]
    fn one_side_unchanged_gives_the_other(base in "[ab\n]{0,40}", side in "[ab\n]{0,40}") {
        prop_assert_eq!(plain(&base, &base, &side), clean(&side));
        prop_assert_eq!(plain(&base, &side, &base), clean(&side));
        prop_assert_eq!(plain(&base, &side, &side), clean(&side));
    }

    #[test]
    fn sides_can_be_exchanged(base in "[ab\n]{0,30}", x in "[ab\n]{0,30}", y in "[ab\n]{0,30}") {
        match (plain(&base, &x, &y), plain(&base, &y, &x)) {
            (Merged::Clean(a), Merged::Clean(b)) => prop_assert_eq!(a, b),
            (Merged::Conflicts(a), Merged::Conflicts(b)) => {
                let swapped = b.into_iter().map(|c| Conflict { base: c.base, ours: c.theirs, theirs: c.ours });
                prop_assert_eq!(a, swapped.collect::<Vec<_>>());
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn nothing_is_lost_and_nothing_comes_back((base, ours, theirs) in three()) {
        match plain(&text(&base), &text(&ours), &text(&theirs)) {
            Merged::Clean(merged) => {
                let merged = String::from_utf8(merged).unwrap();
                let merged: Vec<u32> = merged.lines().map(|l| l.parse().unwrap()).collect();
                for line in ours.iter().chain(&theirs).filter(|l| **l >= 1000) {
                    prop_assert_eq!(merged.iter().filter(|l| *l == line).count(), 1);
                }
                for line in &base {
                    let kept = ours.contains(line) && theirs.contains(line);
                    prop_assert_eq!(merged.contains(line), kept);
                }
                let count = merged.len();
                prop_assert_eq!(merged.into_iter().collect::<std::collections::HashSet<_>>().len(), count);
            }
            Merged::Conflicts(conflicts) => {
                prop_assert!(!conflicts.is_empty());
                for c in conflicts {
                    prop_assert_ne!(&ours[c.ours.clone()], &theirs[c.theirs.clone()]);
                    prop_assert_ne!(&ours[c.ours], &base[c.base.clone()]);
                    prop_assert_ne!(&theirs[c.theirs], &base[c.base]);
                }
            }
        }
    }
}
