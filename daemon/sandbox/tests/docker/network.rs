use crate::{harness::*, needs_docker};
use cordon_sandbox::{Network, Sandbox, Wall, WallRecord};
use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
};
use tokio::net::TcpListener;

fn address_of(record: &WallRecord) -> IpAddr {
    let WallRecord::Docker { container, .. } = record else { panic!("{record:?}") };
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}";
    let text = output(Command::new("docker").args(["inspect", "--format", format, container]));
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn gateway_of(record: &WallRecord) -> IpAddr {
    let WallRecord::Docker { container, .. } = record else { panic!("{record:?}") };
    let format = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}";
    let text = output(Command::new("docker").args(["inspect", "--format", format, container]));
    text.trim().parse().unwrap()
}

/// An address of this host that is not loopback.
fn own_address() -> IpAddr {
    // Nothing is sent: the kernel only chooses the way.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("198.51.100.1:9").unwrap();
    socket.local_addr().unwrap().ip()
}

async fn connects(sandbox: &Sandbox, address: SocketAddr) -> Outcome {
    let script =
        format!("exec 2>&1; timeout 5 bash -c 'exec 3<>/dev/tcp/{}/{}'", address.ip(), address.port());
    bash(sandbox, &script).await
}

#[tokio::test]
async fn without_a_network_nothing_answers() {
    needs_docker!();
    let fixture = Fixture::new();
    let listener = TcpListener::bind((own_address(), 0)).await.unwrap();
    let sandbox = fixture.create(&fixture.spec("none1")).await.unwrap();
    assert_ne!(connects(&sandbox, listener.local_addr().unwrap()).await.code, Some(0));
    fixture.wall.destroy(&sandbox.record).await.unwrap();
}

#[tokio::test]
async fn from_a_bridge_only_what_is_granted_of_the_host_answers() {
    needs_docker!();
    let fixture = Fixture::new();
    let granted_listener = TcpListener::bind((own_address(), 0)).await.unwrap();
    let granted = granted_listener.local_addr().unwrap();
    let other = TcpListener::bind((own_address(), 0)).await.unwrap();
    let wildcard = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let mut spec = fixture.spec("bridge1");
    spec.network = Network::Bridge { granted: vec![granted] };
    let sandbox = fixture.create(&spec).await.unwrap();

    let reached = connects(&sandbox, granted).await;
    assert_eq!(reached.code, Some(0), "{reached:?}");
    let port = wildcard.local_addr().unwrap().port();
    let mut closed = vec![other.local_addr().unwrap(), (own_address(), port).into()];
    closed.push((gateway_of(&sandbox.record.wall), port).into());
    for address in closed {
        let outcome = connects(&sandbox, address).await;
        // Refused, and at once: what is denied does not look like a hang.
        assert!(outcome.code == Some(1) && outcome.text.contains("refused"), "{address}: {outcome:?}");
    }
    let metadata = connects(&sandbox, ([169, 254, 169, 254], 80).into()).await;
    assert_eq!(metadata.code, Some(1), "{metadata:?}");
    let v6 = bash(&sandbox, "cat /proc/net/if_inet6 | grep -v ' lo$'").await;
    assert_eq!(v6.text, "", "there is IPv6 inside");

    let WallRecord::Docker { chains, network, .. } = sandbox.record.wall.clone() else { panic!() };
    assert!(network.is_some() && chains.iter().all(|c| rules().contains(c)));
    fixture.wall.destroy(&sandbox.record).await.unwrap();
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
    assert!(chains.iter().all(|c| !rules().contains(c)), "{}", rules());
    assert!(!rules().lines().any(|l| l.contains("cdn") && l.contains(&chains[0][12..24])), "{}", rules());
}

#[tokio::test]
async fn sandboxes_do_not_reach_each_other() {
    needs_docker!();
    let fixture = Fixture::new();
    let mut specs = [fixture.spec("peer1"), fixture.spec("peer2")];
    for spec in &mut specs {
        spec.network = Network::Bridge { granted: Vec::new() };
    }
    let (one, two) = (fixture.create(&specs[0]).await.unwrap(), fixture.create(&specs[1]).await.unwrap());
    // The guest of the second listens there, and it does answer itself.
    let script = "perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(LocalAddr=>\"0.0.0.0\",LocalPort=>7777,Listen=>5) or die; open F,\">/tmp/up\"; close F; while($c=$s->accept){close $c}' & for i in $(seq 100); do [ -e /tmp/up ] && break; sleep 0.05; done; exec 3<>/dev/tcp/127.0.0.1/7777 && echo up";
    assert_eq!(bash(&two, script).await.text, "up\n");
    let address: SocketAddr = (address_of(&two.record.wall), 7777).into();
    let own = connects(&two, address).await;
    assert_eq!(own.code, Some(0), "{own:?}");
    let other = connects(&one, address).await;
    assert_eq!(other.code, Some(1), "{other:?}");
    for sandbox in [one, two] {
        fixture.wall.destroy(&sandbox.record).await.unwrap();
    }
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}
