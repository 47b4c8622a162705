//! `Policy::decide` against what its rules say when nobody takes a short cut.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_fuzz::Feed;
use cordon_policy::{Access, Operation, Origin, Policy, Rule, Source};
use std::path::{Path, PathBuf};

const NAMES: [&str; 8] = ["a", "b", "ab", "a b", ".env", "a.", "\u{e4}", "-"];
const ACCESS: [Access; 3] = [Access::None, Access::Read, Access::Write];
const OPERATIONS: [Operation; 8] = [
    Operation::Read,
    Operation::List,
    Operation::Write,
    Operation::Create,
    Operation::Delete,
    Operation::Rename,
    Operation::Link,
    Operation::Execute,
];

fn path(feed: &mut Feed<'_>) -> PathBuf {
    Path::new("/").join(feed.many(4, |feed| feed.one(&NAMES).unwrap()).join("/"))
}

struct Naive<'a>(&'a [(PathBuf, Access)]);

impl Naive<'_> {
    fn access(&self, path: &Path) -> Access {
        let above = self.0.iter().filter(|(rule, _)| path.starts_with(rule));
        let nearest = above.clone().map(|(rule, _)| rule.components().count()).max();
        above
            .filter(|(rule, _)| Some(rule.components().count()) == nearest)
            .map(|(_, access)| *access)
            .min()
            .unwrap_or(Access::None)
    }

    fn writes(&self, path: &Path) -> bool {
        self.access(path) == Access::Write
    }

    /// A name comes and goes where the directory that holds it may be written, but for the root of a
    /// tree, which every rule here is.
    fn makes(&self, path: &Path) -> bool {
        let is_root = self.0.iter().any(|(rule, _)| rule == path);
        !is_root && self.writes(path) && path.parent().is_some_and(|parent| self.writes(parent))
    }

    fn allows(&self, path: &Path, operation: Operation) -> bool {
        match operation {
            Operation::Write => self.writes(path),
            Operation::Create | Operation::Link => self.makes(path),
            Operation::Delete | Operation::Rename => {
                self.makes(path) && !self.0.iter().any(|(rule, _)| rule.starts_with(path))
            }
            _ => self.access(path) >= Access::Read,
        }
    }
}

#[test]
fn decide() {
    bolero::check!().with_iterations(5000).for_each(|input: &[u8]| {
        let mut feed = Feed::new(input);
        let plain = feed.many(10, |feed| (path(feed), feed.one(&ACCESS).unwrap()));
        let rule = |(path, access): &(PathBuf, Access)| Rule {
            path: path.clone(),
            access: *access,
            origin: Origin::built_in(Source::ContextPath),
        };
        let policy = Policy::new(plain.iter().map(rule)).unwrap();
        let naive = Naive(&plain);
        for _ in 0..16 {
            let (path, operation) = (path(&mut feed), feed.one(&OPERATIONS).unwrap());
            let verdict = policy.decide(&path, operation);
            assert_eq!(
                verdict.is_allowed(),
                naive.allows(&path, operation),
                "{operation} {path:?} by {plain:?}: {verdict:?}"
            );
        }
    });
}

#[test]
fn no_path_in_another_form_is_allowed_anything() {
    let root =
        Rule { path: "/".into(), access: Access::Write, origin: Origin::built_in(Source::ContextPath) };
    let policy = Policy::new([root]).unwrap();
    bolero::check!().for_each(|input: &[u8]| {
        use std::os::unix::ffi::OsStrExt as _;
        let path = Path::new(std::ffi::OsStr::from_bytes(input));
        let plain = input.first() == Some(&b'/')
            && (input == b"/"
                || input[1..]
                    .split(|byte| *byte == b'/')
                    .all(|name| !name.is_empty() && name != b"." && name != b".." && !name.contains(&0)));
        assert_eq!(policy.decide(path, Operation::Read).is_allowed(), plain, "{path:?}");
    });
}
