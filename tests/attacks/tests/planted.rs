//! "Host-side execution planted in the workspace": everything of ours that looks at trees looks at these, and nothing
//! that waits in them is run. One cycle for each wall, one test for each plant.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What stands where an attack was is looked at once it is over.
#![allow(clippy::disallowed_methods)]

use cordon_attacks::{
    block_on,
    planted::{PLANTS, Plant, bash, plant},
};
use cordon_tests::harness::{Host, need_image, skipped, summary, wait_until};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

/// What came of one cycle.
#[derive(Debug)]
struct Cycle {
    fired: BTreeSet<String>,
    /// Everything that any program of ours printed.
    said: String,
    /// What the agent managed to write into the user's tree.
    written: BTreeSet<String>,
    /// What the run's summary told.
    told: BTreeSet<String>,
}

const TOKEN: &str = "token-of-another-owner";

/// Names in a user's tree that a writing agent must not get at, one of each kind.
const HELD: [&str; 13] = [
    ".claude/settings.json",
    ".claude/commands/x.md",
    ".mcp.json",
    ".codex/config.toml",
    ".gemini/settings.json",
    ".git/hooks/pre-commit",
    ".git/config",
    ".git/config.worktree",
    ".git/info/attributes",
    ".git/objects/info/alternates",
    ".vscode/tasks.json",
    ".idea/workspace.xml",
    ".envrc",
];

/// Names that are its to write, and must be told. Deep in a tree, where a name is not there yet, nothing holds it.
const REPORTED: [&str; 12] = [
    "deep/er/.claude/settings.json",
    "deep/er/.envrc",
    "AGENTS.md",
    "CLAUDE.md",
    ".github/copilot-instructions.md",
    ".github/workflows/ci.yml",
    "Makefile",
    "package.json",
    "build.rs",
    "conftest.py",
    ".npmrc",
    ".gitmodules",
];

fn cycle(wall: &'static str) -> Option<&'static Cycle> {
    static CYCLES: [OnceLock<Option<Cycle>>; 2] = [OnceLock::new(), OnceLock::new()];
    let [local, docker] = &CYCLES;
    let slot = if wall == "local" { local } else { docker };
    slot.get_or_init(|| (!skipped(wall)).then(|| go_around(wall))).as_ref()
}

/// Plants everything in a workspace and in a user's tree, and lets every program of ours look.
fn go_around(wall: &str) -> Cycle {
    if wall == "docker" {
        need_image("debian:bookworm-slim");
    }
    let mut host = Host::without_daemon(cordon_tests::harness::User::Tester);
    let (ws, tree, user) = (host.tree("ws"), host.tree("tree"), host.tree("user"));
    let markers = host.tree("markers");
    fs::set_permissions(&markers, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    plant(&ws, &markers, PLANTS);
    plant(&tree, &markers, PLANTS);
    alternates(&host.tree("other"), &tree, &user);
    for top in [&ws, &tree, &user] {
        bash(top, &format!("chown -R {0}:{0} .", host.agent_uid()));
    }
    // Whoever starts the daemon has the agent's directories first in the PATH, and lies in one of them.
    let shims = format!(
        "{0}/path_shims/bin:{0}/path_shims/node_modules/.bin:.:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ws.display()
    );
    host.set_env("PATH", &shims);
    host.start_daemon();
    let script = writes(&tree, &user);
    let file = host.agent_file("a.yaml", &agent(&ws, &[&tree, &user], wall, &script));
    let file = file.to_str().unwrap();
    let mut said = String::new();
    let here: Vec<String> = PLANTS.iter().map(|plant| tree.join(plant.name).display().to_string()).collect();
    {
        let mut look = |arguments: &[&str]| {
            let mut command = host.command("cordon");
            // In the middle of it.
            command.args(arguments).current_dir(ws.join("path_shims")).stdin(std::process::Stdio::null());
            let ran = host.finish(&mut command);
            said.push_str(&format!("$ {arguments:?}\n{}{}", ran.stdout, ran.stderr));
        };
        look(&["doctor"]);
        look(&["validate", file]);
        look(&["explain", file]);
        for place in here.iter().take(4) {
            look(&["explain", file, place]);
        }
        look(&["run", file, "look around", "--output", "json"]);
        look(&["ps", "-a"]);
        let (id, snapshots) = block_on(async {
            let mut api = host.api().await;
            let run = api.only_run().await.id;
            let kept = api.snapshots_of(&run).await;
            (run, kept.into_iter().map(|s| (s.id, s.kind, s.tree)).collect::<Vec<_>>())
        });
        assert_eq!(snapshots.len(), 6, "a workspace and two trees, before and after");
        look(&["diff", &id]);
        look(&["diff", &id, "--stat"]);
        look(&["apply", &id, "--dry-run"]);
        look(&["apply", &id, "--yes"]);
        let early: Vec<_> = REPORTED.iter().filter(|name| user.join(name).exists()).collect();
        assert!(early.is_empty(), "{early:?} came without a yes to its class");
        look(&["apply", &id, "--yes", "--allow", "runs-later,steers-agents,moves-identity", "--leave-out"]);
        look(&["workspaces", "tree", &id]);
        let archive = host.path("tree.tar");
        for (snapshot, kind, of) in &snapshots {
            look(&["snapshots", "show", snapshot]);
            look(&["snapshots", "diff", snapshot]);
            look(&["snapshots", "export", snapshot, archive.to_str().unwrap(), "--force"]);
            look(&["snapshots", "import", archive.to_str().unwrap()]);
            if kind == "base" && of[..] == *ws.as_os_str().as_encoded_bytes() {
                look(&["snapshots", "restore", snapshot, "--yes"]);
            }
        }
        look(&["snapshots", "verify"]);
    }
    let written = HELD.iter().chain(&REPORTED).filter(|name| user.join(name).exists());
    let written = written.map(|name| (*name).to_owned()).collect();
    // And once more with the daemon gone in the middle, and coming back to trees that changed.
    let waiting = format!("touch started; until [ -e go ]; do sleep 0.05; done; {script}");
    let second = host.agent_file("b.yaml", &agent(&ws, &[&tree, &user], wall, &waiting));
    let _ = host.cordon(["run", second.to_str().unwrap(), "--detach", "x"]).expect_code(0);
    assert!(wait_until(Duration::from_secs(60), || ws.join("started").is_file()), "{}", host.log());
    host.kill_daemon();
    host.put(&ws.join("go"), "");
    host.start_daemon();
    let told = block_on(async {
        let mut api = host.api().await;
        let mut runs = api.list().await;
        runs.sort_by_key(|run| run.started_unix_ms);
        let first = api.events(&runs[0].id, true).await;
        let last = api.events(&runs[1].id, true).await;
        let files = [&first, &last].map(|events| summary(events).summary.unwrap().files);
        let names = files.concat().into_iter().map(|f| String::from_utf8_lossy(&f.path).into_owned());
        names.collect::<BTreeSet<_>>()
    });
    for run in ["logs", "stop", "rm"] {
        let ids = block_on(async { host.api().await.list().await });
        for id in ids {
            let ran = host.cordon([run, &id.id]);
            said.push_str(&format!("{}{}", ran.stdout, ran.stderr));
        }
    }
    said.push_str(&host.log());
    Cycle {
        written,
        fired: fs::read_dir(&markers)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect(),
        said,
        told,
    }
}

/// GX-18: the object store of somebody else as one's own.
fn alternates(other: &Path, tree: &Path, user: &Path) {
    bash(other, &format!("git init -q . && echo {TOKEN} > secret && git add secret && git commit -qm 1"));
    let _ = fs::set_permissions(other, std::os::unix::fs::PermissionsExt::from_mode(0o700));
    bash(user, "git init -q . && echo x > a && git add a && git commit -qm 1");
    let info = tree.join("fsmonitor/.git/objects/info");
    fs::create_dir_all(&info).unwrap();
    fs::write(info.join("alternates"), format!("{}\n", other.join(".git/objects").display())).unwrap();
}

fn agent(ws: &Path, trees: &[&Path], wall: &str, script: &str) -> String {
    let trees: Vec<String> = trees
        .iter()
        .map(|tree| format!("        - path: {}\n          permission: write\n", tree.display()))
        .collect();
    format!(
        "agents:\n  - id: worker\n    backend:\n      type: command\n      cwd: {}\n      command_line_execution_mode: {wall}\n{}      \
         context_paths:\n{}      command: [bash, -c, {}]\n",
        ws.display(),
        if wall == "docker" {
            "      command_line_docker_image: debian:bookworm-slim\n      command_line_docker_network_mode: bridge\n"
        } else {
            ""
        },
        trees.concat(),
        serde_json::Value::from(script),
    )
}

/// Writes what it can, each by three ways.
fn writes(tree: &Path, user: &Path) -> String {
    let names: Vec<String> = HELD.iter().chain(&REPORTED).map(|name| format!("'{name}'")).collect();
    format!(
        r#"
exec 2>/dev/null
cd '{user}' || exit 3
for name in {names}; do
  mkdir -p "$(dirname "$name")"
  printf '#!/bin/sh\ntouch /x\n' > "$name"
  echo x > plain; mv plain "$name"; ln plain "$name"; ln -s /etc/passwd "$name"
  perl -e '$a = "plain\0"; $b = "$ARGV[0]\0"; syscall(316, -100, $a, -100, $b, 2)' "$name"
done
mkdir aside; mkdir aside/hooks; mv .git away; mv aside .git; rm -rf .git .claude
cp -r .git copied; mv copied .git
git -C '{user}' cat-file -p HEAD
cat '{tree}'/fsmonitor/.git/objects/info/alternates
cat $(cat '{tree}'/fsmonitor/.git/objects/info/alternates)/../../secret
true
"#,
        user = user.display(),
        tree = tree.display(),
        names = names.join(" "),
    )
}

/// The proof that a plant is armed: git itself, or make, runs the payload.
fn is_armed(plant_: &Plant) {
    if plant_.fires.is_empty() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let markers = place.path().join("markers");
    fs::create_dir(&markers).unwrap();
    let top = place.path().join("top");
    fs::create_dir(&top).unwrap();
    plant(&top, &markers, &[*plant_]);
    let said = bash(&top.join(plant_.name), plant_.fires);
    // A pager is only asked for where there is a terminal.
    let by_terminal = format!("script -qec '{}' /dev/null", plant_.fires);
    let marker: PathBuf = markers.join(plant_.name);
    let more = if marker.exists() { String::new() } else { bash(&top.join(plant_.name), &by_terminal) };
    assert!(marker.exists(), "{} does not fire: {said}{more}", plant_.name);
}

fn nothing_fires(name: &str, wall: &'static str) {
    let Some(cycle) = cycle(wall) else { return };
    assert!(!cycle.fired.contains(name), "{name} was run");
}

macro_rules! plants {
    ($($test:ident => $name:literal,)*) => {
        $(mod $test {
            #[test]
            fn is_armed() {
                super::is_armed(super::PLANTS.iter().find(|plant| plant.name == $name).unwrap());
            }

            #[test]
            fn local() {
                super::nothing_fires($name, "local");
            }

            #[test]
            fn docker() {
                super::nothing_fires($name, "docker");
            }
        })*

        #[test]
        fn every_plant_has_its_tests() {
            let tested = BTreeSet::from([$($name),*]);
            let planted: BTreeSet<_> = PLANTS.iter().map(|plant| plant.name).collect();
            assert_eq!(tested, planted);
        }
    };
}

plants! {
    gx_01_fsmonitor => "fsmonitor",
    gx_02_hooks_path => "hooks_path",
    gx_02_hooks => "hooks",
    gx_03_ssh_command => "ssh_command",
    gx_03_git_proxy => "git_proxy",
    gx_03_ext_remote => "ext_remote",
    gx_04_pager => "pager",
    gx_05_editor => "editor",
    gx_05_sequence_editor => "sequence_editor",
    gx_06_external_diff => "external_diff",
    gx_07_textconv => "textconv",
    gx_08_filter_clean => "filter_clean",
    gx_08_filter_smudge => "filter_smudge",
    gx_08_filter_process => "filter_process",
    gx_09_merge_driver => "merge_driver",
    gx_10_gpg_program => "gpg_program",
    gx_11_include_path => "include_path",
    gx_12_alias => "alias",
    gx_16_filter_of_any_name => "filter_of_any_name",
    gx_17_submodule => "submodule",
    gx_17_bare_repository_inside => "bare_repository_inside",
    gx_17_repository_elsewhere => "repository_elsewhere",
    gx_19_agents_settings => "agents_settings",
    gx_20_deferred_execution => "deferred_execution",
    gx_21_path_shims => "path_shims",
    gx_23_mcp_server => "mcp_server",
}

mod gx_18_alternates {
    fn attack(wall: &'static str) {
        let Some(cycle) = super::cycle(wall) else { return };
        assert!(!cycle.said.contains(super::TOKEN), "the objects of another owner were read");
    }

    #[test]
    fn local() {
        attack("local");
    }

    #[test]
    fn docker() {
        attack("docker");
    }
}

mod gx_19_agent_config_drop {
    use super::{HELD, REPORTED};

    fn attack(wall: &'static str) {
        let Some(cycle) = super::cycle(wall) else { return };
        // `.git/config` is there, and is the user's.
        let made: Vec<_> =
            HELD.iter().filter(|n| **n != ".git/config" && cycle.written.contains(**n)).collect();
        assert!(made.is_empty(), "{made:?} were written\n{}", cycle.said);
        for name in REPORTED {
            assert!(cycle.written.contains(name), "{name} is the agent's to write\n{}", cycle.said);
            assert!(
                cycle.told.iter().any(|path| path.ends_with(name)),
                "{name} is not told: {:?}",
                cycle.told
            );
        }
        let guarded =
            cycle.told.iter().filter(|path| path.contains("/user/.git/") || path.contains("/user/.mcp.json"));
        assert_eq!(guarded.collect::<Vec<_>>(), Vec::<&String>::new());
    }

    #[test]
    fn local() {
        attack("local");
    }

    #[test]
    fn docker() {
        attack("docker");
    }
}
