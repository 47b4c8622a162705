use std::{fmt, str::FromStr};

/// One entry of an egress allow-list: `host`, `host:port` or `*.domain`.
/// Names are kept in lower case without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostRule {
    name: String,
    wildcard: bool,
    port: Option<u16>,
}

/// Not a host rule.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a host, host:port or *.domain: {why}")]
pub struct HostRuleError {
    text: String,
    why: &'static str,
}

impl HostRuleError {
    /// What is wrong, without the text itself.
    #[must_use]
    pub fn why(&self) -> &'static str {
        self.why
    }
}

impl HostRule {
    /// The ports that a rule without one covers.
    pub const DEFAULT_PORTS: [u16; 2] = [80, 443];

    /// The exact destination that the rule names, when that is this machine or a literal
    /// address: somebody who writes `127.0.0.1:8080` means that very place, while a name
    /// only ever means public addresses.
    #[must_use]
    pub fn literal(&self) -> Option<(&str, u16)> {
        let is_address = self.name.parse::<std::net::IpAddr>().is_ok() || self.name == "localhost";
        (is_address && !self.wildcard).then_some(self.name.as_str()).zip(self.port)
    }

    /// Whether the rule covers a destination. `*.domain` covers names below the
    /// domain and not the domain itself.
    #[must_use]
    pub fn covers(&self, host: &str, port: u16) -> bool {
        let Some(host) = normal_host(host) else { return false };
        let name = if self.wildcard {
            host.strip_suffix(&self.name).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            host == self.name
        };
        name && match self.port {
            Some(p) => p == port,
            None => Self::DEFAULT_PORTS.contains(&port),
        }
    }
}

/// Lower case, without a trailing dot; none when it is no plain host name or address.
pub(crate) fn normal_host(host: &str) -> Option<String> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<std::net::Ipv6Addr>() {
        return Some(address.to_string());
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (host.len() <= 253 && host.split('.').all(label)).then_some(host)
}

impl FromStr for HostRule {
    type Err = HostRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |why| HostRuleError { text: text.to_owned(), why };
        let (wildcard, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let bare_v6 = rest.parse::<std::net::Ipv6Addr>().is_ok();
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !bare_v6 && !rest.ends_with(']') => {
                let port = port.parse::<u16>().ok().filter(|p| *p > 0);
                (host, Some(port.ok_or_else(|| fail("the port is not a number from 1 to 65535"))?))
            }
            _ => (rest, None),
        };
        let name = normal_host(host).ok_or_else(|| fail("the host has characters that no host name has"))?;
        if wildcard && !name.contains('.') {
            return Err(fail("a wildcard needs at least two labels after it"));
        }
        Ok(Self { name, wildcard, port })
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.wildcard { "*." } else { "" };
        match self.port {
            Some(port) if self.name.contains(':') => write!(f, "{star}[{}]:{port}", self.name),
            Some(port) => write!(f, "{star}{}:{port}", self.name),
            None => write!(f, "{star}{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_not_covered() {
        let rule: HostRule = "allowed.test".parse().unwrap();
        assert!(rule.covers("ALLOWED.test.", 443));
        for host in [
            "evilallowed.test",
            "allowed.test.evil",
            "a.allowed.test",
            "allowed.test\0.evil",
            "u@allowed.test",
        ] {
            assert!(!rule.covers(host, 443), "{host}");
        }
        assert!(!rule.covers("allowed.test", 22));
    }

    #[test]
    fn only_addresses_with_a_port_are_literal() {
        let literal =
            |text: &str| text.parse::<HostRule>().unwrap().literal().map(|(h, p)| (h.to_owned(), p));
        assert_eq!(literal("127.0.0.1:8080"), Some(("127.0.0.1".to_owned(), 8080)));
        assert_eq!(literal("localhost:80"), Some(("localhost".to_owned(), 80)));
        assert_eq!(literal("[::1]:80"), Some(("::1".to_owned(), 80)));
        assert_eq!(literal("10.0.0.1"), None);
        assert_eq!(literal("git.test:443"), None);
    }

    #[test]
    fn a_wildcard_covers_only_names_below() {
        let rule: HostRule = "*.example.test:8443".parse().unwrap();
        assert!(rule.covers("a.b.example.test", 8443));
        assert!(!rule.covers("example.test", 8443));
        assert!(!rule.covers("badexample.test", 8443));
        assert!(!rule.covers("a.example.test", 443));
        assert!("*.test".parse::<HostRule>().is_err());
    }
}
