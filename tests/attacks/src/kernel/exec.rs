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

/// KX-13: a directory that a model chose is no root of anything.
pub const CHOSEN_DIRECTORY: Attack = Attack {
    id: "KX-13",
    what: "run with a working directory of one's choice: the root, above the workspace, outside, links, /proc doors",
    prepare: |world| {
        for (name, target) in [("out", world.outside()), ("up", "../outside".into()), ("root", "/".into())] {
            std::os::unix::fs::symlink(target, world.workspace().join(name)).unwrap();
        }
    },
    runs: |world| {
        let ws = world.workspace();
        let places = [
            "/".into(),
            "/etc".into(),
            ws.join(".."),
            ws.join("../outside"),
            ws.join("src/../../outside/dir"),
            world.outside(),
            ws.join("out"),
            ws.join("up/dir"),
            ws.join("root/root"),
            "/proc/1/cwd".into(),
            "/proc/1/root".into(),
            "/proc/self/fd/3".into(),
            "/proc/self/fd/7".into(),
            "/proc/self/task/../root".into(),
            ws.join("hidden"),
            ws.join("keep"),
            world.read_only(),
            "/run/cordon".into(),
            "".into(),
            "src".into(),
            "../../../..".into(),
        ];
        let script = r#"
cat canary inner ./outside/canary ../outside/canary "$PWD$CANARY" 2>/dev/null
touch made-here canary file; echo x >> file; rm -f file; mkdir made
echo DONE
"#;
        places.into_iter().map(|place: std::path::PathBuf| Run::script(script).at(place)).collect()
    },
    spared: |enforcer| {
        let tools = matches!(enforcer, crate::Enforcer::Tools | crate::Enforcer::ToolsAlone);
        tools.then_some("a tool's directory is a path like any other, and attacked as one")
    },
    ..Attack::NONE
};
