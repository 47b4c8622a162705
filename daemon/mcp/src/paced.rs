//! An HTTP client that takes its time to open streams again. How soon a broken or ended stream is
//! followed by another one is otherwise the server's to say, with `retry: 0` or by breaking it.

use reqwest::{
    Client, Error,
    header::{HeaderName, HeaderValue},
};
use rmcp::{
    model::ClientJsonRpcMessage,
    transport::{
        common::client_side_sse::BoxedSseResponse,
        streamable_http_client::{
            StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
            StreamableHttpResponseLimits,
        },
    },
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// Between two streams that one server has opened.
const PAUSE: Duration = Duration::from_secs(1);

type Headers = HashMap<HeaderName, HeaderValue>;
type Outcome<T> = Result<T, StreamableHttpError<Error>>;

/// A client of one server.
#[derive(Clone)]
pub(crate) struct Paced {
    http: Client,
    next: Arc<Mutex<Option<Instant>>>,
}

impl Paced {
    pub(crate) fn new(http: Client) -> Self {
        Self { http, next: Arc::default() }
    }

    /// Each caller has a turn of its own: two that come at once do not go at once.
    async fn turn(&self) {
        let now = Instant::now();
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = next.map_or(now, |next| next.max(now));
            *next = Some(turn + PAUSE);
            turn
        };
        sleep_until(turn).await;
    }
}

impl StreamableHttpClient for Paced {
    type Error = Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Outcome<StreamableHttpPostResponse> {
        self.http.post_message(uri, message, session_id, auth_header, custom_headers).await
    }

    // The limits hold only where they are passed on.
    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
        largest: usize,
    ) -> Outcome<StreamableHttpPostResponse> {
        self.http
            .post_message_with_max_sse_event_size(
                uri,
                message,
                session_id,
                auth_header,
                custom_headers,
                largest,
            )
            .await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Outcome<StreamableHttpPostResponse> {
        self.http
            .post_message_with_response_limits(uri, message, session_id, auth_header, custom_headers, limits)
            .await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Outcome<()> {
        self.http.delete_session(uri, session_id, auth_header, custom_headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Outcome<BoxedSseResponse> {
        self.turn().await;
        self.http.get_stream(uri, session_id, last_event_id, auth_header, custom_headers).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
        largest: usize,
    ) -> Outcome<BoxedSseResponse> {
        self.turn().await;
        self.http
            .get_stream_with_max_sse_event_size(
                uri,
                session_id,
                last_event_id,
                auth_header,
                custom_headers,
                largest,
            )
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install_tls;
    use rmcp::{ServiceExt as _, transport::streamable_http_client::*};
    use serde_json::json;
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering},
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    /// What a server does with a stream that it is asked for.
    #[derive(Clone, Copy, Debug)]
    enum Ends {
        WithRetryZero,
        Broken,
    }

    async fn serve(mut stream: TcpStream, ends: Ends, opened: Arc<AtomicUsize>) -> Option<()> {
        let mut read = Vec::new();
        let (head, body) = loop {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
            let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |l| l.parse().unwrap()) {
                break (head.to_owned(), body.to_owned());
            }
        };
        let answer = if head.starts_with("get ") {
            opened.fetch_add(1, Ordering::SeqCst);
            let whole = "id: 1\nretry: 0\ndata:\n\n";
            let length = match ends {
                Ends::WithRetryZero => whole.len(),
                Ends::Broken => 9000,
            };
            format!("200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\n\r\n{whole}")
        } else if body.contains("\"initialize\"") {
            let result = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}});
            let said = json!({"jsonrpc": "2.0", "id": 0, "result": result}).to_string();
            let length = said.len();
            format!(
                "200 OK\r\ncontent-type: application/json\r\nmcp-session-id: s\r\ncontent-length: {length}\r\n\r\n{said}"
            )
        } else {
            "202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned()
        };
        stream
            .write_all(
                format!("HTTP/1.1 {answer}").replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes(),
            )
            .await
            .ok()?;
        stream.shutdown().await.ok()
    }

    async fn opened_within(ends: Ends, time: Duration) -> usize {
        install_tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/mcp", listener.local_addr().unwrap());
        let opened = Arc::new(AtomicUsize::new(0));
        let counter = opened.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, ends, counter.clone()));
            }
        });
        let client = Paced::new(Client::builder().no_proxy().build().unwrap());
        let config = StreamableHttpClientTransportConfig::with_uri(uri);
        let transport = StreamableHttpClientTransport::with_client(client, config);
        let session = rmcp::model::ClientConfig::default().serve(transport).await.unwrap();
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = pending() => {}
        }
        session.cancel().await.unwrap();
        opened.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn no_server_makes_us_come_again_without_a_pause() {
        for ends in [Ends::WithRetryZero, Ends::Broken] {
            let opened = opened_within(ends, PAUSE * 5 / 2).await;
            // Fewer on a busy machine; thousands without the pause.
            assert!((2..=4).contains(&opened), "{ends:?}: {opened}");
        }
    }
}
