use crate::report::Report;
use cordon_proto::v1::VersionRequest;
use cordon_tests::harness::{Host, User, wait_until};
use std::{
    fs,
    time::{Duration, Instant},
};

/// Resident and proportional memory of a process, MB.
pub(crate) fn memory(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kb = |name: &str| {
        text.lines()
            .find_map(|l| l.strip_prefix(name))
            .and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    kb("Pss:") / 1024.0
}

/// The guests of this host's sandboxes, and what they are besides: servers of tools.
pub(crate) fn guests(host: &Host) -> Vec<u32> {
    let state = host.path("state").display().to_string();
    let of = |pid: &u32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| of(pid, "comm").starts_with("cordon-guest") && of(pid, "mountinfo").contains(&state))
        .collect()
}

/// Start of the daemon to its first answer; memory idle, and with idle sandboxes.
pub(crate) async fn start_and_memory(report: &mut Report, rounds: usize) {
    for _ in 0..rounds {
        let mut host = Host::without_daemon(User::Tester);
        let from = Instant::now();
        host.start_daemon();
        let mut api = host.api().await;
        api.system.version(VersionRequest {}).await.unwrap();
        report.time("daemon, start to first RPC", "cordond", from.elapsed());
        report.add("daemon, idle memory (PSS)", "cordond", memory(host.daemon_pid()), "MB");
    }
    const SANDBOXES: usize = 10;
    let host = Host::start();
    let before = memory(host.daemon_pid());
    let file = host.agent_file(
        "a.yaml",
        "agents:\n  - id: a\n    backend:\n      type: command\n      command: [bash, -c, \"touch started; exec sleep 600\"]\n",
    );
    for _ in 0..SANDBOXES {
        let mut client = host.spawn(["run", file.to_str().unwrap(), "--detach", "x"]);
        client.wait().unwrap();
    }
    assert!(wait_until(Duration::from_secs(60), || guests(&host).len() >= SANDBOXES));
    let each: f64 = guests(&host).iter().map(|pid| memory(*pid)).sum::<f64>();
    #[allow(clippy::cast_precision_loss)]
    let per = (memory(host.daemon_pid()) - before + each) / SANDBOXES as f64;
    report.add("per idle local sandbox, guest and daemon's share (PSS)", "cordon", per.max(0.0), "MB");
}
