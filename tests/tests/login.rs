//! `cordon login`: the real Codex and Copilot log in with their device codes, the real Gemini CLI
//! with the code of a page, and programs in their places do what they should not.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_tests::{
    harness::{
        Host, User, codex, copilot, copilot_cache, gemini, need_image, need_root, node, processes_mentioning,
        skipped, wait_until,
    },
    tokens::{GITHUB_TOKEN, TokenServer},
    vendor::Vendor,
};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const IMAGE: &str = "cordon/codex:latest";
const KEY: &str = "the-key-of-the-person";

/// A person at a terminal, and the client.
struct Person {
    ours: File,
    client: Child,
    seen: Arc<Mutex<String>>,
}

impl Person {
    fn runs(host: &Host, args: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&theirs, Winsize { ws_row: 50, ws_col: 150, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let client =
            host.command("cordon").args(args).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let ours = File::from(ours);
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut reads, telling) = (ours.try_clone().unwrap(), seen.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = reads.read(&mut piece) {
                telling.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        });
        Self { ours, client, seen }
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().clone()
    }

    fn until(&self, host: &Host, words: &str) -> String {
        let found = wait_until(LIMIT, || self.seen().contains(words));
        assert!(found, "never showed {words:?}:\n{}\n--- daemon\n{}", self.seen(), host.log());
        self.seen()
    }

    fn types(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    /// The exit code, and all that was shown.
    fn ends(mut self) -> (i32, String) {
        let mut code = None;
        let ended = wait_until(LIMIT, || {
            code = self.client.try_wait().unwrap();
            code.is_some()
        });
        assert!(ended, "the client goes on:\n{}", self.seen());
        let last = self.seen();
        wait_until(Duration::from_secs(1), || self.seen() != last);
        (code.unwrap().code().unwrap_or(-1), self.seen())
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// A host with this program in the place of Codex.
fn with(program: &Path) -> Host {
    let mut host = Host::without_daemon(User::Tester);
    let programs = host.path("programs");
    fs::create_dir(&programs).unwrap();
    fs::copy(program, programs.join("codex")).unwrap();
    host.set_env("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    host
}

fn hostile() -> Host {
    let mut host = with(Path::new(env!("CARGO_BIN_EXE_fake-cli")));
    host.start_daemon();
    host
}

fn there(path: PathBuf) -> bool {
    path.symlink_metadata().is_ok()
}

fn kept(host: &Host) -> PathBuf {
    kept_of(host, "codex")
}

fn kept_of(host: &Host, backend: &str) -> PathBuf {
    let uid = rustix::process::getuid().as_raw();
    host.path(&format!("state/credentials/{uid}/{backend}"))
}

/// No sandbox, no process and no file of a login that was not finished.
#[track_caller]
fn nothing_is_left(host: &Host) {
    let place = kept(host);
    assert!(!there(place.join("making")) && !there(place.join("login/auth.json")));
    let program = host.path("programs").display().to_string();
    let gone = wait_until(LIMIT, || processes_mentioning(&program).is_empty());
    assert!(gone, "{:?}", processes_mentioning(&program));
    assert_eq!(sandboxes(host), 0);
}

fn sandboxes(host: &Host) -> usize {
    fs::read_dir(host.path("state/sandboxes")).into_iter().flatten().flatten().count()
}

fn logins(host: &Host) -> serde_json::Value {
    let ran = host.cordon(["logins", "--output", "json"]).expect_code(0);
    assert!(!ran.stdout.contains(KEY) && !ran.stdout.contains("refresh-token"));
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn the_real_codex_of_the_image_logs_in_too() {
    if skipped("docker") {
        return;
    }
    need_image(IMAGE);
    let server = TokenServer::start(HOUR);
    // No program of this machine is used.
    let mut host = Host::without_daemon(User::Tester);
    host.set_env("CODEX_REFRESH_TOKEN_URL_OVERRIDE", &server.url());
    host.start_daemon();
    let person = Person::runs(&host, &["login", "codex", "--wall", "docker"]);
    person.until(&host, "CODE-12345");
    server.enter("CODE-12345");
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}\n--- daemon\n{}", host.log());
    assert!(
        fs::read_to_string(kept(&host).join("login/auth.json")).unwrap().contains(&server.refresh_token())
    );
    assert!(!there(kept(&host).join("making")));
}

#[test]
fn the_real_codex_logs_in_with_its_device_code() {
    if skipped("clis") {
        return;
    }
    let server = TokenServer::start(HOUR);
    let mut host = with(&codex().canonicalize().unwrap());
    host.set_env("CODEX_REFRESH_TOKEN_URL_OVERRIDE", &server.url());
    host.start_daemon();
    let person = Person::runs(&host, &["login", "codex"]);
    person.until(&host, "open the one in a browser");
    let seen = person.until(&host, "CODE-12345");
    assert!(seen.contains("/codex/device"), "the address to open: {seen}");
    assert_eq!(logins(&host).as_array().unwrap().len(), 0, "nothing is kept before the person agrees");
    server.enter("CODE-12345");
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}\n--- daemon\n{}", host.log());
    assert!(seen.contains("logged in") && !seen.contains("refresh-token"), "{seen}");
    assert_eq!(server.logged_in(), 1);
    let file = kept(&host).join("login/auth.json");
    assert!(fs::read_to_string(&file).unwrap().contains(&server.refresh_token()));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o444);
    assert_eq!(fs::metadata(kept(&host)).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!there(kept(&host).join("making")));
    assert!(!there(host.path("home/.codex")), "the person's own home is not touched");
    let listed = logins(&host);
    assert_eq!((&listed[0]["source"], &listed[0]["used"]), (&"cordon".into(), &true.into()));
    assert_eq!((&listed[0]["ends"], &listed[0]["renewable"]), (&"at".into(), &true.into()));

    // The person's own beside it is not used, and is what remains.
    fs::create_dir(host.path("home/.codex")).unwrap();
    fs::write(host.path("home/.codex/auth.json"), server.codex_login(3600)).unwrap();
    let listed = logins(&host);
    assert_eq!((&listed[1]["source"], &listed[1]["used"]), (&"person".into(), &false.into()));
    let out = host.cordon(["logout", "codex"]).expect_code(0).stdout;
    assert!(out.contains("forgot") && out.contains(".codex/auth.json"), "{out}");
    assert!(!there(file) && there(host.path("home/.codex/auth.json")));
    let listed = logins(&host);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["used"]), (1, &true.into()));
    let again = host.cordon(["logout", "codex"]).expect_code(0).stdout;
    assert!(again.contains("had no login"), "{again}");
}

#[test]
fn whatever_is_no_login_is_refused_and_nothing_is_kept() {
    let host = hostile();
    let secret = host.path("outside");
    fs::write(&secret, format!("{{\"OPENAI_API_KEY\":\"{KEY}\"}}")).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let link = format!("link {}", secret.display());
    for (how, why) in [
        ("nothing", "left no login"),
        ("garbage", "is no login"),
        ("fail", "exited with code 3"),
        ("pipe", "not a regular file"),
        ("directory", "not a regular file"),
        ("large", "larger than"),
        (link.as_str(), "symbolic link"),
        ("link /dev/zero", "symbolic link"),
    ] {
        let mut person = Person::runs(&host, &["login", "codex"]);
        person.until(&host, "0 files are there. How?");
        person.types(&format!("{how}\r"));
        let (code, seen) = person.ends();
        assert!(code == 3 && seen.contains(why) && seen.contains("nothing is kept"), "{how}: {code}: {seen}");
        assert!(!seen.contains(KEY), "{how}: {seen}");
        nothing_is_left(&host);
    }
    let mut person = Person::runs(&host, &["login", "codex"]);
    person.until(&host, "0 files are there. How?");
    person.types("key\r");
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}");
    assert_eq!(logins(&host)[0]["ends"], "never");
}

#[test]
fn one_who_leaves_leaves_nothing_and_one_logs_in_at_a_time() {
    let mut host = hostile();
    // By the keys, by a signal, and with the connection alone.
    for leave in ["keys", "-TERM", "-KILL"] {
        let mut person = Person::runs(&host, &["login", "codex"]);
        person.until(&host, "How?");
        person.types("key and stay\r");
        person.until(&host, "staying");
        assert_eq!(sandboxes(&host), 1);
        let other = Person::runs(&host, &["login", "codex"]).ends();
        assert!(other.0 == 3 && other.1.contains("somebody is logging in"), "{other:?}");
        match leave {
            "keys" => person.types("\u{1d}"),
            signal => {
                let pid = person.client.id().to_string();
                assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
            }
        }
        let _ = person.ends();
        let gone = wait_until(LIMIT, || !there(kept(&host).join("making")));
        assert!(gone, "{leave}: {}", host.log());
        nothing_is_left(&host);
    }
    // The daemon is told to end.
    let mut person = Person::runs(&host, &["login", "codex"]);
    person.until(&host, "How?");
    person.types("key and stay\r");
    person.until(&host, "staying");
    let _ = host.cordon(["daemon", "stop"]).expect_code(0);
    let (code, seen) = person.ends();
    assert!(code != 0 && !seen.contains("logged in"), "{code}: {seen}");
    nothing_is_left(&host);
    // And is killed: the next one tidies up.
    host.start_daemon();
    let mut person = Person::runs(&host, &["login", "codex"]);
    person.until(&host, "How?");
    person.types("key and stay\r");
    person.until(&host, "staying");
    host.kill_daemon();
    let _ = person.ends();
    assert!(there(kept(&host).join("making")));
    host.start_daemon();
    let tidy = wait_until(LIMIT, || !there(kept(&host).join("making")) && sandboxes(&host) == 0);
    assert!(tidy, "{}", host.log());
    nothing_is_left(&host);
}

#[test]
fn what_cannot_log_in_here_says_what_to_do() {
    let host = hostile();
    for (backend, words) in
        [("claude_code", "--wall docker"), ("gemini_cli", "--wall docker"), ("nobody", "codex, claude_code")]
    {
        let (code, seen) = Person::runs(&host, &["login", backend]).ends();
        assert!(code == 3 && seen.contains(words), "{backend}: {code}: {seen}");
    }
    let ran = host.cordon(["logout", "nobody"]).expect_code(3);
    assert!(ran.stderr.contains("gemini_cli, copilot;"), "{ran:?}");
}

#[test]
fn the_real_copilot_logs_in_with_its_device_code() {
    if skipped("clis") {
        return;
    }
    let server = TokenServer::start(HOUR);
    let mut host = Host::without_daemon(User::Tester);
    let programs = host.path("programs");
    fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(copilot(), programs.join("copilot")).unwrap();
    fs::create_dir_all(host.path("home/.cache")).unwrap();
    std::os::unix::fs::symlink(copilot_cache(), host.path("home/.cache/copilot")).unwrap();
    host.set_env("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    host.set_env("COPILOT_GH_HOST", &server.github());
    host.start_daemon();

    // One who leaves while it waits leaves nothing.
    let mut person = Person::runs(&host, &["login", "copilot"]);
    person.until(&host, "CODE-12345");
    person.types("\u{1d}");
    let (code, seen) = person.ends();
    assert!(code == 130 && seen.contains("nothing is kept"), "{code}: {seen}");
    let place = kept_of(&host, "copilot");
    assert!(wait_until(LIMIT, || !there(place.join("making"))) && !there(place.join("login")));

    let mut person = Person::runs(&host, &["login", "copilot"]);
    person.until(&host, "open the one in a browser");
    person.until(&host, "CODE-12345");
    server.enter("CODE-12345");
    // There is no keyring inside.
    person.until(&host, "plaintext");
    person.types("y\r");
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}\n--- daemon\n{}", host.log());
    assert!(seen.contains("logged in") && !seen.contains(GITHUB_TOKEN), "{seen}");
    assert_eq!(server.logged_in(), 1);
    let file = place.join("login/config.json");
    assert!(fs::read_to_string(&file).unwrap().contains(GITHUB_TOKEN));
    assert!(!there(place.join("making")) && !there(host.path("home/.copilot")));
    let listed = logins(&host);
    assert_eq!((&listed[0]["backend"], &listed[0]["used"]), (&"copilot".into(), &true.into()));
    let _ = host.cordon(["logout", "copilot"]).expect_code(0);
    assert!(!there(file) && logins(&host).as_array().unwrap().is_empty());

    // One who does not want it in a file has no login.
    let mut person = Person::runs(&host, &["login", "copilot"]);
    person.until(&host, "plaintext");
    person.types("n\r");
    let (code, seen) = person.ends();
    assert!(code == 3 && seen.contains("nothing is kept"), "{code}: {seen}");
    assert!(!there(place.join("making")) && !there(place.join("login/config.json")));
}

/// A host with this script in the place of Gemini CLI's.
fn with_gemini(script: &str) -> Host {
    let mut host = Host::without_daemon(User::Tester);
    let programs = host.path("programs");
    let package = programs.join("lib/gemini-cli");
    fs::create_dir_all(package.join("bundle")).unwrap();
    fs::write(
        package.join("package.json"),
        r#"{"name":"@google/gemini-cli","version":"0.61.0","type":"module"}"#,
    )
    .unwrap();
    fs::write(package.join("bundle/gemini.js"), script).unwrap();
    std::os::unix::fs::symlink(package.join("bundle/gemini.js"), programs.join("gemini")).unwrap();
    std::os::unix::fs::symlink(node(), programs.join("node")).unwrap();
    host.set_env("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    host.start_daemon();
    host
}

/// It asks for a code as the real one does, writes what it is told to where the real one writes,
/// not at once, and goes on.
const GEMINI: &str = r#"
import fs from 'node:fs';
import readline from 'node:readline';
const settings = JSON.parse(fs.readFileSync(process.env.HOME + '/.gemini/settings.json'));
const { selectedType } = settings.security.auth;
const ask = readline.createInterface({ input: process.stdin, output: process.stdout, terminal: true });
ask.question(`${selectedType} ${process.env.NO_BROWSER}: the code? `, async (code) => {
  const login = fs.openSync(process.env.HOME + '/.gemini/oauth_creds.json', 'w', 0o600);
  const text = JSON.stringify({ access_token: 'ya29.x', refresh_token: code, expiry_date: Date.now() + 3600e3 });
  fs.writeSync(login, text.slice(0, 30));
  await new Promise((later) => setTimeout(later, 1500));
  if (code !== 'half') fs.writeSync(login, text.slice(30));
  console.log('at work');
  setInterval(() => {}, 1000);
});
"#;

#[test]
fn a_program_that_goes_on_is_ended_when_there_is_a_login() {
    if skipped("clis") {
        return;
    }
    let host = with_gemini(GEMINI);
    let place = kept_of(&host, "gemini_cli");
    let mut person = Person::runs(&host, &["login", "gemini_cli"]);
    person.until(&host, "oauth-personal true: the code?");
    person.types("1//the-key-of-the-person\r");
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}\n--- daemon\n{}", host.log());
    assert!(seen.contains("at work") && seen.contains("logged in"), "{seen}");
    let file = place.join("login/oauth_creds.json");
    let first = fs::read_to_string(&file).unwrap();
    assert!(first.contains("1//the-key-of-the-person"));
    let listed = logins(&host);
    assert_eq!((&listed[0]["ends"], &listed[0]["renewable"]), (&"at".into(), &true.into()));
    let agents = host.agent_file("a.yaml", "agents:\n  - id: a\n    backend:\n      type: gemini_cli\n      command_line_execution_mode: local\n      cwd: w\n");
    let shown = host.cordon(["explain", agents.to_str().unwrap()]).expect_code(0).stdout;
    assert!(shown.contains("oauth_creds.json") && !shown.contains("the-key-of-the-person"), "{shown}");

    // Half a login is none, and the one before stays.
    let mut person = Person::runs(&host, &["login", "gemini_cli"]);
    person.until(&host, "the code?");
    person.types("half\r");
    person.until(&host, "at work");
    person.types("\u{1d}");
    let (code, seen) = person.ends();
    assert!(code == 130 && seen.contains("nothing is kept"), "{code}: {seen}");
    assert!(wait_until(LIMIT, || !there(place.join("making"))));
    assert_eq!(fs::read_to_string(&file).unwrap(), first);
}

#[test]
fn the_real_gemini_asks_for_its_code_and_keeps_nothing_without_one() {
    if skipped("clis") {
        return;
    }
    let mut host = Host::without_daemon(User::Tester);
    let programs = host.path("programs");
    fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(gemini(), programs.join("gemini")).unwrap();
    std::os::unix::fs::symlink(node(), programs.join("node")).unwrap();
    host.set_env("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    host.start_daemon();
    let mut person = Person::runs(&host, &["login", "gemini_cli"]);
    let seen = person.until(&host, "Enter the authorization code");
    assert!(seen.contains("https://accounts.google.com/"), "the address to open: {seen}");
    // Google cannot be reached from a test: it tries twice, and ends.
    person.types("no-code\r");
    person.until(&host, "Retrying");
    person.types("\u{1d}");
    let (code, seen) = person.ends();
    assert!(code == 130 && seen.contains("nothing is kept"), "{code}: {seen}");
    let place = kept_of(&host, "gemini_cli");
    assert!(wait_until(LIMIT, || !there(place.join("making"))) && !there(place.join("login")));
    assert_eq!(sandboxes(&host), 0);
}

#[test]
fn a_key_is_kept_for_agents_and_shown_to_nobody() {
    let host = hostile();
    let mut person = Person::runs(&host, &["login", "codex", "--api-key"]);
    person.until(&host, "it is not shown");
    person.types(&format!("{KEY}\r"));
    let (code, seen) = person.ends();
    assert!(code == 0 && seen.contains("the key is kept") && !seen.contains(KEY), "{code}: {seen}");
    let file = kept(&host).join("key");
    assert_eq!(fs::read_to_string(&file).unwrap(), KEY);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!host.log().contains(KEY));
    let listed = logins(&host);
    assert_eq!((&listed[0]["source"], &listed[0]["used"]), (&"key".into(), &true.into()));

    // A login beside it is kept, and not used.
    let mut person = Person::runs(&host, &["login", "codex"]);
    person.until(&host, "How?");
    person.types("key\r");
    let (code, seen) = person.ends();
    assert!(code == 0 && seen.contains("logout codex --api-key"), "{code}: {seen}");
    assert_eq!((&logins(&host)[1]["source"], &logins(&host)[1]["used"]), (&"cordon".into(), &false.into()));
    let out = host.cordon(["logout", "codex", "--api-key"]).expect_code(0).stdout;
    assert!(out.contains("login stays"), "{out}");
    assert!(!there(file));
    assert_eq!(logins(&host)[0]["used"], true);

    // A model API has a key and no login.
    let mut person = Person::runs(&host, &["login", "openai", "--api-key"]);
    person.until(&host, "it is not shown");
    person.types(&format!("{KEY}\r"));
    assert_eq!(person.ends().0, 0);
    assert_eq!(logins(&host)[1]["backend"], "openai");
    let _ = Person::runs(&host, &["login", "openai"]).ends();
    let _ = host.cordon(["logout", "openai"]).expect_code(0);
    assert_eq!(logins(&host).as_array().unwrap().len(), 1);
}

#[test]
fn the_real_gemini_logs_in_with_the_code_of_the_page() {
    if skipped("clis") || skipped("root") {
        return;
    }
    need_root();
    let mut host = Host::without_daemon(User::Tester);
    let names = ["oauth2.googleapis.com", "www.googleapis.com", "cloudcode-pa.googleapis.com"];
    let vendor = Vendor::begin(&host.path("vendor"), &names);
    let programs = host.path("programs");
    fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(gemini(), programs.join("gemini")).unwrap();
    std::os::unix::fs::symlink(node(), programs.join("node")).unwrap();
    host.set_env("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    host.start_daemon();
    let mut person = Person::runs(&host, &["login", "gemini_cli"]);
    person.until(&host, "Enter the authorization code");
    person.types("the-code-of-the-page\r");
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}\n--- {:?}\n--- daemon\n{}", vendor.seen(), host.log());
    assert!(seen.contains("logged in") && vendor.seen().contains(&"logged in".to_owned()), "{seen}");
    let file = kept_of(&host, "gemini_cli").join("login/oauth_creds.json");
    assert!(fs::read_to_string(file).unwrap().contains("refresh-token-0"));
    let listed = logins(&host);
    assert_eq!((&listed[0]["backend"], &listed[0]["renewable"]), (&"gemini_cli".into(), &true.into()));
}
