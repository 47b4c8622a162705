//! KX-01: the ways to run something. What a program is called, and where it lies, must decide nothing.

use crate::{Attack, Run};

/// Copied, linked, through the loader, from memory, by interpreters and by the shell alone: all of them are after the canary.
pub const BY_ANOTHER_NAME: Attack = Attack {
    id: "KX-01",
    what: "read the canary with a copied, renamed, linked, loader-started or in-memory program, an interpreter, shell built-ins",
    runs: |_| {
        vec![Run::script(
            r#"
cp /bin/cat ./innocent && ./innocent "$CANARY"
ln -s /bin/cat ./linked && ./linked "$CANARY"
for loader in /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.*; do [ -e "$loader" ] && "$loader" ./innocent "$CANARY"; done
perl -e 'open F, "<", "/bin/cat"; binmode F; local $/; $p = <F>; $n = "x"; $fd = syscall($ENV{NR_memfd_create}, $n, 0);
  open M, ">&=", $fd; binmode M; print M $p; $| = 1; flush M if 0; select M; $| = 1; select STDOUT;
  if (!fork) { exec { "/proc/self/fd/$fd" } "cat", $ENV{CANARY} } wait'
perl -e 'open F, "<", $ENV{CANARY} and print <F>'
perl -MFcntl -e 'sysopen F, "$ENV{WS}/../outside/canary", O_RDONLY and print <F>'
echo "$(<"$CANARY")"
mapfile -t lines < "$CANARY" && echo "${lines[@]}"
source "$CANARY"
exec 9< "$CANARY" && cat <&9
command -p cat "$CANARY"; env -i cat "$CANARY"; exec -a ls cat "$CANARY" &
wait
echo x >> "$CANARY"; : > "$OUTSIDE/made"
echo DONE
"#,
        )]
    },
    ..Attack::NONE
};

/// A library in the place of another must not bring anything into programs of ours, or of anybody else.
pub const LOADER: Attack = Attack {
    id: "KX-01",
    what: "plant libraries for programs of others: ld.so.preload, ld.so.cache, a replaced libc, LD_PRELOAD for the guest",
    runs: |_| {
        vec![Run::script(
            r#"
no ld.so.preload bash -c 'echo "$WS/evil.so" >> /etc/ld.so.preload'
no ld.so.cache bash -c ': >> /etc/ld.so.cache'
libc=$(ls /lib/*/libc.so.6 /lib64/libc.so.6 2>/dev/null | head -n 1)
no libc bash -c ": >> '$libc'"
no libc-by-mapping perl -e 'open F, "+<", $ARGV[0] or exit 1' "$libc"
no shell bash -c ': >> /bin/bash'
no path-directory touch /usr/local/bin/git
# A program of ours must take nothing from the environment of whoever starts it.
if [ -x /run/cordon-guest ]; then
  echo garbage > evil.so
  LD_PRELOAD=$WS/evil.so LD_AUDIT=$WS/evil.so LD_LIBRARY_PATH=$WS /run/cordon-guest --version | grep -q '^cordon-guest' || got guest-loads
fi
echo DONE
"#,
        )]
    },
    ..Attack::NONE
};
