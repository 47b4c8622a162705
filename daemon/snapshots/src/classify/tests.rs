use super::*;
use crate::Content;
use proptest::prelude::*;

fn entry(kind: NodeKind, mode: u32) -> TreeEntry {
    let name = b"x".to_vec();
    TreeEntry { name, kind, mode, mtime: (0, 0), size: 1, content: Content::Unread, link_group: None }
}

fn named(path: &str) -> Vec<(Class, bool)> {
    let new = entry(NodeKind::File, 0o644);
    let subject = Subject { path: path.as_bytes(), new: Some(&new), ..Subject::default() };
    let mut found: Vec<_> = classify(&subject).into_iter().map(|f| (f.class, f.alike)).collect();
    found.dedup();
    found
}

fn changed(path: &str, old: Option<&str>, new: &str) -> Vec<Class> {
    let file = entry(NodeKind::File, 0o644);
    let subject = Subject {
        path: path.as_bytes(),
        old: old.is_some().then_some(&file),
        new: Some(&file),
        old_bytes: old.map(str::as_bytes),
        new_bytes: Some(new.as_bytes()),
    };
    let mut found: Vec<_> = classify(&subject).into_iter().map(|f| f.class).collect();
    found.dedup();
    found
}

const RUNS: (Class, bool) = (Class::RunsLater, false);
const STEERS: (Class, bool) = (Class::SteersAgents, false);
const MOVES: (Class, bool) = (Class::MovesIdentity, false);

#[test]
fn known_names_are_classed_at_any_depth() {
    for (path, class) in [
        (".git/hooks/pre-commit", RUNS),
        (".husky/pre-push", RUNS),
        (".github/workflows/ci.yml", RUNS),
        (".gitlab-ci.yml", RUNS),
        ("Makefile", RUNS),
        ("makefile", (Class::RunsLater, true)),
        ("GNUmakefile", RUNS),
        ("build.rs", RUNS),
        (".envrc", RUNS),
        ("conftest.py", RUNS),
        (".vscode/tasks.json", RUNS),
        (".idea/workspace.xml", RUNS),
        (".devcontainer/devcontainer.json", RUNS),
        (".bashrc", RUNS),
        (".config/fish/config.fish", RUNS),
        ("node_modules/.bin/git", RUNS),
        ("setup.py", RUNS),
        ("gradlew.bat", RUNS),
        ("vite.config.mts", RUNS),
        ("lib/x.pth", RUNS),
        ("AGENTS.md", STEERS),
        ("CLAUDE.md", STEERS),
        ("GEMINI.md", STEERS),
        (".claude/settings.json", STEERS),
        (".claude/skills/a/b/c.md", STEERS),
        (".codex/config.toml", STEERS),
        (".gemini/settings.json", STEERS),
        (".mcp.json", STEERS),
        (".github/copilot-instructions.md", STEERS),
        (".github/copilot/x.md", STEERS),
        (".cursor/rules/a.mdc", STEERS),
        (".gitmodules", MOVES),
        ("CODEOWNERS", MOVES),
        ("pip.conf", MOVES),
        (".npmrc", MOVES),
    ] {
        for place in ["", "sub/", "a/b/c/"] {
            let found = named(&format!("{place}{path}"));
            assert!(found.contains(&class), "{place}{path}: {found:?}");
        }
    }
    assert!(named(".npmrc").contains(&RUNS));
}

#[test]
fn what_is_not_known_is_data() {
    let paths = [
        "README.md",
        "src/main.rs",
        "docs/hooks.md",
        "github/workflows",
        "my.claude",
        "claude.md.txt",
        "xMakefile",
        "mcp.jsonx",
        "src/agents.rs",
        "a/.gitignore",
        "hooks.rs",
        "ünïcode.txt",
        "данные.txt",
        "environment/x",
    ];
    for path in paths {
        assert_eq!(named(path), [], "{path}");
    }
    let directory = entry(NodeKind::Directory, 0o755);
    let subject = |path| Subject { path, new: Some(&directory), ..Subject::default() };
    assert_eq!(classify(&subject(b"build")), []);
    assert_eq!(classify(&subject(b".claude"))[0].class, Class::SteersAgents);
}

#[test]
fn names_that_only_look_like_known_ones_are_flagged() {
    for (path, class) in [
        ("agents.md", Class::SteersAgents),
        ("AGENTS.MD", Class::SteersAgents),
        ("AGENT\u{405}.md", Class::SteersAgents),
        ("АGENTS.md", Class::SteersAgents),
        ("CLAUDE\u{200b}.md", Class::SteersAgents),
        ("CLAUDE.md.", Class::SteersAgents),
        ("CLAUDE.md ", Class::SteersAgents),
        ("CLAUDE.md::$DATA", Class::SteersAgents),
        ("ＣＬＡＵＤＥ.md", Class::SteersAgents),
        (".Claude/settings.json", Class::SteersAgents),
        (".mсp.json", Class::SteersAgents),
        ("․mcp.json", Class::SteersAgents),
        (".VSCode/tasks.json", Class::RunsLater),
        ("\u{202e}Makefile", Class::RunsLater),
        (".env\u{ad}rc", Class::RunsLater),
        (".gitmodu\u{2113}es", Class::MovesIdentity),
        (".GIT/config", Class::RunsLater),
    ] {
        assert!(named(path).contains(&(class, true)), "{}: {:?}", path.escape_debug(), named(path));
    }
    for path in [".git", "a/.GIT/x", "git~1/hooks", ".g\u{200d}it", ".ｇit", ".git. ", ".gi\u{442}"] {
        assert!(is_git(path.as_bytes()), "{path}");
    }
    for path in ["git", ".gitignore", ".github/x", "a.git", "git~", "git~x"] {
        assert!(!is_git(path.as_bytes()), "{path}");
    }
}

#[test]
fn what_lies_too_deep_is_never_data() {
    let classes = |depth: usize| named(&format!("{}x", "d/".repeat(depth)));
    assert_eq!(classes(255), []);
    assert_eq!(classes(256).len(), 3);
    assert_eq!(classes(1_000_000).len(), 3);
}

#[test]
fn what_is_executable_runs() {
    let (plain, runs) = (entry(NodeKind::File, 0o644), entry(NodeKind::File, 0o755));
    let classes = |old, new| {
        let subject = Subject { path: b"tool", old, new, ..Subject::default() };
        classify(&subject).into_iter().map(|f| f.reason).collect::<Vec<_>>()
    };
    assert_eq!(classes(None, Some(&runs)), ["it is newly executable"]);
    assert_eq!(classes(Some(&plain), Some(&runs)), ["it is newly executable"]);
    assert_eq!(classes(Some(&runs), Some(&runs)), ["it is executable"]);
    assert!(classes(Some(&runs), Some(&plain)).is_empty());
    let directory = entry(NodeKind::Directory, 0o755);
    assert!(classes(None, Some(&directory)).is_empty());
}

#[test]
fn a_package_is_judged_by_what_changed_in_it() {
    let old = r#"{"name": "x", "version": "1", "scripts": {"test": "a"}, "dependencies": {"a": "^1"}}"#;
    let change = |from: &str, to: &str| changed("pkg/package.json", Some(old), &old.replace(from, to));
    assert_eq!(change(r#""1""#, r#""2""#), []);
    assert_eq!(change(r#"test": "a""#, r#"test": "curl""#), [Class::RunsLater]);
    assert_eq!(change(r#""test""#, r#""postinstall""#), [Class::RunsLater]);
    assert_eq!(change("^1", "^2"), [Class::RunsLater]);
    assert_eq!(change("^1", "npm:evil@1"), [Class::RunsLater, Class::MovesIdentity]);
    assert_eq!(change("^1", "git+https://evil.test/a"), [Class::RunsLater, Class::MovesIdentity]);
    assert_eq!(changed("package.json", None, "{"), [Class::RunsLater]);
    assert_eq!(changed("package.json", Some("{"), r#"{"name": "x"}"#), []);
    assert_eq!(changed("PACKAGE.json", None, r#"{"bin": "x"}"#), [Class::RunsLater]);
    // Unreadable is as bad as it can be.
    assert!(named("package.json").contains(&RUNS));
}

#[test]
fn a_lock_file_is_judged_by_where_packages_come_from() {
    let npm = |url: &str| format!(r#"{{"packages": {{"a": {{"resolved": "{url}", "integrity": "x"}}}}}}"#);
    let old = npm("https://registry.good.test/a/-/a-1.tgz");
    let lock = |new: &str| changed("package-lock.json", Some(&old), new);
    assert_eq!(lock(&npm("https://registry.good.test/a/-/a-2.tgz")), []);
    for url in [
        "https://registry.evil.test/a.tgz",
        "http://registry.good.test/a.tgz",
        "git+ssh://git@x/y",
        "file:../evil",
        "https://registry.good.test@evil.test/a",
        "https://registry.good.test:8443/a",
        "HTTPS://EVIL.test/a",
    ] {
        assert_eq!(lock(&npm(url)), [Class::MovesIdentity], "{url}");
    }
    let forge = |owner: &str| npm(&format!("https://codeload.github.com/{owner}/x/tar.gz/1"));
    assert_eq!(changed("package-lock.json", Some(&forge("good")), &forge("good")), []);
    assert_eq!(changed("package-lock.json", Some(&forge("good")), &forge("evil")), [Class::MovesIdentity]);
    let cargo = |source: &str| format!("[[package]]\nname = \"a\"\nsource = \"{source}\"\n");
    let old = cargo("registry+https://github.com/x/index");
    assert_eq!(changed("Cargo.lock", Some(&old), &old.replace("\"a\"", "\"b\"")), []);
    let other = cargo("registry+https://evil.test/index");
    assert_eq!(changed("Cargo.lock", Some(&old), &other), [Class::MovesIdentity]);
    let yarn = |host: &str| format!("a@^1:\n  version \"1\"\n  resolved \"https://{host}/a.tgz#00\"\n");
    assert_eq!(changed("yarn.lock", Some(&yarn("good.test")), &yarn("good.test")), []);
    assert_eq!(changed("yarn.lock", Some(&yarn("good.test")), &yarn("evil.test")), [Class::MovesIdentity]);
    assert_eq!(changed("uv.lock", Some(&old), "\0"), [Class::MovesIdentity]);
    assert_eq!(named("yarn.lock"), [MOVES]);
    assert_eq!(changed("yarn.lock", None, ""), []);
}

proptest! {
    #[test]
    fn no_spelling_breaks_it(path in prop::collection::vec(any::<u8>(), 0..60), bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let file = entry(NodeKind::File, 0o644);
        let subject = |path, bytes| Subject { path, old: None, new: Some(&file), old_bytes: None, new_bytes: Some(bytes) };
        for path in [path.as_slice(), b"package.json", b"yarn.lock"] {
            // The same however often it is asked, and never in two minds about one name.
            let found = classify(&subject(path, &bytes));
            prop_assert_eq!(&found, &classify(&subject(path, &bytes)));
            prop_assert!(found.iter().all(|f| f.class != Class::Data));
        }
    }

    #[test]
    fn case_and_invisible_characters_hide_no_name(
        upper in prop::collection::vec(any::<bool>(), 9), at in 0usize..9,
        c in prop::sample::select(vec!['\u{200b}', '\u{200e}', '\u{2060}', '\u{feff}', '\u{ad}', '\u{fe00}', '\u{e0041}']),
    ) {
        let mut name: String = "agents.md".chars().zip(upper)
            .map(|(c, up)| if up { c.to_ascii_uppercase() } else { c }).collect();
        name.insert(at, c);
        prop_assert!(named(&name).contains(&(Class::SteersAgents, true)));
    }
}

/// What tools of all kinds run, read as instructions or trust, each known to act by its name alone.
#[test]
fn nothing_that_acts_by_its_name_is_data() {
    let names = ".github/workflows/ci.yml .github/actions/x/action.yml action.yml .gitlab-ci.yml .gitlab/ci/x.yml .circleci/config.yml \
        Jenkinsfile azure-pipelines.yml .drone.yml .buildkite/pipeline.yml .travis.yml bitbucket-pipelines.yml appveyor.yml \
        .woodpecker.yml .woodpecker/x.yml cloudbuild.yaml buildspec.yml .forgejo/workflows/x.yml .gitea/workflows/x.yml \
        .semaphore/semaphore.yml .cirrus.yml .teamcity/settings.kts netlify.toml vercel.json wrangler.toml fly.toml \
        Procfile app.yaml skaffold.yaml Tiltfile Earthfile docker-compose.yml docker-compose.override.yml compose.yaml \
        Dockerfile Containerfile x.Dockerfile  Makefile GNUmakefile x.mk justfile .justfile Taskfile.yml \
        CMakeLists.txt x.cmake CMakePresets.json meson.build BUILD BUILD.bazel WORKSPACE MODULE.bazel .bazelrc x.bzl \
        configure configure.ac Makefile.am SConstruct SConscript wscript build.rs .cargo/config.toml rust-toolchain.toml rust-toolchain \
        package.json .npmrc .yarnrc.yml .yarn/releases/x.cjs .yarn/plugins/x.cjs .pnp.cjs .pnpmfile.cjs bunfig.toml deno.json \
        node_modules/x/index.js webpack.config.js vite.config.ts rollup.config.mjs jest.config.js vitest.config.ts babel.config.js \
        .babelrc.js .eslintrc.js eslint.config.js .prettierrc.js prettier.config.js postcss.config.js tailwind.config.js next.config.js \
        playwright.config.ts cypress.config.js gulpfile.js Gruntfile.js tsup.config.ts .mocharc.js karma.conf.js \
        setup.py setup.cfg pyproject.toml conftest.py noxfile.py tox.ini sitecustomize.py usercustomize.py x.pth tasks.py fabfile.py \
        manage.py pytest.ini .pythonrc Pipfile hatch_build.py Gemfile Rakefile x.gemspec .irbrc .pryrc .rspec config.ru Guardfile Vagrantfile \
        mix.exs rebar.config build.gradle build.gradle.kts settings.gradle gradlew gradle/wrapper/gradle-wrapper.properties \
        gradle.properties pom.xml .mvn/extensions.xml .mvn/jvm.config mvnw build.xml build.sbt project/plugins.sbt \
        Directory.Build.props Directory.Build.targets x.csproj x.sln global.json nuget.config flake.nix shell.nix default.nix \
        Package.swift Podfile Fastfile dune dune-project x.opam stack.yaml x.cabal Setup.hs cabal.project \
        composer.json artisan build.zig go.work .envrc .env mise.toml .mise.toml .tool-versions .nvmrc .python-version .ruby-version \
        .vscode/tasks.json .vscode/settings.json .vscode/launch.json .vscode/extensions.json x.code-workspace .idea/workspace.xml .idea/runConfigurations/x.xml \
        .zed/tasks.json .zed/settings.json .fleet/run.json .devcontainer/devcontainer.json .devcontainer.json .gitpod.yml .replit \
        .vimrc .exrc .nvim.lua .nvimrc .dir-locals.el .emacs .projectile .gdbinit .lldbinit  \
        .bashrc .bash_profile .profile .zshrc .zshenv .zprofile .inputrc .tmux.conf .screenrc .config/fish/config.fish \
        .husky/pre-commit .pre-commit-config.yaml lefthook.yml .lefthook.yml .overcommit.yml .lintstagedrc .githooks/pre-push \
        .git/hooks/x .hg/hgrc ansible.cfg  x.tf .terraformrc  serverless.yml pulumi.yaml \
        .ssh/config .ssh/authorized_keys .ssh/rc .gnupg/gpg.conf .gitconfig .gitmodules .gitattributes .netrc .curlrc .wgetrc .pypirc \
        CLAUDE.md CLAUDE.local.md AGENTS.md AGENT.md GEMINI.md QWEN.md .cursorrules .windsurfrules .clinerules .clinerules/x.md \
        .cursor/rules/x.mdc .cursor/mcp.json .claude/settings.json .claude/settings.local.json .claude/agents/x.md .claude/skills/a/SKILL.md \
        .mcp.json .codex/config.toml .codex/AGENTS.md .gemini/settings.json .gemini/commands/x.toml .qwen/settings.json .opencode/agent/x.md opencode.json \
        .github/copilot-instructions.md .github/instructions/x.instructions.md .github/prompts/x.prompt.md .github/chatmodes/x.chatmode.md \
        .github/hooks/x.json .github/copilot/settings.json .github/mcp.json .github/extensions/x/extension.mjs .copilot/mcp-config.json \
        .github/agents/x.agent.md .vscode/mcp.json .roo/rules/x.md .roomodes .kiro/steering/x.md .amazonq/rules/x.md .augment/rules/x.md \
        .aider.conf.yml .continue/config.yaml .continuerules .junie/guidelines.md .trae/rules/x.md .goosehints .windsurf/rules/x.md cordon.yaml \
        CODEOWNERS .github/CODEOWNERS .github/dependabot.yml renovate.json .mergify.yml \
        HEAD docs.git/config crontab x.service x.desktop x.plist Brewfile .direnvrc lerna.json nx.json turbo.json rush.json moon.yml \
        .github/settings.yml bitrise.yml codemagic.yaml";
    let missed: Vec<_> = names.split_whitespace().filter(|n| named(n).is_empty()).collect();
    assert!(missed.is_empty(), "{missed:?}");
}
