//! The loopback ports and the daemon's side of them.

use super::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixListener},
};

async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn the_proxy_port_carries_both_ways_and_half_closes() {
    let port = free_port().await;
    let fixture = Fixture::with(|settings| settings.proxy_port = Some(port)).await;
    let daemon = UnixListener::bind(fixture.directory.path().join("egress.sock")).unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let (mut served, _) = daemon.accept().await.unwrap();
    let mut question = String::new();
    served.read_to_string(&mut question).await.unwrap();
    assert_eq!(question, "question");
    served.write_all(b"answer").await.unwrap();
    drop(served);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "answer");
}

#[tokio::test]
async fn a_daemon_that_is_away_is_a_bad_gateway() {
    let port = free_port().await;
    let _fixture = Fixture::with(|settings| settings.proxy_port = Some(port)).await;
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 502 "));
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head} {}", body.len());
}

#[tokio::test]
async fn a_forward_asks_for_its_one_target() {
    let port = free_port().await;
    let forwards = vec![(port, "db.test:5432".to_owned())];
    let fixture = Fixture::with(|settings| settings.forwards = forwards).await;
    let daemon = UnixListener::bind(fixture.directory.path().join("egress.sock")).unwrap();
    for (reply, expected) in [
        (&b"HTTP/1.1 200 OK\r\n\r\nearly"[..], "early"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\nno", ""),
        (&[b'x'; 9000], ""),
    ] {
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut served, _) = daemon.accept().await.unwrap();
        let mut request = vec![0; 256];
        let count = served.read(&mut request).await.unwrap();
        assert_eq!(&request[..count], b"CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\n\r\n");
        // Fails when the guest has had enough of it already.
        let _ = served.write_all(reply).await;
        drop(served);
        let mut answer = Vec::new();
        // Refused, the connection may also be reset.
        let _ = client.read_to_end(&mut answer).await;
        assert_eq!(answer, expected.as_bytes());
    }
}

#[tokio::test]
async fn strangers_are_not_answered() {
    // Not the first process of a namespace: nobody can be told to be outside.
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings::new(&boot(directory.path())).unwrap();
    let listeners = bind(&settings).unwrap();
    let confinement = Confinement { landlock_abi: 0, landlock_enforced: false };
    tokio::spawn(serve(settings, confinement, listeners, Peers::Outside, std::sync::Arc::default()));
    let guest = Guest::connect("s1", directory.path(), None).await;
    assert!(match guest {
        Ok(guest) => guest.hello().await.is_err(),
        Err(_) => true,
    });
}
