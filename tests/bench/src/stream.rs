use crate::{report::Report, spec::IMAGE};
use cordon_proto::v1::{WatchRunRequest, event::Kind};
use cordon_tests::harness::Host;
use std::{
    io::Read as _,
    process::{Command, Stdio},
    time::Instant,
};

const BYTES: usize = 64 << 20;
const PRODUCER: &str = "yes 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789 | head -c 67108864";

fn drain(command: &mut Command) -> f64 {
    let from = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    let out = child.stdout.as_mut().unwrap();
    loop {
        match out.read(&mut buffer).unwrap() {
            0 => break,
            n => total += n,
        }
    }
    child.wait().unwrap();
    assert_eq!(total, BYTES);
    rate(from)
}

#[allow(clippy::cast_precision_loss)]
fn rate(from: Instant) -> f64 {
    (BYTES as f64 / 1e6) / from.elapsed().as_secs_f64()
}

/// 64 MB of lines from the agent's standard output to a client of the API, through the
/// journal; from the first byte seen to the last.
pub(crate) async fn output(report: &mut Report, rounds: usize) {
    const ROW: &str = "agent output to client, 64 MB";
    let host = Host::start();
    let script = serde_json::Value::from(format!("{PRODUCER}; true"));
    let text = format!(
        "agents:\n  - id: a\n    backend:\n      type: command\n      command: [bash, -c, {script}]\n"
    );
    let file = host.agent_file("a.yaml", &text);
    let mut api = host.api().await;
    for _ in 0..rounds {
        report.add(ROW, "a pipe", drain(Command::new("bash").args(["-c", PRODUCER])), "MB/s");
        let attach = drain(Command::new("docker").args([
            "run",
            "--rm",
            "--network",
            "none",
            IMAGE,
            "bash",
            "-c",
            PRODUCER,
        ]));
        report.add(ROW, "docker run attached, default log driver (start included)", attach, "MB/s");
        let before: Vec<_> = api.list().await.into_iter().map(|r| r.id).collect();
        let mut client = host.spawn(["run", file.to_str().unwrap(), "--detach", "x"]);
        client.wait().unwrap();
        let run = api.list().await.into_iter().find(|r| !before.contains(&r.id)).expect("a new run");
        let request = WatchRunRequest { id: run.id.clone(), from_seq: 0, follow: true };
        let mut stream = api.runs.watch_run(request).await.unwrap().into_inner();
        let (mut total, mut from) = (0, None);
        while let Some(event) = stream.message().await.unwrap() {
            if let Some(Kind::Output(output)) = event.kind {
                from.get_or_insert_with(Instant::now);
                total += output.data.len();
            }
        }
        assert_eq!(total, BYTES);
        report.add(ROW, "cordon: guest, journal, client", rate(from.unwrap()), "MB/s");
    }
}
