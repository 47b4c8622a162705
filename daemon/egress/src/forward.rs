use crate::target::Target;
use bytes::Bytes;
use http_body_util::{BodyExt as _, combinators::BoxBody};
use hyper::{
    HeaderMap, Request, Response, Uri,
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1,
    header::{self, HeaderName, HeaderValue},
    http::uri::PathAndQuery,
};
use hyper_util::rt::TokioIo;
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{net::TcpStream, task::AbortHandle};

/// What the upstream side may put into one head, and what is buffered of its body.
const BUFFER: usize = 64 * 1024;

/// Sends a request of the absolute form to the upstream, and gives back its answer as
/// it comes. Redirects are the agent's to follow: each is a request of its own.
pub(crate) async fn forward(
    request: Request<Incoming>,
    upstream: TcpStream,
    target: &Target,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, hyper::Error> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .max_headers(100)
        .handshake::<_, Incoming>(TokioIo::new(upstream))
        .await?;
    // The connection lives as long as somebody reads the answer, and no longer.
    let driver = Driver(tokio::spawn(connection).abort_handle());
    let response = sender.send_request(rewrite(request, target)).await?;
    let (mut parts, body) = response.into_parts();
    strip(&mut parts.headers);
    Ok(Response::from_parts(parts, Answer { body, _driver: driver, _sender: sender }.boxed()))
}

/// The origin form of a request, without what concerned only this hop.
fn rewrite(request: Request<Incoming>, target: &Target) -> Request<Incoming> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from(path);
    parts.version = hyper::Version::HTTP_11;
    parts.extensions.clear();
    strip(&mut parts.headers);
    // The server side of this proxy has answered it.
    parts.headers.remove(header::EXPECT);
    let mut host = target.to_string();
    if target.port == 80 {
        host.truncate(host.len() - ":80".len());
    }
    // A target is letters, digits, dots, colons and brackets: always a header value.
    if let Ok(host) = HeaderValue::try_from(host) {
        parts.headers.insert(header::HOST, host);
    }
    Request::from_parts(parts, body)
}

/// Removes the headers of one hop, those that `Connection` names included.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|n| n.trim().parse().ok())
        // Framing is not for the agent to take out of a message.
        .filter(|n| *n != header::CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
}

/// Ends the task of an upstream connection.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An upstream's body that keeps its connection.
struct Answer {
    body: Incoming,
    _driver: Driver,
    _sender: http1::SendRequest<Incoming>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_one_hop_go() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Secret ,content-length"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("proxy-authorization", "Basic eA=="),
            ("proxy-connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("content-length", "3"),
            ("authorization", "Bearer x"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "content-length"]);
    }
}
