//! In the place of Codex on the search path of a test. Where a model would be asked, which
//! no test can imitate for a person's login, it asks the real Codex beside it how it stands
//! with its login, and tells that as Codex tells of a turn. All else is the real Codex.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

fn main() {
    let own = std::env::current_exe().expect("its own path");
    let real = own.with_file_name("codex-code-mode-host");
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_none_or(|a| a != "exec") {
        panic!("{}", Command::new(real).args(arguments).exec());
    }
    let mut prompt = String::new();
    std::io::stdin().read_to_string(&mut prompt).expect("a prompt");
    say(json!({ "type": "thread.started", "thread_id": "0199a213-81c0-7800-8aa1-bbab2a035a53" }));
    say(json!({ "type": "turn.started" }));
    tell(&generation(&real));
    if prompt.contains("until it is renewed") {
        let before = login();
        let begun = Instant::now();
        // Somebody outside writes the file: there is nothing else to wait for in here.
        while login() == before && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(50));
        }
        tell(&generation(&real));
    }
    if prompt.contains("show it") {
        tell(&login());
    }
    if prompt.contains("change it") {
        let path = file();
        let target = std::fs::canonicalize(&path).expect("the login");
        for at in [&path, &target] {
            let written = std::fs::OpenOptions::new().write(true).open(at);
            tell(&format!("written: {}", written.is_ok()));
        }
        let beside = std::fs::write(target.with_file_name("x"), "x");
        tell(&format!("written: {}", beside.is_ok()));
    }
    say(json!({ "type": "turn.completed", "usage": { "input_tokens": 1, "output_tokens": 1 } }));
}

fn file() -> PathBuf {
    PathBuf::from(std::env::var_os("CODEX_HOME").expect("CODEX_HOME")).join("auth.json")
}

fn login() -> String {
    std::fs::read_to_string(file()).expect("the login")
}

fn say(event: Value) {
    println!("{event}");
    std::io::stdout().flush().expect("written");
}

fn tell(text: &str) {
    say(
        json!({ "type": "item.completed", "item": { "id": "item_0", "type": "agent_message", "text": text } }),
    );
}

/// Which of the person's logins the real Codex goes by.
fn generation(real: &PathBuf) -> String {
    let mut child = Command::new(real)
        .arg("app-server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the real Codex");
    let mut stdin = child.stdin.take().expect("its input");
    for message in [
        json!({ "id": 1, "method": "initialize", "params": { "clientInfo": { "name": "t", "title": "t", "version": "1" } } }),
        json!({ "method": "initialized" }),
        json!({ "id": 2, "method": "getAuthStatus", "params": { "includeToken": true, "refreshToken": false } }),
    ] {
        writeln!(stdin, "{message}").expect("asked");
    }
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let answer = lines
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .find(|value| value["id"] == 2)
        .expect("an answer");
    drop(stdin);
    let _ = child.wait();
    let token = answer["result"]["authToken"].as_str().unwrap_or("none").to_owned();
    let claims = token.split('.').nth(1).map(decode).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
    format!("generation {}", claims["generation"])
}

fn decode(text: &str) -> Vec<u8> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.chars() {
        let Some(value) = LETTERS.find(letter) else { continue };
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    out
}
