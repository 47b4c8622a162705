//! Things that are no plain files, and trees that are too much.

use super::{
    calls::{call, everywhere, few, reading, sound, writing},
    links::link,
    programs,
    script::script,
    tools,
};
use crate::{Attack, Call, Enforcer, Must, Run, World, world::open_up};
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};
use serde_json::json;
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, net::UnixListener},
};

/// FS-13.
pub const MAGIC: Attack = Attack {
    id: "FS-13",
    what: "reach outside over links that only the kernel can follow: root, directory, descriptors and programs of processes",
    prepare: |world| {
        for (n, target) in [
            "/proc/self/root",
            "/proc/self/cwd",
            "/proc/1/root",
            "/dev/fd",
            "/proc/thread-self/root",
            "/proc/self",
        ]
        .iter()
        .enumerate()
        {
            link(world, target, &format!("magic{n}"));
        }
    },
    runs: |_| {
        script(
            r#"
for p in self thread-self 1 $$ $PPID "$VICTIM"; do assault "/proc/$p/root$CANARY" "/proc/$p/cwd/../outside/canary" "/proc/$p/task/$p/root$CANARY" "/proc/$p/root/$OUTSIDE/new"; done
for n in $(seq 3 20); do for p in self 1; do assault "/proc/$p/fd/$n$CANARY" "/proc/$p/fd/$n/../outside/canary"; done; done
assault "magic0$CANARY" magic1/../outside/canary "magic2$CANARY" "magic4$CANARY" "magic5/root$CANARY"
assault /proc/self/map_files/* /proc/self/ns/mnt
"#,
        )
    },
    calls: |world| {
        let canary = world.canary().display().to_string();
        let new = world.path("outside/new").display().to_string();
        let me = std::process::id();
        let mut calls = Vec::new();
        for process in [
            "self".to_owned(),
            "thread-self".to_owned(),
            "1".to_owned(),
            me.to_string(),
            format!("self/task/{me}"),
        ] {
            calls.extend(few(&format!("/proc/{process}/root{canary}"), Must::Fail));
            calls.extend(few(&format!("/proc/{process}/root{new}"), Must::Fail));
            calls.extend(few(&format!("/proc/{process}/cwd/../outside/canary"), Must::Fail));
        }
        for n in 0..24 {
            calls.extend(few(&format!("/proc/self/fd/{n}"), Must::Fail));
            calls.extend(few(&format!("/dev/fd/{n}{canary}"), Must::Fail));
        }
        for path in [
            "/dev/stdin",
            "/dev/stdout",
            "/dev/tty",
            "/proc/self/exe",
            "/proc/self/mem",
            "/proc/self/ns/mnt",
            "/proc/self/map_files",
            "/proc/sys/kernel/core_pattern",
            "/proc/sysrq-trigger",
        ] {
            calls.extend(writing(path, Must::Fail));
        }
        for name in ["magic0", "magic2", "magic4", "magic5/root"] {
            calls.extend(few(&format!("{name}{canary}"), Must::Fail));
        }
        calls.extend(everywhere("magic1/../outside/canary", Must::Fail));
        calls.extend(few("magic3/0", Must::Fail));
        // By a door that the policy would open: refused all the same.
        let own = world.path("ws/src/main.rs").display().to_string();
        calls.extend(reading(&format!("/proc/self/root{own}"), Must::Fail));
        calls.extend(sound());
        calls
    },
    ..Attack::NONE
};

/// FS-14.
pub const DESCRIPTORS: Attack = Attack {
    id: "FS-14",
    what: "use a descriptor that somebody left open; begin in the directory of one",
    runs: |_| {
        let mut runs = script(
            r#"
perl -e 'for my $n (3 .. 4095) { my $to = readlink "/proc/self/fd/$n"; print "GOT descriptor $n: $to\n" if defined $to }'
sh -c 'ls -l /proc/self/fd' | grep -v -e ' [0-3] -> ' -e total
"#,
        );
        for n in [3, 5, 7, 8, 9] {
            for up in ["", "/..", "/../../..", "/../../../../../.."] {
                let text = "cat outside/canary canary ../outside/canary \".$CANARY\" 2>/dev/null; echo DONE";
                runs.push(Run::script(text).at(format!("/proc/self/fd/{n}{up}")));
            }
        }
        runs
    },
    spared: programs,
    ..Attack::NONE
};

/// FS-24.
pub const FILES: Attack = Attack {
    id: "FS-24",
    what: "files that block, act or have no end: FIFOs, sockets, devices, a terabyte of nothing",
    prepare: |world| {
        let special = world.path("ws/special");
        fs::create_dir(&special).unwrap();
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, special.join("fifo"), FileType::Fifo, mode, 0).unwrap();
        drop(UnixListener::bind(special.join("socket")).unwrap());
        if rustix::process::geteuid().is_root() {
            for (name, minor) in [("zero", 5), ("random", 8), ("full", 7), ("tty", 0)] {
                let device = rustix::fs::makedev(if name == "tty" { 5 } else { 1 }, minor);
                mknodat(CWD, special.join(name), FileType::CharacterDevice, mode, device).unwrap();
            }
        }
        fs::File::create(special.join("sparse")).unwrap().set_len(1 << 40).unwrap();
        fs::File::create(special.join("sparse2")).unwrap().set_len(1 << 40).unwrap();
        open_up(&special, world.uid);
    },
    calls: |_| {
        let mut calls: Vec<Call> = Vec::new();
        for name in ["fifo", "socket", "zero", "random", "full", "tty"] {
            let path = format!("special/{name}");
            // One in the way of a copy is replaced, and its kind may be told.
            let said = |c: &Call| {
                if ["get_file_info", "copy_file"].contains(&c.tool) { Must::Answer } else { Must::Fail }
            };
            calls.extend(
                [reading(&path, Must::Fail), writing(&path, Must::Fail)]
                    .concat()
                    .into_iter()
                    .map(|c| Call { must: said(&c), ..c }),
            );
            calls.push(call("move_file", json!({"source": path, "destination": "src/moved"}), Must::Answer));
        }
        let sparse = "special/sparse";
        calls.extend(reading(sparse, Must::Answer));
        let edit = json!({"path": sparse, "edits": [{"oldText": "a", "newText": "b"}]});
        calls.push(call("edit_file", edit, Must::Fail));
        let pair = |a: &str, b: &str| json!({"file1": a, "file2": b});
        calls.push(call("compare_files", pair(sparse, "special/sparse2"), Must::Answer));
        let copy = json!({"source_path": sparse, "destination_path": "special/sparse2", "overwrite": true});
        calls.push(call("copy_file", copy, Must::Work));
        let trees = json!({"dir1": "special", "dir2": "special", "show_content_diff": true});
        calls.push(call("compare_directories", trees, Must::Answer));
        calls.push(call(
            "copy_file",
            json!({"source_path": "special", "destination_path": "src/special"}),
            Must::Answer,
        ));
        let batch = json!({"source_base_path": "special", "destination_base_path": "src/batch"});
        calls.push(call("copy_files_batch", batch, Must::Answer));
        calls.push(call("directory_tree", json!({"path": "special"}), Must::Work));
        calls.push(call("search_files", json!({"path": "special", "pattern": "**"}), Must::Work));
        calls.push(call("delete_file", json!({"path": "special", "recursive": true}), Must::Work));
        calls.extend(sound());
        calls
    },
    // A reader that blocks for ever would end the whole table.
    spared: |enforcer| tools(enforcer).or(super::ours(enforcer, "reads a FIFO, and never answers again")),
    ..Attack::NONE
};

/// FS-28.
pub const BOMBS: Attack = Attack {
    id: "FS-28",
    what: "trees that are too much: 2,000 levels, 30,000 entries, names of any bytes",
    prepare: |world| {
        let (deep, many, odd) = (world.path("ws/deep"), world.path("ws/many"), world.path("ws/odd"));
        for path in [&deep, &many, &odd] {
            fs::create_dir(path).unwrap();
        }
        let mut at = openat(CWD, &deep, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..2000 {
            mkdirat(&at, "d", Mode::from_raw_mode(0o777)).unwrap();
            rustix::fs::chmodat(&at, "d", Mode::from_raw_mode(0o777), rustix::fs::AtFlags::empty()).unwrap();
            at = openat(&at, "d", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        for n in 0..30_000 {
            mknodat(CWD, many.join(format!("f{n}")), FileType::RegularFile, Mode::from_raw_mode(0o666), 0)
                .unwrap();
        }
        for name in [&b"\xff\xfe"[..], b"a\nb", b"\x1b[2J", b"x\xc0\xae", b"\xe2\x80\xae", b"-rf"] {
            fs::write(odd.join(OsStr::from_bytes(name)), "odd").unwrap();
        }
        open_up(&odd, world.uid);
        for path in [&deep, &many] {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        }
    },
    calls: |_| {
        let mut calls = Vec::new();
        for path in ["deep", "many", "odd"] {
            if path != "many" {
                calls.extend(reading(path, Must::Answer));
            }
            calls.push(call("list_directory_with_sizes", json!({"path": path}), Must::Work));
            calls.push(call("delete_file", json!({"path": "src/got", "recursive": true}), Must::Answer));
            calls.push(call("delete_file", json!({"path": "src/gots", "recursive": true}), Must::Answer));
            calls.push(call("list_directory", json!({"path": path}), Must::Work));
            calls.push(call("directory_tree", json!({"path": path}), Must::Work));
            calls.push(call("search_files", json!({"path": path, "pattern": "**/no-such"}), Must::Work));
        }
        calls.push(call(
            "copy_file",
            json!({"source_path": "deep", "destination_path": "deep2"}),
            Must::Work,
        ));
        calls.push(call("copy_file", json!({"source_path": "odd", "destination_path": "odd2"}), Must::Work));
        calls.push(call("compare_directories", json!({"dir1": "odd", "dir2": "odd2"}), Must::Work));
        for path in ["deep2", "odd2", "odd", "many", "deep"] {
            calls.push(call("delete_file", json!({"path": path, "recursive": true}), Must::Work));
        }
        calls.extend(sound());
        calls
    },
    look: |world: &World| {
        let left = ["ws/deep2", "ws/odd2", "ws/odd", "ws/many", "ws/deep"]
            .into_iter()
            .filter(|name| world.path(name).exists());
        left.map(|name| format!("{name} was not deleted whole")).collect()
    },
    spared: |enforcer| match enforcer {
        Enforcer::ToolsAlone => Some("the same library, built without regard to time"),
        _ => tools(enforcer).or(super::ours(enforcer, "has no tool that copies or deletes")),
    },
    ..Attack::NONE
};
