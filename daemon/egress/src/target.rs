use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Where a request wants to go: a name in normal form, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// Lower case, no trailing dot, nothing that a resolver reads as a number.
    Name(String),
    /// An address, written in its one usual form.
    Ip(IpAddr),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// Why a text is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTarget {
    #[error("a destination has no user information")]
    UserInfo,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("the port is missing")]
    NoPort,
    #[error("an IPv6 address stands in brackets, without a zone")]
    Ipv6,
    #[error("the host looks like a number but is no address in the form a.b.c.d")]
    Numeric,
    #[error("the host has characters or labels that no host name has")]
    Name,
}

impl Host {
    /// Reads a host, with or without the brackets of an IPv6 address.
    pub(crate) fn parse(text: &str) -> Result<Self, BadTarget> {
        if let Some(rest) = text.strip_prefix('[') {
            let inside = rest.strip_suffix(']').ok_or(BadTarget::Ipv6)?;
            return inside.parse::<Ipv6Addr>().map(|a| Self::Ip(a.into())).map_err(|_| BadTarget::Ipv6);
        }
        if text.contains(':') {
            return text.parse::<Ipv6Addr>().map(|a| Self::Ip(a.into())).map_err(|_| BadTarget::Ipv6);
        }
        if text.contains('@') {
            return Err(BadTarget::UserInfo);
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(address.into()));
        }
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(BadTarget::Name);
        }
        // 2130706433, 127.1 and 0x7f.1 are addresses to some resolvers. A top-level
        // domain is never a number, so nothing is lost.
        let last = name.rsplit('.').next().unwrap_or_default();
        let hex = last.strip_prefix("0x").is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
        if hex || last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadTarget::Numeric);
        }
        Ok(Self::Name(name))
    }
}

impl Target {
    /// Reads `host:port`; without a port only where there is a default one.
    pub(crate) fn parse(text: &str, default_port: Option<u16>) -> Result<Self, BadTarget> {
        if text.contains('@') {
            return Err(BadTarget::UserInfo);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (_, after) = rest.split_once(']').ok_or(BadTarget::Ipv6)?;
                let host = text.strip_suffix(after).unwrap_or(text);
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err(BadTarget::Ipv6),
                }
            }
            None => match text.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err(BadTarget::Ipv6),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => parse_port(port).ok_or(BadTarget::Port)?,
            None => default_port.ok_or(BadTarget::NoPort)?,
        };
        Ok(Self { host: Host::parse(host)?, port })
    }
}

/// Digits only: the standard parser takes a sign as well.
fn parse_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn targets_are_read_into_one_form() {
        for (text, shown) in [
            ("Allowed.TEST.:443", "allowed.test:443"),
            ("1.2.3.4:80", "1.2.3.4:80"),
            ("1.2.3.4.:80", "1.2.3.4:80"),
            ("[2A00:0::1]:8443", "[2a00::1]:8443"),
            ("xn--bcher-kva.test:443", "xn--bcher-kva.test:443"),
            ("_dmarc.a-b.test:1", "_dmarc.a-b.test:1"),
        ] {
            assert_eq!(Target::parse(text, None).unwrap().to_string(), shown);
        }
        assert_eq!(Target::parse("a.test", Some(80)).unwrap().to_string(), "a.test:80");
        assert_eq!(Target::parse("[::1]", Some(80)).unwrap().to_string(), "[::1]:80");
    }

    #[test]
    fn everything_doubtful_is_refused() {
        for (text, why) in [
            ("user@allowed.test:443", BadTarget::UserInfo),
            ("user:pw@allowed.test:443", BadTarget::UserInfo),
            ("allowed.test", BadTarget::NoPort),
            ("allowed.test:", BadTarget::Port),
            ("allowed.test:0", BadTarget::Port),
            ("allowed.test:65536", BadTarget::Port),
            ("allowed.test:+443", BadTarget::Port),
            ("allowed.test:0443", BadTarget::Port),
            ("allowed.test:443:80", BadTarget::Ipv6),
            ("::1:443", BadTarget::Ipv6),
            ("[::1", BadTarget::Ipv6),
            ("[::1]443", BadTarget::Ipv6),
            ("[fe80::1%eth0]:443", BadTarget::Ipv6),
            ("[allowed.test]:443", BadTarget::Ipv6),
            ("0x7f.1:443", BadTarget::Numeric),
            ("0x7f000001:443", BadTarget::Numeric),
            ("0x:443", BadTarget::Numeric),
            ("2130706433:443", BadTarget::Numeric),
            ("127.1:443", BadTarget::Numeric),
            ("0177.0.0.1:443", BadTarget::Numeric),
            ("256.1.1.1:443", BadTarget::Numeric),
            ("1.2.3.4.5:443", BadTarget::Numeric),
            ("allowed.test\0.evil:443", BadTarget::Name),
            ("allowed.test..:443", BadTarget::Name),
            (".allowed.test:443", BadTarget::Name),
            ("allowed%2etest:443", BadTarget::Name),
            ("allowed.test/x:443", BadTarget::Name),
            ("alloweḋ.test:443", BadTarget::Name),
            ("allowed。test:443", BadTarget::Name),
            ("*.test:443", BadTarget::Name),
            (":443", BadTarget::Name),
            ("", BadTarget::NoPort),
        ] {
            assert_eq!(Target::parse(text, None), Err(why), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_the_form_is_stable(text in ".{0,80}") {
            if let Ok(target) = Target::parse(&text, Some(80)) {
                prop_assert_eq!(Target::parse(&target.to_string(), None).unwrap(), target);
            }
        }

        #[test]
        fn what_is_read_as_a_name_is_plain(text in "[a-zA-Z0-9.@:%\\[\\]_\\-\0 /]{1,40}") {
            if let Ok(Target { host: Host::Name(name), .. }) = Target::parse(&text, Some(80)) {
                prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b)));
                prop_assert!(!name.ends_with('.') && !name.starts_with('.'));
                prop_assert!(name.parse::<IpAddr>().is_err());
            }
        }
    }
}
