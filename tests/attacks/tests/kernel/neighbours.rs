use super::Kind;
use cordon_attacks::{Place as _, Run, World, enforcer::wall};
use cordon_sandbox::SandboxSpec;

/// A sandbox of the same owner with a secret in a process's environment, arguments, memory and sockets.
fn secret(world: &World) -> SandboxSpec {
    let mut spec = wall::spec(world);
    spec.id = format!("{}b", world.id());
    spec.env = vec![("SECRET".into(), world.token().to_owned())];
    spec
}

/// KX-04: nothing of another sandbox of the same user can be seen or reached.
fn another_sandbox_is_out_of_reach(kind: Kind) {
    if !kind.wanted() {
        return;
    }
    let (mut mine, theirs) = (World::new(), World::new());
    // Their workspace is their own, though the user is the same.
    let mut victim = kind.cell(&theirs, secret(&theirs));
    let hold = r#"
(exec -a "$SECRET" sleep 300 >/dev/null 2>&1 </dev/null &)
perl -MSocket -e 'socket S, PF_UNIX, SOCK_STREAM, 0; bind S, pack("Sa*", 1, "\0cordon-neighbour"); listen S, 5;
  socket T, PF_INET, SOCK_STREAM, 0; bind T, sockaddr_in(45454, INADDR_ANY); listen T, 5; exit if fork;
  close STDOUT; close STDERR; $SIG{CHLD} = "IGNORE"; if (fork) { while (accept C, S) { syswrite C, $ENV{SECRET} } }
  while (accept C, T) { syswrite C, $ENV{SECRET} }'
echo "$SECRET" > /dev/shm/secret; echo "$SECRET" > /tmp/secret; echo "$SECRET" > ~/secret
perl -e '$id = syscall 29, 77, 4096, 01666; $at = syscall 30, $id, 0, 0; print "shm $id\n"'
hostname -I 2>/dev/null; echo DONE
"#;
    let ready = victim.run(&theirs, &Run::script(hold)).unwrap();
    assert!(ready.text().contains("DONE"), "{ready:?}");
    let mut spec = wall::spec(&mine);
    spec.id = format!("{}a", mine.id());
    let mut enemy = kind.cell(&mine, spec);
    let search = format!(
        r#"
reach abstract 'pack("Sa*", 1, "\0cordon-neighbour")'
timeout 1 bash -c 'exec 3<>/dev/tcp/127.0.0.1/45454 && got loopback && head -c 99 <&3'
cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\0' '\n' | grep -a '^SECRET'
ls /proc | grep -c '^[0-9]'
cat /dev/shm/secret /tmp/secret ~/secret '{ws}/src/main.rs' '{ws}/keep/file' 2>&1 | grep -v 'No such file\|ermission denied'
[ -e '{ws}' ] && got their-workspace
ls -d '{state}' /run/cordon/../*/guest.sock && got their-sockets
perl -e 'print "GOT shared memory\n" if syscall(29, 77, 4096, 0) >= 0'
kill -9 -1 2>/dev/null
echo DONE
"#,
        ws = theirs.workspace().display(),
        state = theirs.path("state").display(),
    );
    let found = enemy.run(&mine, &Run::script(search)).unwrap();
    let text = found.text();
    assert!(text.contains("DONE") && !text.contains("GOT"), "{text}");
    assert!(!text.contains(theirs.token()), "{text}");
    assert_eq!(mine.harm(&found.bytes), Vec::<String>::new());
    // It is all there, and alive.
    let after = "grep -ac . /dev/shm/secret; pgrep -c sleep || ls /proc | grep -c '^[0-9]'; reach own 'pack(\"Sa*\", 1, \"\\0cordon-neighbour\")'; echo DONE";
    let after = victim.run(&theirs, &Run::script(after)).unwrap().text();
    assert!(after.contains("GOT own") && after.contains(theirs.token()), "{after}");
}

/// KX-15: while one sandbox explodes, its neighbour and the daemon's end of both go on.
fn a_neighbour_goes_on_while_one_explodes(kind: Kind) {
    if !kind.wanted() {
        return;
    }
    let (bad, good) = (World::new(), World::new());
    let mut limited = wall::spec(&bad);
    limited.limits.pids = 64;
    limited.limits.memory_bytes = 128 << 20;
    let mut bomb = kind.cell(&bad, limited);
    let mut neighbour = kind.cell(&good, wall::spec(&good));
    let explode = r#"
for kind in 1 2 3; do (while :; do perl -e 'my @a; push @a, "x" x (4 << 20) for 1 .. 60' ; done) & done
for kind in 1 2 3; do (while :; do for i in $(seq 99); do sleep 1 & done; wait; done) & done
(while :; do head -c 1M /dev/zero; done) &
(while :; do head -c 64M /dev/zero > /tmp/fill; done) &
wait
"#;
    std::thread::scope(|scope| {
        let exploding = scope.spawn(|| {
            let run = Run::script(explode.replace("wait\n\"", "")).dying();
            let said = bomb.run(
                &bad,
                &Run {
                    script: format!("trap 'kill -9 0' ALRM; (sleep 4; kill -9 0) & {}", run.script),
                    ..run
                },
            );
            (bomb, said)
        });
        let mut answered = 0;
        while !exploding.is_finished() {
            let said = neighbour
                .run(&good, &Run::script("echo $((6 * 7)) > src/answer; cat src/answer; echo DONE"))
                .unwrap();
            assert!(said.text().contains("42\nDONE"), "{said:?}");
            answered += 1;
        }
        let (mut bomb, said) = exploding.join().unwrap();
        assert!(answered >= 3, "the neighbour answered {answered} times");
        assert!(said.is_some());
        // And the one that exploded is of use again.
        let after = bomb.run(&bad, &Run::script("echo DONE").dying()).unwrap();
        assert!(after.text().contains("DONE"), "{after:?}");
    });
}

mod kx_04_another_sandbox {
    #[test]
    fn local() {
        super::another_sandbox_is_out_of_reach(super::Kind::Local);
    }

    #[test]
    fn docker() {
        super::another_sandbox_is_out_of_reach(super::Kind::Docker);
    }
}

mod kx_15_a_neighbour_of_a_bomb {
    #[test]
    fn local() {
        super::a_neighbour_goes_on_while_one_explodes(super::Kind::Local);
    }

    #[test]
    fn docker() {
        super::a_neighbour_goes_on_while_one_explodes(super::Kind::Docker);
    }
}
