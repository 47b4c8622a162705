use crate::{
    report::Report,
    spec::{create, first_byte, spawn_first_byte, spec},
};
use cordon_sandbox::{LocalOptions, LocalWall, Wall as _};
use cordon_tests::harness::{bin, codex};
use std::{os::unix::fs::chown, process::Command, time::Instant};

fn wall(state: &std::path::Path) -> LocalWall {
    LocalWall::new(LocalOptions { state: state.to_path_buf(), guest: bin().join("cordon-guest") })
}

/// A sandbox from nothing to the first byte of `/bin/echo hi`.
pub(crate) async fn start(report: &mut Report, rounds: usize) {
    const ROW: &str = "local sandbox, start to first byte";
    let dir = tempfile::tempdir().unwrap();
    let workspace = dir.path().join("ws").to_path_buf();
    std::fs::create_dir(&workspace).unwrap();
    chown(&workspace, Some(65_534), Some(65_534)).unwrap();
    let wall = wall(dir.path());
    let codex = codex();
    // Codex refuses a home below /tmp.
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    for round in 0..rounds {
        report.time(ROW, "bare spawn", spawn_first_byte(Command::new("/bin/echo").arg("hi")));
        let mut bwrap = Command::new("bwrap");
        bwrap.args([
            "--unshare-all",
            "--ro-bind",
            "/",
            "/",
            "--dev",
            "/dev",
            "--proc",
            "/proc",
            "/bin/echo",
            "hi",
        ]);
        report.time(ROW, "bwrap --unshare-all", spawn_first_byte(&mut bwrap));
        let mut sandbox = Command::new(&codex);
        sandbox.args(["sandbox", "/bin/echo", "hi"]).env("CODEX_HOME", home.path()).current_dir("/tmp");
        report.time(ROW, "codex sandbox", spawn_first_byte(&mut sandbox));
        let id = format!("benchlocal{round}");
        let from = Instant::now();
        let made = create(&wall, &spec(&id, &workspace, None)).await;
        let took = first_byte(&made, "p", &["/bin/echo", "hi"], from).await;
        report.time(ROW, "cordon, probe included", took);
        wall.destroy(&made.record).await.unwrap();
    }
}

/// `/bin/echo hi` in a sandbox that is already there.
pub(crate) async fn warm(report: &mut Report, rounds: usize) {
    const ROW: &str = "command in a warm sandbox, local";
    let dir = tempfile::tempdir().unwrap();
    let workspace = dir.path().join("ws").to_path_buf();
    std::fs::create_dir(&workspace).unwrap();
    chown(&workspace, Some(65_534), Some(65_534)).unwrap();
    let wall = wall(dir.path());
    let made = create(&wall, &spec("benchwarm", &workspace, None)).await;
    for round in 0..rounds {
        report.time(ROW, "bare spawn", spawn_first_byte(Command::new("/bin/echo").arg("hi")));
        let took = first_byte(&made, &format!("p{round}"), &["/bin/echo", "hi"], Instant::now()).await;
        report.time(ROW, "cordon", took);
    }
    wall.destroy(&made.record).await.unwrap();
}
