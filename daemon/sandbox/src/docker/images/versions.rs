//! Which releases the images are made of: those of `images/versions`, and others where they are
//! asked for by name.

use crate::SandboxError;
use std::collections::BTreeMap;

const PINNED: &str = include_str!("../../../../../images/versions");

/// As users write them, as `images/versions` and the Dockerfiles do, and the image of each.
const PROGRAMS: [(&str, &str, &str); 5] = [
    ("codex", "CODEX", "codex"),
    ("claude-code", "CLAUDE_CODE", "claude-code"),
    ("gemini-cli", "GEMINI_CLI", "gemini-cli"),
    ("node", "NODE", "gemini-cli"),
    ("copilot", "COPILOT", "copilot"),
];

/// The releases of one build.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    asked: BTreeMap<&'static str, String>,
}

impl Versions {
    /// Of pairs of a program and its release, as users write them.
    pub(super) fn parse(asked: &[(String, String)]) -> Result<Self, SandboxError> {
        let mut versions = Self::default();
        for (name, version) in asked {
            let Some((program, ..)) = PROGRAMS.iter().find(|(program, ..)| program == name) else {
                let known = PROGRAMS.map(|(program, ..)| program).join(", ");
                return Err(refused(
                    name,
                    "no image has a program of this name",
                    &format!("Name one of {known}"),
                ));
            };
            if !is_version(version) {
                let fix = "Give a release as its package index has it, for instance 0.170.0";
                return Err(refused(name, "this is no version", fix));
            }
            versions.asked.insert(program, version.clone());
        }
        Ok(versions)
    }

    /// The arguments with which an image is built.
    pub(super) fn arguments(&self, image: &str) -> Vec<(String, String)> {
        let mut arguments: Vec<_> = PROGRAMS
            .iter()
            .filter(|(_, _, of)| *of == image)
            .map(|(program, variable, _)| (format!("{variable}_VERSION"), self.of(program, variable)))
            .collect();
        if self.unpinned(image).next().is_some() {
            arguments.push(("CHECKSUM".to_owned(), "index".to_owned()));
        }
        arguments
    }

    /// What the image says about itself: the programs in it, and those that nobody has pinned.
    pub(super) fn labels(&self, image: &str) -> (String, String) {
        let all: Vec<String> = PROGRAMS
            .iter()
            .filter(|(_, _, of)| *of == image)
            .map(|(program, variable, _)| format!("{program}={}", self.of(program, variable)))
            .collect();
        (all.join(" "), self.unpinned(image).collect::<Vec<_>>().join(" "))
    }

    fn unpinned(&self, image: &str) -> impl Iterator<Item = &'static str> {
        PROGRAMS
            .iter()
            .filter(move |(program, variable, of)| {
                *of == image && self.asked.get(program).is_some_and(|asked| asked != pinned(variable))
            })
            .map(|(program, ..)| *program)
    }

    fn of(&self, program: &str, variable: &str) -> String {
        self.asked.get(program).cloned().unwrap_or_else(|| pinned(variable).to_owned())
    }
}

/// The release of a program that the images are made of when nobody asks for another.
#[must_use]
pub fn pinned_version(program: &str) -> Option<&'static str> {
    PROGRAMS.iter().find(|(name, ..)| *name == program).map(|(_, variable, _)| pinned(variable))
}

fn pinned(variable: &str) -> &'static str {
    let line = |line: &'static str| line.strip_prefix(variable)?.strip_prefix('=');
    // A test holds the file to all of them.
    PINNED.lines().find_map(line).unwrap_or_default()
}

fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-".contains(&b))
}

fn refused(name: &str, why: &str, fix: &str) -> SandboxError {
    SandboxError::Unavailable {
        what: format!("--version {name:?}"),
        why: why.to_owned(),
        fix: fix.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, version: &str) -> Result<Versions, SandboxError> {
        Versions::parse(&[(name.to_owned(), version.to_owned())])
    }

    #[test]
    fn every_program_is_pinned_and_its_checksum_known() {
        for (program, variable, image) in PROGRAMS {
            let version = pinned(variable);
            assert!(is_version(version), "{program}");
            let path = format!("{}/../../images/{image}/checksums", env!("CARGO_MANIFEST_DIR"));
            let checksums = std::fs::read_to_string(path).unwrap();
            assert!(checksums.contains(version), "no checksum of {program} {version}");
        }
    }

    #[test]
    fn another_release_is_checked_against_the_index() {
        let versions = asked("codex", "9.9.9").unwrap();
        let arguments = versions.arguments("codex");
        assert!(arguments.contains(&("CODEX_VERSION".into(), "9.9.9".into())));
        assert!(arguments.contains(&("CHECKSUM".into(), "index".into())));
        assert_eq!(versions.labels("codex"), ("codex=9.9.9".into(), "codex".into()));
        assert!(versions.arguments("claude-code").iter().all(|(name, _)| name != "CHECKSUM"));
        let same = asked("codex", pinned("CODEX")).unwrap();
        assert!(same.arguments("codex").iter().all(|(name, _)| name != "CHECKSUM"));
    }

    #[test]
    fn what_is_no_version_never_gets_to_the_builder() {
        for bad in ["", "1;id", "$(id)", "-1", "1 2", "1\n2", "../x", "file:x", &"1".repeat(65)] {
            assert!(asked("codex", bad).unwrap_err().is_refusal(), "{bad:?}");
        }
        assert!(asked("ruby", "1").unwrap_err().to_string().contains("claude-code"));
    }
}
