//! KX-15: what grows until something stops it. The limits are small here, so that they are reached at once; whether they
//! hold is asked, and never how long anything took.

use crate::{Attack, Enforcer, Run};
use cordon_sandbox::SandboxSpec;

/// Each a fraction of what the bombs ask for.
fn small(_: &crate::World, spec: &mut SandboxSpec) {
    spec.limits.pids = 48;
    spec.limits.memory_bytes = 192 << 20;
    spec.limits.tmp_bytes = 16 << 20;
    spec.limits.open_files = 128;
}

/// An ordinary user's memory is not limited where no control group is delegated to it: said at the start.
fn needs_groups(enforcer: Enforcer) -> Option<&'static str> {
    let local = matches!(enforcer, Enforcer::Local | Enforcer::Tools);
    (local && !rustix::process::geteuid().is_root()).then_some("an ordinary user has no control groups here")
}

/// A bomb: the bound is stated in the script.
const fn bomb(what: &'static str, runs: fn(&crate::World) -> Vec<Run>) -> Attack {
    Attack { id: "KX-15", what, runs, tune: small, ..Attack::NONE }
}

/// Processes.
pub const FORKS: Attack = bomb("start 300 processes where 48 are allowed", |_| {
    vec![Run::script(
        r#"
perl -e 'my $made = 0; for (1 .. 300) { my $pid = fork; if (!defined $pid) { last } if (!$pid) { sleep 20; exit } $made++; push @p, $pid }
  print "GOT $made processes\n" if $made > 60; kill 9, @p; wait for @p; print "made $made\n"'
echo DONE
"#,
    )
    .dying()]
});

/// Threads count as processes.
pub const MEMORY: Attack = Attack {
    spared: needs_groups,
    ..bomb("take 600 MB of memory where 192 are allowed", |_| {
        vec![
        Run::script(
            r#"
perl -e 'my @all; for my $n (1 .. 300) { push @all, "x" x (2 << 20) } print "GOT 600 MB in one process\n"' 2>/dev/null
echo DONE
"#,
        )
        .dying(),
        Run::script(
            r#"
# In many small ones, all at a time.
for i in $(seq 12); do perl -e '$| = 1; my @all; for my $n (1 .. 25) { push @all, "x" x (2 << 20) } print "filled\n"; sleep 3' & done > filled 2>/dev/null
wait
[ "$(grep -c filled filled)" -ge 12 ] && got "600 MB in twelve processes"
echo DONE
"#,
        )
        .dying(),
    ]
    })
};

/// Memory that is a file.
pub const MEMORY_FILES: Attack = Attack {
    spared: needs_groups,
    ..bomb("fill /dev/shm, memfd and System V shared memory with 600 MB", |_| {
        vec![Run::script(
        r#"
head -c 600M /dev/zero > /dev/shm/big 2>/dev/null && got shm
rm -f /dev/shm/big
perl -e 'my $n = "x"; my $fd = syscall($ENV{NR_memfd_create}, $n, 0); open my $f, ">&=", $fd; my $m = "x" x (1 << 20); my $w = 0;
  for (1 .. 600) { defined(syswrite $f, $m) ? $w++ : last } print "GOT memfd\n" if $w == 600' 2>/dev/null
echo DONE
"#,
    )
    .dying()]
    })
};

/// Descriptors.
pub const DESCRIPTORS: Attack = bomb("open 4000 files where 128 are allowed", |_| {
    vec![Run::script(
        r#"
perl -e 'my @all; for (1 .. 4000) { open my $f, "<", "/dev/null" or last; push @all, $f } print "GOT ", scalar @all, " files\n" if @all > 128'
[ "$(ulimit -Hn)" = 128 ] || got "hard limit $(ulimit -Hn)"
ulimit -n 4096 2>/dev/null && got "raised limit"
echo DONE
"#,
    )]
});

/// Bytes and names of the private directories.
pub const DISK: Attack = bomb(
    "write 64 MB and 100,000 names into /tmp and the home, where 16 MB are allowed",
    |_| {
        vec![Run::script(
            r#"
for place in /tmp "$HOME"; do
  [ -d "$place" ] || continue
  head -c 64M /dev/zero > "$place/big" 2>/dev/null && got "64 MB in $place"
  rm -f "$place/big"
  perl -e 'chdir $ARGV[0] or exit; mkdir "many"; my $made = 0; for (1 .. 100000) { open my $f, ">", "many/$_" or last; close $f; $made++ }
    print "GOT $made names in $ARGV[0]\n" if $made == 100000' "$place"
  rm -rf "$place/many"
done
echo DONE
"#,
        )]
    },
);

/// Output.
pub const OUTPUT: Attack = bomb("print 96 MB, 100,000 lines and one line of 16 MB", |_| {
    vec![Run::script(
        r#"
head -c 96M /dev/zero | tr '\0' x
echo
yes line | head -n 100000
head -c 16M /dev/zero | tr '\0' y
echo
printf '\377\376\0\033[2J'
echo
echo DONE
"#,
    )]
});

/// Refusals that somebody answers: many at a time, from threads that die while they wait.
pub const REFUSALS: Attack = bomb(
    "make 60,000 refused system calls at once, and be killed in the middle of some",
    |_| {
        vec![Run::script(
            r#"
for n in $(seq 12); do
  perl -e 'my $b = "\0" x 200; for (1 .. 5000) { $r = syscall($ENV{NR_keyctl}, 0, -3, 1); print "GOT keyctl\n" if $r >= 0 }' &
done
for n in $(seq 20); do
  perl -e 'alarm 1; while (1) { syscall($ENV{NR_keyctl}, 0, -3, 1) }' & kill -9 $!
done 2>/dev/null
wait
call keyctl '0, -3, 1'
call bpf '0, $b, 128'
echo DONE
"#,
        )]
    },
);
