use crate::{
    EgressPolicy, Network, SystemNetwork,
    decision::{Permission, check, decide, denial},
    forward::forward,
    refusals::Refusals,
    target::{BadTarget, Host, Target},
    tunnel::{Activity, Tracked, Tunnel},
};
use bytes::Bytes;
use cordon_policy::Denial;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
    upgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    io::{self, Write as _},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};

/// The head of a request, all of it.
const HEAD: usize = 16 * 1024;
/// More addresses than this of one name are not tried.
const ADDRESSES: usize = 16;
const DENIED: HeaderName = HeaderName::from_static("x-cordon-denied");
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nconnection: close\r\n\
    content-length: 51\r\n\r\ncordon: too many connections are open at this time\n";

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// What one sandbox may use of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Connections at one time, tunnels included; those beyond get a 503.
    pub connections: usize,
    /// Names that are looked up at one time; further ones wait.
    pub lookups: usize,
    /// How long the head of a request, or a TLS hello, may take.
    pub head: Duration,
    /// How long a lookup, and a connection to one address, may take.
    pub connect: Duration,
    /// A connection on which nothing moves for so long is ended.
    pub idle: Duration,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            connections: 256,
            lookups: 16,
            head: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(600),
        }
    }
}

/// Serves one sandbox until it is dropped or aborted; every connection ends with it.
pub async fn serve(listener: UnixListener, policy: EgressPolicy, refusals: mpsc::Sender<Denial>) {
    serve_with(listener, policy, refusals, Arc::new(SystemNetwork), ProxyLimits::default()).await;
}

/// [`serve`] on another network and with other limits.
pub async fn serve_with(
    listener: UnixListener,
    policy: EgressPolicy,
    refusals: mpsc::Sender<Denial>,
    network: Arc<dyn Network>,
    limits: ProxyLimits,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let proxy = Arc::new(Proxy {
        policy,
        refusals: Refusals::new(refusals),
        network,
        lookups: Semaphore::new(limits.lookups),
        limits,
    });
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors: the connections that end give some back.
                    tracing::warn!(%error, "egress cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        match slots.clone().try_acquire_owned() {
            Ok(slot) => {
                let proxy = proxy.clone();
                connections.spawn(async move {
                    proxy.connection(stream).await;
                    drop(slot);
                });
            }
            Err(_) => turn_away(stream),
        }
    }
}

/// Says that there is no room, without waiting for anything.
fn turn_away(stream: UnixStream) {
    if let Ok(mut stream) = stream.into_std() {
        // A new socket has room for this; where it has not, closing it must do.
        let _ = stream.write_all(BUSY);
    }
}

struct Proxy {
    policy: EgressPolicy,
    refusals: Refusals,
    network: Arc<dyn Network>,
    lookups: Semaphore,
    limits: ProxyLimits,
}

/// Why there is no connection.
enum Failure {
    Denied(Box<Denial>),
    Unreachable(String),
}

impl From<Box<Denial>> for Failure {
    fn from(denied: Box<Denial>) -> Self {
        Self::Denied(denied)
    }
}

impl Proxy {
    async fn connection(self: Arc<Self>, stream: UnixStream) {
        let activity = Activity::new();
        tokio::select! {
            () = self.clone().requests(Tracked::new(stream, activity.clone())) => {}
            () = activity.quiet_for(self.limits.idle) => {}
        }
    }

    async fn requests(self: Arc<Self>, stream: Tracked) {
        let promised = Arc::new(Mutex::new(None));
        let service = service_fn(|request| {
            let (proxy, promised) = (self.clone(), promised.clone());
            async move { Ok::<_, Infallible>(proxy.answer(request, &promised).await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(HEAD)
            .max_headers(100)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "an egress connection broke");
        }
        let tunnel: Option<Tunnel> = promised.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tunnel) = tunnel
            && let Some(refused) = tunnel.run().await
        {
            self.refusals.tell(&refused);
        }
    }

    async fn answer(&self, request: Request<Incoming>, promised: &Mutex<Option<Tunnel>>) -> Answer {
        if request.method() == Method::CONNECT {
            self.connect(request, promised).await
        } else {
            self.absolute(request).await
        }
    }

    async fn connect(&self, request: Request<Incoming>, promised: &Mutex<Option<Tunnel>>) -> Answer {
        let asked = request.uri().authority().map_or("", |a| a.as_str());
        let target = match Target::parse(asked, None) {
            Ok(target) => target,
            Err(why) => return self.refuse(&bad_target(asked, why)),
        };
        match self.dial(&target).await {
            Ok((upstream, permission)) => {
                tracing::debug!(%target, "egress tunnel");
                *promised.lock().unwrap_or_else(PoisonError::into_inner) = Some(Tunnel {
                    upgrade: upgrade::on(request),
                    upstream,
                    target,
                    names_must_agree: permission != Permission::Granted,
                    hello_time: self.limits.head,
                });
                Answer::default()
            }
            Err(failure) => self.fail(&target, failure),
        }
    }

    async fn absolute(&self, request: Request<Incoming>) -> Answer {
        let uri = request.uri();
        let Some(asked) = uri.authority().map(|a| a.as_str()) else {
            return text(
                StatusCode::BAD_REQUEST,
                "this is a proxy: send CONNECT host:port, or a whole http:// URL",
            );
        };
        if uri.scheme_str() != Some("http") {
            return text(
                StatusCode::BAD_REQUEST,
                "only http:// URLs can be sent in this form; use CONNECT host:port",
            );
        }
        let target = match Target::parse(asked, Some(80)) {
            Ok(target) => target,
            Err(why) => return self.refuse(&bad_target(asked, why)),
        };
        let mut hosts = request.headers().get_all(HOST).iter();
        if let (Some(host), more) = (hosts.next(), hosts.next()) {
            let named = host.to_str().ok().and_then(|h| Target::parse(h, Some(80)).ok());
            if more.is_some() || named.as_ref() != Some(&target) {
                let rule = "the Host header does not name the host of the URL".to_owned();
                return self.refuse(&denial(target.to_string(), rule, String::new()));
            }
        }
        let upstream = match self.dial(&target).await {
            Ok((upstream, _)) => upstream,
            Err(failure) => return self.fail(&target, failure),
        };
        tracing::debug!(%target, "egress request");
        match forward(request, upstream, &target).await {
            Ok(answer) => answer,
            Err(error) => {
                self.fail(&target, Failure::Unreachable(format!("it gave no usable answer: {error}")))
            }
        }
    }

    /// Decides, resolves once, checks, and connects to what was checked.
    async fn dial(&self, target: &Target) -> Result<(TcpStream, Permission), Failure> {
        let permission = decide(&self.policy, target)?;
        let mut addresses = match &target.host {
            Host::Ip(address) => vec![*address],
            Host::Name(name) => {
                let looked_up = timeout(self.limits.connect, async {
                    // Never closed: an error cannot happen, and would only lift the bound.
                    let _slot = self.lookups.acquire().await;
                    self.network.resolve(name).await
                });
                match looked_up.await {
                    Ok(Ok(addresses)) if !addresses.is_empty() => addresses,
                    Ok(Ok(_)) => return Err(Failure::Unreachable("the name has no address".to_owned())),
                    Ok(Err(_)) => {
                        return Err(Failure::Unreachable("the name could not be resolved".to_owned()));
                    }
                    Err(_) => {
                        return Err(Failure::Unreachable("the name was not resolved in time".to_owned()));
                    }
                }
            }
        };
        // Only these are dialled, so only these need to be good.
        addresses.truncate(ADDRESSES);
        check(&addresses, &permission, target)?;
        if permission != Permission::Granted && addresses.iter().any(|a| self.network.is_own(*a)) {
            let rule = "the host is this machine itself, under a public address".to_owned();
            return Err(Box::new(denial(target.to_string(), rule, String::new())).into());
        }
        let mut problem = String::new();
        for address in addresses {
            let address = SocketAddr::new(address, target.port);
            match timeout(self.limits.connect, self.network.connect(address)).await {
                Ok(Ok(stream)) => {
                    // Small messages of a dialogue must not wait for each other.
                    let _ = stream.set_nodelay(true);
                    return Ok((stream, permission));
                }
                Ok(Err(error)) => problem = describe(&error),
                Err(_) => problem = "it did not answer in time".to_owned(),
            }
        }
        Err(Failure::Unreachable(problem))
    }

    fn fail(&self, target: &Target, failure: Failure) -> Answer {
        match failure {
            Failure::Denied(denied) => self.refuse(&denied),
            Failure::Unreachable(why) => {
                text(StatusCode::BAD_GATEWAY, &format!("{target} is allowed but cannot be reached: {why}"))
            }
        }
    }

    fn refuse(&self, denied: &Denial) -> Answer {
        self.refusals.tell(denied);
        let allow = match denied.would_allow.as_str() {
            "" => "nothing in the agent file would allow it",
            fix => fix,
        };
        let mut answer =
            text(StatusCode::FORBIDDEN, &format!("{denied}\nrule: {}\nwould allow: {allow}", denied.rule));
        let header = format!("{} {}; {}", denied.operation, denied.target, denied.rule);
        let header: String = header.chars().flat_map(char::escape_default).collect();
        if let Ok(header) = HeaderValue::try_from(header) {
            answer.headers_mut().insert(DENIED, header);
        }
        answer
    }
}

/// What stands before an `@` may be a password, and refusals are kept.
fn bad_target(asked: &str, why: BadTarget) -> Denial {
    denial(asked.rsplit('@').next().unwrap_or_default(), format!("not a destination: {why}"), String::new())
}

/// The kind alone: an error's text can name addresses.
fn describe(error: &io::Error) -> String {
    error.kind().to_string()
}

fn text(status: StatusCode, message: &str) -> Answer {
    let body = Full::new(Bytes::from(format!("cordon: {message}\n"))).map_err(|never| match never {});
    let mut answer = Answer::new(body.boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
