//! Where a backend's requests go when the agent file has a `base_url`.

use crate::BackendError;
use cordon_policy::{HostRule, NetworkMode};
use cordon_sandbox::{Forward, SandboxSpec, WallKind};
use std::net::{IpAddr, Ipv4Addr};
use url::{Host, Url};

/// Loopback ports inside begin here where the port outside cannot be used inside.
const MOVED: u16 = 20_000;

/// A checked `base_url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// As the program inside has to call it.
    pub(crate) url: String,
    /// A public host.
    pub(crate) rule: Option<HostRule>,
    /// A host on this machine or a private network.
    pub(crate) grant: Option<(String, u16)>,
    /// The loopback port inside that leads to `grant`.
    pub(crate) forward: Option<Forward>,
}

impl Endpoint {
    /// Checks a `base_url` for a sandbox with this wall and network.
    pub(crate) fn new(base_url: &str, wall: WallKind, network: NetworkMode) -> Result<Self, BackendError> {
        Self::named("base_url", base_url, wall, network)
    }

    /// The same for another URL, by the name that errors give it.
    pub(crate) fn named(
        name: &str,
        url: &str,
        wall: WallKind,
        network: NetworkMode,
    ) -> Result<Self, BackendError> {
        let fail = |why: &str| BackendError::Invalid(format!("{name} cannot be used: {why}"));
        let mut url = Url::parse(url).map_err(|e| fail(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fail("it must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(fail("it holds a user name or password; put the key into api_key"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fail("it has a query or fragment; only scheme, host, port and path are used"));
        }
        let port = url.port_or_known_default().filter(|p| *p > 0).ok_or_else(|| fail("it has no port"))?;
        let host = url.host().map(|h| h.to_owned()).ok_or_else(|| fail("it has no host"))?;
        let name = match &host {
            Host::Domain(name) => name.trim_end_matches('.').to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_canonical().to_string(),
        };
        let mut endpoint = Self { url: String::new(), rule: None, grant: None, forward: None };
        match reach(&host) {
            Reach::Nowhere(why) => return Err(fail(why)),
            Reach::Public => {
                let rule =
                    if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") };
                endpoint.rule =
                    Some(rule.parse().map_err(|e: cordon_policy::HostRuleError| fail(&e.to_string()))?);
            }
            Reach::Private => endpoint.grant = Some((name, port)),
            // The sandbox shares the host's loopback: there is nothing to carry.
            Reach::Loopback if wall == WallKind::Docker && network == NetworkMode::Host => {
                endpoint.grant = Some((name, port));
            }
            Reach::Loopback => {
                let inside = port_inside(port);
                // A certificate is for the name, so only plain HTTP is re-pointed to the address
                // on which the sandbox listens.
                if url.scheme() == "http" {
                    url.set_ip_host(IpAddr::V4(Ipv4Addr::LOCALHOST))
                        .map_err(|()| fail("its host cannot be set"))?;
                }
                url.set_port(Some(inside)).map_err(|()| fail("its port cannot be set"))?;
                endpoint.forward = Some(Forward { port: inside, host: name.clone(), target_port: port });
                endpoint.grant = Some((name, port));
            }
        }
        endpoint.url = url.as_str().trim_end_matches('/').to_owned();
        Ok(endpoint)
    }

    /// Whether the host is on this machine or a private network, where models are
    /// often served without a key.
    pub(crate) fn is_private(&self) -> bool {
        self.grant.is_some()
    }
}

/// The port on which the sandbox's loopback leads to `port` outside: the same where an
/// unprivileged process can listen there and the proxy does not.
fn port_inside(port: u16) -> u16 {
    if port < 1024 || port == SandboxSpec::PROXY_PORT { port + MOVED } else { port }
}

enum Reach {
    Loopback,
    Private,
    Public,
    Nowhere(&'static str),
}

fn reach(host: &Host) -> Reach {
    match host {
        Host::Domain(name) => reach_of_name(name.trim_end_matches('.')),
        Host::Ipv4(address) => reach_of_address(IpAddr::V4(*address)),
        Host::Ipv6(address) => reach_of_address(address.to_canonical()),
    }
}

/// Names are not resolved here: one without a dot, or below a domain that is kept for
/// private use, is taken for a private host.
fn reach_of_name(name: &str) -> Reach {
    const PRIVATE: [&str; 7] = ["local", "internal", "lan", "home.arpa", "intranet", "corp", "test"];
    let below = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    if name == "localhost" || below("localhost") {
        Reach::Loopback
    } else if !name.contains('.') || PRIVATE.iter().any(|d| below(d)) {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn reach_of_address(address: IpAddr) -> Reach {
    if address.is_loopback() {
        return Reach::Loopback;
    }
    if address.is_unspecified() {
        return Reach::Nowhere("its host is the unspecified address; write 127.0.0.1 for this machine");
    }
    if address.is_multicast() {
        return Reach::Nowhere("its host is a multicast address");
    }
    let (link_local, private) = match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            (v4.is_link_local(), v4.is_private() || shared || a == 0 || a >= 240)
        }
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.is_unique_local()),
    };
    if link_local {
        return Reach::Nowhere("its host is a link-local address, where clouds hand out credentials");
    }
    if private { Reach::Private } else { Reach::Public }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn new(url: &str) -> Result<Endpoint, BackendError> {
        Endpoint::new(url, WallKind::Local, NetworkMode::Bridge)
    }

    #[test]
    fn loopback_leads_through_a_forward() {
        for (written, host, port, inside, url) in [
            ("http://localhost:1234/v1/", "localhost", 1234, 1234, "http://127.0.0.1:1234/v1"),
            ("http://127.0.0.1", "127.0.0.1", 80, 20_080, "http://127.0.0.1:20080"),
            ("http://127.9.9.9:3128/v1", "127.9.9.9", 3128, 23_128, "http://127.0.0.1:23128/v1"),
            ("http://[::1]:8000/a/b", "::1", 8000, 8000, "http://127.0.0.1:8000/a/b"),
            ("http://[::ffff:127.0.0.1]:8000", "127.0.0.1", 8000, 8000, "http://127.0.0.1:8000"),
            ("http://2130706433:8000", "127.0.0.1", 8000, 8000, "http://127.0.0.1:8000"),
            ("http://api.localhost:8000", "api.localhost", 8000, 8000, "http://127.0.0.1:8000"),
            ("https://localhost:8443/v1", "localhost", 8443, 8443, "https://localhost:8443/v1"),
        ] {
            let endpoint = new(written).unwrap();
            assert_eq!(endpoint.url, url, "{written}");
            assert_eq!(endpoint.grant, Some((host.to_owned(), port)));
            let forward = Forward { port: inside, host: host.to_owned(), target_port: port };
            assert_eq!(endpoint.forward, Some(forward));
            assert_eq!(endpoint.rule, None);
        }
    }

    #[test]
    fn with_the_hosts_network_loopback_is_the_hosts() {
        let endpoint =
            Endpoint::new("http://localhost:1234/v1", WallKind::Docker, NetworkMode::Host).unwrap();
        assert_eq!((endpoint.forward, endpoint.url.as_str()), (None, "http://localhost:1234/v1"));
    }

    #[test]
    fn private_hosts_are_granted_and_public_ones_are_ruled() {
        for (url, grant, rule) in [
            ("http://10.0.0.5:8000/v1", Some(("10.0.0.5", 8000)), None),
            ("http://[fd00::1]:8000/v1", Some(("fd00::1", 8000)), None),
            ("http://llm:8000/v1", Some(("llm", 8000)), None),
            ("https://llm.internal/v1", Some(("llm.internal", 443)), None),
            ("https://openrouter.ai/api/v1", None, Some("openrouter.ai:443")),
            ("https://EXAMPLE.com.:8443", None, Some("example.com:8443")),
            ("http://9.9.9.9", None, Some("9.9.9.9:80")),
            ("http://[2606:4700::1]", None, Some("[2606:4700::1]:80")),
        ] {
            let endpoint = new(url).unwrap();
            assert_eq!(endpoint.grant, grant.map(|(h, p)| (h.to_owned(), p)), "{url}");
            assert_eq!(endpoint.rule.map(|r| r.to_string()).as_deref(), rule, "{url}");
            assert_eq!(endpoint.forward, None);
        }
    }

    #[test]
    fn what_is_no_plain_endpoint_is_refused() {
        for url in [
            "",
            "localhost:1234",
            "ftp://a.test/",
            "http://user:secret@a.example/",
            "https://a.example/v1?key=secret",
            "https://a.example/#x",
            "http://0.0.0.0:8000/",
            "http://[::]:8000/",
            "http://169.254.169.254/latest",
            "http://[::ffff:169.254.169.254]/",
            "http://[fe80::1]/",
            "http://239.1.1.1/",
            "http://a.example:0/",
        ] {
            let error = new(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn exactly_one_way_leads_out(url in "https?://[a-z0-9.:\\[\\]]{1,20}(:[0-9]{1,5})?(/[a-z]{0,3})?") {
            if let Ok(endpoint) = new(&url) {
                prop_assert!(endpoint.rule.is_some() != endpoint.grant.is_some());
                if let Some(forward) = endpoint.forward {
                    prop_assert!(forward.port >= 1024 && forward.port != SandboxSpec::PROXY_PORT);
                    let grant = Some((forward.host.clone(), forward.target_port));
                    prop_assert_eq!(grant, endpoint.grant);
                }
            }
        }
    }
}
