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
    /// As users write it: `base`, `codex`, `claude-code`.
    pub short: &'static str,
    /// As the engine knows it.
    pub name: &'static str,
    dockerfile: &'static str,
}

/// The image that every other one stands on, and the default for agents without a
/// program of their own.
pub const BASE: &str = "cordon/base:latest";
/// The image with the Codex CLI.
pub const CODEX: &str = "cordon/codex:latest";
/// The image with Claude Code.
pub const CLAUDE_CODE: &str = "cordon/claude-code:latest";

/// Every image that Cordon builds, in the order of building.
pub const IMAGES: &[ImageSource] = &[
    ImageSource { short: "base", name: BASE, dockerfile: "base/Dockerfile" },
    ImageSource { short: "codex", name: CODEX, dockerfile: "codex/Dockerfile" },
    ImageSource { short: "claude-code", name: CLAUDE_CODE, dockerfile: "claude-code/Dockerfile" },
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
    /// The image of this name, short or full.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        IMAGES
            .iter()
            .find(|i| i.short == name || i.name == name || i.name.strip_suffix(":latest") == Some(name))
    }
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
    fn a_missing_image_says_how_to_get_it() {
        assert!(how_to_get("cordon/codex").contains("cordon images build codex"));
        assert!(how_to_get("alpine:3").contains("docker pull alpine:3"));
    }
}
