use super::*;
use crate::testing::{MemTree, Node, any_root, dir, file, link, paths, tree};
use proptest::prelude::*;

fn all(old: &MemTree, new: &MemTree) -> Vec<Delta> {
    diff(old, new, &Limits::default()).unwrap()
}

fn brief(deltas: &[Delta]) -> String {
    let mut out = Vec::new();
    name_only(&mut out, deltas).unwrap();
    String::from_utf8(out).unwrap()
}

fn shown_diff(old: &MemTree, new: &MemTree, render: Render) -> String {
    let mut out = Vec::new();
    unified(&mut out, &all(old, new), old, new, &Limits::default(), render).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn each_kind_of_change_is_told() {
    let old = tree([
        ("gone", dir([("x", file("1"))])),
        ("kept", dir([("same", file("2"))])),
        ("mode", file("3")),
        ("text", file("4\n")),
        ("type", file("5")),
    ]);
    let new = tree([
        ("kept", dir([("same", file("2"))])),
        ("mode", Node::File(0o755, b"3".to_vec())),
        ("new", link("text")),
        ("text", file("6\n")),
        ("type", dir([("y", file("7"))])),
    ]);
    let expected = "D gone\nD gone/x\nm mode\nA new\nM text\nT type\nA type/y\n";
    assert_eq!(brief(&all(&old, &new)), expected);
    // What has one address is not looked at.
    assert!(!old.log.borrow().iter().any(|l| l.contains("kept")), "{:?}", old.log);
}

#[test]
fn renames_are_found_by_bytes_and_by_likeness() {
    let long = (0..50).map(|n| format!("line {n}\n")).collect::<String>();
    let other = long.replace("line 7\n", "line seven\n");
    let old = || dir([("a", file("exact\n")), ("b", file(&long)), ("e", file(""))]);
    let new = || dir([("c", file("exact\n")), ("d", file(&other)), ("f", file(""))]);
    let expected = "R a -> c\nR b -> d\nD e\nA f\n";
    assert_eq!(brief(&all(&MemTree::new(old()), &MemTree::new(new()))), expected);
    // The same when one side has no addresses.
    assert_eq!(brief(&all(&MemTree::new(old()), &MemTree::unread(new()))), expected);
    let deltas = all(&MemTree::new(old()), &MemTree::new(new()));
    assert!(matches!(deltas[1].what, What::Renamed { alike: 90..=99, .. }), "{:?}", deltas[1].what);
}

#[test]
fn too_many_files_are_not_compared_each_with_each() {
    let old = tree([("a", file("1\n2\n3\n")), ("b", file("x\n"))]);
    let new = tree([("c", file("1\n2\n4\n")), ("d", file("y\n"))]);
    let limits = Limits { renames: 1, ..Limits::default() };
    assert_eq!(brief(&diff(&old, &new, &limits).unwrap()), "D a\nD b\nA c\nA d\n");
    assert!(!old.log.borrow().iter().any(|l| l.starts_with("read")), "{:?}", old.log);
}

#[test]
fn text_is_a_unified_diff() {
    let old = tree([("f", file("1\n2\n3\n4\n5\n6\n7\n8\n9"))]);
    let new = tree([("f", file("1\n2\n3\n4\nfive\n6\n7\n8\n9\n"))]);
    let expected = "diff a/f b/f\n--- a/f\n+++ b/f\n@@ -2,8 +2,8 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n-9\n\
        \\ No newline at end of file\n+9\n";
    assert_eq!(shown_diff(&old, &new, Render::default()), expected);
    let (none, one) = (tree([]), tree([("f", file("x\n"))]));
    let added = shown_diff(&none, &one, Render::default());
    assert!(added.contains("new file mode 0644\n--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n"), "{added}");
}

#[test]
fn nothing_in_a_tree_acts_on_a_terminal() {
    let old = tree([]);
    let evil = "\x1b]52;c;aGk=\x07\r\u{202e}\u{200b}\u{9b}31m\ttab\n";
    let new = tree([("n\x1b[2J\n+++ b_x", file(evil)), ("l", link("\x1b[31m"))]);
    for color in [false, true] {
        let shown = shown_diff(&old, &new, Render { color, bytes: None });
        for own in [BOLD_, "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[0m"] {
            assert!(color || !shown.contains(own));
        }
        let rest = [BOLD_, "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[0m"]
            .iter()
            .fold(shown.clone(), |text, own| if color { text.replace(own, "") } else { text });
        assert!(rest.chars().all(|c| c == '\n' || c == '\t' || !super::shown::hidden(c)), "{shown:?}");
        assert!(!rest.contains("\n+++ b_x\n"), "a name made a line of its own: {shown:?}");
    }
    let mut stats = Vec::new();
    stat(&mut stats, &all(&old, &new), &old, &new, &Limits::default()).unwrap();
    assert!(!stats.contains(&0x1b));
}

const BOLD_: &str = "\x1b[1m";

#[test]
fn binaries_and_large_files_are_sizes() {
    let old = tree([("b", file("\0one")), ("l", file("1"))]);
    let new = tree([("b", file("\0three")), ("l", file(&"x".repeat(100)))]);
    let limits = Limits { text: 50, ..Limits::default() };
    let deltas = diff(&old, &new, &limits).unwrap();
    let bodies: Vec<_> = deltas.iter().map(|d| body(d, &old, &new, &limits).unwrap()).collect();
    assert_eq!(bodies, [Body::Binary(4, 6), Body::Large(1, 100)]);
}

#[test]
fn output_is_bounded_and_says_so() {
    let old = tree([]);
    let new = tree([("a", file(&"x\n".repeat(1000))), ("b", file("y"))]);
    let shown = shown_diff(&old, &new, Render { color: false, bytes: Some(500) });
    assert!(shown.len() < 600 && shown.ends_with("not all is shown: 2 of 2 paths remain\n"), "{shown}");
    let limits = Limits { changes: 1, ..Limits::default() };
    assert!(matches!(diff(&old, &new, &limits), Err(DiffError::TooMany(1))));
}

#[test]
fn a_file_too_large_to_be_compared_is_said_to_differ() {
    let (old, new) = (tree([("f", file("same"))]), MemTree::unread(dir([("f", file("same"))])));
    let limits = Limits { compared_file: 3, ..Limits::default() };
    let deltas = diff(&old, &new, &limits).unwrap();
    assert!(deltas[0].unread && deltas[0].what == What::Modified);
    assert!(!new.log.borrow().iter().any(|l| l.starts_with("read")));
    assert_eq!(all(&old, &new), []);
}

#[test]
fn json_keeps_bytes() {
    let mut root = dir([]);
    if let Node::Dir(_, children) = &mut root {
        children.insert(b"\xff".to_vec(), file("a\x1b\n"));
    }
    let (old, new) = (tree([]), MemTree::new(root));
    let report = report(&all(&old, &new), &old, &new, &Limits::default()).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["changes"][0]["path"]["hex"], "ff");
    assert_eq!(json["changes"][0]["text"]["hunks"][0]["lines"][0]["text"], "a\x1b");
    assert_eq!(json["changes"][0]["new"]["mode"], "0644");
}

/// What the hunks make of the old text.
fn patched(old: &[u8], hunks: &[Hunk]) -> Vec<u8> {
    let lines = super::lines(old);
    let (mut out, mut at) = (Vec::new(), 0);
    for hunk in hunks {
        let start = hunk.old_start - usize::from(hunk.old_lines > 0);
        lines[at..start].iter().for_each(|l| out.extend_from_slice(l));
        at = start + hunk.old_lines;
        for line in hunk.lines.iter().filter(|l| l.tag != Tag::Removed) {
            out.extend_from_slice(&line.bytes);
            out.extend(line.ended.then_some(b'\n'));
        }
    }
    lines[at..].iter().for_each(|l| out.extend_from_slice(l));
    out
}

proptest! {
    #[test]
    fn the_hunks_make_the_new_text_of_the_old(a in "[ab\n]{0,60}", b in "[abc\n]{0,60}") {
        let (old, new) = (tree([("f", file(&a))]), tree([("f", file(&b))]));
        let deltas = all(&old, &new);
        prop_assert_eq!(deltas.is_empty(), a == b);
        if let Some(delta) = deltas.first() {
            let Body::Text { hunks, .. } = body(delta, &old, &new, &Limits::default()).unwrap() else {
                panic!("text became something else")
            };
            prop_assert_eq!(patched(a.as_bytes(), &hunks), b.into_bytes());
        }
    }

    #[test]
    fn the_same_differences_with_and_without_addresses(a in any_root(), b in any_root()) {
        let brief = |old: &MemTree, new: &MemTree| brief(&all(old, new));
        let told = brief(&MemTree::new(a.clone()), &MemTree::new(b.clone()));
        prop_assert_eq!(&told, &brief(&MemTree::unread(a.clone()), &MemTree::new(b.clone())));
        prop_assert_eq!(&told, &brief(&MemTree::unread(a.clone()), &MemTree::unread(b.clone())));
        let mut budget = Budget::new(&Limits::default());
        let (old, new) = (MemTree::new(a.clone()), MemTree::new(b.clone()));
        let plain = plain(&old, &new, &Limits::default(), &mut budget).unwrap();
        let (before, after) = (paths(&a), paths(&b));
        // A directory differs in its mode; what is in it differs on its own.
        let flat = |n: Option<&Node>| match n {
            Some(Node::Dir(mode, _)) => Some(Node::Dir(*mode, Default::default())),
            other => other.cloned(),
        };
        let expected: Vec<_> = before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>()
            .into_iter().filter(|p| flat(before.get(*p)) != flat(after.get(*p))).cloned().collect();
        prop_assert_eq!(plain.into_iter().map(|d| d.path).collect::<Vec<_>>(), expected);
    }
}
