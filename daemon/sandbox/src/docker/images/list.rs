//! What the engine has of the images, and who uses them.

use super::{IMAGES, build, derived};
use crate::{
    SandboxError,
    docker::{engine, names},
};
use bollard::{
    Docker,
    models::{ContainerSummary, ImageSummary},
    query_parameters::{ListContainersOptions, ListImagesOptions, RemoveImageOptions},
};
use std::{collections::HashMap, future::Future, time::Duration};

/// Longest text of a label that is shown.
const SHOWN: usize = 400;

/// An image as the engine has it, or has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageState {
    /// As users write it; that of a derived one is its whole name.
    pub short: String,
    /// As the engine knows it.
    pub name: String,
    /// The engine's id; none when the image is not there.
    pub id: Option<String>,
    /// Size in bytes, with all that it shares with others.
    pub size_bytes: u64,
    /// When it was made, seconds since 1970.
    pub created_unix: i64,
    /// Programs in it and their releases.
    pub versions: Vec<(String, String)>,
    /// Those among them that were checked against the package index alone.
    pub unpinned: Vec<String>,
    /// The image that a derived one stands on.
    pub from: Option<String>,
    /// What a derived one has besides, in words.
    pub packages: Option<String>,
    /// Sandboxes that use it: owner, run and agent.
    pub used_by: Vec<(u32, String, String)>,
}

/// What the engine has of [`IMAGES`] and of those derived from any.
///
/// # Errors
/// When the engine cannot be reached.
pub async fn list(docker_host: Option<&str>) -> Result<Vec<ImageState>, SandboxError> {
    let docker = engine::Engine::connect(docker_host).await?.docker;
    let (images, containers) = look(&docker).await?;
    let ours = IMAGES.iter().map(|image| {
        let found = images.iter().find(|s| s.repo_tags.iter().any(|t| t == image.name));
        state(image.short, image.name, found, &containers)
    });
    let derived = images.iter().filter_map(|found| {
        let name = derived_name(found)?;
        Some(state(name, name, Some(found), &containers))
    });
    Ok(ours.chain(derived).collect())
}

/// Removes the derived images that no sandbox uses. Their names.
///
/// # Errors
/// When the engine cannot be reached or keeps one.
pub async fn remove_unused(docker_host: Option<&str>) -> Result<Vec<String>, SandboxError> {
    let docker = engine::Engine::connect(docker_host).await?.docker;
    let (images, containers) = look(&docker).await?;
    let mut removed = Vec::new();
    for found in &images {
        let Some(name) = derived_name(found) else { continue };
        if !users(&found.id, &containers).is_empty() {
            continue;
        }
        // Not by force: one that a sandbox began to use meanwhile stays.
        let result = docker.remove_image(name, Some(RemoveImageOptions::default()), None).await;
        match result {
            Ok(_) => removed.push(name.to_owned()),
            Err(error) if matches!(engine::status(&error), Some(404 | 409)) => {}
            Err(error) => return Err(engine::failed(format!("remove image {name}"))(error)),
        }
    }
    Ok(removed)
}

async fn look(docker: &Docker) -> Result<(Vec<ImageSummary>, Vec<ContainerSummary>), SandboxError> {
    let images = in_time("list images", docker.list_images(Some(ListImagesOptions::default()))).await?;
    let label = vec![names::LABEL_SANDBOX.to_owned()];
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), label)])),
        ..ListContainersOptions::default()
    };
    let containers = in_time("list containers", docker.list_containers(Some(options))).await?;
    Ok((images, containers))
}

async fn in_time<T>(
    step: &str,
    answer: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, SandboxError> {
    let late =
        |_| SandboxError::Engine { step: step.to_owned(), why: "it did not answer within 30 s".to_owned() };
    tokio::time::timeout(Duration::from_secs(30), answer).await.map_err(late)?.map_err(engine::failed(step))
}

fn derived_name(found: &ImageSummary) -> Option<&str> {
    found.labels.contains_key(derived::LABEL).then_some(())?;
    let prefix = format!("{}:", derived::REPOSITORY);
    found.repo_tags.iter().find(|tag| tag.starts_with(&prefix)).map(String::as_str)
}

fn users(id: &str, containers: &[ContainerSummary]) -> Vec<(u32, String, String)> {
    let of = |container: &ContainerSummary| {
        let labels = container.labels.as_ref()?;
        let word = |label: &str| labels.get(label).map(|text| text.chars().take(SHOWN).collect::<String>());
        (container.image_id.as_deref() == Some(id)).then_some(())?;
        Some((
            word(names::LABEL_OWNER)?.parse().ok()?,
            word(names::LABEL_RUN).unwrap_or_default(),
            word(names::LABEL_AGENT).unwrap_or_default(),
        ))
    };
    let mut users: Vec<_> = containers.iter().filter_map(of).collect();
    users.sort();
    users
}

fn state(
    short: &str,
    name: &str,
    found: Option<&ImageSummary>,
    containers: &[ContainerSummary],
) -> ImageState {
    // Labels are an image's own words.
    let label = |name: &str| {
        let text = found?.labels.get(name)?;
        Some(text.chars().take(SHOWN).collect::<String>()).filter(|text| !text.is_empty())
    };
    let words = |name: &str| label(name).unwrap_or_default();
    let pair = |word: &str| word.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
    ImageState {
        short: short.to_owned(),
        name: name.to_owned(),
        id: found.map(|s| s.id.clone()),
        size_bytes: found.and_then(|s| u64::try_from(s.size).ok()).unwrap_or(0),
        created_unix: found.map_or(0, |s| s.created),
        versions: words(build::VERSIONS).split(' ').filter_map(pair).collect(),
        unpinned: words(build::UNPINNED).split_whitespace().map(str::to_owned).collect(),
        from: label(derived::LABEL_FROM),
        packages: label(derived::LABEL_PACKAGES),
        used_by: found.map(|s| users(&s.id, containers)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(tags: &[&str], labels: &[(&str, &str)]) -> ImageSummary {
        ImageSummary {
            id: "sha256:1".into(),
            repo_tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            labels: labels.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            size: 5,
            ..ImageSummary::default()
        }
    }

    fn container(image: &str, labels: &[(&str, &str)]) -> ContainerSummary {
        ContainerSummary {
            image_id: Some(image.to_owned()),
            labels: Some(labels.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()),
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn versions_and_users_are_told() {
        let found = summary(
            &["cordon/codex:latest"],
            &[(build::VERSIONS, "codex=1.2 node=3 odd"), (build::UNPINNED, "codex")],
        );
        let used = [(names::LABEL_OWNER, "7"), (names::LABEL_RUN, "r"), (names::LABEL_AGENT, "a")];
        let containers =
            [container("sha256:1", &used), container("sha256:2", &used), container("sha256:1", &[])];
        let state = state("codex", "cordon/codex:latest", Some(&found), &containers);
        assert_eq!(state.versions, [("codex".into(), "1.2".into()), ("node".into(), "3".into())]);
        assert_eq!(state.unpinned, ["codex"]);
        assert_eq!(state.used_by, [(7, "r".into(), "a".into())]);
    }

    #[test]
    fn only_what_carries_name_and_label_is_derived() {
        let label = [(derived::LABEL, "x")];
        assert_eq!(derived_name(&summary(&["cordon/derived:1"], &label)), Some("cordon/derived:1"));
        assert_eq!(derived_name(&summary(&["cordon/derived:1"], &[])), None);
        assert_eq!(derived_name(&summary(&["mine:1"], &label)), None);
    }
}
