//! The connections of a daemon to models. The address that is checked is the address that is
//! dialled: names go through [`Checked`], and a redirect leads nowhere.

use crate::AskError;
use cordon_egress::{Network, SystemNetwork, is_metadata, is_public};
use cordon_providers::provider_of_host;
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::{Host, Url};

/// How long a connection may take to be made, TLS included.
const CONNECT: Duration = Duration::from_secs(30);
/// How long an unused connection is kept. Servers close theirs after a minute or more.
const KEPT: Duration = Duration::from_secs(50);
/// What a server may send ahead of what was read, of one answer and of all on one connection.
const AHEAD: (u32, u32) = (1 << 20, 4 << 20);

/// What is made at one time, for all agents together.
const MAKING: usize = 8;

/// Where models are asked from. One is enough for a daemon: connections are shared.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    network: Arc<dyn Network>,
    /// What is made is held as a whole: so many at one time.
    making: Arc<Semaphore>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// In the network of this machine.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, AskError> {
        Self::within(Arc::new(SystemNetwork))
    }

    /// In this network: only its names and its own addresses are asked for.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn within(network: Arc<dyn Network>) -> Result<Self, AskError> {
        // Fails only when it was chosen before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = Self::builder(network.clone()).build().map_err(|_| AskError::Setup)?;
        Ok(Self::of(http, network))
    }

    fn builder(network: Arc<dyn Network>) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .user_agent(concat!("cordon/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Checked(network))
            // A key goes to the host that was named, and to no other.
            .redirect(redirect::Policy::none())
            .referer(false)
            // Variables of the daemon's own environment lead nowhere.
            .no_proxy()
            // What is small on the wire and large here is none of what was asked for.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(KEPT)
            .tcp_keepalive(Duration::from_secs(30))
            .http2_initial_stream_window_size(AHEAD.0)
            .http2_initial_connection_window_size(AHEAD.1)
            .http2_max_header_list_size(64 << 10)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_keep_alive_timeout(Duration::from_secs(20))
    }

    /// One that speaks HTTP/2 where no TLS could agree on it.
    #[cfg(test)]
    pub(crate) fn second_version() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let network: Arc<dyn Network> = Arc::new(SystemNetwork);
        let http = Self::builder(network.clone()).http2_prior_knowledge().build().unwrap();
        Self::of(http, network)
    }

    fn of(http: reqwest::Client, network: Arc<dyn Network>) -> Self {
        Self { http, network, making: Arc::new(Semaphore::new(MAKING)) }
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Room for one thing that is made, as long as it is held.
    pub(crate) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.making.clone().acquire_owned().await.ok()
    }

    /// Why this server must not be reached. A literal address meets no resolver: this is its
    /// check; that of a name comes when it is dialled.
    pub(crate) fn fault(&self, url: &Url) -> Option<&'static str> {
        let address = match url.host() {
            Some(Host::Ipv4(v4)) => v4.into(),
            Some(Host::Ipv6(v6)) => v6.into(),
            Some(Host::Domain(_)) => return None,
            None => return Some("it has no host"),
        };
        Reach::Named.fault(address, &*self.network)
    }
}

/// Which addresses a host may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Those of this machine.
    Here,
    /// Public ones: the host of a provider that is on the internet.
    Public,
    /// All but metadata services: the agent file, or its user's environment, names the host.
    Named,
}

impl Reach {
    fn of(host: &str) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if host == "localhost" || host.ends_with(".localhost") {
            return Self::Here;
        }
        match provider_of_host(&host) {
            // Its customers may have a private way to it.
            Some(provider) if provider.name == "azure_openai" => Self::Named,
            Some(_) => Self::Public,
            None => Self::Named,
        }
    }

    /// Why an address must not be dialled, in words that name none.
    fn fault(self, address: IpAddr, network: &dyn Network) -> Option<&'static str> {
        let address = address.to_canonical();
        let here = address.is_loopback() || network.is_own(address);
        match self {
            _ if is_metadata(address) => Some("it leads to a link-local or cloud metadata address"),
            Self::Here if !address.is_loopback() => Some("its name means this machine, its address does not"),
            Self::Public if here => Some("it is a public service, and its name leads to this machine"),
            Self::Public if !is_public(address) => {
                Some("it is a public service, and its name leads to an address that is not public")
            }
            Self::Here | Self::Public | Self::Named => None,
        }
    }
}

/// A resolver that answers only with addresses that may be dialled.
struct Checked(Arc<dyn Network>);

/// Why a name was refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Forbidden(pub(crate) &'static str);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (network, name) = (self.0.clone(), name.as_str().to_owned());
        Box::pin(async move {
            let reach = Reach::of(&name);
            let addresses = network.resolve(&name).await?;
            // One bad address refuses all: an honest name has none.
            if let Some(why) = addresses.iter().find_map(|a| reach.fault(*a, &*network)) {
                return Err(Forbidden(why).into());
            }
            if addresses.is_empty() {
                return Err(Forbidden("its name has no address").into());
            }
            // The port is that of the URL.
            let found: Addrs = Box::new(addresses.into_iter().map(|a| SocketAddr::new(a, 0)));
            Ok(found)
        })
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "second_tests.rs"]
mod second_tests;
