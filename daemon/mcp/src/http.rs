//! A server outside, reached over HTTP by the daemon. The address that is checked is the
//! address that is dialled: names go through [`Checked`], and a redirect leads nowhere.

use crate::{LONGEST_MESSAGE, ServerError, paced::Paced};
use cordon_config::Secret;
use cordon_egress::{Network, is_metadata, is_public};
use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{HeaderName, HeaderValue},
    redirect,
};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
};
use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Chooses the process's TLS. Called once, when a program begins; later calls change nothing.
pub fn install_tls() {
    // Fails only when it was chosen before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Which addresses one server may have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    pub(crate) localhost: bool,
    pub(crate) private: bool,
    /// The agent file names exactly this host and port under `egress.allow`.
    pub(crate) granted: bool,
}

impl Reach {
    /// Why an address must not be reached, in words that name no address.
    fn fault(&self, address: IpAddr, own: bool, literal: bool) -> Option<&'static str> {
        let address = address.to_canonical();
        let metadata = is_metadata(address);
        match () {
            // Whoever answers for a name must not turn it into the metadata service.
            () if metadata && !(self.granted && literal) => {
                Some("it leads to a link-local or cloud metadata address")
            }
            () if self.granted => None,
            () if address.is_loopback() || address.is_unspecified() || own => {
                (!self.localhost).then_some("it leads to this machine")
            }
            () if !is_public(address) => {
                (!self.private).then_some("it leads to an address that is not public")
            }
            () => None,
        }
    }
}

/// One server.
pub(crate) struct Target {
    url: Url,
    headers: HashMap<HeaderName, HeaderValue>,
    reach: Reach,
    network: Arc<dyn Network>,
    ready_within: Duration,
    call_within: Duration,
}

impl Target {
    pub(crate) fn new(
        url: &Secret,
        headers: &BTreeMap<String, Secret>,
        reach: Reach,
        network: Arc<dyn Network>,
        (ready_within, call_within): (Duration, Duration),
    ) -> Result<Self, ServerError> {
        // The parser's words may repeat what is secret.
        let bad = |what: &str| ServerError::Start(format!("{what} cannot be used"));
        let url: Url = url.reveal().parse().map_err(|_| bad("its URL"))?;
        let mut given = HashMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|_| bad("a header"))?;
            let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| bad("a header"))?;
            value.set_sensitive(true);
            given.insert(name, value);
        }
        Ok(Self { url, headers: given, reach, network, ready_within, call_within })
    }

    /// What must not stand in a message: the URL may hold a key.
    pub(crate) fn hidden(&self) -> Vec<String> {
        let query = self.url.query().map(str::to_owned);
        [Some(self.url.as_str().to_owned()), query].into_iter().flatten().filter(|h| !h.is_empty()).collect()
    }

    pub(crate) async fn transport(&self) -> Result<StreamableHttpClientTransport<Paced>, ServerError> {
        self.check().await?;
        let resolver = Checked { reach: self.reach.clone(), network: self.network.clone() };
        let client = Client::builder()
            .dns_resolver(resolver)
            .redirect(redirect::Policy::none())
            // Variables of the daemon's own environment lead nowhere.
            .no_proxy()
            .connect_timeout(self.ready_within)
            .read_timeout(self.call_within)
            .build()
            .map_err(|_| ServerError::Start("no HTTP client could be made".to_owned()))?;
        let config = StreamableHttpClientTransportConfig::with_uri(self.url.as_str())
            .custom_headers(self.headers.clone())
            .max_sse_event_size(LONGEST_MESSAGE)
            .max_json_response_size(LONGEST_MESSAGE);
        Ok(StreamableHttpClientTransport::with_client(Paced::new(client), config))
    }

    /// Refuses with words of its own before anything is tried. A literal address meets no
    /// resolver, so that this is its check.
    async fn check(&self) -> Result<(), ServerError> {
        let host = self.url.host_str().unwrap_or_default();
        let refused = |why: &str| ServerError::Refused { host: host.to_owned(), why: why.to_owned() };
        let bare = host.trim_matches(['[', ']']);
        let (addresses, literal) = match bare.parse::<IpAddr>() {
            Ok(address) => (vec![address], true),
            Err(_) => {
                let found = self.network.resolve(host).await;
                (found.map_err(|e| ServerError::Start(format!("{host} is not known: {e}")))?, false)
            }
        };
        let fault = fault_of(&addresses, &self.reach, &*self.network, literal);
        fault.map_or(Ok(()), |why| Err(refused(why)))
    }
}

/// Of all addresses of a name; one bad address refuses all, since an honest public name
/// has none.
fn fault_of(
    addresses: &[IpAddr],
    reach: &Reach,
    network: &dyn Network,
    literal: bool,
) -> Option<&'static str> {
    if addresses.is_empty() {
        return Some("it has no address");
    }
    addresses.iter().find_map(|a| reach.fault(*a, network.is_own(*a), literal))
}

/// A resolver that answers only with addresses that may be dialled.
struct Checked {
    reach: Reach,
    network: Arc<dyn Network>,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, network, name) = (self.reach.clone(), self.network.clone(), name.as_str().to_owned());
        Box::pin(async move {
            let addresses = network.resolve(&name).await?;
            if let Some(why) = fault_of(&addresses, &reach, &*network, false) {
                return Err(why.into());
            }
            // The port is that of the URL.
            let found: Addrs = Box::new(addresses.into_iter().map(|a| SocketAddr::new(a, 0)));
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use std::{io, sync::Mutex};
    use tokio::net::TcpStream;

    /// Answers one list after the other, as a rebinding name server does.
    struct Names(Mutex<Vec<Vec<&'static str>>>);

    #[async_trait]
    impl Network for Names {
        async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            let mut lists = self.0.lock().unwrap();
            let list = if lists.len() > 1 { lists.remove(0) } else { lists[0].clone() };
            Ok(list.iter().map(|a| a.parse().unwrap()).collect())
        }

        async fn connect(&self, _: SocketAddr) -> io::Result<TcpStream> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn is_own(&self, address: IpAddr) -> bool {
            address == "8.8.4.4".parse::<IpAddr>().unwrap()
        }
    }

    fn target(url: &str, reach: Reach, lists: &[&[&'static str]]) -> Target {
        let names = Names(Mutex::new(lists.iter().map(|l| l.to_vec()).collect()));
        let limits = (Duration::from_secs(1), Duration::from_secs(1));
        Target::new(&Secret::new(url.to_owned()), &BTreeMap::new(), reach, Arc::new(names), limits).unwrap()
    }

    async fn refused(url: &str, reach: Reach, lists: &[&[&'static str]]) -> bool {
        matches!(target(url, reach, lists).check().await, Err(ServerError::Refused { .. }))
    }

    #[tokio::test]
    async fn only_public_addresses_are_reached_unless_more_is_let() {
        let (none, local) = (Reach::default, || Reach { localhost: true, ..Reach::default() });
        let private = || Reach { private: true, ..Reach::default() };
        let granted = || Reach { granted: true, ..Reach::default() };
        for (list, by_none, by_local, by_private, by_granted) in [
            ("93.184.216.34", true, true, true, true),
            ("127.0.0.1", false, true, false, true),
            ("::ffff:127.0.0.1", false, true, false, true),
            // This machine's public address is this machine.
            ("8.8.4.4", false, true, false, true),
            ("10.0.0.1", false, false, true, true),
            ("64:ff9b::10.0.0.1", false, false, true, true),
            ("fd00::1", false, false, true, true),
            ("169.254.169.254", false, false, false, false),
            ("fd00:ec2::254", false, false, false, false),
            ("100.100.100.200", false, false, false, false),
        ] {
            let lists: &[&[&str]] = &[&[list]];
            for (reach, let_in) in
                [(none(), by_none), (local(), by_local), (private(), by_private), (granted(), by_granted)]
            {
                let said = format!("{list} {reach:?}");
                assert_eq!(!refused("http://name.test/mcp", reach, lists).await, let_in, "{said}");
            }
        }
        assert!(refused("http://a.test/", none(), &[&["93.184.216.34", "127.0.0.1"]]).await, "one is enough");
        assert!(refused("http://a.test/", none(), &[&[]]).await);
        assert!(refused("http://169.254.169.254/", private(), &[&[]]).await);
        assert!(!refused("http://169.254.169.254/", granted(), &[&[]]).await, "named as it is");
        assert!(refused("http://[::1]:8/", none(), &[&[]]).await);
        assert!(refused("http://2130706433/", none(), &[&[]]).await, "a URL's own spelling of 127.0.0.1");
    }

    #[tokio::test]
    async fn a_name_that_changes_its_mind_is_caught_when_it_is_dialled() {
        use rmcp::ServiceExt as _;
        install_tls();
        let target = target("http://name.test/", Reach::default(), &[&["93.184.216.34"], &["127.0.0.1"]]);
        let transport = target.transport().await.unwrap();
        let error = rmcp::model::ClientConfig::default().serve(transport).await.unwrap_err();
        // Where in its layers the reason stands is the libraries' business.
        let words = format!("{error:?}");
        assert!(words.contains("it leads to this machine"), "{words}");
    }
}
