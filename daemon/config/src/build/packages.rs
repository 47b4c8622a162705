//! `command_line_docker_packages`: names as each package manager takes them, and nothing that one
//! of them, or a shell, could take for something else.

use super::Build;
use crate::{Packages, check::Item, report::Quoted};

const MOST_PACKAGES: usize = 200;
const LONGEST: usize = 200;
/// What pip and npm take for a file, whatever stands before it.
const ARCHIVES: [&str; 11] =
    [".whl", ".zip", ".tar", ".tgz", ".tar.gz", ".tbz", ".tar.bz2", ".txz", ".tar.xz", ".tlz", ".tar.lz"];

impl Build<'_, '_> {
    pub(super) fn packages(&mut self, item: &Item) -> Packages {
        let Some(all) = item.get("preinstall") else { return Packages::default() };
        let mut list = |key: &str, good: fn(&str) -> bool, help: &str| {
            all.get(key).map(|l| self.package_list(l, good, help)).unwrap_or_default()
        };
        Packages {
            system: list("system", is_debian, "for instance `ripgrep` or `jq=1.6-2.1`"),
            python: list("python", is_python, "for instance `requests`, `httpx[http2]` or `numpy>=2,<3`"),
            npm: list("npm", is_npm, "for instance `typescript`, `@scope/name` or `prettier@3.3.0`"),
        }
    }

    fn package_list(&mut self, list: &Item, good: fn(&str) -> bool, help: &str) -> Vec<String> {
        let items = list.items();
        if items.len() > MOST_PACKAGES {
            let message = format!("{} packages; an image gets at most {MOST_PACKAGES}", items.len());
            self.report.error(&list.at(), "too-large", message, "make an image that has them");
            return Vec::new();
        }
        let mut names: Vec<String> = Vec::new();
        for item in items {
            let Some(text) = item.text() else { continue };
            let name: String = text.chars().filter(|c| *c != ' ').collect();
            if name.len() > LONGEST || !good(&name) {
                let message = format!("{} is no name of a package", Quoted(&item.written));
                self.report.error(&item.at(), "bad-value", message, help);
            } else if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

fn all(text: &str, more: &[u8]) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
}

fn begins_well(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_archive(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ARCHIVES.iter().any(|suffix| lower.ends_with(suffix))
}

/// As Debian's policy has it. A `-` at the end would take the package away.
fn is_debian(text: &str) -> bool {
    let (name, version) = text.split_once('=').map_or((text, None), |(name, version)| (name, Some(version)));
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b))
        && !name.ends_with('-')
        && version.is_none_or(|v| v.starts_with(|c: char| c.is_ascii_digit()) && all(v, b".+~:-"))
}

/// A name, extras and version clauses: no marker, no URL, no file.
fn is_python(text: &str) -> bool {
    const OPERATORS: [&str; 8] = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"];
    let ends = |name: &str| name.ends_with(|c: char| c.is_ascii_alphanumeric());
    let is_name = |name: &str| begins_well(name) && ends(name) && all(name, b"._-");
    let cut = text.find(['<', '>', '=', '!', '~']).unwrap_or(text.len());
    let (head, clauses) = text.split_at(cut);
    let (name, extras) = match head.split_once('[') {
        Some((name, rest)) => match rest.strip_suffix(']') {
            Some(extras) => (name, Some(extras)),
            None => return false,
        },
        None => (head, None),
    };
    let is_clause = |clause: &str| {
        let version = OPERATORS.iter().find_map(|operator| clause.strip_prefix(operator));
        version.is_some_and(|v| begins_well(v) && all(v.strip_suffix(".*").unwrap_or(v), b".+!_-"))
    };
    is_name(name)
        && !is_archive(head)
        && extras.is_none_or(|e| e.split(',').all(is_name))
        && (clauses.is_empty() || clauses.split(',').all(is_clause))
}

/// From the registry, by name: no alias, no repository, no file.
fn is_npm(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    let (scope, rest) = match text.strip_prefix('@') {
        Some(scoped) => match scoped.split_once('/') {
            Some((scope, rest)) => (Some(scope), rest),
            None => return false,
        },
        None => (None, text),
    };
    let (name, version) = rest.split_once('@').map_or((rest, None), |(name, version)| (name, Some(version)));
    let is_version = |version: &str| {
        let version = version.trim_start_matches(['^', '~']);
        begins_well(version) && all(version, b".+-") && !is_archive(version)
    };
    scope.is_none_or(is_part) && is_part(name) && !is_archive(name) && version.is_none_or(is_version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_what_each_manager_takes() {
        for good in ["jq", "g++", "libssl3", "python3.11", "jq=1.6-2.1", "vim=2:9.0.1378-2+deb12u2", "0ad"] {
            assert!(is_debian(good), "{good}");
        }
        for bad in [
            "",
            "j",
            "jq-",
            "-jq",
            "--jq",
            "Jq",
            "jq/stable",
            "jq*",
            "./jq.deb",
            "jq=",
            "jq=$(id)",
            "a;b",
            "jq=x",
        ] {
            assert!(!is_debian(bad), "{bad}");
        }
        for good in [
            "requests",
            "httpx[http2,brotli]",
            "numpy==2.1.0",
            "numpy>=2,<3",
            "a-b_c.d~=1.0",
            "x==1.*",
            "torch==2.1.0+cpu",
        ] {
            assert!(is_python(good), "{good}");
        }
        for bad in [
            "",
            "-r",
            "--index-url=x",
            "-rx",
            ".",
            "./x",
            "x@https://a.test/x.whl",
            "git+https://a.test/x",
            "x.whl",
            "x;python_version<'3'",
            "x==",
            "x==$(id)",
            "x[",
            "x]",
            "x[a",
            "x>=1;y",
            "x>/etc/passwd",
            "x>=-1",
            "x.tar.gz",
        ] {
            assert!(!is_python(bad), "{bad}");
        }
        for good in
            ["typescript", "@types/node", "@a/b@1.2.3", "prettier@^3.3.0", "x@latest", "x@1.0.0-rc.1+b"]
        {
            assert!(is_npm(good), "{good}");
        }
        for bad in [
            "",
            "-g",
            "--prefix",
            "@a",
            "@/b",
            "a/b",
            "git+ssh://a.test/x",
            "x@npm:y",
            "x@file:y",
            "x@../y",
            "./x",
            "x.tgz",
            "x@y.tgz",
            "X",
            "x@",
            "x y;",
            "x@>1",
            "http://a.test/x.tgz",
            "@a/b/c",
            "..",
        ] {
            assert!(!is_npm(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_passes_is_an_option_a_path_or_two_words(text in "[ -~]{0,24}") {
            for good in [is_debian, is_python, is_npm] {
                if good(&text) {
                    prop_assert!(!text.starts_with(['-', '.', '/', '~']));
                    prop_assert!(!text.contains(['$', '`', ';', '&', '|', '(', ')', '\'', '"', '\\', ' ', '#', '*']) || text.ends_with(".*"));
                    prop_assert!(!text.contains("://"));
                }
            }
        }
    }
}
