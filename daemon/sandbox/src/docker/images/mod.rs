//! The images that sandboxes run in: what they are called, what they are built
//! from, and building them with whatever builder the engine has. The build context
//! is in this program, so that a daemon without its sources can still build.

mod bootstrap;
mod build;
mod context;

pub use build::{BuildEvent, ImageBuildOptions, build};

use super::engine;
use crate::SandboxError;
use bollard::query_parameters::ListImagesOptionsBuilder;
use std::{collections::HashMap, time::Duration};

/// An image that Cordon builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSource {
    /// As users write it: `base`, `codex`, `claude-code`, `gemini-cli`, `copilot`.
    pub short: &'static str,
    /// As the engine knows it.
    pub name: &'static str,
    dockerfile: &'static str,
    /// The image that it stands on, when Cordon builds that one too.
    on: Option<&'static str>,
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

const fn source(
    short: &'static str,
    name: &'static str,
    dockerfile: &'static str,
    on: Option<&'static str>,
) -> ImageSource {
    ImageSource { short, name, dockerfile, on }
}

const SUDO: &str = "sudo/Dockerfile";

/// Every image that Cordon builds, in the order of building.
pub const IMAGES: &[ImageSource] = &[
    source("base", BASE, "base/Dockerfile", None),
    source("codex", CODEX, "codex/Dockerfile", Some(BASE)),
    source("claude-code", CLAUDE_CODE, "claude-code/Dockerfile", Some(BASE)),
    source("gemini-cli", GEMINI_CLI, "gemini-cli/Dockerfile", Some(BASE)),
    source("copilot", COPILOT, "copilot/Dockerfile", Some(BASE)),
    source("base-sudo", "cordon/base-sudo:latest", SUDO, Some(BASE)),
    source("codex-sudo", "cordon/codex-sudo:latest", SUDO, Some(CODEX)),
    source("claude-code-sudo", "cordon/claude-code-sudo:latest", SUDO, Some(CLAUDE_CODE)),
    source("gemini-cli-sudo", "cordon/gemini-cli-sudo:latest", SUDO, Some(GEMINI_CLI)),
    source("copilot-sudo", "cordon/copilot-sudo:latest", SUDO, Some(COPILOT)),
];

/// An image as the engine has it, or has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageState {
    /// As users write it.
    pub short: &'static str,
    /// As the engine knows it.
    pub name: &'static str,
    /// The engine's id; none when the image is not there.
    pub id: Option<String>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// When it was made, seconds since 1970.
    pub created_unix: i64,
}

impl ImageSource {
    /// Whether it is one of the weaker images, built only when it is named.
    #[must_use]
    pub fn is_sudo(&self) -> bool {
        self.dockerfile == SUDO
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
    IMAGES.iter().find(|i| i.is_sudo() && i.on.is_some() && i.on == plain).map_or(image, |i| i.name)
}

/// How to come by an image that is not there.
pub(super) fn how_to_get(image: &str) -> String {
    match ImageSource::find(image) {
        Some(known) => format!("build it with `cordon images build {}`", known.short),
        None => format!("build it, or `docker pull {image}`; Cordon never pulls by itself"),
    }
}

/// What the engine has of [`IMAGES`].
///
/// # Errors
/// When the engine cannot be reached.
pub async fn list(docker_host: Option<&str>) -> Result<Vec<ImageState>, SandboxError> {
    let docker = engine::Engine::connect(docker_host).await?.docker;
    let references = IMAGES.iter().map(|i| i.name.to_owned()).collect();
    let filters = HashMap::from([("reference".to_owned(), references)]);
    let options = ListImagesOptionsBuilder::default().filters(&filters).build();
    let found = tokio::time::timeout(Duration::from_secs(30), docker.list_images(Some(options)))
        .await
        .map_err(|_| SandboxError::Engine {
            step: "list images".to_owned(),
            why: "it did not answer within 30 s".to_owned(),
        })?
        .map_err(engine::failed("list images"))?;
    let state = |image: &ImageSource| {
        let summary = found.iter().find(|s| s.repo_tags.iter().any(|t| t == image.name));
        ImageState {
            short: image.short,
            name: image.name,
            id: summary.map(|s| s.id.clone()),
            size_bytes: summary.and_then(|s| u64::try_from(s.size).ok()).unwrap_or(0),
            created_unix: summary.map_or(0, |s| s.created),
        }
    };
    Ok(IMAGES.iter().map(state).collect())
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
