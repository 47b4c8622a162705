//! Images that runs have made for them. Nothing leaves this machine: the package index is a
//! directory in a test's own image, and what stands in for pip and npm comes out of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, OutputStream, event::Kind};
use cordon_tests::harness::{Host, Index, done, need_image, output, skipped};
use std::{path::Path, process::Command, sync::Once};

const IMAGE: &str = "cordon-test/packages:latest";

/// The base with an index of its own; one for all tests, as another would take its name away.
fn make_image() {
    static MADE: Once = Once::new();
    MADE.call_once(build_image);
}

fn build_image() {
    let say = |path: &str| format!("#!/bin/sh\nmkdir -p /opt/said\nprintf '<%s>' \"$@\" > {path}\n");
    let pip = "import os, sys\nos.makedirs('/opt/said', exist_ok=True)\nopen('/opt/said/pip', 'w').write(''.join(f'<{a}>' for a in sys.argv[1:]))\n";
    let mut index = Index::new();
    index.deb("cordon-hello", "/usr/bin/cordon-hello", "#!/bin/sh\necho hello\n");
    index.deb("npm", "/usr/bin/npm", &say("/opt/said/npm"));
    index.deb("python3-pip", "/usr/lib/python3/dist-packages/pip/__main__.py", pip);
    index.build("cordon/base:latest", IMAGE);
}

fn agent(cwd: &Path, preinstall: &str, script: &str) -> String {
    format!(
        "agents:\n  - id: worker\n    backend:\n      type: command\n      cwd: {}\n      command_line_execution_mode: docker\n      command_line_docker_image: {IMAGE}\n      command_line_docker_network_mode: none\n      command_line_docker_packages:\n        preinstall: {preinstall}\n      command: [bash, -c, {}]\n",
        cwd.display(),
        serde_json::Value::from(script)
    )
}

fn built(events: &[Event]) -> usize {
    let begun =
        |e: &&Event| matches!(&e.kind, Some(Kind::Progress(p)) if p.what.starts_with("building image"));
    events.iter().filter(begun).count()
}

async fn events_of_all(host: &Host) -> Vec<Vec<Event>> {
    let mut api = host.api().await;
    let mut runs = api.list().await;
    runs.sort_by_key(|r| r.started_unix_ms);
    let mut all = Vec::new();
    for run in runs {
        all.push(api.events(&run.id, false).await);
    }
    all
}

/// A name in the index that no other test's content has.
fn derived() -> Vec<String> {
    let listed = done(Command::new("docker").args([
        "images",
        "--filter",
        &format!("label=cordon.derived.from={IMAGE}"),
        "--format",
        "{{.ID}}",
    ]));
    listed.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn packages_are_installed_once_whatever_they_are_called() {
    if skipped("docker") {
        return;
    }
    make_image();
    for old in derived() {
        done(Command::new("docker").args(["rmi", "-f", &old]));
    }
    let host = Host::start();
    let preinstall = r#"{system: [cordon-hello], python: ["six[a]>=1,<2"], npm: ["@scope/tool@^1.2"]}"#;
    let script = "cordon-hello; cat /opt/said/pip /opt/said/npm";
    let files = ["one", "two"].map(|name| {
        let text = agent(&host.tree(name), preinstall, script);
        host.agent_file(&format!("{name}.yaml"), &text)
    });
    // At the same time: one builds, the other waits for it.
    let both: Vec<_> = files.iter().map(|file| host.spawn(["run", file.to_str().unwrap(), "x"])).collect();
    for mut child in both {
        assert!(child.wait().unwrap().success(), "{}", host.log());
    }
    let all = events_of_all(&host).await;
    assert_eq!(all.iter().map(|events| built(events)).sum::<usize>(), 1);
    for events in &all {
        let out = output(events, OutputStream::Stdout);
        let out = String::from_utf8_lossy(&out);
        assert!(out.starts_with("hello\n"), "{out}");
        assert!(out.contains("<--><six[a]>=1,<2>"), "{out}");
        assert!(out.contains("<--><@scope/tool@^1.2>"), "{out}");
    }
    assert_eq!(derived().len(), 1);

    let _ = host.cordon(["run", files[0].to_str().unwrap(), "x"]).expect_code(0);
    assert_eq!(built(events_of_all(&host).await.last().unwrap()), 0, "it was built again");

    let listed = host.cordon(["images", "ls", "--output", "json"]).expect_code(0);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let own = listed.as_array().unwrap().iter().find(|i| i["from"] == IMAGE).unwrap();
    assert_eq!(own["packages"], "system: cordon-hello; python: six[a]>=1,<2; npm: @scope/tool@^1.2");
    let _ = host.cordon(["images", "gc"]).expect_code(0);
    assert_eq!(derived(), Vec::<String>::new());
}

#[tokio::test]
async fn a_package_that_cannot_be_had_refuses_the_run_by_its_name() {
    if skipped("docker") {
        return;
    }
    make_image();
    let host = Host::start();
    let text = agent(&host.tree("ws"), "{system: [cordon-hello, cordon-missing]}", "echo ran");
    let file = host.agent_file("a.yaml", &text);
    let ran = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(3);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("preinstall (cordon-missing)"), "{said}");
    assert!(said.contains("E: Unable to locate package cordon-missing"), "{said}");
    assert!(!said.contains("| ran"), "{said}");
}

#[tokio::test]
async fn what_is_no_name_of_a_package_never_gets_to_a_builder() {
    if skipped("docker") {
        return;
    }
    need_image("cordon/base:latest");
    let host = Host::start();
    let ws = host.tree("ws");
    for bad in ["--allow-unauthenticated", "jq;id", "$(id)", "`id`", "jq\\nRUN id", "../x.deb", "x\\\\"] {
        for kind in ["system", "python", "npm"] {
            let preinstall = format!("{{{kind}: [\"{bad}\"]}}");
            let file = host.agent_file("bad.yaml", &agent(&ws, &preinstall, "true"));
            let ran = host.cordon(["run", file.to_str().unwrap(), "x"]);
            assert!(ran.code != 0, "{kind} {bad}: {}", ran.stdout);
            assert!(!ran.stdout.contains("building image"), "{kind} {bad}: {}", ran.stdout);
        }
    }
}
