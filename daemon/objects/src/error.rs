use cordon_snapshots::StoreError;

/// Why a bucket could not do what was asked. No key is ever in one.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address of the bucket cannot be used.
    #[error("{0}; a bucket is named like s3://BUCKET/PREFIX?region=REGION&endpoint=URL")]
    Address(&'static str),
    /// A key is not in the environment.
    #[error("the environment has no {0}: it holds a key of the bucket; set it where the daemon starts")]
    Keys(String),
    /// The bucket refused, or was not reached.
    #[error("cannot {what} {on} of the bucket: {why}")]
    Bucket {
        /// What was tried.
        what: &'static str,
        /// On what.
        on: String,
        /// What the bucket or the network says, shortened and escaped.
        why: String,
    },
    /// The prefix holds something else, or a later format.
    #[error("the bucket holds no snapshots that this version reads: {why}; nothing was changed")]
    Format {
        /// What is wrong.
        why: &'static str,
    },
    /// Times that keep no writer safe.
    #[error("the grace of a bucket must be at least twice its window, and the window more than nothing")]
    Times,
    /// No such snapshot or object.
    #[error("the bucket has no {0}")]
    NotFound(String),
    /// The bucket holds bytes that are not what they are named.
    #[error("the bucket has {what}, and {why}; verify tells what it touches")]
    Damaged {
        /// Which.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// More than is taken from a bucket.
    #[error("the bucket has more than {limit} {what}; nothing was taken from it")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// Somebody else frees at this moment.
    #[error("somebody else frees in this bucket; try again when that is done, within an hour at the latest")]
    Busy,
    /// The bucket changed too much, too often, while it was worked with.
    #[error("the bucket did not hold still long enough to {0}; try again")]
    Contended(&'static str),
    /// The local store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RemoteError {
    /// What the store's own code says of bytes that came from the bucket.
    pub(crate) fn theirs(error: StoreError) -> Self {
        match error {
            StoreError::Damaged { what, why } => Self::Damaged { what, why: why.to_owned() },
            e => Self::Store(e),
        }
    }

    pub(crate) fn damaged(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), why: why.into() }
    }

    /// The bucket's own words are hostile: no line breaks, no escapes, no novels.
    pub(crate) fn bucket(what: &'static str, on: &str, error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(e) = cause {
            let more = e.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = e.source();
        }
        let mut why = String::new();
        for c in text.chars().take(400) {
            if c.is_control() { why.extend(c.escape_default()) } else { why.push(c) }
        }
        Self::Bucket { what, on: on.to_owned(), why }
    }
}
