use super::{IMAGES, ImageSource, bootstrap, context, versions::Versions};
use crate::{SandboxError, docker::engine};
use bollard::{
    Docker, body_full,
    query_parameters::{BuildImageOptions, PruneImagesOptions},
};
use futures_util::StreamExt as _;
use std::{collections::HashMap, path::PathBuf, time::Duration};
use tokio::sync::mpsc;

/// What the base is built from.
pub(super) const DEBIAN: &str = "debian:bookworm-slim";
/// Longer than any download that still moves.
pub(in crate::docker) const BUILD_TIMEOUT: Duration = Duration::from_secs(2 * 3600);
/// The longest line of a builder's output that is passed on.
const LINE_LIMIT: usize = 4096;

/// The programs in an image and their releases, with spaces between.
pub(super) const VERSIONS: &str = "cordon.versions";
/// Those among them that were checked against the package index alone.
pub(super) const UNPINNED: &str = "cordon.versions.unpinned";

/// How to build.
#[derive(Clone, Debug, Default)]
pub struct ImageBuildOptions {
    /// The engine's socket, as in `DOCKER_HOST`; none for the usual place.
    pub docker_host: Option<String>,
    /// Make debian:bookworm-slim with debootstrap when it is not there.
    pub bootstrap: bool,
    /// PEM of additional certificate authorities. The images trust them, too.
    pub ca_certificate: Option<Vec<u8>>,
    /// HTTP proxy of the build.
    pub proxy: Option<String>,
    /// Directory with tarballs made by `npm pack`, used instead of npm.
    pub vendor: Option<PathBuf>,
    /// Programs and the releases that are wanted of them instead of the pinned ones.
    pub versions: Vec<(String, String)>,
}

/// What happens during a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildEvent {
    /// A line of the builder's output.
    Line {
        /// Image, as users write it.
        image: &'static str,
        /// Without line end; not neutralised.
        line: String,
    },
    /// An image is there.
    Done {
        /// Image, as users write it.
        image: &'static str,
    },
}

pub(in crate::docker) type Events = mpsc::Sender<Result<BuildEvent, SandboxError>>;

/// Builds the images of these names, after those that they stand on; without names
/// all of them but the ones with sudo and `all`. After an error nothing follows. Dropping the receiver
/// ends the build.
#[must_use]
pub fn build(
    names: Vec<String>,
    options: ImageBuildOptions,
) -> mpsc::Receiver<Result<BuildEvent, SandboxError>> {
    let (events, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        let gone = events.clone();
        tokio::select! {
            result = build_all(&names, &options, &events) => {
                if let Err(error) = result {
                    let _ = events.send(Err(error)).await;
                }
            }
            // The engine stops a build whose caller hung up.
            () = gone.closed() => {}
        }
    });
    receiver
}

async fn build_all(
    names: &[String],
    options: &ImageBuildOptions,
    events: &Events,
) -> Result<(), SandboxError> {
    let wanted = chosen(names)?;
    let versions = Versions::parse(&options.versions)?;
    engine::Engine::connect(options.docker_host.as_deref()).await?;
    let docker = engine::client(options.docker_host.as_deref(), BUILD_TIMEOUT)?;
    if options.bootstrap && is_missing(&docker, DEBIAN).await? {
        bootstrap::bootstrap(&docker, events).await?;
    }
    for image in wanted {
        build_one(&docker, image, options, &versions, events).await?;
        let _ = events.send(Ok(BuildEvent::Done { image: image.short })).await;
    }
    // The stages that fetched are twice as large as what came out of them.
    let filters = [("dangling", "true"), ("label", "cordon.stage=fetch")]
        .map(|(name, value)| (name.to_owned(), vec![value.to_owned()]));
    let options = PruneImagesOptions { filters: Some(filters.into()) };
    if let Err(error) = docker.prune_images(Some(options)).await {
        tracing::warn!(error = %engine::describe(&error), "the fetch stages of the build could not be removed");
    }
    Ok(())
}

/// The images to build, in an order in which each finds what it stands on.
fn chosen(names: &[String]) -> Result<Vec<&'static ImageSource>, SandboxError> {
    let mut wanted = Vec::new();
    for name in names {
        wanted.push(ImageSource::find(name).ok_or_else(|| SandboxError::ImageMissing {
            image: name.clone(),
            fix: format!("Cordon builds {}", IMAGES.iter().map(|i| i.short).collect::<Vec<_>>().join(", ")),
        })?);
    }
    if wanted.is_empty() {
        return Ok(IMAGES.iter().filter(|i| !i.is_extra()).collect());
    }
    // Each stands on one that comes before it.
    for image in IMAGES.iter().rev() {
        if wanted.contains(&image) {
            wanted.extend(image.on.iter().filter_map(|name| ImageSource::find(name)));
        }
    }
    Ok(IMAGES.iter().filter(|i| wanted.contains(i)).collect())
}

async fn is_missing(docker: &Docker, image: &str) -> Result<bool, SandboxError> {
    match docker.inspect_image(image).await {
        Ok(_) => Ok(false),
        Err(error) if engine::status(&error) == Some(404) => Ok(true),
        Err(error) => Err(engine::failed(format!("look for image {image}"))(error)),
    }
}

/// Builds one of the images with sudo, whose image below is there.
pub(in crate::docker) async fn build_sudo(
    docker: &Docker,
    image: &'static ImageSource,
    events: &Events,
) -> Result<(), SandboxError> {
    let options = ImageBuildOptions { proxy: std::env::var("https_proxy").ok(), ..Default::default() };
    build_one(docker, image, &options, &Versions::default(), events).await
}

async fn build_one(
    docker: &Docker,
    image: &'static ImageSource,
    options: &ImageBuildOptions,
    versions: &Versions,
    events: &Events,
) -> Result<(), SandboxError> {
    let (certificates, vendor) = (options.ca_certificate.clone(), options.vendor.clone());
    let context =
        tokio::task::spawn_blocking(move || context::make(image, certificates.as_deref(), vendor.as_deref()))
            .await
            .map_err(|e| fault(image.name, e.to_string()))??;
    let mut arguments: HashMap<String, String> = versions.arguments(image.short).into_iter().collect();
    if let Some(proxy) = &options.proxy {
        // Names that the builder knows: their values stay out of the image's history.
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            arguments.insert(name.to_owned(), proxy.clone());
        }
    }
    if image.is_sudo()
        && let Some(on) = image.on.first()
    {
        arguments.insert("BASE".to_owned(), (*on).to_owned());
    }
    let (programs, unpinned) = versions.labels(image.short);
    let labels = if programs.is_empty() {
        collected(docker, image).await?
    } else {
        HashMap::from([(VERSIONS.to_owned(), programs), (UNPINNED.to_owned(), unpinned)])
    };
    if context.vendored && !arguments.contains_key("CHECKSUM") {
        arguments.insert("VENDORED".to_owned(), "yes".to_owned());
    }
    let query = BuildImageOptions {
        dockerfile: image.dockerfile.to_owned(),
        t: Some(image.name.to_owned()),
        rm: true,
        forcerm: true,
        buildargs: Some(arguments),
        labels: Some(labels),
        ..BuildImageOptions::default()
    };
    let mut stream = docker.build_image(query, None, Some(body_full(context.archive.into())));
    let mut lines = Lines::default();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|e| build_error(image, &engine::describe(&e)))?;
        if let Some(detail) = part.error_detail {
            return Err(build_error(image, &detail.message.unwrap_or_default()));
        }
        for line in lines.take(&part.stream.or(part.status).unwrap_or_default()) {
            let _ = events.send(Ok(BuildEvent::Line { image: image.short, line })).await;
        }
    }
    Ok(())
}

/// What the images say that this one is made of.
async fn collected(docker: &Docker, image: &ImageSource) -> Result<HashMap<String, String>, SandboxError> {
    let mut words: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    for name in image.on {
        let found =
            docker.inspect_image(name).await.map_err(engine::failed(format!("look at image {name}")))?;
        let labels = found.config.and_then(|c| c.labels).unwrap_or_default();
        for (list, label) in words.iter_mut().zip([VERSIONS, UNPINNED]) {
            list.extend(labels.get(label).into_iter().flat_map(|l| l.split(' ')).map(str::to_owned));
        }
    }
    let [programs, unpinned] = words.map(|list| list.join(" "));
    Ok(HashMap::from([(VERSIONS.to_owned(), programs), (UNPINNED.to_owned(), unpinned)]))
}

fn build_error(image: &ImageSource, why: &str) -> SandboxError {
    if image.short == "base" && is_pull_trouble(why) {
        return SandboxError::ImageMissing {
            image: DEBIAN.to_owned(),
            fix: format!(
                "it could not be pulled ({why}); pull or load it by other means, or build again with --bootstrap, which makes it with debootstrap"
            ),
        };
    }
    fault(image.name, why.to_owned())
}

// Which step failed is only in the engine's words; this decides nothing but the
// advice that is given.
fn is_pull_trouble(why: &str) -> bool {
    ["registry", "pull access", "manifest", "Client.Timeout", "dial tcp", "no such host", "lookup"]
        .iter()
        .any(|word| why.contains(word))
        && !why.contains("returned a non-zero code")
}

pub(super) fn fault(image: &str, why: String) -> SandboxError {
    SandboxError::Engine { step: format!("build {image}"), why }
}

/// Cuts the builder's pieces into lines of bounded length.
#[derive(Default)]
pub(super) struct Lines {
    rest: String,
}

impl Lines {
    pub(super) fn take(&mut self, piece: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for part in piece.split_inclusive(['\n', '\r']) {
            let body = part.trim_end_matches(['\n', '\r']);
            let room = LINE_LIMIT.saturating_sub(self.rest.len());
            self.rest.push_str(&body[..body.floor_char_boundary(room.min(body.len()))]);
            if body.len() < part.len() {
                let line = std::mem::take(&mut self.rest);
                if !line.trim().is_empty() {
                    lines.push(line);
                }
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_built_before_what_stands_on_it() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|s| (*s).to_owned()).collect();
            chosen(&wanted).map(|all| all.iter().map(|i| i.short).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), ["base", "codex", "claude-code", "gemini-cli", "copilot"]);
        assert_eq!(names(&["cordon/codex"]).unwrap(), ["base", "codex"]);
        assert_eq!(names(&["claude-code-sudo"]).unwrap(), ["base", "claude-code", "claude-code-sudo"]);
        let all = ["base", "codex", "claude-code", "gemini-cli", "copilot", "all"];
        assert_eq!(names(&["all"]).unwrap(), all);
        assert!(names(&["unknown"]).unwrap_err().to_string().contains("claude-code"));
    }

    #[test]
    fn a_base_that_cannot_be_pulled_leads_to_bootstrap() {
        let why = "Get \"https://x/v2/\": dial tcp: lookup x: no such host";
        assert!(build_error(&IMAGES[0], why).to_string().contains("--bootstrap"));
        assert!(!build_error(&IMAGES[1], why).to_string().contains("--bootstrap"));
        let why = "The command '/bin/sh -c apt-get install' returned a non-zero code: 100";
        assert!(!build_error(&IMAGES[0], why).to_string().contains("--bootstrap"));
    }

    #[test]
    fn lines_are_put_together_and_bounded() {
        let mut lines = Lines::default();
        assert_eq!(lines.take("a"), Vec::<String>::new());
        assert_eq!(lines.take("b\n\nc\rd"), ["ab", "c"]);
        lines.take(&"ä".repeat(100_000));
        let long = lines.take("\n");
        assert!(long[0].len() <= LINE_LIMIT && long[0].starts_with('d'));
    }
}
