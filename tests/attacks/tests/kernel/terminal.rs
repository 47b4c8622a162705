use cordon_tests::harness::{Host, skipped};

/// What a terminal would act on: clipboard, title, hyperlink, queries that it answers as if typed, keys, and the same by 8-bit
/// controls, split over lines and writes.
const SEQUENCES: &str = r#"
printf '\033]52;c;ZWNobyBvd25lZA==\007' ; printf '\033]0;title\007\033]2;title\033\\'
printf '\033]8;;file:///etc/passwd\033\\click\033]8;;\033\\' ; printf '\033[c\033[>c\033[5n\033[6n\033[21t\033P$qm\033\\'
printf '\033[2J\033[H\033[?1049h\033[?1000h\033[?2004l\033c\033(0' ; printf '\233\061m\235\065\062;c;eA==\234\220x\234'
printf '\302\233\062J\302\235\060;x\302\234' ; printf '\r\010\010\013\014\016\017\032\177\n'
printf '\033' ; sleep 0.1; printf ']52;c;eA==\007\n' ; printf '\342\200\256evil\342\200\254\342\201\246x\342\201\251\n'
printf '\033]52;c;ZQ==\007' >&2; printf '\033[2J' > "$(printf 'a\033]0;n\007b')"
echo END
"#;

/// KX-07: nothing that an agent prints, or names a file, reaches a terminal as anything but text.
#[test]
fn kx_07_escape_sequences_are_neutralised() {
    if skipped("local") {
        return;
    }
    let host = Host::start();
    let ws = host.tree("ws");
    let script = serde_json::Value::from(SEQUENCES);
    let text = format!(
        "agents:\n  - id: worker\n    backend:\n      type: command\n      cwd: {}\n      command: [bash, -c, {script}]\n",
        ws.display()
    );
    let file = host.agent_file("a.yaml", &text);
    let run = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(0);
    let id = cordon_attacks::block_on(async { host.api().await.only_run().await.id });
    let mut all = vec![("run", run)];
    for (what, arguments) in [
        ("logs", vec!["logs", &id]),
        ("ps", vec!["ps", "-a"]),
        ("logs as json", vec!["logs", &id, "--output", "json"]),
        ("explain", vec!["explain", file.to_str().unwrap()]),
    ] {
        all.push((what, host.cordon(arguments)));
    }
    assert!(all[0].1.stdout.contains("END"), "{:?}", all[0].1);
    for (what, ran) in all {
        for (name, text) in [("output", &ran.stdout), ("errors", &ran.stderr)] {
            let bad: Vec<char> = text
                .chars()
                .filter(|c| {
                    (c.is_control() && !matches!(c, '\n' | '\t'))
                        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                })
                .collect();
            assert!(bad.is_empty(), "{what}'s {name} has {bad:?}: {text:?}");
        }
    }
}
