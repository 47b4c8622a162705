//! A login of the real Claude Code, which knows no server but its vendor's: in a network of the
//! test's own, in which the vendor's names lead to a server of the test's.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_tests::{
    harness::{Host, User, claude, need_root, skipped},
    vendor::Vendor,
};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[test]
fn the_real_claude_code_renews_a_login_once_for_two_agents() {
    if skipped("clis") || skipped("root") {
        return;
    }
    need_root();
    let mut host = Host::without_daemon(User::Tester);
    let vendor = Vendor::begin(&host.path("vendor"), &["platform.claude.com", "api.anthropic.com"]);
    let programs = host.path("programs");
    fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(claude(), programs.join("claude")).unwrap();
    host.set_env("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    let login = host.path("home/.claude/.credentials.json");
    fs::create_dir(login.parent().unwrap()).unwrap();
    let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(120);
    let oauth = json!({
        "accessToken": "access-token-0", "refreshToken": "refresh-token-0", "expiresAt": soon.as_millis() as u64,
        "scopes": ["user:inference", "user:profile"], "subscriptionType": "max",
    });
    fs::write(&login, json!({ "claudeAiOauth": oauth }).to_string()).unwrap();
    fs::set_permissions(&login, fs::Permissions::from_mode(0o600)).unwrap();
    host.start_daemon();

    let agent = |n| {
        format!(
            "  - id: a{n}\n    backend:\n      type: claude_code\n      command_line_execution_mode: local\n      cwd: w{n}\n"
        )
    };
    let agents = host.agent_file("two.yaml", &format!("agents:\n{}{}", agent(0), agent(1)));
    let ran = host.cordon(["run", agents.to_str().unwrap(), "Say one word."]).expect_code(0);
    let seen = vendor.seen();
    let count = |word: &str| seen.iter().filter(|line| *line == word).count();
    assert_eq!((count("renewed"), count("refused")), (1, 0), "{seen:?}");
    let asked: Vec<_> = seen.iter().filter(|line| line.starts_with("asked")).collect();
    assert!(asked.len() >= 2, "{seen:?}");
    assert!(asked.iter().all(|line| *line == "asked with Bearer access-token-1"), "{seen:?}");
    // The person's own has it too, and nobody was shown it.
    let own = fs::read_to_string(&login).unwrap();
    assert!(own.contains("refresh-token-1") && own.contains("access-token-1"), "{own}");
    assert_eq!(fs::metadata(&login).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!ran.stdout.contains("-token-") && !ran.stderr.contains("-token-"), "{ran:?}");
}
