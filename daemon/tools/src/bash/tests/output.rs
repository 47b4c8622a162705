use super::*;
use crate::bash::run::Sink;

/// Keeps stdout.
#[derive(Default)]
pub(super) struct All(pub(super) Vec<u8>);

impl Sink for All {
    fn stdout(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn stderr(&mut self, _: &[u8]) {}
}

/// The most memory this process ever had, bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().split(' ').next().unwrap().parse::<usize>().unwrap() << 10
}

/// Only in a process of its own is its memory the command's: other tests write files of 50 MB.
#[test]
fn a_gigabyte_shows_its_ends_and_takes_no_memory() {
    let inner = "bash::tests::output::a_gigabyte_alone";
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args([inner, "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

#[tokio::test]
#[ignore = "run in a process of its own by the test above"]
async fn a_gigabyte_alone() {
    let w = World::new();
    let before = peak();
    let (answer, value) = run(&w, "echo first; head -c 1G /dev/zero | tr '\\0' x; echo; echo last").await;
    let grown = peak().saturating_sub(before);
    assert!(grown < 64 << 20, "grew by {grown}");
    assert_eq!(value["stdout_bytes"], (1_u64 << 30) + 12);
    let (out, text) = (value["stdout"].as_str().unwrap(), answer.all_text());
    assert!(out.starts_with("first\nxxx") && out.ends_with("xxx\nlast\n"));
    assert!(value["stdout_cut_bytes"].as_u64().unwrap() > 1 << 29);
    assert!(text.contains("redirect it to a file"), "{}", &text[text.len() - 300..]);
}

#[tokio::test]
async fn an_answer_keeps_its_bound_whatever_is_printed() {
    let bound = 20_000;
    let w = World::with(|table| table.result_bytes = bound);
    for command in [
        "head -c 1000000 /dev/zero",
        "head -c 1000000 /dev/urandom; head -c 1000000 /dev/urandom >&2",
        "head -c 1000000 /dev/zero >&2",
        "yes '\"\\' | head -c 100000; yes é | head -c 100000 >&2",
        "yes 'cat: /outside: Permission denied' | head -c 100000 >&2; exit 1",
        &format!(
            "for i in $(seq 1000); do echo \"cat: /{}$i: Permission denied\" >&2; done; exit 1",
            "a".repeat(3000)
        ),
        &format!("true {}", "\u{202e}\u{1}".repeat(1000)),
    ] {
        let (answer, value) = run(&w, command).await;
        let size = serde_json::to_string(&answer.all_text()).unwrap().len() + value.to_string().len();
        assert!(size <= bound, "{size}: {}", &command[..command.len().min(100)]);
    }
}

#[tokio::test]
async fn an_answer_uses_the_room_it_has() {
    let w = World::new();
    let (_, value) = run(&w, "yes 123456789 | head -c 50000").await;
    assert_eq!((value["stdout"].as_str().unwrap().len(), &value["truncated"]), (50_000, &json!(false)));
    let (_, value) = run(&w, "yes 123456789 | head -c 90000; echo err >&2").await;
    assert!(value["stdout"].as_str().unwrap().len() > 50_000);
    assert_eq!(value["stderr"], "err\n");
}

#[tokio::test]
async fn other_bytes_than_text_are_said() {
    let w = World::new();
    let (answer, value) = run(&w, "printf 'a\\xff\\xfeb'").await;
    assert_eq!((&value["stdout"], &value["lossy"]), (&json!("a\u{fffd}\u{fffd}b"), &json!(true)));
    assert_eq!(value["stdout_bytes"], 4);
    assert!(answer.all_text().contains("not all of it is UTF-8"));
}
