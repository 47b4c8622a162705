//! A program that stands in for Codex and behaves badly, as its task says. It is laid out as the real
//! one and prints the same events as far as it prints any.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio, exit},
    time::Duration,
};

const STARTED: &str = "{\"type\":\"thread.started\",\"thread_id\":\"0199a213-81c0-7800-8aa1-bbab2a035a53\"}\n{\"type\":\"turn.started\"}\n";
const COMPLETED: &str = "{\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":1,\"cached_input_tokens\":0,\"output_tokens\":1}}\n";

fn say(text: &str) {
    let mut out = io::stdout().lock();
    // Whoever reads may be gone; that is for the test to see.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--version") => return println!("codex-cli 0.169.0"),
        Some("survive") => return survive(),
        _ => {}
    }
    if std::env::args().any(|a| a == "login") {
        return log_in();
    }
    let mut task = String::new();
    io::stdin().read_to_string(&mut task).expect("the task");
    match task.trim() {
        "garbage" => garbage(),
        "forever" => forever(),
        "chatter" => chatter(),
        "survivor" => survivor(),
        "fill" => fill(),
        "fill-home" => fill_home(),
        other => {
            eprintln!("no such task: {other}");
            exit(2);
        }
    }
}

/// Asks on the terminal how to log in.
fn log_in() {
    let home = PathBuf::from(std::env::var_os("CODEX_HOME").expect("CODEX_HOME"));
    let login = home.join("auth.json");
    let there = fs::read_dir(&home).expect("its directory").count();
    say(&format!("{there} files are there. How?\r\n"));
    let mut how = String::new();
    io::stdin().read_line(&mut how).expect("a line");
    match how.trim() {
        "key" => fs::write(&login, "{\"OPENAI_API_KEY\":\"the-key-of-the-person\"}").expect("write"),
        "nothing" => {}
        "garbage" => fs::write(&login, "the-key-of-the-person").expect("write"),
        "fail" => {
            fs::write(&login, "{\"OPENAI_API_KEY\":\"the-key-of-the-person\"}").expect("write");
            exit(3);
        }
        "pipe" => {
            nix::unistd::mkfifo(&login, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        }
        "directory" => fs::create_dir(&login).expect("a directory"),
        "large" => {
            fs::write(&login, "{\"OPENAI_API_KEY\":\"the-key-of-the-person\"}").expect("write");
            File::options()
                .write(true)
                .open(&login)
                .and_then(|f| f.set_len(100 << 20))
                .expect("a large file");
        }
        "key and stay" => {
            fs::write(&login, "{\"OPENAI_API_KEY\":\"the-key-of-the-person\"}").expect("write");
            ignore_the_end();
            say("staying\r\n");
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        link => {
            let target = link.strip_prefix("link ").expect("a way to log in");
            std::os::unix::fs::symlink(target, &login).expect("a link");
        }
    }
}

/// Bytes of every kind, and an end as if all were well.
fn garbage() {
    let mut out = io::stdout().lock();
    let every: Vec<u8> = (0..=255).collect();
    let long = vec![b'['; 3 << 20];
    for piece in
        [&every[..], b"\n{\"type\":\"turn.comp", b"\n[[[[\n{}\nnull\n\"turn.completed\"\n\xff\xfe\0\n", &long]
    {
        let _ = out.write_all(piece);
    }
}

/// Silent, and deaf to being asked.
fn forever() {
    ignore_the_end();
    say(STARTED);
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Never silent, and never done.
fn chatter() {
    ignore_the_end();
    say(STARTED);
    loop {
        say(
            "{\"type\":\"item.completed\",\"item\":{\"id\":\"i\",\"type\":\"reasoning\",\"text\":\"on and on\"}}\n",
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn ignore_the_end() {
    let mut signals = nix::sys::signal::SigSet::empty();
    for signal in [nix::sys::signal::SIGTERM, nix::sys::signal::SIGINT, nix::sys::signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().expect("block signals");
}

/// Leaves a process behind that holds its outputs open, in a session of its own.
fn survivor() {
    say(STARTED);
    let own = std::env::current_exe().expect("this program");
    let mark = std::env::current_dir().expect("a workspace").join("survived");
    // It is to outlive this program: nobody waits for it.
    #[allow(clippy::zombie_processes)]
    let _survivor =
        Command::new(own).arg("survive").arg(&mark).stdin(Stdio::null()).spawn().expect("a survivor");
    while !mark.is_file() {
        std::thread::sleep(Duration::from_millis(5));
    }
    say(COMPLETED);
}

fn survive() {
    let _ = nix::unistd::setsid();
    ignore_the_end();
    fs::write(std::env::args().nth(2).expect("a mark"), "").expect("the mark");
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Takes all the room there is, wherever it may write.
fn fill() {
    say(STARTED);
    let workspace = std::env::current_dir().expect("a workspace");
    let taken = take(&workspace);
    let message = taken.map_or_else(|e| e.to_string(), |()| "it never became full".to_owned());
    say(&format!("{{\"type\":\"turn.failed\",\"error\":{{\"message\":\"writing: {message}\"}}}}\n"));
    exit(1);
}

/// Fills its home, and leaves somebody who goes on with it.
fn fill_home() {
    say(STARTED);
    let home = PathBuf::from(std::env::var_os("HOME").expect("HOME"));
    let hidden = home.join("files");
    fs::create_dir_all(&hidden).expect("a directory");
    fs::write(hidden.join("filling"), vec![b'x'; 160 << 20]).expect("a file");
    // Whoever looks must not need to be let in.
    let _ = fs::set_permissions(&hidden, fs::Permissions::from_mode(0o000));
    forever();
}

fn take(directory: &Path) -> io::Result<()> {
    let path: PathBuf = directory.join("filling");
    let mut file = File::create(path)?;
    let block = vec![b'x'; 1 << 20];
    for _ in 0..4096 {
        file.write_all(&block)?;
    }
    Ok(())
}
