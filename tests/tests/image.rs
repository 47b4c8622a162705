//! cordond as an image: it works with the host's engine.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_tests::harness::{Host, User, containers_of, need_image, skipped, wait_until};
use std::{fs, process::Command, time::Duration};

struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", &self.0]).output();
    }
}

#[tokio::test]
async fn cordond_in_a_container_makes_sandboxes_beside_itself() {
    if skipped("docker") || skipped("root") {
        return;
    }
    need_image("cordon/cordond");
    need_image("debian:bookworm-slim");
    let host = Host::without_daemon(User::Tester);
    let state = host.path("state");
    let mount = format!("{0}:{0}", state.display());
    // As the Dockerfile's own comment says, with places of this test.
    let out = Command::new("docker")
        .args([
            "run",
            "-d",
            "--pid=host",
            "--network=host",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
        ])
        .args(["--cap-add=CHOWN", "--cap-add=DAC_OVERRIDE", "--cap-add=FOWNER"])
        .args(["--cap-add=NET_ADMIN", "--cap-add=NET_RAW"])
        .args(["-v", "/var/run/docker.sock:/var/run/docker.sock", "-v", &mount, "cordon/cordond"])
        .arg("--state-dir")
        .arg(&state)
        .arg("--socket")
        .arg(host.socket())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let container = Container(String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let answers = wait_until(Duration::from_secs(30), || {
        std::os::unix::net::UnixStream::connect(host.socket()).is_ok()
    });
    let log = || {
        let out = Command::new("docker").args(["logs", &container.0]).output().unwrap();
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    assert!(answers, "{}", log());
    for network in ["none", "bridge"] {
        let file = host.agent_file(
            "a.yaml",
            &format!(
                "agents:\n  - id: a\n    backend:\n      type: command\n      cwd: {network}\n      command_line_execution_mode: docker\n      command_line_docker_image: debian:bookworm-slim\n      command_line_docker_network_mode: {network}\n      command: [bash, -c, \"echo made inside > made; id -u\"]\n"
            ),
        );
        let ran = host.cordon(["run", file.to_str().unwrap(), "--no-start", "x"]);
        assert_eq!(ran.code, 0, "{network}: {}{}\n{}", ran.stdout, ran.stderr, log());
        let made = state.join("workspaces/0").join(network).join("made");
        assert_eq!(fs::read_to_string(made).unwrap(), "made inside\n");
    }
    for run in host.api().await.list().await {
        assert!(containers_of(&run.id).is_empty());
    }
    let _ = host.cordon(["daemon", "stop", "--stop-runs", "--no-start"]).expect_code(0);
}
