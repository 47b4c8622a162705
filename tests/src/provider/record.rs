use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    fs::File,
    io::{self, Write as _},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};
use tokio::sync::watch;

/// One request as it came in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Method.
    pub method: String,
    /// Path and query, or the whole target in absolute form.
    pub path: String,
    /// Headers in order, names in lower case, values read leniently.
    pub headers: Vec<(String, String)>,
    /// The body: JSON where it is, else a string.
    pub body: Value,
    /// The credential: `x-api-key`, `api-key`, `x-goog-api-key`, or what follows `Bearer`.
    pub key: Option<String>,
}

impl Recorded {
    /// The first header of this name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn new(parts: &hyper::http::request::Parts, body: &[u8]) -> Self {
        let text = |v: &[u8]| String::from_utf8_lossy(v).into_owned();
        let mut recorded = Self {
            method: parts.method.to_string(),
            path: parts.uri.to_string(),
            headers: parts.headers.iter().map(|(n, v)| (n.to_string(), text(v.as_bytes()))).collect(),
            body: serde_json::from_slice(body).unwrap_or_else(|_| Value::String(text(body))),
            key: None,
        };
        let named = ["x-api-key", "api-key", "x-goog-api-key"].iter().find_map(|n| recorded.header(n));
        let bearer = || recorded.header("authorization").map(|v| v.strip_prefix("Bearer ").unwrap_or(v));
        recorded.key = named.or_else(bearer).map(str::to_owned);
        recorded
    }
}

/// Keeps what came in.
#[derive(Debug)]
pub(super) struct Recorder {
    seen: watch::Sender<Vec<Recorded>>,
    file: Option<Mutex<File>>,
}

impl Recorder {
    pub(super) fn new(path: Option<PathBuf>) -> io::Result<Self> {
        let open = |p| File::options().create(true).append(true).open(p).map(Mutex::new);
        Ok(Self { seen: watch::Sender::new(Vec::new()), file: path.map(open).transpose()? })
    }

    pub(super) fn add(&self, recorded: Recorded) -> io::Result<()> {
        if let Some(file) = &self.file {
            let mut line = serde_json::to_vec(&recorded)?;
            line.push(b'\n');
            file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)?;
        }
        self.seen.send_modify(|seen| seen.push(recorded));
        Ok(())
    }

    pub(super) fn all(&self) -> Vec<Recorded> {
        self.seen.borrow().clone()
    }

    pub(super) async fn wait_for(&self, mut fits: impl FnMut(&Recorded) -> bool) -> Recorded {
        let mut seen = self.seen.subscribe();
        loop {
            if let Some(found) = seen.borrow_and_update().iter().find(|r| fits(r)) {
                return found.clone();
            }
            // The sender lives as long as self does: waiting for a change cannot fail.
            if seen.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
