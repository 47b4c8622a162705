use super::*;
use std::process::{Command, Stdio};

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// `cargo test --release -p cordon-tools --lib speed -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a test"]
async fn speed() {
    let w = World::new();
    let login = {
        run(&w, "true").await;
        w.tools.state().bash.login.get().unwrap().clone()
    };
    let bare = || {
        let mut command = Command::new(&login.shell.program);
        command.args(["-c", "echo hi"]).env_clear().envs(&login.variables).stdin(Stdio::null());
        command.output().unwrap()
    };
    for name in ["one after the other", "with 32 in the background"] {
        let (mut bares, mut ours, mut logins) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..300 {
            let at = Instant::now();
            assert_eq!(bare().stdout, b"hi\n");
            bares.push(at.elapsed());
            let at = Instant::now();
            let (_, value) = run(&w, "echo hi").await;
            ours.push(at.elapsed());
            assert_eq!(value["stdout"], "hi\n");
            if round % 10 == 0 {
                let at = Instant::now();
                Command::new("bash").args(["-lc", "echo hi"]).stdin(Stdio::null()).output().unwrap();
                logins.push(at.elapsed());
            }
        }
        println!("{name}: bare {:?}, ours {:?}, bash -lc {:?}", median(bares), median(ours), median(logins));
        for _ in 0..32 {
            w.call("start_background_command", json!({ "command": "sleep 1000" })).await;
        }
    }
    for command in ["head -c 4G /dev/zero", "yes | head -c 4G"] {
        let at = Instant::now();
        let arguments = ["-c", &format!("{command} >/dev/null")].map(str::to_owned);
        Command::new("bash").args(&arguments).output().unwrap();
        let sunk = at.elapsed();
        let at = Instant::now();
        let mut through = Command::new("bash");
        through.args(["-c", &format!("{command} | cat >/dev/null")]).output().unwrap();
        let through = at.elapsed();
        let at = Instant::now();
        run(&w, command).await;
        println!("{command}: to /dev/null {sunk:?}, through cat {through:?}, ours {:?}", at.elapsed());
    }
    w.tools.end().await;
}
