//! Where a bucket is, and what its keys are called.

use super::error::RemoteError;
use std::{env, fmt};
use url::{Host, Url};

/// A bucket, or the part of one below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    pub(crate) region: String,
    pub(crate) endpoint: Option<Url>,
}

impl Target {
    /// Reads `s3://BUCKET/PREFIX?region=REGION&endpoint=URL`. Without an endpoint it is Amazon's;
    /// any other is asked by path (`URL/BUCKET`). HTTP without TLS only to this machine.
    ///
    /// # Errors
    /// When it is anything else. A user or password in it is refused.
    pub fn parse(text: &str) -> Result<Self, RemoteError> {
        let bad = RemoteError::Address;
        let url = Url::parse(text).map_err(|_| bad("this is no address"))?;
        if url.scheme() != "s3" {
            return Err(bad("only s3:// is known"));
        }
        let keyless = |url: &Url| url.username().is_empty() && url.password().is_none();
        if !keyless(&url) {
            return Err(bad("keys do not belong into an address: name the variables that hold them"));
        }
        let bucket = url.host_str().unwrap_or_default().to_owned();
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(letter) || url.port().is_some() {
            return Err(bad("this is no name of a bucket"));
        }
        let prefix = url.path().trim_matches('/').to_owned();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let part = |p: &str| !p.is_empty() && p != "." && p != ".." && p.bytes().all(plain);
        if prefix.len() > 512 || !(prefix.is_empty() || prefix.split('/').all(part)) {
            return Err(bad("a prefix is made of letters, digits, `-`, `_`, `.` and `/`"));
        }
        let (mut region, mut endpoint) = ("us-east-1".to_owned(), None);
        for (key, value) in url.query_pairs() {
            match &*key {
                "region" if !value.is_empty() && value.bytes().all(plain) => region = value.into_owned(),
                "endpoint" => {
                    let at = Url::parse(&value).map_err(|_| bad("the endpoint is no address"))?;
                    let bare = keyless(&at) && at.query().is_none() && at.fragment().is_none();
                    if !bare || !(at.scheme() == "https" || at.scheme() == "http" && is_here(&at)) {
                        return Err(bad("an endpoint is https, or http on this machine, and holds no keys"));
                    }
                    endpoint = Some(at);
                }
                _ => return Err(bad("an address has a region and an endpoint, and nothing else")),
            }
        }
        if url.fragment().is_some() {
            return Err(bad("an address has a region and an endpoint, and nothing else"));
        }
        Ok(Self { bucket, prefix, region, endpoint })
    }

    /// The part of it that one owner has: nobody is shown another's, and a store that was made in
    /// one is none of the others'.
    #[must_use]
    pub fn of_owner(&self, owner: u32) -> Self {
        let prefix =
            if self.prefix.is_empty() { owner.to_string() } else { format!("{}/{owner}", self.prefix) };
        Self { prefix, ..self.clone() }
    }

    pub(crate) fn is_here(&self) -> bool {
        self.endpoint.as_ref().is_some_and(is_here)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

/// Which variables of the environment hold the keys. Their values are read when a bucket is
/// opened, and never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Of the key's name.
    pub id: String,
    /// Of the key itself.
    pub secret: String,
    /// Of the token that short-lived keys have; empty for none.
    pub token: String,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            id: "AWS_ACCESS_KEY_ID".to_owned(),
            secret: "AWS_SECRET_ACCESS_KEY".to_owned(),
            token: String::new(),
        }
    }
}

pub(crate) struct Secrets {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
}

impl Keys {
    /// Whether the environment has them.
    ///
    /// # Errors
    /// When one is missing; it says which.
    pub fn check(&self) -> Result<(), RemoteError> {
        self.read().map(drop)
    }

    pub(crate) fn read(&self) -> Result<Secrets, RemoteError> {
        let get = |name: &str| {
            let value = env::var(name).ok().filter(|v| !v.is_empty());
            value.ok_or_else(|| RemoteError::Keys(name.to_owned()))
        };
        let token = if self.token.is_empty() { None } else { Some(get(&self.token)?) };
        Ok(Secrets { id: get(&self.id)?, secret: get(&self.secret)?, token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        let target = Target::parse("s3://team-a/one/two?region=eu-1&endpoint=http://127.0.0.1:9000").unwrap();
        assert_eq!(
            (target.bucket.as_str(), target.prefix.as_str(), target.region.as_str()),
            ("team-a", "one/two", "eu-1")
        );
        assert!(target.is_here());
        assert_eq!(target.of_owner(10).to_string(), "s3://team-a/one/two/10");
        assert_eq!(Target::parse("s3://team").unwrap().prefix, "");
        assert_eq!(Target::parse("s3://team").unwrap().of_owner(0).prefix, "0");
        assert!(Target::parse("s3://team?endpoint=https://s3.example.org/").is_ok());
        for bad in [
            "team",
            "http://team/x",
            "s3://",
            "s3://a",
            "s3://Team_A/x",
            "s3://key:secret@team/x",
            "s3://team:80/x",
            "s3://team/a b",
            "s3://team?key=x",
            "s3://team/#x",
            "s3://team?endpoint=x",
            "s3://team?endpoint=http://s3.example.org",
            "s3://team?endpoint=http://localhost:1",
            "s3://team?endpoint=https://k:s@s3.example.org",
            "s3://team?region=",
            "s3://team?endpoint=ftp://127.0.0.1",
        ] {
            let error = Target::parse(bad);
            assert!(error.is_err(), "{bad}");
            assert!(!error.unwrap_err().to_string().contains("secret"));
        }
    }

    #[test]
    fn a_missing_key_is_named_and_nothing_else() {
        let keys = Keys { id: "CORDON_NO_SUCH_KEY".into(), ..Keys::default() };
        assert!(keys.check().unwrap_err().to_string().contains("CORDON_NO_SUCH_KEY"));
    }
}
