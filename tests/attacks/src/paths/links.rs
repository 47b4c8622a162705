//! Links of every kind, outside and inside of what is granted.

use super::{
    calls::{call, changing, everywhere, few, naming, reading, sound, through, writing},
    script::script,
};
use crate::{Attack, Must, World, enforcer::wall};
use cordon_policy::{Access, Source};
use serde_json::json;
use std::{fs, os::unix::fs::symlink, path::Path};

/// A link of the agent's own in its workspace.
pub(crate) fn link(world: &World, target: impl AsRef<Path>, name: &str) {
    symlink(target, world.path("ws").join(name)).unwrap();
}

/// FS-02.
pub const LEAF: Attack = Attack {
    id: "FS-02",
    what: "read, write, append, chmod, move and delete through a link that leads outside",
    prepare: |world| {
        for n in 0..6 {
            link(world, world.canary(), &format!("leaf{n}"));
            link(world, "../outside/canary", &format!("relative{n}"));
            link(world, world.outside(), &format!("directory{n}"));
        }
        link(world, "leaf5", "twice");
        link(world, world.workspace().join("directory5/../outside/canary"), "zigzag");
    },
    runs: |_| {
        script(r#"assault leaf1 relative1 directory1/canary directory1/dir directory1 leaf2 twice zigzag"#)
    },
    calls: |_| {
        let names = [
            "leaf3",
            "relative3",
            "directory3/canary",
            "directory3/dir/inner",
            "directory4/dir",
            "twice",
            "zigzag",
        ];
        let mut calls: Vec<_> = names.iter().flat_map(|name| through(name, Must::Deny)).collect();
        calls.extend(few("directory3/../outside/canary", Must::Answer));
        calls.extend(sound());
        calls
    },
    ..Attack::NONE
};

/// FS-02, and a link that the agent has just made itself.
pub const TO_PROTECTED: Attack = Attack {
    id: "FS-02",
    what: "reach what is protected, masked or read-only inside of the own tree by a link to it",
    prepare: |world| {
        link(world, world.path("ws/hidden"), "to-hidden");
        link(world, "hidden", "to-hidden2");
        link(world, "keep", "to-keep");
        link(world, world.path("ws/keep/file"), "to-kept");
        link(world, world.path("ro/file"), "to-ro");
    },
    runs: |_| {
        script(
            r#"
ln -s hidden made; ln -s "$WS/keep" made-keep; ln -s "$RO" made-ro
assault to-hidden/. made made-keep/file made-ro/file to-keep/file to-hidden2 to-kept to-ro
"#,
        )
    },
    calls: |_| {
        let mut calls = through("to-hidden", Must::Deny);
        calls.extend(through("to-hidden2", Must::Deny));
        for name in ["to-keep/file", "to-kept", "to-ro"] {
            calls.extend(changing(name));
        }
        calls.extend(naming("to-keep/file", Must::Deny));
        calls.extend(changing("to-keep/new"));
        calls.push(call("read_text_file", json!({"path": "to-kept"}), Must::Work));
        calls.extend(sound());
        calls
    },
    // It is told of no rule but its directories.
    spared: |enforcer| super::ruleless(enforcer),
    ..Attack::NONE
};

/// FS-03.
pub const PARENT: Attack = Attack {
    id: "FS-03",
    what: "create a file below a linked directory, at any depth, before it is there",
    prepare: |world| {
        link(world, world.outside(), "d");
        link(world, "d/dir", "e");
        fs::create_dir(world.path("ws/src/real")).unwrap();
        symlink("../../../outside", world.path("ws/src/real/up")).unwrap();
    },
    runs: |_| {
        script(
            r#"
assault d/new e/new src/real/up/new d/dir/../new missing/../d/new
mkdir -p d/a/b/c e/a/b; install -D /etc/hostname d/x/y/z; tar cf - -C /etc hostname | tar xf - -C d
"#,
        )
    },
    calls: |_| {
        let names =
            ["d/new", "d/new/er/file", "e/new", "src/real/up/new", "d/dir/../new", "./d//new", "d/./dir/new"];
        let mut calls: Vec<_> = names.iter().flat_map(|name| everywhere(name, Must::Deny)).collect();
        // What leads nowhere is refused by whoever notices first.
        calls.extend(everywhere("missing/../d/new", Must::Fail));
        calls.extend(everywhere("src/missing/../../d/new", Must::Fail));
        calls.extend(sound());
        calls
    },
    ..Attack::NONE
};

/// FS-06.
pub const DANGLING: Attack = Attack {
    id: "FS-06",
    what: "write through a link to a name outside that is not there yet, at once or over more links",
    prepare: |world| {
        link(world, world.path("outside/made"), "dangling");
        link(world, "dangling", "dangling2");
        link(world, world.path("outside/none/made"), "dangling3");
        link(world, world.path("ro/made"), "to-ro");
        link(world, world.path("ws/keep/made"), "to-keep");
    },
    runs: |_| {
        script("assault dangling2 dangling dangling3 to-ro to-keep; ln -s ../outside/made2 d4; assault d4")
    },
    calls: |_| {
        let mut calls = Vec::new();
        for name in ["dangling2", "dangling", "dangling3"] {
            calls.extend(reading(name, Must::Deny));
            calls.extend(writing(name, Must::Deny));
            calls.extend(writing(&format!("{name}/below"), Must::Deny));
        }
        for name in ["to-ro", "to-keep"] {
            calls.extend(changing(name));
        }
        calls.extend(naming("dangling", Must::Answer));
        calls.extend(sound());
        calls
    },
    ..Attack::NONE
};

/// FS-02 by numbers.
pub const CHAIN: Attack = Attack {
    id: "FS-02",
    what: "chains of 39, 40, 41 and 60 links, and links that lead in circles",
    prepare: |world| {
        for length in [39, 40, 41, 60] {
            for n in 1..length {
                link(world, format!("c{length}-{}", n + 1), &format!("c{length}-{n}"));
            }
            link(world, world.canary(), &format!("c{length}-{length}"));
        }
        link(world, "loop2", "loop1");
        link(world, "loop1", "loop2");
        link(world, ".", "dot");
        link(world, "self/self", "self");
    },
    runs: |_| {
        script(
            r#"
assault c39-1 c40-1 c41-1 c60-1 c60-21 loop1 self/x
p=.; for n in $(seq 39); do p=$p/dot; done; assault "$p/../outside/canary" "$p/dot/dot/../outside/canary"
"#,
        )
    },
    calls: |_| {
        let mut calls = Vec::new();
        for name in ["c39-1", "c40-1", "c41-1", "c60-1", "c60-30"] {
            calls.extend(reading(name, Must::Deny));
            calls.extend(writing(name, Must::Deny));
        }
        let dots = "dot/".repeat(39);
        for name in [format!("{dots}../outside/canary"), format!("{dots}dot/dot/../outside/canary")] {
            calls.extend(few(&name, Must::Deny));
        }
        calls.extend(few("loop1", Must::Answer));
        calls.extend(few("self/x", Must::Fail));
        calls.extend(sound());
        calls
    },
    ..Attack::NONE
};

fn harden(world: &World) {
    world.put("loose/shared", "k shared\n");
    fs::hard_link(world.path("loose/shared"), world.path("ws/hard")).unwrap();
}

/// FS-07, for tools: they give a file a new body, and leave the old one to its other names.
pub const HARD: Attack = Attack {
    id: "FS-07",
    what: "change a file outside through a hard link that was in the workspace, with tools",
    prepare: harden,
    calls: |_| {
        vec![
            call("write_file", json!({"path": "hard", "content": "owned"}), Must::Work),
            call(
                "edit_file",
                json!({"path": "hard", "edits": [{"oldText": "owned", "newText": "k"}]}),
                Must::Work,
            ),
        ]
    },
    look: not_shared,
    ..Attack::NONE
};

fn not_shared(world: &World) -> Vec<String> {
    let outside = fs::read_to_string(world.path("loose/shared")).unwrap();
    if outside == "k shared\n" { Vec::new() } else { vec!["the file outside has new content".to_owned()] }
}

/// FS-07, for programs: with the rule that the daemon makes of such a file.
pub const HARD_GUARDED: Attack = Attack {
    id: "FS-07",
    what: "change a file outside through a hard link that was in the workspace, with programs; make hard links to what is protected",
    prepare: harden,
    runs: |_| {
        script(
            r#"assault hard "$WS/keep/file" "$RO/file" hidden held; ln -L /proc/self/fd/0 src/x 3<"$RO/file" <&3 2>/dev/null && echo owned > src/x"#,
        )
    },
    look: not_shared,
    calls: |_| [changing("hard"), naming("hard", Must::Deny)].concat(),
    tune: |world, spec| {
        super::add_rule(spec, &world.path("ws/hard"), Access::Read, Source::HardLink);
        spec.paths.push(wall::entry(&world.path("ws/hard"), Access::Read, false));
    },
    spared: |enforcer| super::ruleless(enforcer).or(super::ours(enforcer, "is given no rule for it")),
    ..Attack::NONE
};
