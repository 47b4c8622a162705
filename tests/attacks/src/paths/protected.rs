//! What is protected inside of what may be written: by renames, by links, by what lies above it, by system calls.

use super::{
    add_rule,
    calls::{call, changing, naming, reading, sound, writing},
    ours, programs, ruleless,
    script::script,
};
use crate::{Attack, Enforcer, Must, enforcer::wall};
use cordon_policy::{Access, Source};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
};

/// FS-17.
pub const INTO: Attack = Attack {
    id: "FS-17",
    what: "put something into the place of a protected name: rename, exchange, link, copy, mount, a directory for a file",
    runs: |_| {
        script(
            r#"
assault held keep/file keep hidden "$RO/file" "$RO"
echo x > x; mkdir y; echo x > y/file
for to in held keep/file keep hidden "$RO/file"; do
  mv -f x "$to"; mv -fT y "$to"; ln -f x "$to"; ln -sf x "$to"; exchange x "$to"; exchange y "$to"; cp -f --remove-destination x "$to"
  perl -e 'syscall(316, -100, $ARGV[0], -100, $ARGV[1], 0)' x "$to"; perl -e 'rename $ARGV[0], $ARGV[1]' "$to" z
  perl -e 'link $ARGV[0], $ARGV[1]' "$to" "$to.bak"; cp --reflink=auto x "$to"; install -m 777 x "$to"; dd if=x of="$to"; tee "$to" < x
  touch x; mkdir -p y
done >/dev/null 2>&1
"#,
        )
    },
    calls: |_| {
        let mut calls = Vec::new();
        for path in ["held", "keep/file", "keep", "keep/new", "hidden"] {
            calls.extend(naming(path, Must::Deny));
            calls.extend(changing(path));
        }
        calls.extend(writing("hidden", Must::Deny));
        calls.extend(reading("hidden", Must::Deny));
        calls.extend(sound());
        calls
    },
    spared: ruleless,
    ..Attack::NONE
};

/// FS-17, where only tools can be told of a name that is not there: before the walls, the daemon holds such a name.
pub const ABSENT: Attack = Attack {
    id: "FS-17",
    what: "make a protected name that is not there yet: directly, below a new directory, by moving or copying a tree over it",
    tune: |world, spec| {
        add_rule(spec, &world.path("ws/later/conf"), Access::Read, Source::RunsLater);
        add_rule(spec, &world.path("ws/caf\u{e9}"), Access::Read, Source::RunsLater);
    },
    calls: |_| {
        let mut calls = reading("later/conf", Must::Fail);
        calls.extend(changing("later/conf"));
        calls.push(call("write_file", json!({"path": "x/conf", "content": "owned"}), Must::Work));
        calls.push(call("move_file", json!({"source": "x", "destination": "later"}), Must::Deny));
        calls.push(call("copy_file", json!({"source_path": "x", "destination_path": "later"}), Must::Deny));
        calls.push(call("create_directory", json!({"path": "later"}), Must::Work));
        calls.extend(changing("later/conf"));
        calls.extend(changing("later/conf/below"));
        for overwrite in [true, false] {
            let over = json!({"source_path": "x", "destination_path": "later", "overwrite": overwrite});
            calls.push(call("copy_file", over, Must::Fail));
            let batch =
                json!({"source_base_path": "x", "destination_base_path": "later", "overwrite": overwrite});
            calls.push(call("copy_files_batch", batch, Must::Fail));
        }
        for to in ["later/conf", "./later//conf", "later/../later/conf"] {
            calls.push(call("move_file", json!({"source": "x/conf", "destination": to}), Must::Deny));
            calls.push(call(
                "copy_file",
                json!({"source_path": "x/conf", "destination_path": to}),
                Must::Deny,
            ));
        }
        calls.push(call("move_file", json!({"source": "later", "destination": "later2"}), Must::Deny));
        calls.push(call("write_file", json!({"path": "caf\u{e9}", "content": "owned"}), Must::Deny));
        // Another name, by its bytes: whoever reads it decides by its bytes too.
        calls.push(call("write_file", json!({"path": "cafe\u{301}", "content": "x"}), Must::Work));
        calls.push(call("write_file", json!({"path": "caf\u{e9}\u{200b}", "content": "x"}), Must::Work));
        calls.push(call("write_file", json!({"path": "CAF\u{c9}", "content": "x"}), Must::Work));
        calls.extend(sound());
        calls
    },
    look: |world| {
        let made = ["ws/later/conf", "ws/caf\u{e9}"].into_iter().filter(|name| world.path(name).exists());
        made.map(|name| format!("{name} was made")).collect()
    },
    spared: |enforcer| (enforcer != Enforcer::ToolsAlone).then_some("the daemon puts something there before"),
    ..Attack::NONE
};

/// FS-17 from above.
pub const ABOVE: Attack = Attack {
    id: "FS-17",
    what: "move or replace a directory above a protected name, and make the name again in its place",
    prepare: |world| world.put("ws/deep/sub/prot", "k protected\n"),
    tune: |world, spec| {
        add_rule(spec, &world.path("ws/deep/sub/prot"), Access::Read, Source::ProtectedPath);
        // As `Policy::view` has it: what is above a protected name is a mount itself, and stays where it is.
        for name in ["ws/deep", "ws/deep/sub"] {
            spec.paths.push(wall::entry(&world.path(name), Access::Write, true));
        }
        spec.paths.push(wall::entry(&world.path("ws/deep/sub/prot"), Access::Read, false));
    },
    runs: |_| {
        script(
            r#"
mkdir -p other/sub; echo owned > other/sub/prot
mv deep deep2; mv deep/sub sub2; exchange deep other; exchange deep/sub other/sub; mv -T other deep; rm -rf deep; rm -rf deep/sub
mkdir -p deep/sub; echo owned > deep/sub/prot; ln -sfn "$PWD/other" deep; assault deep/sub/prot; assault deep/sub; assault deep
echo ok > deep/sub/beside || echo "BROKEN: what is beside cannot be written"
"#,
        )
    },
    calls: |_| {
        let mut calls = changing("deep/sub/prot");
        calls.extend(naming("deep/sub/prot", Must::Deny));
        for path in ["deep", "deep/sub", "deep/", "deep/sub/"] {
            calls.extend(naming(path, Must::Fail));
            let over = json!({"source_path": "src", "destination_path": path, "overwrite": true});
            calls.push(call("copy_file", over, Must::Fail));
        }
        calls.push(call("write_file", json!({"path": "deep/sub/beside", "content": "x"}), Must::Work));
        calls.extend(sound());
        calls
    },
    look: |world| {
        let found = fs::read_to_string(world.path("ws/deep/sub/prot")).unwrap_or_default();
        if found == "k protected\n" {
            Vec::new()
        } else {
            vec!["the protected name has other content".to_owned()]
        }
    },
    spared: |enforcer| ours(enforcer, "was given no rule below its workspace but those of every world"),
    ..Attack::NONE
};

/// Everything that takes a tree, on trees with something in it that is not the agent's.
pub const RECURSIVE: Attack = Attack {
    id: "FS-17",
    what: "delete, move, copy, replace and compare the whole workspace, with protected and masked names in it",
    runs: |_| {
        script(
            r#"
{ cp -r . /tmp/all; tar cf /tmp/all.tar .; cat /tmp/all/hidden; tar xOf /tmp/all.tar; grep -r token .; mkdir src/all; cp -a . src/all
find . -depth -delete; rm -rf ./* "$PWD"; mv "$WS" "$WS.old"; mv ./* /tmp/; exchange . src; rsync -a --delete /etc/ . ; } 2>/dev/null
mkdir -p src
"#,
        )
    },
    calls: |world| {
        let ws = world.workspace().display().to_string();
        let mut calls = Vec::new();
        for path in [".", "./", ws.as_str(), "src/..", "keep/.."] {
            for source in ["src", "."] {
                let over = json!({"source_path": source, "destination_path": path, "overwrite": true});
                calls.push(call("copy_file", over, Must::Fail));
            }
            calls.extend(naming(path, Must::Fail));
            let into = json!({"source_path": path, "destination_path": "src/all"});
            calls.push(call("copy_file", into, Must::Fail));
            let batch = json!({"source_base_path": path, "destination_base_path": "src/batch"});
            calls.push(call("copy_files_batch", batch, Must::Answer));
            let out = json!({"source_base_path": path, "destination_base_path": path, "overwrite": true});
            calls.push(call("copy_files_batch", out, Must::Fail));
            let compare = json!({"dir1": path, "dir2": "src/batch", "show_content_diff": true});
            calls.push(call("compare_directories", compare, Must::Answer));
            calls.push(call("directory_tree", json!({"path": path}), Must::Work));
            calls.push(call("search_files", json!({"path": path, "pattern": "**"}), Must::Work));
            calls.push(call("list_directory_with_sizes", json!({"path": path}), Must::Work));
        }
        let onto = json!({"source_base_path": "src", "destination_base_path": "keep", "overwrite": true});
        calls.push(call("copy_files_batch", onto, Must::Deny));
        calls.push(call("move_file", json!({"source": "keep", "destination": "src/keep"}), Must::Deny));
        calls.push(call("delete_files_batch", json!({"base_path": "keep"}), Must::Fail));
        calls.push(call("delete_files_batch", json!({"base_path": "."}), Must::Answer));
        calls.push(call("delete_file", json!({"path": "src", "recursive": true}), Must::Work));
        calls.extend(sound());
        calls
    },
    spared: ruleless,
    ..Attack::NONE
};

/// FS-19.
pub const READ_ONLY: Attack = Attack {
    id: "FS-19",
    what: "change a read-only file by calls that need no descriptor for writing: truncate, fallocate, ioctl, attributes, times, O_TMPFILE, reflinks",
    runs: |_| {
        script(
            r#"
for file in "$RO/file" "$WS/keep/file"; do
  perl -e 'use Fcntl; my $p = "$ARGV[0]\0"; my $b = "OWNED\0\0\0" x 512;
    sysopen F, $ARGV[0], O_RDONLY or exit; my $f = fileno F;
    sysopen T, $ARGV[0], O_RDONLY|O_TRUNC; sysopen T, $ARGV[0], O_RDWR; sysopen T, $ARGV[0], 3; sysopen T, $ARGV[0], O_WRONLY|O_APPEND;
    sysopen T, "/proc/self/fd/$f", O_RDWR and syswrite T, $b; sysopen T, "/dev/fd/$f", O_WRONLY and syswrite T, $b;
    syscall 76, $p, 0; syscall 77, $f, 0; syscall 285, $f, 0, 0, 99999; syscall 285, $f, 3, 0, 4;
    syscall 1, $f, $b, 9; syscall 18, $f, $b, 9, 0; syscall 20, $f, pack("PQ", $b, 9), 1; syscall 328, $f, pack("PQ", $b, 9), 1, 0, 0, 0;
    my $i = pack "l", 0x10; for my $n (0x40086602, 0x401c5820, 0x5452, 0x40049409, 0xc0189436, 0x4020940d, 0x40086610) { my $c = $i x 16; ioctl F, $n, $c }
    syscall 90, $p, 0777; syscall 91, $f, 0777; syscall 268, -100, $p, 0777, 0; syscall 452, -100, $p, 0777, 0;
    syscall 92, $p, $<, $<; syscall 94, $p, $<, $<; syscall 93, $f, $<, $<; syscall 260, -100, $p, $<, $<, 0;
    utime 1, 1, $ARGV[0]; syscall 280, -100, $p, 0, 0; syscall 280, $f, 0, 0, 0; syscall 132, $p, 0; syscall 235, $p, 0;
    my ($n, $v) = ("user.x\0", "1"); syscall 188, $p, $n, $v, 1, 0; syscall 190, $f, $n, $v, 1, 0; syscall 197, $p, $n;
    syscall 463, -100, $p, 0, $n, pack("PLL", $v, 1, 0), 16; syscall 469, -100, $p, "\0" x 24, 24, 0;
    my $m = syscall 9, 0, 4096, 3, 1, $f, 0; syscall 10, syscall(9, 0, 4096, 1, 1, $f, 0), 4096, 3;
    syscall 73, $f, 2; syscall 72, $f, 4, 02000; syscall 187, $f, 0, 1; syscall 26, $m, 4096, 4;
    sysopen S, "/etc/passwd", O_RDONLY; my $s = fileno S; syscall 40, $f, $s, 0, 9; syscall 326, $s, 0, $f, 0, 9, 0; ioctl F, 0x40049409, $s;
    pipe R, W; syswrite W, $b; syscall 275, fileno R, 0, $f, 0, 9, 0; syscall 278, fileno W, pack("PQ", $b, 9), 1, 0;
    my $d = $ARGV[0]; $d =~ s{/[^/]*$}{}; sysopen O, $d, 020200000|O_RDWR and syscall 265, -100, "/proc/self/fd/" . fileno(O) . "\0", -100, "$d/made\0", 0x400;
    syscall 86, $p, "$ENV{WS}/src/linked\0"; syscall 82, $p, "$ENV{WS}/src/renamed\0"; syscall 87, $p; syscall 133, "$d/node\0", 0100666, 0; syscall 88, "/etc\0", "$d/l\0";
  ' "$file" </dev/null >/dev/null 2>&1
done
"#,
        )
    },
    spared: programs,
    ..Attack::NONE
};

/// FS-20.
pub const MOUNTS: Attack = Attack {
    id: "FS-20",
    what: "take mounts away or put others over them: unshare, bind, remount, umount, move, overlay, fuse, swapped roots",
    runs: |_| {
        script(
            r#"
tricks='
  umount -l "$WS/hidden"; umount "$WS/keep"; umount -l "$WS"; mount -o remount,rw,bind "$WS/keep"; mount -o remount,rw "$RO"
  mount --bind "$WS/src" "$WS/keep"; mount --bind "$WS/src/main.rs" "$WS/held"; mount --move "$WS/keep" "$WS/src"; mount -t tmpfs none "$WS/keep"
  mount -t overlay overlay -o "lowerdir=$WS/keep,upperdir=$WS/src/u,workdir=$WS/src/w" "$WS/keep"; mount -t proc proc "$WS/src"; mount --make-rshared /
  fusermount -u "$WS/keep"; mount -t fuse none "$WS/src" -o fd=3,rootmode=40000,user_id=0,group_id=0 3<>/dev/fuse; mount --rbind / "$WS/src/root"; pivot_root . .
  echo owned > "$WS/keep/file"; echo owned > "$WS/keep/made"; echo owned > "$RO/file"; echo owned > "$WS/held"; cat "$WS/hidden"; cat "$CANARY"; cat "$WS/src/root$CANARY"
'
mkdir -p src/root src/u src/w
for with in "" "unshare -Urm" "unshare -Ur" "unshare -m" "unshare -Urmpf --mount-proc" "nsenter -t 1 -m" "chroot / "; do
  timeout 10 $with bash -c "$tricks" </dev/null 2>/dev/null
done
"#,
        )
    },
    spared: programs,
    ..Attack::NONE
};

/// What the tools decide by, and whoever starts them.
pub const TABLE: Attack = Attack {
    id: "FS-20",
    what: "rewrite the rules that the tools go by, the guest, or what is around them, from inside",
    runs: |_| {
        script(
            r#"
for path in /run/cordon-policy /run/cordon-guest; do
  [ -e "$path" ] || { echo "BROKEN: no $path"; continue; }
  before=$(cksum < "$path"; stat -c '%a %u %i' "$path")
  assault "$path"; assault "/proc/self/root$path" "/run/./../run/${path##*/}"; ln -sf "$WS/src/main.rs" "$path"; mount --bind "$WS/src/main.rs" "$path" 2>/dev/null
  [ "$(cksum < "$path"; stat -c '%a %u %i' "$path")" = "$before" ] || got "changed $path"
done 2>/dev/null
mv /run /run2 2>/dev/null && got moved-run
"#,
        )
    },
    calls: |_| {
        let mut calls = Vec::new();
        for path in
            ["/run/cordon-policy", "/run/cordon-guest", "/run/../run/cordon-policy", "/run/new", "/run"]
        {
            calls.extend(writing(path, Must::Deny));
            calls.extend(naming(path, Must::Fail));
        }
        calls.extend(sound());
        calls
    },
    spared: |enforcer| ours(enforcer, "has none"),
    ..Attack::NONE
};

/// FS-22.
pub const BITS: Attack = Attack {
    id: "FS-22",
    what: "leave something on the host that gives rights to whoever runs it: setuid root, capabilities, devices",
    runs: |_| {
        script(
            r#"
{ cp /bin/bash src/suid; chmod 6777 src/suid; chown 0:0 src/suid; chmod 6755 src/suid; cp /bin/bash src/cap
perl -e 'my ($n, $v) = ("security.capability\0", pack("V5", 0x02000001, 0xffffffff, 0, 0xffffffff, 0)); syscall 188, "src/cap\0", $n, $v, 20, 0'
mknod src/zero c 1 5; mknod src/disk b 8 0; mknod src/mem c 1 1; perl -e 'syscall 133, "src/null\0", 020666, 0x103; syscall 259, -100, "src/loop\0", 060666, 0x700'; } 2>/dev/null
[ "$(id -u)" = "$(src/suid -p -c 'id -u' 2>/dev/null || id -u)" ] || got became-somebody-else
"#,
        )
    },
    look: |world| {
        let mut found = Vec::new();
        for entry in fs::read_dir(world.path("ws/src")).unwrap().flatten() {
            let (name, stat) = (entry.file_name(), entry.metadata().unwrap());
            let name = name.to_string_lossy();
            if stat.mode() & 0o6000 != 0 && stat.uid() == 0 {
                found.push(format!("{name} is setuid root on the host"));
            }
            if stat.file_type().is_char_device() || stat.file_type().is_block_device() {
                found.push(format!("{name} is a device on the host"));
            }
            if rustix::fs::lgetxattr(entry.path(), "security.capability", &mut [0u8; 64][..]).is_ok() {
                found.push(format!("{name} has capabilities on the host"));
            }
        }
        found.sort();
        found
    },
    spared: programs,
    ..Attack::NONE
};

/// FS-23.
pub const OWNER: Attack = Attack {
    id: "FS-23",
    what: "make files on the host that belong to somebody else than the agent's user",
    runs: |_| {
        script(
            "umask 0; echo x > src/made; mkdir -p src/dir/in; ln -s x src/l; mkfifo src/f; chown 0 src/made 2>/dev/null; chown 1:1 src/dir 2>/dev/null",
        )
    },
    look: |world| {
        let foreign =
            |name: &&str| fs::symlink_metadata(world.path(name)).is_ok_and(|s| s.uid() != world.uid);
        let names = ["ws/src/made", "ws/src/dir", "ws/src/dir/in", "ws/src/l", "ws/src/f"];
        names
            .iter()
            .filter(|name| foreign(name))
            .map(|name| format!("{name} belongs to somebody else"))
            .collect()
    },
    spared: programs,
    ..Attack::NONE
};
