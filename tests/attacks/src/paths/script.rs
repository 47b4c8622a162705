//! The same for programs.

use crate::Run;

/// `assault PATH...`: reads, writes, renames, links and removes what is at each path by every usual way.
const ASSAULT: &str = r#"
exchange() { perl -e 'exit(syscall(316, -100, $ARGV[0], -100, $ARGV[1], 2) != 0)' "$1" "$2"; }
assault() {
  local p n=0
  for p in "$@"; do
    n=$((n + 1)); echo seed > "$WS/src/seed$n"; echo seed > "$WS/src/seed2$n"
    timeout 5 head -c 4096 "$p"; timeout 5 head -c 4096 "$p"/*; timeout 5 head -c 99 "$p"/*/*; ls -la "$p" | head -n 40
    readlink "$p"; timeout 5 cp -rL "$p" "$WS/src/got$n"; timeout 5 cp -a "$p" "$WS/src/gota$n"
    ln "$p" "$WS/src/hard$n" && { cat "$WS/src/hard$n"; echo owned > "$WS/src/hard$n"; }
    ln "$p/inner" "$WS/src/hardin$n" && echo owned > "$WS/src/hardin$n"
    timeout 5 bash -c 'echo owned >> "$1"' - "$p"; timeout 5 bash -c 'echo owned > "$1"' - "$p"; truncate -s 0 "$p"
    timeout 5 dd if=/dev/zero of="$p" bs=1 count=1 conv=notrunc
    chmod 777 "$p"; chmod u+s "$p"; touch -d 2001-01-01 "$p"; touch -h -d 2001-01-01 "$p"; chown -h "$(id -u)" "$p"
    mkdir -p "$p/new/er"; echo owned > "$p/made"; ln -s /etc "$p/link"; mkfifo "$p/fifo"; perl -e 'open F, "+<", $ARGV[0] and truncate F, 3' "$p"
    exchange "$WS/src/seed$n" "$p"; mv -f "$WS/src/seed$n" "$p"; cp -f --remove-destination "$WS/src/seed2$n" "$p"
    ln -f "$WS/src/seed2$n" "$p"; ln -sfn /etc "$p"; mv -fT "$p" "$WS/src/moved$n"; mv -f "$p"/* "$WS/src/"; unlink "$p"; rm -rf "$p" "$p"/*; rmdir "$p"
  done 2>/dev/null </dev/null
}
"#;

/// A script that may use `assault` and `exchange`.
pub(crate) fn script(text: &str) -> Vec<Run> {
    vec![Run::script(format!("{ASSAULT}\n{text}\necho DONE\n"))]
}
