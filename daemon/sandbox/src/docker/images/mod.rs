//! The images that sandboxes run in: what they are called, what they are built
//! from, and building them with whatever builder the engine has. The build context
//! is in this program, so that a daemon without its sources can still build.

mod bootstrap;
pub(super) mod build;
mod context;
pub(super) mod derived;
mod list;
mod versions;

pub use build::{BuildEvent, ImageBuildOptions, build};
pub use list::{ImageState, list, remove_unused};
pub use versions::pinned_version;

/// An image that Cordon builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSource {
    /// As users write it: `base`, `codex`, `claude-code`, `gemini-cli`, `copilot`, `all`.
    pub short: &'static str,
    /// As the engine knows it.
    pub name: &'static str,
    dockerfile: &'static str,
    /// The images that it is made of, when Cordon builds those too; the first is below it.
    on: &'static [&'static str],
}

/// The image that every other one stands on, and the default for agents without a
/// program of their own.
pub const BASE: &str = "cordon/base:latest";
/// The image with the Codex CLI.
pub const CODEX: &str = "cordon/codex:latest";
/// The image with Claude Code.
pub const CLAUDE_CODE: &str = "cordon/claude-code:latest";
/// The image with Gemini CLI.
pub const GEMINI_CLI: &str = "cordon/gemini-cli:latest";
/// The image with Copilot CLI.
pub const COPILOT: &str = "cordon/copilot:latest";
/// The image with all four programs.
pub const ALL: &str = "cordon/all:latest";

const fn source(
    short: &'static str,
    name: &'static str,
    dockerfile: &'static str,
    on: &'static [&'static str],
) -> ImageSource {
    ImageSource { short, name, dockerfile, on }
}

const SUDO: &str = "sudo/Dockerfile";

/// Every image that Cordon builds, in the order of building.
pub const IMAGES: &[ImageSource] = &[
    source("base", BASE, "base/Dockerfile", &[]),
    source("codex", CODEX, "codex/Dockerfile", &[BASE]),
    source("claude-code", CLAUDE_CODE, "claude-code/Dockerfile", &[BASE]),
    source("gemini-cli", GEMINI_CLI, "gemini-cli/Dockerfile", &[BASE]),
    source("copilot", COPILOT, "copilot/Dockerfile", &[BASE]),
    source("all", ALL, "all/Dockerfile", &[BASE, CODEX, CLAUDE_CODE, GEMINI_CLI, COPILOT]),
    source("base-sudo", "cordon/base-sudo:latest", SUDO, &[BASE]),
    source("codex-sudo", "cordon/codex-sudo:latest", SUDO, &[CODEX]),
    source("claude-code-sudo", "cordon/claude-code-sudo:latest", SUDO, &[CLAUDE_CODE]),
    source("gemini-cli-sudo", "cordon/gemini-cli-sudo:latest", SUDO, &[GEMINI_CLI]),
    source("copilot-sudo", "cordon/copilot-sudo:latest", SUDO, &[COPILOT]),
    source("all-sudo", "cordon/all-sudo:latest", SUDO, &[ALL]),
];

impl ImageSource {
    /// Whether it is one of the weaker images, built only when it is named.
    #[must_use]
    pub fn is_sudo(&self) -> bool {
        self.dockerfile == SUDO
    }

    /// Whether it is built only when it is named: what it holds is in other images too.
    #[must_use]
    pub fn is_extra(&self) -> bool {
        self.is_sudo() || self.name == ALL
    }

    /// The image of this name, short or full.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        IMAGES
            .iter()
            .find(|i| i.short == name || i.name == name || i.name.strip_suffix(":latest") == Some(name))
    }
}

/// The image with sudo that stands in for one of ours; any other image is its own.
pub(super) fn with_sudo(image: &str) -> &str {
    let plain = ImageSource::find(image).map(|i| i.name);
    IMAGES.iter().find(|i| i.is_sudo() && i.on.first().copied() == plain).map_or(image, |i| i.name)
}

/// How to come by an image that is not there.
pub(super) fn how_to_get(image: &str) -> String {
    match ImageSource::find(image) {
        Some(known) => format!("build it with `cordon images build {}`", known.short),
        None => format!("build it, or `docker pull {image}`; Cordon never pulls by itself"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_by_each_of_its_names() {
        for name in ["codex", "cordon/codex", "cordon/codex:latest"] {
            assert_eq!(ImageSource::find(name).map(|i| i.name), Some(CODEX));
        }
        assert_eq!(ImageSource::find("cordon/codex:other"), None);
    }

    #[test]
    fn each_of_our_images_has_one_with_sudo() {
        assert_eq!(with_sudo("cordon/codex"), "cordon/codex-sudo:latest");
        assert_eq!(with_sudo("cordon/codex-sudo:latest"), "cordon/codex-sudo:latest");
        assert_eq!(with_sudo("mine:1"), "mine:1");
        assert!(IMAGES.iter().filter(|i| !i.is_sudo()).all(|i| with_sudo(i.name) != i.name));
    }

    #[test]
    fn a_missing_image_says_how_to_get_it() {
        assert!(how_to_get("cordon/codex").contains("cordon images build codex"));
        assert!(how_to_get("alpine:3").contains("docker pull alpine:3"));
    }
}
