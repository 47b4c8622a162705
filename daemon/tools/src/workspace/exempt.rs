//! What programs make again by themselves: it may be deleted unread.

use cordon_policy::Policy;
use std::{os::unix::ffi::OsStrExt as _, path::Path};

const DIRECTORIES: [&str; 17] = [
    ".git",
    "__pycache__",
    ".venv",
    "venv",
    ".cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".eggs",
    "node_modules",
    "dist",
    "build",
    "target",
    ".next",
    ".nuxt",
    "htmlcov",
];
const NAMES: [&str; 3] = [".DS_Store", "Thumbs.db", ".coverage"];
const ENDS: [&str; 6] = [".log", ".pyc", ".pyo", ".pyd", "~", ".tmp"];

/// Judged by the names below the root of the granted tree: where that root is says nothing
/// of what is in it.
pub(super) fn is_made_by_programs(policy: &Policy, path: &Path) -> bool {
    let root = policy.rule_for(path).map_or(Path::new("/"), |rule| &rule.path);
    let Ok(relative) = path.strip_prefix(root) else { return false };
    let Some(name) = relative.file_name() else { return false };
    let above = relative.parent().unwrap_or(Path::new(""));
    above.iter().any(|part| DIRECTORIES.iter().any(|known| part == *known))
        || NAMES.iter().any(|known| name == *known)
        || ENDS.iter().any(|end| name.as_bytes().ends_with(end.as_bytes()))
        || is_swap(name.as_bytes())
}

/// `*.sw?`, an editor's.
fn is_swap(name: &[u8]) -> bool {
    matches!(name, [_, .., b'.', b's', b'w', last] if last.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_policy::{Access, Origin, Rule, Source};

    #[test]
    fn only_names_below_the_granted_tree_count() {
        let origin = Origin::built_in(Source::Workspace);
        let rule = Rule { path: "/home/build/ws".into(), access: Access::Write, origin };
        let policy = Policy::new([rule]).unwrap();
        let made = |path: &str| is_made_by_programs(&policy, Path::new(path));
        for path in ["x/node_modules/a.js", ".git/config", "a.log", ".a.txt.swp", "build/x", "b~", "m.pyc"] {
            assert!(made(&format!("/home/build/ws/{path}")), "{path}");
        }
        for path in ["a.rs", "git/x", "log", ".sw", "build", "buildx/a", "a.swift"] {
            assert!(!made(&format!("/home/build/ws/{path}")), "{path}");
        }
        assert!(!made("/elsewhere/x.txt"));
    }
}
