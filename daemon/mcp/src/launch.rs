use crate::{LONGEST_MESSAGE, ServerError, error::words, http, inside};
use rmcp::{
    RoleClient, ServiceExt as _,
    model::{ClientCapabilities, ClientConfig, Implementation},
    service::{ClientInitializeError, RunningService},
    transport::async_rw::AsyncRwTransport,
};
use std::time::Duration;

/// A server that answers.
pub(crate) type Running = RunningService<RoleClient, ClientConfig>;

/// How a server is brought to answer.
pub(crate) enum Launch {
    Inside(Box<inside::Start>),
    Http(Box<http::Target>),
    /// In tests: both ends of a pipe.
    #[cfg(test)]
    Pipe(Box<dyn Fn() -> tokio::io::DuplexStream + Send + Sync>),
}

/// A server that answers, and where the reason of its end will stand.
pub(crate) struct Launched {
    pub(crate) running: Running,
    pub(crate) ending: inside::Ending,
}

impl Launch {
    pub(crate) async fn start(&self, within: Duration) -> Result<Launched, ServerError> {
        let ending = inside::Ending::default();
        let started = tokio::time::timeout(within, self.begin(&ending)).await;
        match started {
            Ok(Ok(running)) => Ok(Launched { running, ending }),
            Ok(Err(error)) => Err(ending.explain(error).await),
            Err(_) => Err(ServerError::Silent { seconds: within.as_secs() }),
        }
    }

    async fn begin(&self, ending: &inside::Ending) -> Result<Running, ServerError> {
        match self {
            Self::Inside(start) => {
                let pipe = start.open(ending.clone()).await?;
                over(pipe).await
            }
            Self::Http(target) => {
                let transport = target.transport().await?;
                us().serve(transport).await.map_err(|e| protocol(&e))
            }
            #[cfg(test)]
            Self::Pipe(open) => over(open()).await,
        }
    }
}

async fn over(pipe: tokio::io::DuplexStream) -> Result<Running, ServerError> {
    let (read, write) = tokio::io::split(pipe);
    let transport = AsyncRwTransport::new_client(read, write).with_max_line_length(LONGEST_MESSAGE);
    us().serve(transport).await.map_err(|e| protocol(&e))
}

/// What a server is told: we call tools, and lend it neither a model nor a person.
fn us() -> ClientConfig {
    let mut us = ClientConfig::default();
    us.capabilities = ClientCapabilities::default();
    us.client_info = Implementation::new("cordon", env!("CARGO_PKG_VERSION"));
    us
}

fn protocol(error: &ClientInitializeError) -> ServerError {
    // The sources say what the outermost words leave out: a refused address above all.
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    ServerError::Protocol(words(&text))
}
