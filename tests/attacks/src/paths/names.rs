//! Names that are nearly right, written in other ways, or no names at all.

use super::{
    add_rule,
    calls::{call, changing, everywhere, few, naming, reading, sound, writing},
    script::script,
};
use crate::{Attack, Call, Must, World, enforcer::wall};
use cordon_policy::{Access, Source};
use serde_json::json;

/// FS-01.
pub const SIBLING: Attack = Attack {
    id: "FS-01",
    what: "reach a sibling whose name begins like the workspace's",
    runs: |_| {
        script(r#"assault "$WS-secret/x" "$WS-secret" "$WS/../ws-secret/x" "${WS}-secret/new" "${RO}x""#)
    },
    calls: |world| {
        let at = |name: &str| world.path(name).display().to_string();
        let mut calls = everywhere(&at("ws-secret/x"), Must::Deny);
        calls.extend(everywhere(&at("ws-secret"), Must::Deny));
        calls.extend(everywhere("../ws-secret/x", Must::Deny));
        calls.extend(everywhere(&at("ws-secret/new"), Must::Deny));
        calls.extend(everywhere(&at("w"), Must::Deny));
        calls.extend(everywhere(&at("ws "), Must::Deny));
        calls.extend(everywhere(&at("rox"), Must::Deny));
        calls.extend(sound());
        calls
    },
    ..Attack::NONE
};

/// What is plainly not granted, by its plain name.
pub const PLAIN: Attack = Attack {
    id: "FS-01",
    what: "reach what no rule names: the tree outside, its directories, the root, system files",
    runs: |_| {
        script(
            r#"ls "$ROOT" | grep -x outside && got listed-the-directory-above; assault "$CANARY" "$OUTSIDE/dir" "$OUTSIDE" "$OUTSIDE/new""#,
        )
    },
    calls: |world| {
        let mut calls = Vec::new();
        for name in
            ["outside/canary", "outside/dir", "outside", "outside/new", "bin/cordon-guest", "state", ""]
        {
            calls.extend(everywhere(&world.path(name).display().to_string(), Must::Deny));
        }
        for name in ["/", "/var", "/var/tmp", "..", "../..", "../../../../../../..", "/root", "/home"] {
            calls.extend(writing(name, Must::Fail));
            calls.extend(naming(name, Must::Fail));
        }
        calls.push(call("search_files", json!({"path": "..", "pattern": "**"}), Must::Deny));
        // A pattern is no path.
        for pattern in ["../outside/*", "/**", "**/../../outside/*", "{..,src}/**"] {
            calls.push(call("search_files", json!({"path": "src", "pattern": pattern}), Must::Answer));
            let copy = json!({"source_base_path": "src", "destination_base_path": "src/gots", "include_patterns": [pattern]});
            calls.push(call("copy_files_batch", copy, Must::Answer));
            let delete =
                json!({"base_path": "src", "include_patterns": [pattern], "exclude_patterns": ["main.rs"]});
            calls.push(call("delete_files_batch", delete, Must::Answer));
        }
        calls.extend(sound());
        calls
    },
    ..Attack::NONE
};

/// Ways to write a path that end where they should not.
fn spelled(world: &World) -> Vec<(String, Must)> {
    let root = world.root().display().to_string();
    let outside = format!("{root}/outside/canary");
    let slashes = outside.replace('/', "//");
    let dots = outside.replace('/', "/./");
    let up = "../".repeat(40);
    // These name the thing itself: the kernel resolves them, and the policy refuses.
    let same = [
        slashes,
        dots,
        format!("{root}/ws/../outside/canary"),
        format!("{root}/ws/src/../../outside/canary"),
        format!("{root}/ws/keep/../../outside/canary"),
        format!("{root}/ws/.//..//outside/./canary"),
        "../outside/canary".to_owned(),
        "./../outside/canary".to_owned(),
        "src/../../outside/canary".to_owned(),
        format!("~/{up}{}", &outside[1..]),
        format!("{up}{}", &outside[1..]),
        format!("{root}/outside/"),
        format!("{root}/outside//dir///"),
        format!("{root}/outside/dir/../canary"),
        format!("/..{outside}"),
        format!("//{outside}"),
    ];
    // These name something else, or nothing: whatever is said, nothing comes of it.
    let other = [
        format!("{root}/outside/canary/."),
        format!("{root}/outside/canary/.."),
        format!("{root}/outside/dir/."),
        format!("{root}/outside/dir/.."),
        format!("~root/../{outside}"),
        format!("~{outside}"),
        "~nobody/x".to_owned(),
        format!("file://{outside}"),
        format!("file:{outside}"),
        "%2e%2e/outside/canary".to_owned(),
        "..%2foutside%2fcanary".to_owned(),
        "..%252foutside%252fcanary".to_owned(),
        "..\\outside\\canary".to_owned(),
        "..\u{2215}outside\u{2215}canary".to_owned(),
        "\u{ff0e}\u{ff0e}/outside/canary".to_owned(),
        "\u{2025}/outside/canary".to_owned(),
        "\u{c0}\u{ae}\u{c0}\u{ae}/outside/canary".to_owned(),
        ".\u{200b}./outside/canary".to_owned(),
        "..;/outside/canary".to_owned(),
        ".../outside/canary".to_owned(),
        " ../outside/canary".to_owned(),
        "$ROOT/outside/canary".to_owned(),
        "${CANARY}".to_owned(),
        "`pwd`/../outside/canary".to_owned(),
        "$(pwd)/../outside/canary".to_owned(),
        format!("{outside} "),
        format!("{outside} (deleted)"),
        format!("'{outside}'"),
        format!("\"{outside}\""),
        outside.to_uppercase(),
        "{..,.}/outside/canary".to_owned(),
        "../outside/can*".to_owned(),
        "-/../outside/canary".to_owned(),
    ];
    same.into_iter()
        .map(|path| (path, Must::Deny))
        .chain(other.into_iter().map(|path| (path, Must::Answer)))
        .collect()
}

/// FS-09.
pub const SPELLED: Attack = Attack {
    id: "FS-09",
    what: "write a path in other ways: slashes, dots, trailing parts, `~`, percent-encoded, overlong, fullwidth, URLs, case, globs",
    runs: |_| {
        script(
            r#"
assault "$ROOT//ws/..//outside/./canary" "../outside/canary" "$OUTSIDE/" "$OUTSIDE/canary/." "$CANARY (deleted)" "..\\outside\\canary"
assault $'\xc0\xae\xc0\xae/outside/canary' "/proc/../$CANARY" ~/"../..$CANARY" "%2e%2e/outside/canary"
assault hidden/ hidden/. ./hidden .//hidden src/../hidden HIDDEN keep/../hidden held/. ./held KEEP/file
"#,
        )
    },
    calls: |world| {
        let mut calls: Vec<Call> = spelled(world).iter().flat_map(|(path, must)| few(path, *must)).collect();
        calls.extend(sound());
        calls
    },
    ..Attack::NONE
};

/// FS-09 for what the own tree holds back.
pub const SPELLED_INSIDE: Attack = Attack {
    id: "FS-09",
    what: "write the name of what is protected or masked in other ways; the granted ones still have to work",
    calls: |world| {
        let ws = world.workspace().display().to_string();
        let hidden = [
            "hidden".to_owned(),
            "./hidden".to_owned(),
            ".//./hidden".to_owned(),
            "src/../hidden".to_owned(),
            "keep/../hidden".to_owned(),
            "../ws/hidden".to_owned(),
            format!("{ws}//hidden"),
            format!("/./{ws}/hidden"),
        ];
        let mut calls: Vec<Call> = hidden.iter().flat_map(|path| everywhere(path, Must::Deny)).collect();
        for path in ["hidden/", "hidden/.", "hidden/..", "hidden/../hidden", "held/.", "HIDDEN", "Keep/file"]
        {
            calls.extend(reading(path, Must::Answer));
        }
        for path in ["hidden/", "hidden//", "hidden/x", "held/", "held/x"] {
            calls.extend(writing(path, Must::Fail));
        }
        for path in [
            "held",
            "./held",
            "src/..//held",
            "keep",
            "keep/",
            "keep/file",
            "keep/./file",
            "keep/new",
            "./keep/../keep/new",
        ] {
            calls.extend(changing(path));
            calls.extend(naming(path, Must::Deny));
        }
        for path in ["src//main.rs", "./src/./main.rs", "keep/../src/main.rs", "../ws/src/main.rs"] {
            calls.push(call("read_text_file", json!({"path": path}), Must::Work));
        }
        calls.push(call("read_text_file", json!({"path": format!("{ws}//src///main.rs")}), Must::Work));
        calls.push(call("list_directory", json!({"path": "src//."}), Must::Work));
        calls.extend(sound());
        calls
    },
    spared: super::ruleless,
    ..Attack::NONE
};

/// FS-12.
pub const BROKEN: Attack = Attack {
    id: "FS-12",
    what: "NUL, line breaks, names of 255 and 256 bytes, paths of 4095 bytes, 4096 and a megabyte: refused, never cut short",
    runs: |_| {
        script(
            r#"
long=$(printf 'x%.0s' $(seq 255)); deep=$(printf './%.0s' $(seq 2030))
assault "$OUTSIDE/$long" "$OUTSIDE/${long}x" "$OUTSIDE/a
b" "$deep/../outside/canary" "$deep$deep/../outside/canary"
"#,
        )
    },
    calls: |world| {
        let outside = world.path("outside").display().to_string();
        let (long, dots) = ("x".repeat(255), "./".repeat(2100));
        let mut calls = Vec::new();
        for path in [
            format!("{outside}/canary\0"),
            format!("{outside}/canary\0.txt"),
            "src/ok\0/../../outside/canary".to_owned(),
            "src/main.rs\0".to_owned(),
            "\0".to_owned(),
            String::new(),
            format!("{dots}../outside/canary"),
            format!("src/{long}x"),
            "x/".repeat(3000),
            "y".repeat(1 << 20),
            format!("{}../outside/canary", "../".repeat(350_000)),
        ] {
            calls.extend(few(&path, Must::Fail));
        }
        for path in [
            format!("{outside}/{long}"),
            format!("{outside}/a\nb"),
            format!("{outside}/canary\n"),
            format!("{}../outside/canary", "./".repeat(1900)),
        ] {
            calls.extend(few(&path, Must::Deny));
        }
        for path in
            [format!("src/{long}"), "src/a\nb\t\u{7f}".to_owned(), "src/-rf".to_owned(), "src/ ".to_owned()]
        {
            calls.push(call("write_file", json!({"path": path, "content": "x"}), Must::Work));
            calls.push(call("read_text_file", json!({"path": path}), Must::Work));
            calls.push(call("delete_file", json!({"path": path}), Must::Work));
        }
        calls.extend(sound());
        calls
    },
    ..Attack::NONE
};

/// A single file and what lies beside it.
pub const SINGLE: Attack = Attack {
    id: "FS-01",
    what: "from a single file that is granted to what lies beside it; replace, move or remove the file itself",
    prepare: |world| {
        world.put("single/one", "k one\n");
        world.put("single/two", world.token());
        std::fs::write(world.path("loose"), "k one\n").unwrap();
    },
    tune: |world, spec| {
        add_rule(spec, &world.path("single/one"), Access::Write, Source::ContextPath);
        spec.paths.push(wall::entry(&world.path("single/one"), Access::Write, false));
    },
    runs: |_| {
        script(
            r#"
one=$ROOT/single/one; two=$ROOT/single/two
assault "$two" "$ROOT/single/new" "$one/../two"
no list-siblings grep -qx two <(ls "$ROOT/single")
exchange "$one" "$two"; mv -f "$one" "$two"; mv -f "$two" "$one"; ln -f "$one" "$ROOT/single/three"; ln "$one" "$WS/src/one"
rm -f "$one"; mv -f "$one" "$WS/src/one"; rm -rf "$ROOT/single"; mv "$ROOT/single" "$WS/src/"
echo changed > "$one" && [ "$(cat "$one")" = changed ] || echo "BROKEN: the file that is granted cannot be written"
"#,
        )
    },
    calls: |world| {
        let at = |name: &str| world.path(name).display().to_string();
        let mut calls = everywhere(&at("single/two"), Must::Deny);
        calls.extend(everywhere(&at("single/new"), Must::Deny));
        calls.extend(everywhere(&at("single"), Must::Fail));
        calls.extend(everywhere(&at("single/one/../two"), Must::Fail));
        calls.extend(naming(&at("single/one"), Must::Deny));
        let done = json!({"path": at("single/one"), "content": "changed"});
        calls.push(call("write_file", done, Must::Work));
        calls.extend(sound());
        calls
    },
    look: |world| {
        let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap_or_default();
        let mut wrong = Vec::new();
        if read("single/two") != world.token() {
            wrong.push("the sibling was changed".to_owned());
        }
        if read("single/one").trim_end() != "changed" {
            wrong.push("the file is not what was written".to_owned());
        }
        let names = std::fs::read_dir(world.path("single")).unwrap().count();
        if names != 2 {
            wrong.push(format!("{names} names where two were"));
        }
        wrong
    },
    spared: |enforcer| super::ours(enforcer, "grants directories only, or was not given this file"),
    ..Attack::NONE
};
