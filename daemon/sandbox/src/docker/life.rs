//! Containers as the engine keeps them: made, started, watched and removed.

use super::{
    engine::{self, Engine},
    images, names,
};
use crate::SandboxError;
use bollard::{
    Docker,
    container::AttachContainerResults,
    errors::Error,
    models::ContainerCreateBody,
    query_parameters::{
        AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, ListContainersOptions,
        RemoveContainerOptions, StartContainerOptions, WaitContainerOptions,
    },
};
use futures_util::StreamExt as _;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// How long a container may take to go away.
const GOING: Duration = Duration::from_secs(30);
/// Bytes of a dying guest's words that are passed on.
const LAST_WORDS: usize = 500;

/// An image as the engine has it.
#[derive(Debug)]
pub(super) struct Image {
    /// Content id: what was looked at is what runs.
    pub(super) id: String,
    /// Paths at which it asks for a volume.
    pub(super) volumes: Vec<String>,
}

pub(super) async fn image(docker: &Docker, name: &str) -> Result<Image, SandboxError> {
    match docker.inspect_image(name).await {
        Ok(found) => Ok(Image {
            id: found.id.unwrap_or_else(|| name.to_owned()),
            volumes: found.config.and_then(|c| c.volumes).unwrap_or_default(),
        }),
        Err(error) if matches!(engine::status(&error), Some(400 | 404)) => {
            Err(SandboxError::ImageMissing { image: name.to_owned(), fix: images::how_to_get(name) })
        }
        Err(error) => Err(engine::failed(format!("look for image {name}"))(error)),
    }
}

/// Makes a container; its id and what the engine warns of.
pub(super) async fn create(
    docker: &Docker,
    name: &str,
    body: ContainerCreateBody,
) -> Result<(String, Vec<String>), SandboxError> {
    let options = CreateContainerOptions { name: Some(name.to_owned()), ..CreateContainerOptions::default() };
    let made = docker
        .create_container(Some(options), body)
        .await
        .map_err(engine::failed(format!("create container {name}")))?;
    Ok((made.id, made.warnings))
}

pub(super) async fn start(docker: &Docker, container: &str) -> Result<(), SandboxError> {
    docker
        .start_container(container, None::<StartContainerOptions>)
        .await
        .map_err(engine::failed(format!("start container {container}")))
}

/// A container's first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Its number as this daemon sees it.
    Here(i32),
    /// It runs, and this daemon has other process numbers than the engine.
    Elsewhere,
    /// It does not run.
    Ended,
}

pub(super) async fn first(docker: &Docker, container: &str) -> Result<First, SandboxError> {
    let found = docker
        .inspect_container(container, None::<InspectContainerOptions>)
        .await
        .map_err(engine::failed(format!("look at container {container}")))?;
    let state = found.state.unwrap_or_default();
    let pid = state.pid.and_then(|p| i32::try_from(p).ok()).filter(|p| *p > 0);
    let (Some(id), Some(pid), Some(true)) = (found.id, pid, state.running) else { return Ok(First::Ended) };
    // The same number may be somebody else's here: the container's own control group tells.
    let groups = tokio::fs::read_to_string(format!("/proc/{pid}/cgroup")).await.unwrap_or_default();
    Ok(if groups.contains(&id) { First::Here(pid) } else { First::Elsewhere })
}

/// What a container's first process writes to its standard error while it starts.
/// Nothing is read until it is asked for.
pub(super) struct Words(Option<AttachContainerResults>);

impl Words {
    /// For a container that was started long ago.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Listens to a container that was made and not started yet. Not being able to
    /// listen is no error: it only makes another one less clear.
    pub(super) async fn listen(docker: &Docker, container: &str) -> Self {
        let options =
            AttachContainerOptions { stream: true, stderr: true, ..AttachContainerOptions::default() };
        Self(docker.attach_container(container, Some(options)).await.ok())
    }

    /// The last words of a container that ended: untrusted, so one bounded line of
    /// printable characters, with a colon before it; or nothing.
    pub(super) async fn last(self) -> String {
        let mut said = Vec::new();
        let Some(mut attached) = self.0 else { return String::new() };
        let read = async {
            while let Some(Ok(part)) = attached.output.next().await {
                said.extend_from_slice(&part.into_bytes());
                if said.len() > LAST_WORDS {
                    break;
                }
            }
        };
        // It ended: what it said is there already.
        let _ = tokio::time::timeout(Duration::from_secs(2), read).await;
        said.truncate(LAST_WORDS);
        let text = String::from_utf8_lossy(&said);
        let text = text.trim();
        if text.is_empty() { String::new() } else { format!(": {}", text.escape_debug()) }
    }
}

/// Returns when the container has ended: with its exit code, as far as it is known.
pub(super) async fn ended(docker: &Docker, container: &str) -> String {
    let options = WaitContainerOptions { condition: "not-running".to_owned() };
    match docker.wait_container(container, Some(options)).next().await {
        Some(Ok(answer)) => format!("exit code {}", answer.status_code),
        Some(Err(Error::DockerContainerWaitError { code, .. })) => format!("exit code {code}"),
        Some(Err(error)) => engine::describe(&error),
        None => "no exit code is known".to_owned(),
    }
}

/// Kills and removes a container with its volumes, and returns when it is gone. One
/// that is not there is success.
pub(super) async fn remove(docker: &Docker, container: &str) -> Result<(), SandboxError> {
    let deadline = Instant::now() + GOING;
    loop {
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        match docker.remove_container(container, Some(options)).await {
            Ok(()) => return Ok(()),
            Err(error) => match engine::status(&error) {
                Some(404) => return Ok(()),
                // Somebody else is removing it, or it is just starting.
                Some(409 | 500) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                _ => return Err(engine::failed(format!("remove container {container}"))(error)),
            },
        }
    }
}

/// The containers with this daemon's label, ended ones too: container id and sandbox id.
pub(super) async fn of_daemon(engine: &Engine, daemon: &str) -> Result<Vec<(String, String)>, SandboxError> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{}={daemon}", names::LABEL_DAEMON)])]);
    let options =
        ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
    let found = engine
        .docker
        .list_containers(Some(options))
        .await
        .map_err(engine::failed("list this daemon's containers"))?;
    Ok(found
        .into_iter()
        .filter_map(|c| {
            let mut labels = c.labels?;
            // The filter is the engine's; what is removed is decided here.
            (labels.get(names::LABEL_DAEMON).map(String::as_str) == Some(daemon)).then_some(())?;
            Some((c.id?, labels.remove(names::LABEL_SANDBOX)?))
        })
        .collect())
}
