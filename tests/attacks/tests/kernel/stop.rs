use super::Kind;
use cordon_attacks::{Place as _, Run, World, block_on, enforcer::wall};
use cordon_sandbox::WallRecord;
use cordon_tests::harness::processes_mentioning;
use std::time::Duration;

/// Long enough for any machine, and not for ever.
const BOUND: Duration = Duration::from_secs(60);

/// KX-16: whatever processes do, the end comes, and nothing is left of them.
fn a_stop_is_bounded(kind: Kind) {
    if !kind.wanted() {
        return;
    }
    let world = World::new();
    let wall = kind.wall(&world);
    let mut cell = kind.cell(&world, wall::spec(&world));
    // A name that nothing else on this machine has in its arguments.
    let mark = format!("stubborn-{}", world.id());
    let refuse = format!(
        r#"
mark={mark}
(trap '' TERM INT HUP QUIT USR1; exec -a $mark sleep 600) >/dev/null 2>&1 </dev/null &
(exec -a $mark sleep 600) >/dev/null 2>&1 </dev/null & kill -STOP $!
setsid -f bash -c 'trap "" TERM HUP; exec -a '$mark' sleep 600' >/dev/null 2>&1 </dev/null
perl -e '$0 = $ARGV[0]; $SIG{{TERM}} = "IGNORE"; close $_ for *STDIN, *STDOUT, *STDERR; if (!fork) {{ if (!fork) {{ syscall $ENV{{NR_prctl}}, 1, 0; sleep 600 }} exit }} sleep 600' $mark &
# Held up in the kernel: by a vfork whose child does not go on, and by a FIFO that nobody writes.
mkfifo src/fifo; (exec -a $mark cat src/fifo) >/dev/null 2>&1 </dev/null &
perl -e '$0 = $ARGV[0]; my $n = $ENV{{NR_clone}}; if (syscall($n, 0x4111, 0, 0, 0, 0) == 0) {{ sleep 600 }}' $mark >/dev/null 2>&1 </dev/null &
sleep 0.2
echo DONE
"#
    );
    let said = cell.run(&world, &Run::script(refuse)).unwrap();
    assert!(said.text().contains("DONE"), "{said:?}");
    assert!(!processes_mentioning(&mark).is_empty(), "the attack did not start anything");
    let record = cell.sandbox().record.clone();
    let ended = block_on(async { tokio::time::timeout(BOUND, wall.destroy(&record)).await });
    ended.expect("the stop did not come to an end").unwrap();
    let left: Vec<_> = processes_mentioning(&mark);
    assert_eq!(left, Vec::<String>::new());
    if let WallRecord::Local { pid, .. } = record.wall {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z") || stat.contains(") X"), "{stat}");
    }
    assert!(!record.directory.exists());
}

/// KX-16 of one command: what a time limit ends is all gone, and the sandbox is of use.
fn a_time_limit_takes_stragglers_along(kind: Kind) {
    if !kind.wanted() {
        return;
    }
    use cordon_proto::guest as pb;
    use cordon_sandbox::guest::ProcessEvent;
    let world = World::new();
    let cell = kind.cell(&world, wall::spec(&world));
    let mark = format!("straggler-{}", world.id());
    let script = format!(
        "trap '' TERM INT HUP; setsid -f bash -c 'trap \"\" TERM; exec -a {mark} sleep 600' >/dev/null 2>&1 </dev/null; \
         (exec -a {mark} sleep 600) & kill -STOP $!; echo started; while :; do sleep 1; done"
    );
    let ended = block_on(async {
        let start = pb::Start {
            process_id: "limited".into(),
            argv: vec!["/bin/bash".into(), "-c".into(), script.into()],
            cwd: "/".into(),
            timeout_ms: 1500,
            ..pb::Start::default()
        };
        let mut process = cell.guest().exec(start).await.unwrap();
        tokio::time::timeout(BOUND, async {
            while let Some(event) = process.events.recv().await {
                if let ProcessEvent::Exited(exited) = event {
                    return Some(exited);
                }
            }
            None
        })
        .await
        .expect("the limit did not end it")
    });
    let ended = ended.expect("no end was told");
    assert!(ended.timed_out, "{ended:?}");
    let gone = cordon_tests::harness::wait_until(BOUND, || processes_mentioning(&mark).is_empty());
    assert!(gone, "{:?}", processes_mentioning(&mark));
}

mod kx_16_stop {
    #[test]
    fn local() {
        super::a_stop_is_bounded(super::Kind::Local);
    }

    #[test]
    fn docker() {
        super::a_stop_is_bounded(super::Kind::Docker);
    }
}

mod kx_16_time_limit {
    #[test]
    fn local() {
        super::a_time_limit_takes_stragglers_along(super::Kind::Local);
    }

    #[test]
    fn docker() {
        super::a_time_limit_takes_stragglers_along(super::Kind::Docker);
    }
}
