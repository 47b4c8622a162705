//! The image that a sandbox is made of: looked for, and built where it follows from what is there.

use super::{
    engine::{self, Engine},
    images::{
        self,
        build::{self, BuildEvent},
        derived::{self, Derived},
    },
    life,
};
use crate::{SandboxError, SandboxSpec};
use std::time::Instant;
use tokio::sync::{Mutex, mpsc};

/// Lines of a build that wait to be told.
const WAITING: usize = 64;

pub(super) struct Provider<'a> {
    pub(super) docker_host: Option<&'a str>,
    pub(super) engine: &'a Engine,
    pub(super) building: &'a Mutex<()>,
}

impl Provider<'_> {
    /// The image of this sandbox. One with sudo, and one with packages, is built when what it
    /// stands on is there.
    pub(super) async fn image(
        &self,
        spec: &SandboxSpec,
        said: Option<&mpsc::Sender<String>>,
    ) -> Result<life::Image, SandboxError> {
        derived::check(&spec.packages)?;
        let plain = spec.image.as_deref().unwrap_or(images::BASE);
        let name = if spec.sudo { images::with_sudo(plain) } else { plain };
        let docker = &self.engine.docker;
        let found = match life::image(docker, name).await {
            Err(SandboxError::ImageMissing { .. }) if name != plain => {
                // What is missing then is the plain one, and how to come by it is said.
                life::image(docker, plain).await?;
                self.with_sudo(name, said).await?;
                life::image(docker, name).await?
            }
            found => found?,
        };
        if spec.packages.is_empty() {
            return Ok(found);
        }
        let derived = Derived { name, id: &found.id, packages: &spec.packages };
        if !derived.is_there(docker).await? {
            self.derive(&derived, said).await?;
        }
        life::image(docker, &derived.tag()).await
    }

    async fn with_sudo(&self, name: &str, said: Option<&mpsc::Sender<String>>) -> Result<(), SandboxError> {
        let Some(source) = derived::sudo_source(name) else { return Ok(()) };
        let _alone = self.building.lock().await;
        if life::image(&self.engine.docker, name).await.is_ok() {
            return Ok(());
        }
        let client = engine::client(self.docker_host, build::BUILD_TIMEOUT)?;
        let (events, lines) = mpsc::channel(WAITING);
        tell(said, format!("building image {name}: it is not there yet")).await;
        let (result, ()) = tokio::join!(
            async {
                let result = build::build_sudo(&client, source, &events).await;
                drop(events);
                result
            },
            pass_on(lines, said),
        );
        result
    }

    async fn derive(
        &self,
        derived: &Derived<'_>,
        said: Option<&mpsc::Sender<String>>,
    ) -> Result<(), SandboxError> {
        let _alone = self.building.lock().await;
        if derived.is_there(&self.engine.docker).await? {
            return Ok(());
        }
        let client = engine::client(self.docker_host, build::BUILD_TIMEOUT)?;
        let (events, lines) = mpsc::channel(WAITING);
        let begun = Instant::now();
        tell(
            said,
            format!("building image {}, once: {} with {}", derived.tag(), derived.name, derived.told()),
        )
        .await;
        let (result, ()) = tokio::join!(
            async {
                let result = derived.build(&client, &events).await;
                drop(events);
                result
            },
            pass_on(lines, said),
        );
        result?;
        tell(said, format!("image {} is built, in {} s", derived.tag(), begun.elapsed().as_secs())).await;
        Ok(())
    }
}

async fn tell(said: Option<&mpsc::Sender<String>>, line: String) {
    if let Some(said) = said {
        // Whoever listens may be gone; the build goes on for the next.
        let _ = said.send(line).await;
    }
}

/// Of a builder's many lines those that say which step it is at.
async fn pass_on(
    mut lines: mpsc::Receiver<Result<BuildEvent, SandboxError>>,
    said: Option<&mpsc::Sender<String>>,
) {
    while let Some(event) = lines.recv().await {
        if let Ok(BuildEvent::Line { line, .. }) = event
            && line.starts_with("Step ")
        {
            tell(said, line.chars().take(300).collect()).await;
        }
    }
}
