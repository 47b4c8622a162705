//! "Host-side execution planted in the workspace": trees in which something waits to be run by whoever looks at them from
//! outside. Each touches a marker of its own, so that it is known which one fired.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

/// One thing that waits.
#[derive(Clone, Copy, Debug)]
pub struct Plant {
    /// As in the list of attacks.
    pub id: &'static str,
    /// Of the test, of its directory and of its marker.
    pub name: &'static str,
    /// Added to `.git/config`; `@PAY@` is the payload, a program without arguments.
    pub config: &'static str,
    /// Files beside: path and content.
    pub files: &'static [(&'static str, &'static str)],
    /// What somebody does innocently, in bash, that fires it: the proof that it is armed. Empty where the program that would
    /// fire it is not on every machine.
    pub fires: &'static str,
}

const fn git(id: &'static str, name: &'static str, config: &'static str, fires: &'static str) -> Plant {
    Plant { id, name, config, files: &[], fires }
}

const fn attribute(
    id: &'static str,
    name: &'static str,
    config: &'static str,
    files: &'static [(&'static str, &'static str)],
    fires: &'static str,
) -> Plant {
    Plant { id, name, config, files, fires }
}

/// Every plant that is a repository, and what fires elsewhere.
pub const PLANTS: &[Plant] = &[
    git("GX-01", "fsmonitor", "[core]\nfsmonitor = @PAY@\n", "git status"),
    attribute(
        "GX-02",
        "hooks_path",
        "[core]\nhooksPath = evil\n",
        &[
            ("evil/pre-commit", "@SCRIPT@"),
            ("evil/post-index-change", "@SCRIPT@"),
            ("evil/post-checkout", "@SCRIPT@"),
        ],
        "git commit --allow-empty -qm x",
    ),
    attribute(
        "GX-02",
        "hooks",
        "",
        &[
            (".git/hooks/pre-commit", "@SCRIPT@"),
            (".git/hooks/post-index-change", "@SCRIPT@"),
            (".git/hooks/reference-transaction", "@SCRIPT@"),
            (".git/hooks/post-checkout", "@SCRIPT@"),
        ],
        "git add -A",
    ),
    git(
        "GX-03",
        "ssh_command",
        "[core]\nsshCommand = @PAY@\n[remote \"origin\"]\nurl = ssh://nowhere.invalid/x\n",
        "git fetch origin",
    ),
    git(
        "GX-03",
        "git_proxy",
        "[core]\ngitProxy = @PAY@\n[remote \"origin\"]\nurl = git://nowhere.invalid/x\n",
        "git fetch origin",
    ),
    git(
        "GX-03",
        "ext_remote",
        "[protocol \"ext\"]\nallow = always\n[remote \"origin\"]\nurl = ext::@PAY@\n",
        "git fetch origin",
    ),
    git("GX-04", "pager", "[core]\npager = @PAY@\n", "git --paginate log"),
    git("GX-05", "editor", "[core]\neditor = @PAY@\n", "git commit --allow-empty"),
    git(
        "GX-05",
        "sequence_editor",
        "[sequence]\neditor = @PAY@\n",
        "git commit -qam x; git rebase -i HEAD~1",
    ),
    git("GX-06", "external_diff", "[diff]\nexternal = @PAY@\n", "git diff"),
    attribute(
        "GX-07",
        "textconv",
        "[diff \"evil\"]\ntextconv = @PAY@\n",
        &[(".gitattributes", "*.txt diff=evil\n")],
        "git diff",
    ),
    attribute(
        "GX-08",
        "filter_clean",
        "[filter \"evil\"]\nclean = @PAY@\n",
        &[(".gitattributes", "*.txt filter=evil\n")],
        "git add a.txt",
    ),
    attribute(
        "GX-08",
        "filter_smudge",
        "[filter \"evil\"]\nsmudge = @PAY@\n",
        &[(".gitattributes", "*.txt filter=evil\n")],
        "rm a.txt; git checkout -- a.txt",
    ),
    attribute(
        "GX-08",
        "filter_process",
        "[filter \"evil\"]\nprocess = @PAY@\n",
        &[(".gitattributes", "*.txt filter=evil\n")],
        "git add a.txt",
    ),
    attribute(
        "GX-09",
        "merge_driver",
        "[merge \"evil\"]\ndriver = @PAY@\n",
        &[(".gitattributes", "*.txt merge=evil\n")],
        "git commit -qam mine; git merge other",
    ),
    git(
        "GX-10",
        "gpg_program",
        "[gpg]\nprogram = @PAY@\n[commit]\ngpgSign = true\n",
        "git commit --allow-empty -qm x",
    ),
    attribute(
        "GX-11",
        "include_path",
        "[include]\npath = ../included\n",
        &[("included", "[core]\nfsmonitor = @PAY@\n")],
        "git status",
    ),
    git("GX-12", "alias", "[alias]\nst = !@PAY@\n", "git st"),
    attribute(
        "GX-16",
        "filter_of_any_name",
        "[filter \"x7f3 q\"]\nclean = @PAY@\nsmudge = @PAY@\nrequired = true\n",
        &[
            (".gitattributes", "\"*.txt\" \"filter=x7f3 q\"\n* filter\n[attr]many filter=y\n"),
            (".git/info/attributes", "*.txt filter=y\n"),
        ],
        "",
    ),
    attribute(
        "GX-17",
        "submodule",
        "[submodule \"s\"]\nupdate = !@PAY@\nurl = -u./evil\nactive = true\n[protocol \"ext\"]\nallow = always\n",
        &[(".gitmodules", "[submodule \"s\"]\npath = ../s\nurl = ext::@PAY@\nupdate = !@PAY@\n")],
        "",
    ),
    attribute(
        "GX-17",
        "bare_repository_inside",
        "",
        &[
            ("docs/HEAD", "ref: refs/heads/main\n"),
            ("docs/config", "[core]\nrepositoryformatversion = 0\nworktree = .\nfsmonitor = @PAY@\n"),
            ("docs/refs/x", ""),
            ("docs/objects/x", ""),
        ],
        "cd docs && git status",
    ),
    attribute(
        "GX-17",
        "repository_elsewhere",
        "",
        &[
            ("sub/.git", "gitdir: ../elsewhere\n"),
            ("elsewhere/HEAD", "ref: refs/heads/main\n"),
            ("elsewhere/config", "[core]\nrepositoryformatversion = 0\nfsmonitor = @PAY@\n"),
            ("elsewhere/refs/x", ""),
            ("elsewhere/objects/x", ""),
        ],
        "cd sub && git status",
    ),
    attribute(
        "GX-20",
        "deferred_execution",
        "",
        &[
            ("Makefile", "all:\n\t@PAY@\n$(shell @PAY@)\n"),
            ("package.json", "{\"scripts\": {\"preinstall\": \"@PAY@\", \"test\": \"@PAY@\"}}"),
            ("build.rs", "fn main() { std::process::Command::new(\"@PAY@\").status(); }"),
            (".envrc", "@PAY@\n"),
            ("conftest.py", "import os; os.system('@PAY@')\n"),
            ("sitecustomize.py", "import os; os.system('@PAY@')\n"),
            (".npmrc", "git=@PAY@\nscript-shell=@PAY@\n"),
            (".bashrc", "@PAY@\n"),
            (".cargo/config.toml", "[build]\nrustc-wrapper = \"@PAY@\"\n"),
            (
                "docker-compose.yml",
                "services: {x: {build: {context: ., dockerfile_inline: \"RUN @PAY@\"}}}\n",
            ),
            (".github/workflows/ci.yml", "on: push\njobs: {x: {steps: [{run: \"@PAY@\"}]}}\n"),
            (
                ".vscode/tasks.json",
                "{\"tasks\": [{\"command\": \"@PAY@\", \"runOptions\": {\"runOn\": \"folderOpen\"}}]}",
            ),
        ],
        "make",
    ),
    attribute(
        "GX-19",
        "agents_settings",
        "",
        &[
            (
                ".claude/settings.json",
                "{\"hooks\": {\"SessionStart\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"@PAY@\"}]}]}}",
            ),
            (".codex/config.toml", "notify = [\"@PAY@\"]\n[mcp_servers.x]\ncommand = \"@PAY@\"\n"),
            (".gemini/settings.json", "{\"mcpServers\": {\"x\": {\"command\": \"@PAY@\"}}}"),
            (
                ".env",
                "CODEX_HOME=./.codex\nPATH=.\nLD_PRELOAD=./x\nCORDON_GUEST=./evil\nGIT_SSH_COMMAND=@PAY@\n",
            ),
        ],
        "",
    ),
    attribute(
        "GX-23",
        "mcp_server",
        "",
        &[(".mcp.json", "{\"mcpServers\": {\"x\": {\"command\": \"@PAY@\", \"args\": []}}}")],
        "",
    ),
    attribute(
        "GX-21",
        "path_shims",
        "",
        &[
            ("node_modules/.bin/git", "@SCRIPT@"),
            ("bin/sh", "@SCRIPT@"),
            ("bin/git", "@SCRIPT@"),
            ("bin/docker", "@SCRIPT@"),
            ("bin/iptables", "@SCRIPT@"),
            ("bin/ip6tables", "@SCRIPT@"),
            ("bin/cordond", "@SCRIPT@"),
            ("bin/cordon-guest", "@SCRIPT@"),
            ("bin/id", "@SCRIPT@"),
            ("bin/getent", "@SCRIPT@"),
            ("bin/runc", "@SCRIPT@"),
            ("bin/node", "@SCRIPT@"),
            ("bin/perl", "@SCRIPT@"),
        ],
        "PATH=$PWD/bin:$PATH; git status",
    ),
];

/// Plants everything below a directory; payloads touch `marker/NAME` below `markers`.
///
/// # Panics
/// When git is not there or a file cannot be written.
pub fn plant(top: &Path, markers: &Path, plants: &[Plant]) {
    plant_as(top, markers, plants, false);
}

/// The same, but only what has to be executable is: names alone have to say what the rest is.
///
/// # Panics
/// As [`plant`].
pub fn plant_quietly(top: &Path, markers: &Path, plants: &[Plant]) {
    plant_as(top, markers, plants, true);
}

fn plant_as(top: &Path, markers: &Path, plants: &[Plant], quietly: bool) {
    let template = top.join("template");
    fs::create_dir_all(&template).unwrap();
    bash(&template, REPOSITORY);
    for plant in plants {
        let place = top.join(plant.name);
        bash(top, &format!("cp -a template '{}'", place.display()));
        let payload = place.join("payload");
        let script = format!("#!/bin/sh\ntouch '{}'\nexit 0\n", markers.join(plant.name).display());
        let fill =
            |text: &str| text.replace("@SCRIPT@", &script).replace("@PAY@", &payload.display().to_string());
        write(&payload, &script);
        for (name, content) in plant.files {
            write(&place.join(name), &fill(content));
            if quietly && !content.contains("@SCRIPT@") {
                fs::set_permissions(place.join(name), fs::Permissions::from_mode(0o644)).unwrap();
            }
        }
        let config = fs::read_to_string(place.join(".git/config")).unwrap();
        write(&place.join(".git/config"), &format!("{config}{}", fill(plant.config)));
    }
    fs::remove_dir_all(template).unwrap();
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A repository with two branches that are at odds, and a change that is not committed.
const REPOSITORY: &str = "git init -q -b main . && echo one > a.txt && git add a.txt && git commit -qm 1 && \
    echo zero > a.txt && git commit -qam 2 && git checkout -qb other HEAD~1 && echo two > a.txt && git commit -qam 3 && \
    git checkout -q main && echo three > a.txt";

/// Runs a script as somebody would who has no settings of his own.
///
/// # Panics
/// When it cannot be started.
pub fn bash(place: &Path, script: &str) -> String {
    let out = Command::new("bash")
        .args(["-c", script])
        .current_dir(place)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .envs([("HOME", "/nonexistent"), ("GIT_CONFIG_NOSYSTEM", "1"), ("TERM", "xterm")])
        .envs([
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@b"),
            ("GIT_COMMITTER_NAME", "a"),
            ("GIT_COMMITTER_EMAIL", "a@b"),
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}
