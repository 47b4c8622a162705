//! The mounts that the rules compile to, looked at as the kernel would, say what the rules say.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use cordon_policy::{Access, Fact, Mount, MountKind, Operation, Origin, Policy, Rule, Source};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn some_path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..6)
        .prop_map(|names| PathBuf::from(format!("/{}", names.join("/"))))
}

fn some_rules() -> impl Strategy<Value = Vec<Rule>> {
    let what = prop_oneof![
        4 => prop::sample::select(vec![
            (Access::Write, Source::ContextPath),
            (Access::Read, Source::ContextPath),
            (Access::Write, Source::Workspace),
            (Access::Read, Source::ProtectedPath),
            (Access::Read, Source::HardLink),
        ]),
        1 => prop::sample::select(vec![
            (Access::None, Source::Secret),
            (Access::Write, Source::Temporary),
            (Access::Read, Source::System),
        ]),
    ];
    prop::collection::btree_map(some_path(), what, 1..10).prop_map(|rules| {
        let rule = |(path, (access, source))| Rule { path, access, origin: Origin::built_in(source) };
        rules.into_iter().map(rule).collect()
    })
}

fn around<'m>(mounts: &'m [Mount<'m>], path: &Path) -> Option<&'m Mount<'m>> {
    mounts.iter().rev().find(|mount| path.starts_with(&mount.path))
}

fn grants(mount: Option<&Mount<'_>>) -> Access {
    match mount.map(|mount| mount.kind) {
        None | Some(MountKind::Hidden) => Access::None,
        Some(MountKind::ReadOnly) => Access::Read,
        Some(MountKind::Writable | MountKind::Pin) => Access::Write,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_kernel_says_what_the_rules_say(rules in some_rules(), asked in some_path()) {
        let policy = Policy::new(rules.clone()).unwrap();
        let Ok(mounts) = policy.compile(|_| Fact::Directory, usize::MAX) else { return Ok(()) };
        prop_assert!(mounts.is_sorted_by(|a, b| a.path < b.path));
        let near = rules.iter().flat_map(|rule| {
            let above = rule.path.parent().filter(|above| above.parent().is_some());
            [Some(rule.path.clone()), Some(rule.path.join("x")), above.map(Path::to_path_buf)]
        });
        for path in near.flatten().chain([asked]) {
            // What the walls make themselves has rules of its own to be tested by.
            let Some(mount) = around(&mounts, &path) else { continue };
            let allowed = |operation| policy.decide(&path, operation).is_allowed();
            let access = grants(Some(mount));
            prop_assert_eq!(allowed(Operation::Read), access >= Access::Read, "read {:?}", &path);
            prop_assert_eq!(allowed(Operation::Write), access == Access::Write, "write {:?}", &path);
            // A mount point is busy, and so is every directory above one that cannot be emptied:
            // nothing above it may be renamed either, or the mount would go along.
            let busy = mounts.iter().any(|mount| mount.path.starts_with(&path));
            let holder = grants(path.parent().and_then(|holder| around(&mounts, holder)));
            let removable = access == Access::Write && holder == Access::Write && !busy;
            prop_assert_eq!(allowed(Operation::Delete), removable, "delete {:?} {:?}", &path, &mounts);
            prop_assert_eq!(allowed(Operation::Rename), removable, "rename {:?}", &path);
            // And the kernel itself keeps every directory on the way to a mount in its place.
            if access == Access::Write && holder == Access::Write && busy {
                prop_assert!(mounts.iter().any(|mount| mount.path == path), "{:?} is not pinned", &path);
            }
        }
    }
}
