//! `cordon lmstudio` with a program in the place of LM Studio's.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// Writes down how it was called, one line an argument.
const LMS: &str = r#"#!/bin/sh
for a in "$@"; do printf '%s\n' "$a"; done > "$HOME/asked"
pwd > "$HOME/where"
env > "$HOME/env"
if [ "$1" = get ]; then echo "no such \033[2J model" >&2; exit 7; fi
"#;

struct Person(tempfile::TempDir);

impl Person {
    fn home(&self) -> &Path {
        self.0.path()
    }

    fn cordon(&self, arguments: &[&str]) -> (String, i32) {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_cordon"))
            .arg("lmstudio")
            .args(arguments)
            .env("HOME", self.home())
            .env("PATH", format!(".:{}/bin:/usr/bin:/bin", self.home().display()))
            .env("OPENAI_API_KEY", "sk-not-for-lms")
            .current_dir(self.home().join("repository"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        (said, status.code().unwrap())
    }

    fn kept(&self, name: &str) -> String {
        fs::read_to_string(self.home().join(name)).unwrap_or_default()
    }
}

/// A person in a repository that brings an `lms` of its own.
fn person() -> Person {
    let person = Person(tempfile::tempdir().unwrap());
    program(&person.home().join("repository/lms"), "#!/bin/sh\ntouch \"$HOME/trapped\"\n");
    person
}

#[test]
fn it_is_found_and_asked_with_arguments_as_they_are() {
    let person = person();
    let (said, code) = person.cordon(&["load", "qwen/qwen3-8b"]);
    assert!(code == 2 && said.contains("cordon lmstudio install"), "{said}");
    program(&person.home().join(".lmstudio/bin/lms"), LMS);
    let (said, code) = person.cordon(&["load", "qwen/qwen3-8b"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(person.kept("asked"), "load\nqwen/qwen3-8b\n--yes\n");
    let home = person.home().canonicalize().unwrap();
    assert_eq!(Path::new(person.kept("where").trim()), home);
    assert!(!person.kept("env").contains("sk-not-for-lms"), "{}", person.kept("env"));
    let (said, code) = person.cordon(&["get", "m"]);
    assert!(code == 1 && said.contains("ended with code 7") && said.contains("no such"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
    fs::remove_file(person.home().join("asked")).unwrap();
    let (said, code) = person.cordon(&["load", "--", "--host=elsewhere"]);
    assert!(code == 2 && said.contains("no name of a model") && person.kept("asked").is_empty(), "{said}");
    fs::set_permissions(person.home().join(".lmstudio/bin"), Permissions::from_mode(0o777)).unwrap();
    let (said, code) = person.cordon(&["load", "m"]);
    assert!(code == 3 && said.contains("others may write it") && person.kept("asked").is_empty(), "{said}");
    assert!(!person.home().join("trapped").try_exists().unwrap());
}

#[test]
fn a_server_is_started_where_none_is_and_has_to_answer() {
    let person = person();
    program(&person.home().join("bin/lms"), LMS);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (said, code) = person.cordon(&["status", "--port", &port, "-o", "json"]);
    assert!(code == 0 && said.contains("\"answers\":true") && said.contains("bin/lms"), "{said}");
    let (said, code) = person.cordon(&["start", "--port", &port]);
    assert!(code == 0 && said.contains("already") && person.kept("asked").is_empty(), "{said}");
    drop(listener);
    let (said, code) = person.cordon(&["start", "--port", &port]);
    assert!(code == 1 && said.contains("nothing answers on port"), "{said}");
    assert_eq!(person.kept("asked"), format!("server\nstart\n--port\n{port}\n"));
    // One that stays, as LM Studio's does.
    let server = format!(
        "#!/bin/sh\nexec 3>&1\n/usr/bin/python3 -c 'import socket,os,time\ns=socket.create_server((\"127.0.0.1\",{port}))\n\
         open(os.environ[\"HOME\"]+\"/pid\",\"w\").write(str(os.getpid()))\nos.write(3,b\"up\\n\")\ntime.sleep(600)' &\n\
         while [ ! -s \"$HOME/pid\" ]; do :; done\n"
    );
    program(&person.home().join("bin/lms"), &server);
    let (said, code) = person.cordon(&["start", "--port", &port]);
    let pid: i32 = person.kept("pid").parse().unwrap();
    let alive = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    assert!(code == 0 && said.contains("LM Studio answers"), "{said}");
    assert!(alive.is_ok(), "what was started goes on");
}

#[test]
fn its_installer_is_fetched_whole_and_run_when_a_person_says_so() {
    let person = person();
    let fetch = |answer: &str| {
        let curl = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$HOME/asked\"\nwhile [ \"$1\" != --output ]; do shift; done\n\
             cat > \"$2\" <<'END'\n{answer}\nEND\n"
        );
        program(&person.home().join("bin/curl"), &curl);
    };
    let installs = "#!/usr/bin/env bash\nmkdir -p \"$HOME/.lmstudio/bin\"\n\
                    printf '#!/bin/sh\\n' > \"$HOME/.lmstudio/bin/lms\"\nchmod 755 \"$HOME/.lmstudio/bin/lms\"";
    fetch(installs);
    let (said, code) = person.cordon(&["install"]);
    assert!(code == 2 && said.contains("--yes") && person.kept("asked").is_empty(), "{said}");
    fetch("<html>touch it</html>");
    let (said, code) = person.cordon(&["install", "--yes"]);
    assert!(code == 1 && said.contains("no script"), "{said}");
    fetch(&format!("{installs}\nexit 9"));
    let (said, code) = person.cordon(&["install", "--yes"]);
    assert!(code == 1 && said.contains("code 9"), "{said}");
    fs::remove_dir_all(person.home().join(".lmstudio")).unwrap();
    fetch(installs);
    let (said, code) = person.cordon(&["install", "--yes"]);
    assert!(code == 0 && said.contains(".lmstudio/bin/lms"), "{said}");
    let asked = person.kept("asked");
    assert!(
        asked.contains("--proto\n=https\n") && asked.ends_with("https://lmstudio.ai/install.sh\n"),
        "{asked}"
    );
    let left = fs::read_dir(person.home()).unwrap().map(|e| e.unwrap().file_name());
    assert!(left.into_iter().all(|n| !n.to_string_lossy().starts_with(".cordon-lmstudio")));
    let (said, code) = person.cordon(&["install", "--yes"]);
    assert!(code == 0 && said.contains("already"), "{said}");
}
