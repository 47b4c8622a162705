//! Runs whose tools a client uses, and that end with it.

use crate::{
    accept::Given,
    error::RunError,
    life::Link,
    runs::{Runs, StartRequest},
};
use cordon_proto::v1;
use std::sync::atomic::Ordering;

impl Runs {
    /// A run that serves one agent's tools to a client instead of giving a task to it. It
    /// ends when the stream does.
    ///
    /// # Errors
    /// As [`Runs::start`]; also when the file has several agents and none is named.
    pub async fn serve_tools(
        &self,
        request: StartRequest,
        client: tokio::io::DuplexStream,
    ) -> Result<v1::Run, RunError> {
        self.ready().await;
        if !self.0.accepting.load(Ordering::Acquire) {
            return Err(RunError::ShuttingDown);
        }
        let shared = self.0.shared.clone();
        let id = uuid::Uuid::now_v7().simple().to_string();
        let _planning = shared.planning.write().await;
        self.accept(request, &id, Given::Link(Link(client))).await
    }

    /// Waits until a run has ended.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn wait(&self, caller: u32, id: &str) -> Result<v1::Run, RunError> {
        let entry = self.find(caller, id).await?;
        let watch = entry.live().as_ref().map(|live| live.journal.watch());
        if let Some(mut watch) = watch {
            // An error: the run was let go by a daemon that ends.
            let _ = watch.wait_for(|c| c.closed).await;
        }
        Ok(entry.to_proto())
    }
}
