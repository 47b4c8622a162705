//! One attempt: the request goes out, the answer comes in.

use crate::{
    Patience, Told,
    client::Client,
    fault::{Fault, of_sending, place, redacted, silent},
    retry::Once,
};
use async_trait::async_trait;
use bytes::Bytes;
use cordon_backends::{
    Redactor,
    api::{Answer, ApiError, Failure, FailureKind, Limits, Origin, Request, Stream},
};
use reqwest::{
    Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION},
};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

/// So much of the body of an error is read.
const ERROR_BODY: usize = 64 << 10;
/// So long its end is waited for.
const ERROR_WITHIN: Duration = Duration::from_secs(10);
/// What may follow the end of an answer on a connection that is to be used again.
const REST: usize = 64 << 10;

/// A request, and what it is sent with.
pub(crate) struct Sending<'a> {
    pub(crate) client: &'a Client,
    pub(crate) patience: &'a Patience,
    pub(crate) redactor: &'a Redactor,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A request that is sent as often as it takes.
pub(crate) struct Attempts<'a> {
    pub(crate) sending: Sending<'a>,
    pub(crate) origin: Origin,
    pub(crate) limits: Limits,
    pub(crate) serial: u64,
}

/// The headers of a request; the key is marked, so that nobody shows or indexes it.
pub(crate) fn headers(request: &Request) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).ok()?);
    }
    if let Some((name, secret)) = &request.secret {
        let mut value = HeaderValue::from_str(secret.reveal()).ok()?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(name), value);
    }
    Some(headers)
}

#[async_trait]
impl Once<Answer> for Attempts<'_> {
    async fn once(&mut self, tell: &mut (dyn FnMut(Told) + Send)) -> Result<Answer, Fault> {
        let told = self.try_once(tell).await;
        told.map_err(|fault| redacted(fault, self.sending.redactor))
    }
}

impl Attempts<'_> {
    async fn try_once(&self, tell: &mut (dyn FnMut(Told) + Send)) -> Result<Answer, Fault> {
        let Patience { first, idle, .. } = *self.sending.patience;
        let first_by = Instant::now() + first;
        let mut response = self.sending.send(first_by).await?;
        let mut stream = Stream::new(self.origin.clone(), self.limits, self.serial);
        let mut each = |event| tell(Told::Event(event));
        let mut begun = false;
        loop {
            let (by, within) = if begun { (Instant::now() + idle, idle) } else { (first_by, first) };
            match timeout_at(by, response.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    begun |= !bytes.is_empty();
                    stream.push(&bytes, &mut each)?;
                    if stream.is_done() {
                        leave(response);
                        break;
                    }
                }
                Ok(Ok(None)) => break,
                Ok(Err(_)) => return Err(ApiError::Truncated.into()),
                Err(_) => return Err(silent(within)),
            }
        }
        Ok(stream.finish(&mut each)?)
    }
}

impl Sending<'_> {
    /// The response, when it is one of success.
    pub(crate) async fn send(&self, first_by: Instant) -> Result<Response, Fault> {
        if let Some(why) = self.client.fault(&self.url) {
            return Err(Fault::Unreachable { why: why.to_owned(), again: false });
        }
        let request = self.client.http().post(self.url.clone());
        let sent = request.headers(self.headers.clone()).body(self.body.clone()).send();
        let response = timeout_at(first_by, sent).await.map_err(|_| silent(self.patience.first))?;
        let response = response.map_err(|error| of_sending(&error))?;
        if !response.status().is_success() {
            return Err(self.refused(response).await.into());
        }
        if let Some(coding) = response.headers().get(CONTENT_ENCODING).filter(|c| *c != "identity") {
            let what = format!("a body in the coding {coding:?}, which nobody asked for");
            return Err(Fault::Wrong(ApiError::Unreadable { what }));
        }
        Ok(response)
    }

    /// Reads what the server says instead of an answer.
    async fn refused(&self, mut response: Response) -> ApiError {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        // What was read until then is good enough.
        let _ = timeout(ERROR_WITHIN, async {
            while let Ok(Some(bytes)) = response.chunk().await {
                body.extend_from_slice(&bytes[..bytes.len().min(ERROR_BODY - body.len())]);
                if body.len() == ERROR_BODY {
                    return;
                }
            }
        })
        .await;
        // Before it is cut down: half a key is found by nobody.
        let mut redactor = self.redactor.clone();
        let mut body_without = redactor.feed(&body);
        body_without.extend(redactor.finish());
        let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        let now = SystemTime::now();
        let mut failure = Failure::of_response(status.as_u16(), &header, &body_without, now);
        if status.is_redirection() {
            failure.kind = FailureKind::Redirected;
            let location = headers.get(LOCATION).and_then(|l| l.to_str().ok());
            failure.message = location.map(|l| format!("to {}", place(&self.url, l))).unwrap_or_default();
        } else if header(CONTENT_TYPE.as_str()).is_some_and(|t| t.starts_with("text/html")) {
            // A page for people, of some server on the way.
            "a page of HTML; check base_url".clone_into(&mut failure.message);
        }
        ApiError::Refused(Box::new(failure))
    }
}

/// The answer is complete. What may follow is read for nobody, so that the connection can be
/// used again.
fn leave(mut response: Response) {
    tokio::spawn(timeout(Duration::from_secs(1), async move {
        let mut left = REST;
        while let Ok(Some(bytes)) = response.chunk().await {
            match left.checked_sub(bytes.len()) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    }));
}
