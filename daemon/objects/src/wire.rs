//! Requests to the bucket, each with a bound on what its answer may take.

use super::{
    error::RemoteError,
    target::{Keys, Target},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body_util::{BodyExt as _, Limited};
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    UpdateVersion,
    aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut},
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService,
    },
    path::Path,
};
use std::{future::Future, time::Duration};
use tokio::runtime::Runtime;

/// The longest answer: more than any object.
const ANSWER_MOST: usize = 320 << 20;
/// How many names a listing may have.
const LISTED_MOST: u64 = 5_000_000;

/// Something in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) size: u64,
    /// When it was put, in milliseconds of the bucket's clock.
    pub(crate) time: i64,
    pub(crate) tag: Option<String>,
}

pub(crate) struct Wire {
    store: AmazonS3,
    prefix: String,
    shown: String,
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Waiting here would be an error where the last holder is an asynchronous task.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Wire {
    pub(crate) fn new(target: &Target, keys: &Keys) -> Result<Self, RemoteError> {
        let failed = |e: &dyn std::error::Error| RemoteError::bucket("prepare for", "the address", e);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("cordon-objects")
            .enable_all()
            .build()
            .map_err(|e| failed(&e))?;
        // The only provider in the program; whoever was first chose the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let secrets = keys.read()?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&target.bucket)
            .with_region(&target.region)
            .with_access_key_id(secrets.id)
            .with_secret_access_key(secrets.secret)
            .with_allow_http(target.is_here())
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_http_connector(Connector { here: target.is_here() });
        if let Some(token) = secrets.token {
            builder = builder.with_token(token);
        }
        if let Some(endpoint) = &target.endpoint {
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
        }
        let store = builder.build().map_err(|e| failed(&e))?;
        let prefix = target.prefix.clone();
        Ok(Self { store, prefix, shown: target.to_string(), runtime: Some(runtime) })
    }

    /// Waits for it.
    pub(crate) fn block<T>(
        &self,
        work: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(work),
            None => Err(RemoteError::Contended("end")),
        }
    }

    fn key(&self, name: &str) -> Path {
        if self.prefix.is_empty() { Path::from(name) } else { Path::from(format!("{}/{name}", self.prefix)) }
    }

    pub(crate) async fn head(&self, name: &str) -> Result<Option<Listed>, RemoteError> {
        match self.store.head(&self.key(name)).await {
            Ok(meta) => Ok(Some(listed(name, &meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(RemoteError::bucket("look at", name, &e)),
        }
    }

    /// All of an object of at most `most` bytes.
    pub(crate) async fn whole(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, RemoteError> {
        match self.read(name, None, most).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(RemoteError::NotFound(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// These bytes of an object, all of them.
    pub(crate) async fn range(&self, name: &str, at: u64, length: u64) -> Result<Vec<u8>, RemoteError> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let bytes = self.read(name, Some(at..at.saturating_add(length)), length).await?;
        let short = || RemoteError::damaged(name, "it is shorter than it says");
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(short()) }
    }

    async fn read(
        &self,
        name: &str,
        range: Option<std::ops::Range<u64>>,
        most: u64,
    ) -> Result<Vec<u8>, RemoteError> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let failed = |e: object_store::Error| match e {
            object_store::Error::NotFound { .. } => RemoteError::NotFound(name.to_owned()),
            e => RemoteError::bucket("read", name, &e),
        };
        let mut stream = self.store.get_opts(&self.key(name), options).await.map_err(failed)?.into_stream();
        let mut bytes = Vec::new();
        while let Some(more) = stream.next().await {
            bytes.extend_from_slice(&more.map_err(failed)?);
            // Whatever length was said before.
            if bytes.len() as u64 > most {
                return Err(RemoteError::damaged(name, "it is longer than it can be"));
            }
        }
        Ok(bytes)
    }

    /// Puts what is not there yet. False: it is.
    ///
    /// A server that has it may say so before it has read all that is sent, and hang up: then
    /// the answer is lost, and has to be had in another way.
    pub(crate) async fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, RemoteError> {
        let bytes = Bytes::from(bytes);
        let mut tries = 3;
        loop {
            tries -= 1;
            match self.put(name, bytes.clone(), PutMode::Create).await {
                Err(e) => match self.head(name).await? {
                    Some(_) => return Ok(false),
                    None if tries == 0 => return Err(e),
                    None => {}
                },
                done => return done,
            }
        }
    }

    /// Puts instead of exactly what was seen there. False: it is another one by now.
    pub(crate) async fn replace(&self, seen: &Listed, bytes: Vec<u8>) -> Result<bool, RemoteError> {
        let version = UpdateVersion { e_tag: seen.tag.clone(), version: None };
        self.put(&seen.name, bytes.into(), PutMode::Update(version)).await
    }

    async fn put(&self, name: &str, bytes: Bytes, mode: PutMode) -> Result<bool, RemoteError> {
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.store.put_opts(&self.key(name), bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(false)
            }
            Err(e) => Err(RemoteError::bucket("put", name, &e)),
        }
    }

    /// Gone already counts as done.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), RemoteError> {
        match self.store.delete(&self.key(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(RemoteError::bucket("remove", name, &e)),
        }
    }

    /// What lies in one of the directories, by the last part of its name.
    pub(crate) async fn list(&self, directory: &str) -> Result<Vec<Listed>, RemoteError> {
        let above = self.key(directory);
        let mut stream = self.store.list(Some(&above));
        let mut found = Vec::new();
        while let Some(meta) =
            stream.try_next().await.map_err(|e| RemoteError::bucket("list", directory, &e))?
        {
            let Some(mut parts) = meta.location.prefix_match(&above) else { continue };
            let (Some(name), None) = (parts.next(), parts.next()) else { continue };
            if found.len() as u64 >= LISTED_MOST {
                return Err(RemoteError::Limit { what: "names in a listing", limit: LISTED_MOST });
            }
            found.push(listed(name.as_ref(), &meta));
        }
        Ok(found)
    }

    /// Whether nothing at all is below the prefix.
    pub(crate) async fn is_empty(&self) -> Result<bool, RemoteError> {
        let above = (!self.prefix.is_empty()).then(|| Path::from(self.prefix.as_str()));
        let first = self.store.list(above.as_ref()).try_next().await;
        first.map(|f| f.is_none()).map_err(|e| RemoteError::bucket("list", "everything", &e))
    }
}

fn listed(name: &str, meta: &ObjectMeta) -> Listed {
    Listed {
        name: name.to_owned(),
        size: meta.size,
        time: meta.last_modified.timestamp_millis(),
        tag: meta.e_tag.clone(),
    }
}

#[derive(Debug)]
struct Connector {
    here: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut builder = reqwest::Client::builder()
            // A bucket that moves is named anew: keys follow no redirect.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(20))
            .read_timeout(Duration::from_secs(300))
            .https_only(!self.here);
        if self.here {
            builder = builder.no_proxy();
        }
        let client =
            builder.build().map_err(|e| object_store::Error::Generic { store: "S3", source: Box::new(e) })?;
        Ok(HttpClient::new(Bounded(HttpClient::new(client))))
    }
}

/// Answers end where they are too long, listings as well.
#[derive(Debug)]
struct Bounded(HttpClient);

#[async_trait::async_trait]
impl HttpService for Bounded {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = self.0.execute(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_MOST);
        let body = body.map_err(|e| match e.downcast::<HttpError>() {
            Ok(e) => *e,
            Err(e) => HttpError::new_boxed(HttpErrorKind::Decode, e),
        });
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}
