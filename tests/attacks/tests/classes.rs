//! Classes of bypass that were proven against systems of this kind, one test each: none of them may be possible here.
//!
//! Elsewhere: the host's git on an agent's repository is `planted.rs`; an agent's changes brought to the host, and
//! snapshots of its trees, are `trees.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What stands where an attack was is looked at once it is over.
#![allow(clippy::disallowed_methods)]

use cordon_attacks::{
    Attack, Call, Enforcer, Must, Run, World, block_on,
    enforcer::wall,
    paths::{links, names, protected, races},
    survive,
};
use cordon_policy::Access;
use cordon_sandbox::{DockerOptions, DockerWall, SeedFile, Wall};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::symlink};
use tokio::sync::mpsc;

const WITH_TOOLS: [Enforcer; 2] = [Enforcer::ToolsAlone, Enforcer::Tools];
const OURS: [Enforcer; 4] = [Enforcer::ToolsAlone, Enforcer::Tools, Enforcer::Local, Enforcer::Docker];

fn hold(attack: &Attack, enforcers: &[Enforcer]) {
    for enforcer in enforcers {
        survive(attack, *enforcer);
    }
}

fn call(tool: &'static str, arguments: Value, must: Must) -> Call {
    Call { tool, arguments, must }
}

#[test]
fn tools_with_several_paths_of_which_one_is_checked() {
    hold(&protected::INTO, &WITH_TOOLS);
}

#[test]
fn batches_and_trees_over_protected_children() {
    hold(&protected::RECURSIVE, &WITH_TOOLS);
}

#[test]
fn a_move_is_a_deletion_where_it_comes_from() {
    let attack = Attack {
        calls: |world| {
            let away = |path: String| {
                call("move_file", json!({"source": path, "destination": "src/away"}), Must::Deny)
            };
            let names =
                ["ws/keep/file", "ws/keep", "ws/held", "ws/hidden", "ro/file", "ro", "ws", "outside/canary"];
            names.map(|name| away(world.path(name).display().to_string())).into()
        },
        ..Attack::NONE
    };
    hold(&attack, &WITH_TOOLS);
}

#[test]
fn copies_do_not_follow_inner_links() {
    let attack = Attack {
        prepare: |world| {
            fs::create_dir(world.path("ws/tree")).unwrap();
            symlink(world.canary(), world.path("ws/tree/leaf")).unwrap();
            symlink(world.outside(), world.path("ws/tree/directory")).unwrap();
            symlink("../hidden", world.path("ws/tree/hidden")).unwrap();
        },
        calls: |_| {
            let copied = json!({"source_path": "tree", "destination_path": "src/copied"});
            let batch = json!({"source_base_path": "tree", "destination_base_path": "src/batch"});
            let mut calls =
                vec![call("copy_file", copied, Must::Work), call("copy_files_batch", batch, Must::Answer)];
            for path in
                ["src/copied/leaf", "src/copied/directory/canary", "src/copied/hidden", "src/batch/leaf"]
            {
                calls.push(call("read_text_file", json!({"path": path}), Must::Fail));
                calls.push(call(
                    "copy_file",
                    json!({"source_path": path, "destination_path": "src/got"}),
                    Must::Fail,
                ));
            }
            calls
        },
        ..Attack::NONE
    };
    hold(&attack, &WITH_TOOLS);
}

#[test]
fn a_single_file_shows_no_sibling() {
    hold(&names::SINGLE, &OURS);
}

#[test]
fn hard_links_carry_no_change_out() {
    hold(&links::HARD, &WITH_TOOLS);
    hold(&links::HARD_GUARDED, &OURS);
}

/// More than a hundred thousand exchanges go on beside these calls.
#[test]
fn nothing_is_checked_and_then_used() {
    let attack =
        Attack { prepare: races::flip, calls: |_| (0..250).flat_map(races::round).collect(), ..Attack::NONE };
    hold(&attack, &[Enforcer::ToolsAlone]);
}

#[test]
fn tools_and_arguments_that_nobody_foresaw() {
    let attack = Attack {
        calls: |world| {
            let canary = world.canary().display().to_string();
            let mut calls = Vec::new();
            for tool in [
                "read_file2",
                "cat",
                "Write",
                "apply_patch",
                "mcp__files__write_file",
                "write_file ",
                "WRITE_FILE",
                "",
            ] {
                calls.push(call(
                    tool,
                    json!({"path": canary, "file_path": canary, "content": "owned"}),
                    Must::Fail,
                ));
            }
            for key in [
                "file_path",
                "Path",
                "path ",
                "filePath",
                "destinationPath",
                "target",
                "uri",
                "paths",
                "work_dir",
            ] {
                for (tool, mut known) in [
                    ("read_text_file", json!({"path": "src/main.rs"})),
                    ("write_file", json!({"path": "src/x", "content": "x"})),
                    ("move_file", json!({"source": "src/main.rs", "destination": "src/x"})),
                    ("copy_file", json!({"source_path": "src/main.rs", "destination_path": "src/y"})),
                    ("delete_file", json!({"path": "src/main.rs"})),
                ] {
                    known[key] = json!(canary);
                    calls.push(call(tool, known, Must::Fail));
                }
            }
            calls.push(call("read_text_file", json!({"file_path": canary}), Must::Fail));
            calls.push(call("read_text_file", json!({"path": [canary]}), Must::Fail));
            calls.push(call("read_text_file", json!({"path": "src/main.rs"}), Must::Work));
            calls
        },
        ..Attack::NONE
    };
    hold(&attack, &WITH_TOOLS);
}

/// Each line says the same to a shell and something else to a filter. All have to end alike: nothing read, nothing changed.
const OBFUSCATED: &str = r#"
cat "$CANARY"
c''at "$CANARY"; c\at "$CANARY"; $(echo c)at "$CANARY"; "$(printf '\143\141\164')" "$CANARY"; /bin/c?t "$CANARY"
echo Y2F0ICIkQ0FOQVJZIgo= | base64 -d | bash
eval "$(rev <<< '"YRANAC$" tac')"; bash -c 'cat "$CANARY"'; perl -ne print "$CANARY"; sed -n p "$CANARY"; awk 1 "$CANARY"
cd ..; cd outside && cat canary; cd "$WS"; (cd ../outside; cat can*); pushd ../outside && cat canary; cd "$WS"
while read -r line; do echo "$line"; done < "$CANARY"; mapfile -t a < "$CANARY"; echo "${a[@]}"; echo "$(<"$CANARY")"; exec 5<"$CANARY" && cat <&5
IFS=,; x=cat,$CANARY; $x; unset IFS; alias z=cat; shopt -s expand_aliases; dd if="$CANARY"; tar cf - "$CANARY"; find "$OUTSIDE" -exec cat {} +
git diff --no-index /dev/null "$CANARY"; grep -r . "$OUTSIDE"; cp "$CANARY" src/; ln "$CANARY" src/c; xargs -a "$CANARY"; test -s "$CANARY" && head "$CANARY"
echo owned>keep/file; echo owned >>keep/file; >|keep/file; : > held; tee keep/file <<< owned; cp -f src/main.rs keep/file; sed -i s/k/o/ keep/file
(sleep 0.2; echo owned > keep/file) & nohup bash -c 'echo owned > held' & setsid bash -c 'echo owned > keep/late' &
trap 'echo owned > keep/file' EXIT; coproc { echo owned > keep/made; }; env -i /bin/bash -c "echo owned > '$WS/held'"; printf owned | dd of=keep/file
echo "`cat hidden`"; cat<hidden; cat ./hi''dden; cat h{i,x}dden; cat -- hidden; cat --show-all=hidden hidden; F=hidden; cat ${F}; cat $'\x68idden'
python3 -c 'print(open("hidden").read())'; perl -e 'print <>' hidden; wait
"#;

#[test]
fn the_text_of_a_command_decides_nothing() {
    let attack = Attack {
        tune: |_, spec| spec.tools.blocked_commands = vec!["rm".to_owned()],
        runs: |_| {
            let lines = OBFUSCATED.lines().filter(|line| !line.is_empty());
            lines
                .map(|line| Run::script(format!("{{ {line}\n}} 2>/dev/null </dev/null\nwait\necho DONE\n")))
                .collect()
        },
        ..Attack::NONE
    };
    hold(&attack, &[Enforcer::Tools, Enforcer::Local, Enforcer::Docker]);
}

#[test]
fn the_policy_lies_where_no_agent_writes() {
    let world = World::new();
    let inside = std::path::Path::new(cordon_sandbox::SandboxSpec::TABLE_INSIDE);
    let spec = wall::spec(&world);
    assert!(spec.policy.rule_for(inside).is_none_or(|rule| rule.access < Access::Write));
    hold(&protected::TABLE, &[Enforcer::Tools, Enforcer::Local, Enforcer::Docker]);
}

#[test]
fn files_seeded_into_a_home_reach_no_workspace() {
    let attack = Attack {
        tune: |world, spec| {
            let content = format!("login-of-{}", world.id()).into_bytes();
            spec.seeds.push(SeedFile { path: ".agent/auth.json".into(), content, mode: 0o600 });
        },
        runs: |_| vec![Run::script("grep -q login-of ~/.agent/auth.json || echo BROKEN; echo DONE")],
        look: |world| {
            let text = format!("login-of-{}", world.id());
            let found =
                std::process::Command::new("grep").args(["-rl", &text]).arg(world.root()).output().unwrap();
            let found = String::from_utf8_lossy(&found.stdout).into_owned();
            found.lines().map(|line| format!("the login is in {line}")).collect()
        },
        ..Attack::NONE
    };
    hold(&attack, &[Enforcer::Local, Enforcer::Docker]);
}

#[test]
fn docker_that_is_not_there_is_not_replaced_by_the_host() {
    let world = World::new();
    let wall = DockerWall::connect(DockerOptions {
        state: world.path("state"),
        guest: world.path("bin/cordon-guest"),
        docker_host: Some(format!("unix://{}", world.path("no.sock").display())),
        allow_host_network: false,
    });
    let mut spec = wall::spec(&world);
    spec.image = Some("debian:bookworm-slim".to_owned());
    let (denials, _told) = mpsc::channel(8);
    let made = block_on(wall.create(&spec, &|_| Ok(()), denials));
    let why = made.expect_err("a sandbox was made without an engine").to_string();
    assert!(why.to_lowercase().contains("docker"), "{why}");
}

#[test]
fn ids_do_not_leave_the_storage() {
    let world = World::new();
    for id in
        ["../../escaped", "..", "/tmp/escaped", "a/b", "", "A B", "a\0b", "%2e%2e", "x".repeat(300).as_str()]
    {
        for docker in [false, true] {
            if docker && cordon_tests::harness::skipped("docker") {
                continue;
            }
            let wall: Box<dyn Wall> =
                if docker { Box::new(wall::docker(&world)) } else { Box::new(wall::local(&world)) };
            let mut spec = wall::spec(&world);
            spec.id = id.to_owned();
            spec.image = docker.then(|| "debian:bookworm-slim".to_owned());
            let (denials, _told) = mpsc::channel(8);
            let made = block_on(wall.create(&spec, &|_| Ok(()), denials));
            assert!(made.is_err(), "{id:?} was taken, docker: {docker}");
        }
        assert!(!world.path("escaped").exists() && !world.path("state/../escaped").exists());
    }
    assert_eq!(fs::read_dir(world.path("state")).unwrap().count(), 0, "something is left");
}

#[test]
fn children_do_not_survive_the_end_of_their_command() {
    let attack = Attack {
        calls: |_| {
            let started = "setsid sleep 765432 & nohup sleep 765432 & (sleep 765432 & disown) & \
                           perl -e 'fork and exit; fork and exit; exec qw(sleep 765432)'";
            let waiting = format!("{started}; trap '' TERM HUP INT; sleep 765432");
            let seen = "grep -lz 76543[2] /proc/[0-9]*/cmdline && echo 'GOT survivor'; true";
            let command = |text: &str, timeout: f64, must| {
                call("execute_command", json!({"command": text, "timeout": timeout}), must)
            };
            vec![
                command(&waiting, 1.5, Must::Fail),
                command(seen, 20.0, Must::Work),
                command(started, 20.0, Must::Answer),
                command(seen, 20.0, Must::Work),
            ]
        },
        ..Attack::NONE
    };
    hold(&attack, &[Enforcer::Tools]);
}

#[test]
fn lines_larger_than_a_buffer_end_nothing() {
    let attack = Attack {
        calls: |_| {
            let command = |text: &str| call("execute_command", json!({"command": text}), Must::Work);
            let mut calls: Vec<Call> =
                [65_535, 65_536, 65_537, 70_000, 1 << 20, 4 << 20, (4 << 20) + 1, 9 << 20]
                    .map(|size| {
                        command(&format!(
                            "head -c {size} /dev/zero | tr '\\0' x; head -c {size} /dev/zero | tr '\\0' y >&2"
                        ))
                    })
                    .into();
            let long = "z".repeat(3 << 20);
            calls.push(call("write_file", json!({"path": "src/long", "content": long}), Must::Work));
            calls.push(call("read_text_file", json!({"path": "src/long"}), Must::Work));
            calls.push(command(&format!(": '{}'", "w".repeat(1 << 20))));
            calls.push(command("echo still here"));
            calls
        },
        ..Attack::NONE
    };
    hold(&attack, &[Enforcer::Tools]);
}
