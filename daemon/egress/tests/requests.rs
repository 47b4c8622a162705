//! Requests in absolute form.

mod common;

use common::{PUBLIC, Proxy, answering, head, policy, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::oneshot,
};

async fn proxy(answer: &'static str) -> (Proxy, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let proxy = Proxy::start(policy(&["allowed.test"], &[]));
    proxy.network.name("allowed.test", &[&[PUBLIC]]);
    let (upstream, requests) = answering(answer).await;
    proxy.network.route("8.8.8.8:80", upstream);
    (proxy, requests)
}

#[tokio::test]
async fn a_request_arrives_in_origin_form_without_the_headers_of_this_hop() {
    let (proxy, mut requests) =
        proxy("HTTP/1.1 200 OK\r\ncontent-length: 4\r\nkeep-alive: timeout=9\r\nx-kept: 1\r\n\r\ndone").await;
    let answer = proxy
        .ask(
            "POST http://Allowed.test/a/b?c=d HTTP/1.1\r\nHost: allowed.test:80\r\nConnection: close, x-hop\r\n\
             Proxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nX-Hop: 1\r\n\
             X-End: 1\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\ndone"), "{answer}");
    assert!(answer.contains("x-kept: 1") && !answer.contains("keep-alive"), "{answer}");
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("POST /a/b?c=d HTTP/1.1\r\n") && request.ends_with("hello"), "{request}");
    let lower = request.to_ascii_lowercase();
    assert!(lower.contains("\r\nhost: allowed.test\r\n") && lower.contains("\r\nx-end: 1\r\n"), "{request}");
    for gone in ["proxy-", "\r\nte:", "x-hop", "connection:"] {
        assert!(!lower.contains(gone), "{gone}: {request}");
    }
}

#[tokio::test]
async fn a_host_header_that_disagrees_is_refused() {
    let (mut proxy, _requests) = proxy("HTTP/1.1 200 OK\r\n\r\n").await;
    for hosts in [
        "Host: evil.test\r\n",
        "Host: allowed.test:8080\r\n",
        "Host: allowed.test\r\nHost: evil.test\r\n",
        "Host: allowed.test\r\nHost: allowed.test\r\n",
        "Host: user@allowed.test\r\n",
        "Host: \r\n",
    ] {
        let answer =
            proxy.ask(format!("GET http://allowed.test/ HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{hosts}: {answer}");
    }
    assert!(proxy.refusals.try_recv().unwrap().rule.contains("Host header"));
    assert!(proxy.network.dialled().is_empty());
}

#[tokio::test]
async fn other_forms_are_told_apart() {
    let (proxy, _requests) = proxy("HTTP/1.1 200 OK\r\n\r\n").await;
    for (request, status) in [
        ("GET https://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n", "400"),
        ("GET ftp://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n", "400"),
        ("OPTIONS * HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n", "400"),
        ("GET allowed.test:80 HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let answer = proxy.ask(request).await;
        // A broken request line ends the connection, with or without an answer.
        assert!(
            answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
    }
    assert_eq!(proxy.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
    assert!(proxy.network.dialled().is_empty());
}

#[tokio::test]
async fn a_redirect_is_given_back_and_not_followed() {
    let (proxy, _requests) =
        proxy("HTTP/1.1 302 Found\r\nlocation: http://evil.test/\r\ncontent-length: 0\r\n\r\n").await;
    let answer = proxy.get("allowed.test").await;
    assert!(
        answer.starts_with("HTTP/1.1 302 ") && answer.contains("location: http://evil.test/"),
        "{answer}"
    );
    assert_eq!(proxy.network.asked(), ["allowed.test"]);
    assert!(proxy.get("evil.test").await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn every_request_of_one_connection_is_decided() {
    let (proxy, _requests) = proxy("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut stream = proxy.open().await;
    stream.write_all(b"GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200 "));
    stream.write_all(b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n").await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn two_lengths_cannot_smuggle_a_request() {
    let proxy = Proxy::start(policy(&["allowed.test"], &[]));
    proxy.network.name("allowed.test", &[&[PUBLIC]]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.network.route("8.8.8.8:80", listener.local_addr().unwrap());
    let (sender, received) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = head(&mut stream).await;
        while !request.ends_with("0\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap().into());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        sender.send(request).unwrap();
    });
    let answer = proxy
        .ask(
            "POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\nContent-Length: 60\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let request = received.await.unwrap().to_ascii_lowercase();
    assert!(
        request.contains("transfer-encoding: chunked") && !request.contains("content-length"),
        "{request}"
    );
}

#[tokio::test]
async fn a_stream_of_events_arrives_as_it_is_made() {
    let proxy = Proxy::start(policy(&[], &[("events.test", 8080)]));
    proxy.network.name("events.test", &[&["10.0.0.1"]]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.network.route("10.0.0.1:8080", listener.local_addr().unwrap());
    let (go_on, wait) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        let start = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n6\r\nfirst\n\r\n";
        stream.write_all(start).await.unwrap();
        wait.await.unwrap();
        stream.write_all(b"5\r\nlast\n\r\n0\r\n\r\n").await.unwrap();
    });
    let mut stream = proxy.open().await;
    let request =
        b"GET http://events.test:8080/ HTTP/1.1\r\nHost: events.test:8080\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    head(&mut stream).await;
    let mut first = [0; 9];
    soon("the first event", stream.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"6\r\nfirst\n");
    go_on.send(()).unwrap();
    let mut rest = String::new();
    soon("the last event", stream.read_to_string(&mut rest)).await.unwrap();
    assert!(rest.contains("last\n"), "{rest}");
    server.await.unwrap();
}
