//! What an agent wrote, compared, merged, classed and shown.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_fuzz::Feed;
use cordon_snapshots::{
    Content, NodeKind, TreeEntry,
    classify::{Class, Subject, classify},
    diff::{shown, shown_line},
    merge::{Merged, Prefer, merge},
};
use std::time::Duration;

const TIME: Duration = Duration::from_secs(1);
const LINES: [&str; 7] = ["a\n", "b\n", "c\r\n", "\n", "d", "\u{e4}\n", "\0\n"];

fn text(feed: &mut Feed<'_>) -> Vec<u8> {
    feed.many(12, |feed| feed.one(&LINES).unwrap()).concat().into_bytes()
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

#[test]
fn a_merge_takes_what_one_side_changed_and_guesses_nothing() {
    bolero::check!().for_each(|input: &[u8]| {
        let mut feed = Feed::new(input);
        let (base, ours, theirs) = (text(&mut feed), text(&mut feed), text(&mut feed));
        // Where one side changed nothing, the other's is the answer; and both alike once.
        assert_eq!(merge(&base, &base, &theirs, Prefer::Neither, TIME), Merged::Clean(theirs.clone()));
        assert_eq!(merge(&base, &ours, &base, Prefer::Neither, TIME), Merged::Clean(ours.clone()));
        assert_eq!(merge(&base, &ours, &ours, Prefer::Neither, TIME), Merged::Clean(ours.clone()));
        // Nobody's lines are made up, and nothing is a conflict on one side alone.
        let known = |line: &&[u8]| [&base, &ours, &theirs].iter().any(|text| lines(text).contains(line));
        match (
            merge(&base, &ours, &theirs, Prefer::Neither, TIME),
            merge(&base, &theirs, &ours, Prefer::Neither, TIME),
        ) {
            (Merged::Clean(one), Merged::Clean(other)) => {
                assert_eq!(one, other);
                // The last line may have lost its end to one that follows it.
                if [&base, &ours, &theirs].iter().all(|text| text.is_empty() || text.ends_with(b"\n")) {
                    assert!(lines(&one).iter().all(known), "{one:?}");
                }
            }
            (Merged::Conflicts(one), Merged::Conflicts(other)) => assert_eq!(one.len(), other.len()),
            (one, other) => panic!("{one:?} one way, {other:?} the other"),
        }
        assert!(matches!(merge(&base, &ours, &theirs, Prefer::Ours, TIME), Merged::Clean(_)));
    });
}

#[test]
fn nothing_that_is_shown_acts() {
    bolero::check!().for_each(|input: &[u8]| {
        for text in [shown(input), shown_line(input)] {
            let acts = |c: char| {
                (c.is_control() && c != '\t')
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            };
            assert!(!text.chars().any(acts), "{text:?}");
        }
        assert!(!shown(input).contains('\t'));
    });
}

#[test]
fn no_bytes_around_a_known_name_make_it_data() {
    let file = TreeEntry {
        name: b"x".to_vec(),
        kind: NodeKind::File,
        mode: 0o644,
        mtime: (0, 0),
        size: 1,
        content: Content::Unread,
        link_group: None,
    };
    bolero::check!().for_each(|input: &[u8]| {
        let known = [".mcp.json", "AGENTS.md", "Makefile", ".git/config", ".npmrc", ".claude/x"];
        let mut feed = Feed::new(input);
        let name = feed.one(&known).unwrap();
        let rest: Vec<u8> = std::iter::from_fn(|| (!feed.is_empty()).then(|| feed.byte())).collect();
        // Below any directories, and with any content.
        let mut path: Vec<u8> = rest.iter().copied().filter(|byte| *byte != 0).collect();
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
        for path in [path.as_slice(), name.as_bytes()] {
            let subject = Subject { path, new: Some(&file), new_bytes: Some(&rest), ..Subject::default() };
            let found = classify(&subject);
            assert!(found.iter().any(|finding| finding.class != Class::Data), "{}", path.escape_ascii());
            assert_eq!(found, classify(&subject));
        }
    });
}
