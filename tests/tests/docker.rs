//! The Docker wall: attacks from inside, and its networks.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::OutputStream;
use cordon_tests::harness::{Host, attack, denials, need_image, output, skipped, wait_until};
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
    time::Duration,
};

const IMAGE: &str = "debian:bookworm-slim";

fn agent(cwd: &str, script: &str, more: &str) -> String {
    let script = serde_json::Value::from(script);
    format!(
        "agents:\n  - id: worker\n    backend:\n      type: command\n      cwd: {cwd}\n      command_line_execution_mode: docker\n      command_line_docker_image: {IMAGE}\n{more}      command: [bash, -c, {script}]\n"
    )
}

async fn run(host: &Host, name: &str, text: &str) -> (String, Vec<cordon_proto::v1::Event>) {
    let file = host.agent_file(name, text);
    let _ = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(0);
    let mut api = host.api().await;
    let mut runs = api.list().await;
    runs.sort_by_key(|r| r.started_unix_ms);
    let events = api.events(&runs.last().unwrap().id, false).await;
    (String::from_utf8_lossy(&output(&events, OutputStream::Stdout)).into_owned(), events)
}

#[tokio::test]
async fn an_enemy_inside_gets_nowhere() {
    if skipped("docker") {
        return;
    }
    need_image(IMAGE);
    let host = Host::start();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let outside = host.tree("outside");
    let canary = host.path("home").join("canary");
    host.put(&canary, "token-77aa");
    for network in ["none", "bridge"] {
        let ws = host.tree(&format!("ws-{network}"));
        let script = attack::script(&attack::Targets {
            canary: &canary,
            outside: &outside,
            port: listener.local_addr().unwrap().port(),
        });
        let more = format!("      command_line_docker_network_mode: {network}\n");
        let (out, _) = run(&host, "a.yaml", &agent(&ws.display().to_string(), &script, &more)).await;
        assert!(out.contains("ATTACKS DONE"), "{network}: {out}");
        assert!(!out.contains("LEAK"), "{network}: {out}");
        assert!(!out.contains("token-77aa"));
        assert!(out.contains("NoNewPrivs:\t1") && out.contains("CapBnd:\t0000000000000000"), "{out}");
        assert!(listener.accept().is_err(), "{network}: somebody connected to a service of the host");
    }
}

#[tokio::test]
async fn a_bridge_reaches_no_host_service_and_no_neighbour_but_what_is_granted() {
    if skipped("docker") {
        return;
    }
    need_image(IMAGE);
    let host = Host::start();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    // A neighbour with an open port: another container on another bridge.
    let neighbour = Command::new("docker")
        .args(["run", "-d", "--rm", "--label", "cordon-test=neighbour", IMAGE])
        .args([
            "perl",
            "-MSocket",
            "-e",
            "socket(S,PF_INET,SOCK_STREAM,0); bind(S,sockaddr_in(7777,INADDR_ANY)); listen(S,5); sleep 300",
        ])
        .output()
        .unwrap();
    assert!(neighbour.status.success(), "{}", String::from_utf8_lossy(&neighbour.stderr));
    let id = String::from_utf8_lossy(&neighbour.stdout).trim().to_owned();
    let address = Command::new("docker")
        .args(["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}", &id])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&address.stdout).trim().to_owned();
    let (neighbour_ip, other_gateway) = text.split_once(' ').unwrap();
    let ws = host.tree("ws");
    let script = format!(
        r#"exec 2>/dev/null
try() {{ timeout 3 bash -c "exec 3<>/dev/tcp/$2/$3" && echo "LEAK $1"; }}
gateway=$(perl -e 'open F,"</proc/net/route"; while(<F>){{@f=split; if($f[1] eq "00000000"){{print join(".",reverse unpack("C4",pack("H8",$f[2])))}}}}')
[ -n "$gateway" ] && echo HAS-ROUTE
try own-gateway $gateway {port}
try own-gateway-ssh $gateway 22
try other-gateway {other_gateway} {port}
try neighbour {neighbour_ip} 7777
try metadata 169.254.169.254 80
cat /proc/net/if_inet6 | grep -v lo$ && echo "LEAK ipv6"
echo end"#
    );
    let more = "      command_line_docker_network_mode: bridge\n";
    let (out, _) = run(&host, "a.yaml", &agent(&ws.display().to_string(), &script, more)).await;
    let _ = Command::new("docker").args(["kill", &id]).output();
    assert!(out.contains("HAS-ROUTE") && out.contains("end"), "{out}");
    assert!(!out.contains("LEAK"), "{out}");
    assert!(listener.accept().is_err());
    // Another test of this file may have a bridge of its own just now.
    let gone = wait_until(Duration::from_secs(120), || {
        let networks =
            printed(Command::new("docker").args(["network", "ls", "-q", "--filter", "label=cordon.run"]));
        let rules =
            |table: &str| printed(Command::new("iptables").args(["-w", "-t", table, "-S"])).to_lowercase();
        networks.is_empty() && !rules("filter").contains("cdn") && !rules("security").contains("cdn")
    });
    assert!(gone, "a network or firewall rules were left behind");
}

fn printed(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[tokio::test]
async fn with_egress_the_proxy_is_the_only_way_out_of_a_container() {
    if skipped("docker") {
        return;
    }
    need_image(IMAGE);
    let host = Host::start();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 1024]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
        }
    });
    let ws = host.tree("ws");
    let ask = |target: &str| {
        format!(
            "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT {target} HTTP/1.1\\r\\nHost: {target}\\r\\n\\r\\n' >&3; head -n 1 <&3; exec 3>&-"
        )
    };
    let script = format!(
        "{}\n{}\n[ $(ls /sys/class/net 2>/dev/null | wc -w) -le 1 ] && echo LOOPBACK-ONLY\nexec 3<>/dev/tcp/127.0.0.1/3128; printf 'GET http://127.0.0.1:{port}/ HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3",
        ask("denied.example:443"),
        ask(&format!("127.0.0.1:{}", port.wrapping_add(1).max(1))),
    );
    let more = format!("      egress:\n        allow: [\"127.0.0.1:{port}\"]\n");
    let (out, events) = run(&host, "a.yaml", &agent(&ws.display().to_string(), &script, &more)).await;
    assert_eq!(out.matches(" 403 ").count(), 2, "{out}");
    assert!(out.contains("hello") && out.contains("LOOPBACK-ONLY"), "{out}");
    let denied = denials(&events);
    assert!(
        denied.iter().any(|d| d.target.contains("denied.example:443")
            && d.layer == "egress"
            && !d.would_allow.is_empty()),
        "{denied:?}"
    );
}
