//! A request that may be sent twice: its key makes it be done once.

use crate::{error::CliError, session::Session};
use std::{future::Future, time::Duration};
use tonic::{Code, Response, Status};

/// How often a request with the same key is sent again after the connection broke.
const ATTEMPTS: u32 = 5;

/// A key for one mutation: told twice, it is done once.
pub(crate) fn new_key() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Sends it until the daemon answers.
pub(crate) async fn insist<T, F>(session: &Session, send: impl Fn() -> F) -> Result<T, CliError>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut attempt = 1;
    loop {
        match send().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if status.code() == Code::Unavailable && attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(Duration::from_millis(200)).await;
                session.again().await?;
            }
            Err(status) => return Err(status.into()),
        }
    }
}
