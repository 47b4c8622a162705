//! What a hostile sandbox can make the proxy hold, and for how long.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{PUBLIC, Proxy, echo, head, policy, soon};
use cordon_egress::ProxyLimits;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

/// A ClientHello with this server name, in one record.
fn hello(name: &str) -> Vec<u8> {
    let block = |data: &[u8]| [&u16::try_from(data.len()).unwrap().to_be_bytes()[..], data].concat();
    let entry = [&[0][..], &block(name.as_bytes())].concat();
    let extension = [&[0, 0][..], &block(&block(&entry))].concat();
    let body = [&[3, 3][..], &[7; 32], &[0], &block(&[0x13, 1]), &[1, 0], &block(&extension)].concat();
    let message = [&[1, 0][..], &block(&body)].concat();
    [&[22, 3, 1][..], &block(&message)].concat()
}

async fn tunnelled(limits: ProxyLimits) -> Proxy {
    let proxy = Proxy::with(policy(&["allowed.test", "allowed.test:8443"], &[("granted.test", 443)]), limits);
    let upstream = echo().await;
    for name in ["allowed.test", "granted.test"] {
        proxy.network.name(name, &[&[PUBLIC]]);
    }
    for port in [80, 443, 8443] {
        proxy.network.route(&format!("8.8.8.8:{port}"), upstream);
    }
    proxy
}

#[tokio::test]
async fn a_server_name_that_agrees_passes_unchanged() {
    let proxy = tunnelled(ProxyLimits::default()).await;
    for (target, bytes) in [
        ("allowed.test:443", hello("Allowed.Test")),
        ("granted.test:443", hello("other.test")),
        ("allowed.test:443", b"SSH-2.0-test\r\n".to_vec()),
    ] {
        let mut tunnel = proxy.tunnel(target).await;
        // In two pieces: the name is not whole in the first.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        tunnel.write_all(first).await.unwrap();
        tunnel.flush().await.unwrap();
        tunnel.write_all(second).await.unwrap();
        let mut back = vec![0; bytes.len()];
        soon("the echo", tunnel.read_exact(&mut back)).await.unwrap();
        assert_eq!(back, bytes);
    }
}

#[tokio::test]
async fn another_server_name_ends_the_tunnel_with_an_alert_and_a_denial() {
    let mut proxy = tunnelled(ProxyLimits::default()).await;
    for target in ["allowed.test:443", "allowed.test:8443"] {
        let mut tunnel = proxy.tunnel(target).await;
        tunnel.write_all(&hello("evil.test")).await.unwrap();
        let mut back = Vec::new();
        soon("the end", tunnel.read_to_end(&mut back)).await.unwrap();
        assert_eq!(back, [21, 3, 3, 0, 2, 2, 112], "a fatal alert and nothing of the upstream");
        let denial = soon("a denial", proxy.refusals.recv()).await.unwrap();
        assert_eq!(denial.target, target);
        assert!(denial.rule.contains("`evil.test`"), "{denial}");
    }
}

#[tokio::test]
async fn a_hello_that_trickles_is_given_up() {
    let mut proxy =
        tunnelled(ProxyLimits { head: Duration::from_millis(200), ..ProxyLimits::default() }).await;
    let mut tunnel = proxy.tunnel("allowed.test:443").await;
    tunnel.write_all(&hello("allowed.test")[..20]).await.unwrap();
    let mut back = Vec::new();
    soon("the end", tunnel.read_to_end(&mut back)).await.unwrap();
    assert!(soon("a denial", proxy.refusals.recv()).await.unwrap().rule.contains("in time"));
}

#[tokio::test]
async fn a_server_may_speak_first() {
    let proxy = Proxy::start(policy(&["allowed.test:22"], &[]));
    proxy.network.name("allowed.test", &[&[PUBLIC]]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.network.route("8.8.8.8:22", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"hi").await.unwrap();
        stream
    });
    let mut tunnel = proxy.tunnel("allowed.test:22").await;
    let mut greeting = [0; 2];
    soon("the greeting", tunnel.read_exact(&mut greeting)).await.unwrap();
    assert_eq!(&greeting, b"hi");
    drop(server.await.unwrap());
    soon("the end", tunnel.read_to_end(&mut Vec::new())).await.unwrap();
}

#[tokio::test]
async fn a_slow_head_is_given_up() {
    let proxy = tunnelled(ProxyLimits { head: Duration::from_millis(200), ..ProxyLimits::default() }).await;
    for start in ["", "C", "CONNECT allowed.test:443 HTTP/1.1\r\nX: "] {
        let mut stream = proxy.open().await;
        stream.write_all(start.as_bytes()).await.unwrap();
        soon("the end", stream.read_to_end(&mut Vec::new())).await.unwrap();
    }
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let proxy = tunnelled(ProxyLimits::default()).await;
    let long = format!("CONNECT allowed.test:443 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("CONNECT allowed.test:443 HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let target = format!("CONNECT {}:443 HTTP/1.1\r\n\r\n", "a".repeat(1 << 20));
    for request in [long, many, target] {
        let answer = proxy.ask(request).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert!(proxy.network.dialled().is_empty());
    proxy.tunnel("allowed.test:443").await;
}

#[tokio::test]
async fn a_quiet_tunnel_ends_and_a_busy_one_does_not() {
    let proxy = tunnelled(ProxyLimits { idle: Duration::from_millis(500), ..ProxyLimits::default() }).await;
    let mut quiet = proxy.tunnel("allowed.test:443").await;
    let mut busy = proxy.tunnel("allowed.test:443").await;
    let ended = quiet.read_u8();
    tokio::pin!(ended);
    let mut turns = 0;
    let result = soon("the end of the quiet one", async {
        loop {
            tokio::select! {
                result = &mut ended => break result,
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    busy.write_all(b"x").await.unwrap();
                    assert_eq!(busy.read_u8().await.unwrap(), b'x');
                    turns += 1;
                }
            }
        }
    })
    .await;
    assert!(result.is_err() && turns > 2, "{result:?} {turns}");
    busy.write_all(b"y").await.unwrap();
    assert_eq!(soon("the echo", busy.read_u8()).await.unwrap(), b'y');
}

#[tokio::test]
async fn connections_beyond_the_bound_are_told_so_and_room_comes_back() {
    let proxy = tunnelled(ProxyLimits { connections: 3, ..ProxyLimits::default() }).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(proxy.tunnel("allowed.test:443").await);
    }
    let mut refused = String::new();
    soon("a 503", proxy.open().await.read_to_string(&mut refused)).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("too many connections"), "{refused}");
    held.pop();
    soon("room", async {
        loop {
            let mut stream = proxy.open().await;
            // It may be closed already: that is the 503 again.
            let _ = stream.write_all(b"CONNECT allowed.test:443 HTTP/1.1\r\n\r\n").await;
            if head(&mut stream).await.starts_with("HTTP/1.1 200 ") {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn three_hundred_idle_connections_leave_the_proxy_working() {
    let proxy = tunnelled(ProxyLimits { head: Duration::from_secs(1), ..ProxyLimits::default() }).await;
    let mut idle = JoinSet::new();
    for _ in 0..300 {
        let mut stream = proxy.open().await;
        idle.spawn(async move {
            let mut answer = String::new();
            // Room runs out for some, and time for the others.
            let _ = stream.read_to_string(&mut answer).await;
            answer
        });
    }
    let answers = soon("the end of all", idle.join_all()).await;
    let turned_away = answers.iter().filter(|a| a.starts_with("HTTP/1.1 503 ")).count();
    assert_eq!(turned_away, 300 - 256);
    proxy.tunnel("allowed.test:443").await;
}

#[tokio::test]
async fn everything_ends_with_the_proxy() {
    let proxy = tunnelled(ProxyLimits::default()).await;
    let mut tunnel = proxy.tunnel("allowed.test:443").await;
    let mut waiting = proxy.open().await;
    proxy.task.abort();
    for stream in [&mut tunnel, &mut waiting] {
        let mut rest = Vec::new();
        let _ = soon("the end", stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn a_reader_that_stops_does_not_grow_memory() {
    let proxy = Proxy::start(policy(&["allowed.test"], &[]));
    proxy.network.name("allowed.test", &[&[PUBLIC]]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.network.route("8.8.8.8:443", listener.local_addr().unwrap());
    let _tunnel = proxy.tunnel("allowed.test:443").await;
    let (mut server, _) = listener.accept().await.unwrap();
    // Nobody reads: what fits into buffers goes, and then no more. Far less than this.
    let flood = vec![0; 64 << 20];
    let sent = tokio::time::timeout(Duration::from_secs(1), server.write_all(&flood)).await;
    assert!(sent.is_err(), "64 MiB went into a tunnel that nobody reads");
}
