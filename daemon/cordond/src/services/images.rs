use super::caller::Caller;
use cordon_proto::v1::{self, images_server};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

pub(crate) struct ImagesService {
    #[cfg_attr(not(feature = "docker"), expect(dead_code, reason = "the docker wall's own"))]
    pub(crate) docker_host: Option<String>,
}

type Lines = ReceiverStream<Result<v1::BuildImageResponse, Status>>;

#[tonic::async_trait]
impl images_server::Images for ImagesService {
    async fn list_images(
        &self,
        request: Request<v1::ListImagesRequest>,
    ) -> Result<Response<v1::ListImagesResponse>, Status> {
        let caller = Caller::of(&request)?;
        self.list(caller.uid).await.map(|images| Response::new(v1::ListImagesResponse { images }))
    }

    type BuildImageStream = Lines;

    async fn build_image(&self, request: Request<v1::BuildImageRequest>) -> Result<Response<Lines>, Status> {
        Caller::of(&request)?;
        self.build(request.into_inner()).map(Response::new)
    }

    async fn prune_images(
        &self,
        request: Request<v1::PruneImagesRequest>,
    ) -> Result<Response<v1::PruneImagesResponse>, Status> {
        Caller::of(&request)?;
        self.prune().await.map(|removed| Response::new(v1::PruneImagesResponse { removed }))
    }
}

#[cfg(feature = "docker")]
impl ImagesService {
    async fn list(&self, caller: u32) -> Result<Vec<v1::Image>, Status> {
        let found = cordon_sandbox::docker::images::list(self.docker_host.as_deref()).await;
        let image = |i: cordon_sandbox::docker::images::ImageState| {
            // What others run is theirs to know.
            let (own, others): (Vec<_>, Vec<_>) =
                i.used_by.into_iter().partition(|(owner, ..)| *owner == caller || caller == 0);
            v1::Image {
                name: i.name,
                size_bytes: i.size_bytes,
                created_unix_ms: i.created_unix.saturating_mul(1000),
                state: if i.id.is_some() { "present" } else { "missing" }.to_owned(),
                id: i.id.unwrap_or_default(),
                versions: i.versions.into_iter().collect(),
                unpinned: i.unpinned,
                from: i.from.unwrap_or_default(),
                packages: i.packages.unwrap_or_default(),
                used_by: own.into_iter().map(|(_, run, agent)| format!("{run}/{agent}")).collect(),
                used_by_others: u32::try_from(others.len()).unwrap_or(u32::MAX),
            }
        };
        Ok(found.map_err(crate::status::of_sandbox)?.into_iter().map(image).collect())
    }

    async fn prune(&self) -> Result<Vec<String>, Status> {
        let removed = cordon_sandbox::docker::images::remove_unused(self.docker_host.as_deref()).await;
        removed.map_err(crate::status::of_sandbox)
    }

    fn build(&self, request: v1::BuildImageRequest) -> Result<Lines, Status> {
        use cordon_sandbox::docker::images::{BuildEvent, ImageBuildOptions, build};
        let options = ImageBuildOptions {
            docker_host: self.docker_host.clone(),
            bootstrap: request.bootstrap,
            ca_certificate: (!request.ca_certificate.is_empty()).then(|| request.ca_certificate.to_vec()),
            proxy: (!request.proxy.is_empty()).then_some(request.proxy),
            vendor: None,
            versions: request.versions.into_iter().collect(),
        };
        let mut events = build(request.names, options);
        let (lines, receiver) = tokio::sync::mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.recv() => event,
                    // Dropping the events ends the build.
                    () = lines.closed() => return,
                };
                let line = match event {
                    None => return,
                    Some(Ok(BuildEvent::Line { image, line })) => {
                        Ok(v1::BuildImageResponse { image: image.to_owned(), line, done: false })
                    }
                    Some(Ok(BuildEvent::Done { image })) => {
                        let line = String::new();
                        Ok(v1::BuildImageResponse { image: image.to_owned(), line, done: true })
                    }
                    Some(Err(error)) => Err(crate::status::of_sandbox(error)),
                };
                if lines.send(line).await.is_err() {
                    return;
                }
            }
        });
        Ok(ReceiverStream::new(receiver))
    }
}

#[cfg(not(feature = "docker"))]
impl ImagesService {
    async fn list(&self, _caller: u32) -> Result<Vec<v1::Image>, Status> {
        Err(without())
    }

    async fn prune(&self) -> Result<Vec<String>, Status> {
        Err(without())
    }

    fn build(&self, _request: v1::BuildImageRequest) -> Result<Lines, Status> {
        Err(without())
    }
}

#[cfg(not(feature = "docker"))]
fn without() -> Status {
    crate::status::status(
        tonic::Code::Unimplemented,
        "wall-unavailable",
        "this cordond was built without the docker wall",
        "use a cordond with the feature `docker`",
    )
}
