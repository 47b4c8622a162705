//! The way out of the local wall: ordinary programs through the proxy, and nothing beside it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::OutputStream;
use cordon_tests::harness::{Host, User, denials, output, skipped};
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A loopback address that no `NO_PROXY` names.
const ADDRESS: &str = "127.0.0.2";

struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    fn start(dir: &Path) -> Self {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/registry.py");
        let mut child = Command::new("python3")
            .arg(script)
            .arg(dir)
            .arg(ADDRESS)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3, git and openssl are needed: run `make test`");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port =
            line.trim().parse().unwrap_or_else(|_| panic!("the test's server did not start: {line:?}"));
        Self { child, port }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn users() -> Vec<User> {
    if skipped("root") { vec![User::Tester] } else { vec![User::Tester, User::Ordinary] }
}

#[tokio::test]
async fn ordinary_programs_work_through_the_proxy_and_only_through_it() {
    for user in users() {
        let host = Host::start_as(user);
        let ws = host.tree("ws");
        let registry = Registry::start(&host.path("bin"));
        let port = registry.port;
        let ca = ws.join("ca.pem");
        host.put(&ca, std::fs::read(host.path("bin/ca.pem")).unwrap());
        let base = format!("https://{ADDRESS}:{port}");
        let ca = ca.display();
        let script = format!(
            r#"
export CURL_CA_BUNDLE={ca} GIT_SSL_CAINFO={ca} PIP_CERT={ca} npm_config_cafile={ca}
set -x
curl -sS {base}/hello
git clone -q {base}/repo.git clone && cat clone/README
/usr/bin/python3 -m pip --disable-pip-version-check install -q --target py --index-url {base}/simple cordondemo && PYTHONPATH=py /usr/bin/python3 -c 'import cordondemo; print(cordondemo.VALUE)'
mkdir n && cd n && npm install --silent --no-audit --no-fund --registry {base}/ cordondemo && node -e 'console.log(require("cordondemo"))'; cd ..
# Beside the proxy there is no way.
curl -sS --noproxy '*' --max-time 5 {base}/hello && echo LEAK direct
getent hosts example.com && echo LEAK dns
timeout 2 bash -c 'exec 3<>/dev/udp/127.0.0.2/{port}; echo x >&3; head -c1 <&3' && echo LEAK udp
curl -sS --max-time 5 -o /dev/null -w '%{{http_connect}}\n' https://not-allowed.example/ || echo REFUSED
curl -sS --max-time 5 -o /dev/null -w '%{{http_connect}}\n' https://169.254.169.254/ || echo REFUSED
curl -sS --max-time 5 -o /dev/null -w '%{{http_connect}}\n' https://[::1]:{port}/ --noproxy x || echo REFUSED
curl -sS --max-time 5 http://not-allowed.example/
echo end
"#
        );
        let script = serde_json::Value::from(script);
        let text = format!(
            "agents:\n  - id: worker\n    backend:\n      type: command\n      cwd: {}\n      egress:\n        allow: [\"{ADDRESS}:{port}\"]\n      command: [bash, -c, {script}]\n",
            ws.display()
        );
        let file = host.agent_file("a.yaml", &text);
        let _ = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(0);
        let mut api = host.api().await;
        let run = api.only_run().await;
        let events = api.events(&run.id, false).await;
        let out = String::from_utf8_lossy(&output(&events, OutputStream::Stdout)).into_owned();
        let err = String::from_utf8_lossy(&output(&events, OutputStream::Stderr)).into_owned();
        for word in ["hello through the proxy", "a repository", "from the wheel", "from the tarball", "end"] {
            assert!(out.contains(word), "{user:?} {word:?}\n{out}\n{err}");
        }
        assert!(!out.contains("LEAK"), "{user:?}\n{out}\n{err}");
        assert_eq!(out.matches("REFUSED").count(), 3, "{out}\n{err}");
        assert!(out.contains("not-allowed.example"), "the refusal says what was refused: {out}");
        let denied = denials(&events);
        for target in ["not-allowed.example:443", "169.254.169.254:443", "not-allowed.example:80"] {
            let denial = denied.iter().find(|d| d.target == target);
            assert!(
                denial.is_some_and(|d| d.layer == "egress" && d.operation == "connect"),
                "{target}: {denied:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_empty_list_and_no_list_both_allow_nothing() {
    let host = Host::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for egress in ["", "      egress:\n        allow: []\n"] {
        let script = serde_json::Value::from(format!(
            "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT 127.0.0.1:{port} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3; head -n 1 <&3"
        ));
        let text = format!(
            "agents:\n  - id: worker\n    backend:\n      type: command\n{egress}      command: [bash, -c, {script}]\n"
        );
        let file = host.agent_file("a.yaml", &text);
        let ran = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(0);
        assert!(ran.stdout.contains(" 403 "), "{}", ran.stdout);
    }
    assert!(listener.accept().is_err());
}
