use crate::{harness::*, needs_runsc};
use cordon_egress::EgressPolicy;
use cordon_sandbox::{Network, Runtime, SandboxSpec, Wall};
use std::net::{IpAddr, SocketAddr};
use tokio::{net::TcpListener, sync::mpsc};

fn spec(fixture: &Fixture, id: &str) -> SandboxSpec {
    let mut spec = fixture.spec(id);
    spec.runtime = Runtime::Gvisor;
    spec.image = Some("cordon/base:latest".to_owned());
    // Its kernel's own threads count too.
    spec.limits.pids = 512;
    spec.limits.memory_bytes = 1 << 30;
    spec
}

/// An address of this host that is not loopback.
fn own_address() -> IpAddr {
    // Nothing is sent: the kernel only chooses the way.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("198.51.100.1:9").unwrap();
    socket.local_addr().unwrap().ip()
}

#[tokio::test]
async fn a_sandbox_in_gvisor_agrees_with_its_policy() {
    needs_runsc!();
    let fixture = Fixture::new();
    let sandbox = fixture.create(&spec(&fixture, "g1")).await.unwrap();
    let kernel = sandbox.findings.iter().find(|f| f.check == "kernel").unwrap();
    assert!(kernel.ok, "{kernel:?}");
    let script = format!(
        "id -u; echo hi > {0}/made && cat {0}/made; cat /etc/shadow; echo x > /etc/x; cat /root/.bashrc; \
         mount -t tmpfs none /tmp; unshare -Urm true; dmesg; echo $(tr '\\0' ' ' < /proc/1/cmdline)",
        fixture.work().display()
    );
    let outcome = bash(&sandbox, &script).await;
    assert!(outcome.text.contains("4242\nhi\n"), "{outcome:?}");
    assert!(outcome.text.contains("cordon-guest serve"), "{outcome:?}");
    assert!(!outcome.text.contains("root:"), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(fixture.work().join("made")).unwrap(), "hi\n");
    fixture.wall.destroy(&sandbox.record).await.unwrap();
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn nobody_inside_stands_in_for_the_guest_or_for_the_daemon() {
    needs_runsc!();
    let fixture = Fixture::new();
    let sandbox = fixture.create(&spec(&fixture, "g2")).await.unwrap();
    let script = r#"
        exec 2>&1
        mv /run/cordon/daemon.sock /run/cordon/other || echo kept
        rm -f /run/cordon/daemon.sock || echo kept
        touch /run/cordon/guest.sock || echo kept
        head -c 1 /proc/1/mem || echo hidden
        python3 - <<'P'
import socket
for said in (b"\0", b"\1" + bytes(32), b"\2"):
    s = socket.socket(socket.AF_UNIX)
    s.connect("/run/cordon/daemon.sock")
    s.sendall(said)
    print("answer", s.recv(64))
P
    "#;
    let outcome = bash(&sandbox, script).await;
    assert_eq!(outcome.text.matches("\nkept\n").count(), 3, "{outcome:?}");
    assert!(outcome.text.contains("\nhidden\n"), "{outcome:?}");
    assert_eq!(outcome.text.matches("answer b''\n").count(), 3, "{outcome:?}");
    fixture.wall.destroy(&sandbox.record).await.unwrap();
}

#[tokio::test]
async fn a_daemon_that_starts_again_finds_the_sandbox_and_what_runs_in_it() {
    needs_runsc!();
    let fixture = Fixture::new();
    let sandbox = fixture.create(&spec(&fixture, "g3")).await.unwrap();
    assert_eq!(bash(&sandbox, "echo one > /tmp/kept; echo ok").await.text, "ok\n");
    let record = sandbox.record.clone();
    drop(sandbox);
    let (denials, _) = mpsc::channel(16);
    let again = fixture.wall.reattach(&record, denials).await.unwrap();
    assert_eq!(bash(&again, "cat /tmp/kept").await.text, "one\n");
    fixture.wall.destroy(&record).await.unwrap();
}

#[tokio::test]
async fn from_gvisor_neither_host_nor_neighbour_answers() {
    needs_runsc!();
    let fixture = Fixture::new();
    let granted_listener = TcpListener::bind((own_address(), 0)).await.unwrap();
    let granted = granted_listener.local_addr().unwrap();
    let wildcard = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let port = wildcard.local_addr().unwrap().port();
    let mut bridged = spec(&fixture, "g4");
    bridged.network = Network::Bridge { granted: vec![granted] };
    let sandbox = fixture.create(&bridged).await.unwrap();
    let connects = |address: SocketAddr| {
        let (ip, port) = (address.ip(), address.port());
        format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{ip}/{port}' 2>&1")
    };
    let outcome = bash(&sandbox, &connects(granted)).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for ip in [own_address(), [127, 0, 0, 1].into(), [172, 17, 0, 1].into()] {
        let outcome = bash(&sandbox, &connects((ip, port).into())).await;
        assert_ne!(outcome.code, Some(0), "{ip}: {outcome:?}");
    }
    let raw = "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'; \
               python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'; cat /proc/net/if_inet6";
    let outcome = bash(&sandbox, raw).await;
    assert_eq!(outcome.text.matches("Error: [Errno").count(), 2, "{outcome:?}");
    fixture.wall.destroy(&sandbox.record).await.unwrap();
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn egress_is_the_way_out_of_gvisor_too() {
    needs_runsc!();
    let fixture = Fixture::new();
    let mut closed = spec(&fixture, "g5");
    closed.egress = Some(EgressPolicy { allow: Vec::new(), grants: Vec::new() });
    let sandbox = fixture.create(&closed).await.unwrap();
    let outcome = bash(&sandbox, "curl -sS -o /dev/null -w '%{http_code}' http://example.test/ 2>&1").await;
    assert_eq!(outcome.text, "403", "{outcome:?}");
    fixture.wall.destroy(&sandbox.record).await.unwrap();
}

#[tokio::test]
async fn the_hosts_network_is_refused_under_gvisor() {
    needs_runsc!();
    let fixture = Fixture::new();
    let mut shared = spec(&fixture, "g6");
    shared.network = Network::Host;
    let error = fixture.create(&shared).await.unwrap_err();
    assert!(error.is_refusal(), "{error}");
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}
