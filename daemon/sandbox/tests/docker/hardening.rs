use crate::{harness::*, needs_docker};
use cordon_sandbox::Wall;

#[tokio::test]
async fn a_container_is_as_hard_as_it_is_said_to_be() {
    needs_docker!();
    let fixture = Fixture::new();
    let sandbox = fixture.create(&fixture.spec("hard1")).await.unwrap();
    let script = r#"
        grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
        echo "uid $(id -u) gid $(id -g) groups $(id -G)"
        ls -l /proc/self/fd | grep -c socket
        touch /etc/x /usr/x /x 2>&1 | grep -c 'Read-only\|Permission'
        cat /etc/shadow 2>&1
        ls /run/cordon 2>&1
        echo > /proc/sys/kernel/core_pattern
        echo b > /proc/sysrq-trigger
        mount -t tmpfs none /tmp 2>&1
        unshare -Urm true 2>&1
        cat /proc/1/environ 2>&1 | tr '\0' '\n'
        ls /var/run/docker.sock 2>&1
        hostname
        ulimit -c
    "#;
    let text = bash(&sandbox, script).await.text;
    for line in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "uid 4242 gid 4242 groups 4242",
        "agent-a",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert!(text.matches("ermission denied").count() >= 3, "{text}");
    assert!(!text.contains("root:"), "{text}");
    fixture.wall.destroy(&sandbox.record).await.unwrap();
}

#[tokio::test]
async fn limits_hold() {
    needs_docker!();
    let fixture = Fixture::new();
    let sandbox = fixture.create(&fixture.spec("limit1")).await.unwrap();
    // 64 processes, 256 MiB, 16 MiB in /tmp.
    let forks = bash(&sandbox, "exec 2>&1; for i in $(seq 200); do sleep 20 & done; true").await;
    assert!(forks.text.contains("fork"), "{forks:?}");
    sandbox.guest.signal("", 9, true).await.unwrap();
    let disk = bash(&sandbox, "exec 2>&1; head -c 32M /dev/zero > /tmp/big; rm -f /tmp/big").await;
    assert!(disk.text.contains("No space left"), "{disk:?}");
    let memory = bash(&sandbox, "a=$(head -c 400M /dev/zero | tr '\\0' x); echo ${#a}").await;
    assert!(memory.code != Some(0) || !memory.text.contains("419430400"), "{memory:?}");
    // Its neighbours in the sandbox and the guest go on.
    assert_eq!(bash(&sandbox, "echo alive").await.text, "alive\n");
    fixture.wall.destroy(&sandbox.record).await.unwrap();
}

#[tokio::test]
async fn the_hosts_network_root_and_a_bad_id_are_refused() {
    needs_docker!();
    let fixture = Fixture::new();
    let mut specs = [fixture.spec("ref1"), fixture.spec("ref2"), fixture.spec("../ref3")];
    specs[0].network = cordon_sandbox::Network::Host;
    specs[1].identity.uid = 0;
    for spec in specs {
        let error = fixture.create(&spec).await.unwrap_err();
        assert!(error.is_refusal(), "{error}");
    }
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn sudo_is_root_inside_a_wall_that_says_it_is_weaker() {
    needs_docker!();
    let fixture = Fixture::new();
    let mut spec = fixture.spec("sudo1");
    spec.image = Some("cordon/base".to_owned());
    spec.sudo = true;
    let sandbox = fixture.create(&spec).await.unwrap();
    assert!(sandbox.warnings.iter().any(|w| w.contains("sudo is on")), "{:?}", sandbox.warnings);
    let text = bash(&sandbox, "exec 2>&1; id -u; sudo id -u; sudo touch /usr/x && echo made").await.text;
    assert_eq!(text, "4242\n0\nmade\n");
    // Root inside is still no root of the host's.
    let script = "exec 2>&1; sudo mount -t tmpfs none /mnt; sudo sh -c 'echo > /proc/sys/kernel/core_pattern'; \
                  sudo mknod /tmp/sda b 8 0; sudo ip link add d type dummy; sudo umount /proc/kcore; sudo sysctl -w kernel.hostname=x";
    let text = bash(&sandbox, script).await.text;
    assert!(text.contains("permission denied") && text.contains("Operation not permitted"), "{text}");
    let left = bash(&sandbox, "stat -c %F /tmp/sda 2>&1; mount | grep -c '/mnt '").await.text;
    assert!(left.contains("cannot stat") && left.ends_with("0\n"), "{left}");
    fixture.wall.destroy(&sandbox.record).await.unwrap();
}
