//! Small questions to a server that its user runs: what it is, what it serves.

use crate::{Client, fault::of_sending};
use bytes::Bytes;
use cordon_backends::{
    Redactor,
    api::{Endpoint, secret_header},
};
use cordon_config::Secret;
use reqwest::{Method, header::HeaderValue};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// So much of an answer is read.
const LONGEST: usize = 512 << 10;
/// So long a small question is waited for.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Why a server did not say.
#[derive(Debug)]
pub(crate) enum Silent {
    /// It cannot be reached.
    Unreachable(String),
    /// It answers with this status.
    Status(u16),
    /// What it answers is no JSON, too long, or too slow.
    Unreadable,
}

/// A server, and what may be sent to it.
#[derive(Clone, Copy)]
pub(crate) struct Probe<'a> {
    pub(crate) client: &'a Client,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) key: Option<&'a Secret>,
}

impl Probe<'_> {
    pub(crate) async fn get(&self, path: &[&str]) -> Result<Value, Silent> {
        self.ask(Method::GET, path, None, SOON).await
    }

    /// Asks for a path below the base.
    pub(crate) async fn endpoint_get(&self, piece: &str) -> Result<Value, Silent> {
        let asked = timeout(SOON, self.ask_slowly(Method::GET, self.endpoint.below(piece), None)).await;
        asked.unwrap_or(Err(Silent::Unreadable))
    }

    /// Asks for a path of the server, from its root; within the time, or it is none.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        within: Duration,
    ) -> Result<Value, Silent> {
        let asked = timeout(within, self.ask_slowly(method, self.endpoint.beside(path), body)).await;
        asked.unwrap_or(Err(Silent::Unreadable))
    }

    async fn ask_slowly(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Value, Silent> {
        if let Some(why) = self.client.fault(&url) {
            return Err(Silent::Unreachable(why.to_owned()));
        }
        let mut request = self.client.http().request(method, url);
        let secret = secret_header(self.endpoint, self.key).map_err(|_| Silent::Unreadable)?;
        if let Some((name, secret)) = secret {
            let mut value = HeaderValue::from_str(secret.reveal()).map_err(|_| Silent::Unreadable)?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(Bytes::from(body.to_string()));
        }
        let mut response = request.send().await.map_err(|error| match of_sending(&error) {
            crate::fault::Fault::Unreachable { why, .. } => Silent::Unreachable(self.redactor().text(&why)),
            _ => Silent::Unreadable,
        })?;
        if !response.status().is_success() {
            return Err(Silent::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(|_| Silent::Unreadable)? {
            if body.len() + bytes.len() > LONGEST {
                return Err(Silent::Unreadable);
            }
            body.extend_from_slice(&bytes);
        }
        serde_json::from_slice(&body).map_err(|_| Silent::Unreadable)
    }

    fn redactor(&self) -> Redactor {
        let key = self.key.map(|key| key.reveal().trim().to_owned());
        Redactor::new(&key.into_iter().collect::<Vec<_>>())
    }

    /// Host and port.
    pub(crate) fn host(&self) -> String {
        let (host, port) = self.endpoint.host();
        format!("{host}:{port}")
    }
}

/// A name that a server gives, when it can be one.
pub(crate) fn name(value: &Value, key: &str) -> Option<String> {
    let name = value.get(key)?.as_str()?;
    let plain = !name.is_empty() && name.len() <= 256 && !name.chars().any(char::is_control);
    plain.then(|| name.to_owned())
}
