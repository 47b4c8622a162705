//! Other processes: the guest, those of the host, those of other sandboxes.

use super::ours_only;
use crate::{Attack, Enforcer, Run};

/// KX-04.
pub const MEMORY: Attack = Attack {
    id: "KX-04",
    what: "trace, read and write other processes: the guest, a process of the same user on the host",
    runs: |_| {
        vec![Run::script(
            r#"
for pid in 1 "$VICTIM"; do
  call ptrace "16, $pid, 0, 0" "ptrace-attach $pid"
  call ptrace "0x4206, $pid, 0, 0" "ptrace-seize $pid"
  call process_vm_readv "$pid, pack('PQ', \$b, 64), 1, pack('QQ', 0x400000, 64), 1, 0" "process_vm_readv $pid"
  call process_vm_writev "$pid, pack('PQ', \$b, 64), 1, pack('QQ', 0x400000, 64), 1, 0" "process_vm_writev $pid"
  call kcmp "$pid, \$\$, 0, 0, 0" "kcmp $pid"
  call pidfd_getfd "pidfd($pid), 0, 0" "pidfd_getfd $pid"
  call process_madvise "pidfd($pid), pack('QQ', 0x400000, 4096), 1, 21, 0" "process_madvise $pid"
done 2>&1 | sed "s/ $VICTIM/ victim/"
echo DONE
"#,
        )]
    },
    // In a control the script itself is the first process: its memory is no secret.
    spared: |enforcer| ours_only(enforcer, "its first process is the attacked program itself"),
    told: |enforcer| match enforcer {
        Enforcer::Local => &["ptrace", "process_vm_readv", "process_vm_writev", "kcmp"],
        // Allowed by the engine's own filter since 4.8 kernels, and so refused by ours.
        Enforcer::Docker => &["ptrace"],
        _ => &[],
    },
    ..Attack::NONE
};

/// KX-04, by files.
pub const PROC: Attack = Attack {
    id: "KX-04",
    what: "find the canary by /proc: environment, memory, root, directory and descriptors of every process that can be seen",
    runs: |_| {
        vec![Run::script(
            r#"
for p in /proc/[0-9]*; do
  tr '\0' '\n' < $p/environ; tr '\0' ' ' < $p/cmdline | cut -c 1-40; cat "$p/root$CANARY" "$p/cwd/../outside/canary"
  for fd in $p/fd/*; do cat "$fd/outside/canary" "$fd/../outside/canary" "$fd$CANARY"; done
  cat $p/task/*/environ
done 2>/dev/null | grep -a token
cat "/proc/$VICTIM/environ" "/proc/$VICTIM/root$CANARY" 2>/dev/null | grep -a token
[ -d "/proc/$VICTIM/task" ] && grep -qs sleep "/proc/$VICTIM/comm" && got the-host-process-is-visible
kill -9 "$VICTIM"; kill -STOP "$VICTIM"
if [ -e /run/cordon-guest ]; then
  for name in environ mem maps fd/0 cwd/. root/. exe auxv stack syscall pagemap; do no "/proc/1/$name" head -c 1 "/proc/1/$name"; done
  no list-descriptors-of-1 ls /proc/1/fd/0
  for name in mem oom_score_adj oom_adj coredump_filter clear_refs autogroup timerslack_ns comm attr/current; do
    no "write /proc/1/$name" bash -c "exec 3>/proc/1/$name && echo 0 >&3"
  done
fi
echo DONE
"#,
        )]
    },
    ..Attack::NONE
};

/// KX-04: writing by a door that ignores how a page is mapped.
pub const OWN_MEMORY: Attack = Attack {
    id: "KX-04",
    what: "change read-only files through /proc/self/mem and the page cache",
    runs: |_| {
        vec![Run::script(
            r#"
for file in "$RO/file" "$WS/keep/file" /run/cordon-guest /bin/true; do
  [ -e "$file" ] || continue
  before=$(cksum < "$file")
  perl -e 'use Fcntl; sysopen F, $ARGV[0], O_RDONLY or exit; syscall(9, 0, 4096, 1, 2, fileno F, 0); # mmap, private
    open M, "<", "/proc/self/maps"; ($from) = map { /^([0-9a-f]+)-.* \Q$ARGV[0]\E$/ ? hex $1 : () } <M>; exit unless $from;
    sysopen W, "/proc/self/mem", O_WRONLY or exit; sysseek W, $from, 0; syswrite W, "OWNED";
    $p = "\0" x 16; pipe R, P; syscall(275, fileno F, 0, fileno P, 0, 5, 0); syswrite P, "OWNED"; # splice, then write into the pipe' "$file"
  [ "$(cksum < "$file")" = "$before" ] || got "$file"
done
echo DONE
"#,
        )]
    },
    ..Attack::NONE
};

/// Signals to the first process, and to everybody.
pub const SIGNALS: Attack = Attack {
    id: "KX-16",
    what: "end, stop or confuse the guest: every signal to PID 1, by number, group and descriptor, and to everybody",
    runs: |_| {
        vec![
            Run::script(
                r#"
for n in $(seq 64); do kill -$n 1; done 2>/dev/null
for n in 1 9 15 19 11; do
  perl -e '$fd = syscall($ENV{NR_pidfd_open}, 1, 0); syscall($ENV{NR_pidfd_send_signal}, $fd, $ARGV[0], 0, 0)' $n
done
kill -9 0 & wait
echo DONE
"#,
            )
            .dying(),
            Run::script("(trap '' TERM; sleep 60 >/dev/null 2>&1 & ); kill -9 -1; echo DONE").dying(),
        ]
    },
    spared: |enforcer| match enforcer {
        crate::Enforcer::Tools => {
            Some("the tools' server is a process of the agent's own, and it may end it")
        }
        _ => ours_only(enforcer, "its first process is the attacked program itself"),
    },
    ..Attack::NONE
};

/// What the same user may do to a process without touching it.
pub const STARVE: Attack = Attack {
    id: "KX-15",
    what: "starve the guest: its limits, priority, processor and place in the out-of-memory order",
    runs: |_| {
        vec![Run::script(
            r#"
# The one it has; a lower one would go through as well, and end the sandbox's usefulness.
no prlimit prlimit --pid 1 --core=0:0
no renice renice 19 1
no idle chrt --idle -p 0 1
no affinity taskset -p "$(taskset -p 1 | sed 's/.* //')" 1
no ionice ionice -c 3 -p 1
no oom-order bash -c 'echo 1000 > /proc/1/oom_score_adj'
echo DONE
"#,
        )]
    },
    spared: |enforcer| ours_only(enforcer, "its first process is the attacked program itself"),
    ..Attack::NONE
};

/// KX-05 of identities.
pub const IDENTITY: Attack = Attack {
    id: "KX-05",
    what: "become somebody else: setuid programs, set*id, capabilities",
    runs: |_| {
        vec![Run::script(
            r#"
[ "$(id -u)" = 0 ] && got uid-0
[ "$(id -g)" = 0 ] && got gid-0
me=$(id -u)
perl -e '$> = 0; $< = 0; exit($> != 0 || $ARGV[0] == 0)' "$me" && got seteuid
[ "$me" = 0 ] || no setpriv setpriv --reuid 0 true
for program in $(find /usr/bin /usr/sbin /usr/lib -xdev -perm -4000 2>/dev/null); do
  [ "$me" = 0 ] || "$program" --version >/dev/null 2>&1 </dev/null &
  child=$!; grep -s '^Uid:' /proc/$child/status | grep -qw 0 && [ "$me" != 0 ] && got "$program"
done
wait
# A setuid program of one's own, and one of root's that was carried in by name.
cp /bin/bash own && chmod 4755 own && ./own -p -c '[ "$(id -u)" != '"$me"' ] && echo GOT setuid-copy'
grep -q '^CapEff:.*[1-9a-f]' /proc/self/status && got capabilities
grep -q '^CapBnd:.*[1-9a-f]' /proc/self/status && got bounding-set
echo DONE
"#,
        )]
    },
    ..Attack::NONE
};
