use super::{Class, Finding, names::fold};
use std::sync::LazyLock;

use Class::{MovesIdentity, RunsLater, SteersAgents};

/// What is known by name, at any depth. A pattern is components; `*` stands for any part of one
/// component, a last `**` for everything below.
const TABLE: &[(Class, &str, &str)] = &[
    (RunsLater, "a repository's own files run hooks and programs", ".git .git/** *.git/**"),
    (
        RunsLater,
        "it makes its directory a repository, whose settings run programs",
        "HEAD commondir config.worktree",
    ),
    (
        RunsLater,
        "hooks run at commits and merges",
        ".husky/** .githooks/** githooks/** hooks/pre-* hooks/post-* hooks/commit-msg \
         hooks/prepare-commit-msg hooks/update .pre-commit-config.yaml .pre-commit-hooks.yaml \
         lefthook.yml lefthook.yaml .lefthook.yml .lefthook/** .overcommit.yml .lintstagedrc* \
         lint-staged.config.* .huskyrc* captainhook.json",
    ),
    (
        RunsLater,
        "CI runs it",
        ".github/workflows/** .github/actions/** action.yml action.yaml .gitlab-ci.yml \
         .gitlab-ci.yaml .gitlab/ci/** Jenkinsfile* .circleci/** .travis.yml appveyor.yml \
         .appveyor.yml azure-pipelines*.yml .azure-pipelines/** bitbucket-pipelines.yml \
         .buildkite/** .drone.yml .woodpecker.yml .woodpecker/** .gitea/workflows/** \
         .forgejo/workflows/** cloudbuild.yaml .cirrus.yml .teamcity/** buildspec.yml \
         .semaphore/** .tekton/** .ci/** Earthfile dagger.json",
    ),
    (
        RunsLater,
        "a build runs it",
        "Makefile* GNUmakefile *.mk build.rs Cargo.toml .cargo/config .cargo/config.toml \
         rust-toolchain rust-toolchain.toml CMakeLists.txt *.cmake CMakePresets.json \
         meson.build configure configure.ac autogen.sh bootstrap.sh build.sh SConstruct \
         SConscript wscript build.gradle* settings.gradle* gradle.properties gradlew* \
         gradle/wrapper/** pom.xml mvnw* .mvn/** build.xml build.sbt project/*.sbt \
         project/build.properties BUILD BUILD.bazel WORKSPACE* MODULE.bazel *.bzl .bazelrc \
         .bazelversion BUCK buck.conf setup.py setup.cfg pyproject.toml tox.ini noxfile.py \
         hatch_build.py binding.gyp Rakefile *.rake Gemfile *.gemspec extconf.rb \
         Package.swift Podfile *.podspec mix.exs rebar.config* dune-project *.csproj *.vbproj \
         *.fsproj *.vcxproj *.props *.targets *.sln Directory.Build.* build.zig* build.ninja \
         Justfile .justfile Taskfile* magefile.go tasks.py fabfile.py dodo.py Dockerfile* \
         *.Dockerfile Containerfile* docker-compose* compose.yaml compose.yml compose.*.yml \
         Vagrantfile Procfile* Tiltfile skaffold.yaml flake.nix default.nix shell.nix *.nix \
         Brewfile composer.json deno.json deno.jsonc bunfig.toml turbo.json nx.json \
         project.json lerna.json gulpfile.* Gruntfile.* webpack.config.* vite.config.* \
         rollup.config.* rspack.config.* esbuild.config.* babel.config.* .babelrc* \
         next.config.* nuxt.config.* svelte.config.* astro.config.* tailwind.config.* \
         postcss.config.* .postcssrc* metro.config.* .pnpmfile.* .yarn/releases/** \
         .yarn/plugins/** patches/** snapcraft.yaml debian/rules *.spec PKGBUILD .pnp.* \
         tsup.config.* rush.json .moon/** moon.yml manage.py config.ru Guardfile global.json \
         Fastfile fastlane/** dune *.opam stack.yaml *.cabal Setup.hs Setup.lhs \
         cabal.project* artisan .replit replit.nix .projectile",
    ),
    (
        RunsLater,
        "it is deployed and run",
        "netlify.toml vercel.json wrangler.toml fly.toml app.yaml serverless.yml ansible.cfg \
         *.tf .terraformrc pulumi.yaml Pulumi.*.yaml bitrise.yml codemagic.yaml crontab \
         *.service *.timer *.plist",
    ),
    (
        RunsLater,
        "a test or lint run starts it",
        "conftest.py pytest.ini sitecustomize.py usercustomize.py *.pth .eslintrc* \
         eslint.config.* .prettierrc* prettier.config.* stylelint.config.* .stylelintrc* \
         jest.config.* jest.setup.* vitest.config.* vitest.setup.* playwright.config.* \
         cypress.config.* karma.conf.* .mocharc* .nycrc* ava.config.* wdio.conf.* \
         phpunit.xml* .rspec .rubocop.yml spec_helper.rb pylintrc .pylintrc mypy.ini \
         .mypy.ini .php-cs-fixer* .golangci.* clippy.toml",
    ),
    (
        RunsLater,
        "an editor runs it when the tree is opened",
        ".vscode/** *.code-workspace .idea/** *.iml .fleet/** .zed/** .devcontainer/** \
         .devcontainer.json .vs/** .settings/** .project *.sublime-project .vim/** .nvim/** \
         .exrc .nvimrc .nvim.lua .vimrc .lvimrc .dir-locals.el .dir-locals-2.el .emacs \
         .emacs.d/** .helix/** .gitpod.yml .theia/**",
    ),
    (
        RunsLater,
        "a shell runs it",
        ".envrc .direnvrc .env .env.* .bashrc .bash_* .profile .zshrc .zprofile .zshenv .zlogin \
         .zlogout .xprofile .xinitrc .xsession* .kshrc .cshrc .tcshrc .login .logout .inputrc \
         .pam_environment .config/fish/** .config/autostart/** .config/systemd/** \
         .config/environment.d/** .tmux.conf .screenrc .mise.toml mise.toml .mise/** \
         .rtx.toml .tool-versions .autoenv* .nvmrc .node-version .python-version \
         .ruby-version .rvmrc .sdkmanrc devbox.json devenv.nix *.ps1 Microsoft.*_profile.ps1 \
         .gdbinit .lldbinit .pythonrc* .pdbrc .irbrc .pryrc .Rprofile .Renviron .sqliterc \
         .psqlrc *.desktop autorun.inf",
    ),
    (
        RunsLater,
        "it stands before the system's programs",
        "node_modules/** .venv/** venv/bin/** .pyenv/** .local/bin/** .asdf/** .rbenv/** \
         vendor/bin/**",
    ),
    (
        SteersAgents,
        "agents take it as instructions",
        "AGENTS.md AGENTS.override.md AGENT.md CLAUDE.md CLAUDE.local.md GEMINI.md CODEX.md \
         QWEN.md CRUSH.md WARP.md CONVENTIONS.md SKILL.md .cursorrules .cursor/** \
         .windsurfrules .windsurf/** .clinerules .clinerules/** .clineignore .roo/** \
         .roorules* .roomodes .rules .goosehints .aider* .continue/** .continuerules \
         .junie/** .kiro/** .trae/** .augment/** .augment-guidelines .amazonq/** \
         .openhands/** .github/copilot* .github/copilot*/** .github/instructions/** \
         .github/prompts/** .github/chatmodes/** .github/agents/** *.instructions.md \
         *.prompt.md *.chatmode.md *.agent.md llms.txt *.mdc",
    ),
    (
        SteersAgents,
        "it sets what agents may do and start",
        ".claude .claude/** .claude.json .claude-plugin/** .codex .codex/** .gemini \
         .gemini/** .geminiignore .qwen/** .mcp.json mcp.json .mcp/** mcp_config.json \
         .agents/** .copilot/** .github/hooks/** .github/extensions/** .github/plugin/** \
         .github/mcp.json .github/lsp.json .lsp.json .opencode/** opencode.json* .crush.json crush.json .factory/** .cordon/** \
         cordon.yaml cordon.yml .aiignore .cursorignore",
    ),
    (
        MovesIdentity,
        "it says where other repositories come from",
        ".gitmodules .gitconfig .hgsub .hg/hgrc .git-credentials .repo/** west.yml \
         .gitattributes .lfsconfig .mailmap .git-blame-ignore-revs .config/git/**",
    ),
    (
        MovesIdentity,
        "it says where packages come from",
        ".npmrc .yarnrc .yarnrc.yml pip.conf pip.ini .pip/** .pypirc uv.toml poetry.toml \
         .condarc .cargo/config .cargo/config.toml .gemrc .bundle/config NuGet.config \
         settings.xml .m2/** init.gradle* auth.json repositories.json go.mod go.work \
         requirements*.txt constraints*.txt Pipfile sources.list* pnpm-workspace.yaml \
         vcpkg.json vcpkg-configuration.json conanfile.* Cartfile pubspec.yaml .curlrc \
         .wgetrc .netrc environment.yml",
    ),
    (
        MovesIdentity,
        "it says who owns, reviews and is trusted",
        "CODEOWNERS OWNERS OWNERS_ALIASES MAINTAINERS .github/settings.yml \
         .github/dependabot.yml .github/CODEOWNERS renovate.json* .renovaterc* dependabot.yml \
         .mergify.yml authorized_keys known_hosts .ssh/** .gnupg/** allowed_signers *.pem \
         *.crt *.cer supply-chain/** deny.toml .well-known/**",
    ),
    // Also among the sources of packages: these are both.
    (
        RunsLater,
        "it can name programs that a package manager runs",
        ".npmrc .yarnrc .yarnrc.yml pnpm-workspace.yaml pip.conf .bundle/config \
         .gitattributes .gitconfig .config/git/** .ssh/**",
    ),
];

struct Rule {
    class: Class,
    reason: &'static str,
    /// As written, and folded as names are.
    components: Vec<(&'static str, String)>,
    below: bool,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |class: Class, reason: &'static str, pattern: &'static str| {
        let (path, below) = pattern.strip_suffix("/**").map_or((pattern, false), |p| (p, true));
        let components = path.split('/').map(|c| (c, fold(c.as_bytes()))).collect();
        Rule { class, reason, components, below }
    };
    TABLE
        .iter()
        .flat_map(|(class, reason, patterns)| {
            patterns.split_whitespace().map(move |p| rule(*class, reason, p))
        })
        .collect()
});

/// What the names of a path say.
pub(super) fn find(path: &[u8], directory: bool) -> Vec<Finding> {
    let components: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    let folded: Vec<String> = components.iter().map(|c| fold(c)).collect();
    let mut findings: Vec<Finding> = Vec::new();
    // A directory on its own does nothing, whatever a file of its name would do.
    for rule in RULES.iter().filter(|rule| rule.below || !directory) {
        let Some(alike) = rule.matches(&components, &folded) else { continue };
        match findings.iter_mut().find(|f| f.class == rule.class && f.reason == rule.reason) {
            // Known by one pattern as it is written: then it is no look-alike.
            Some(known) => known.alike &= alike,
            None => findings.push(Finding { class: rule.class, reason: rule.reason, alike }),
        }
    }
    findings
}

impl Rule {
    /// Whether it matches, and whether only a name that looks like it.
    fn matches(&self, components: &[&[u8]], folded: &[String]) -> Option<bool> {
        let length = self.components.len();
        let last = components.len().checked_sub(length)?;
        // What stands at the name of a directory whose content matters, matters as well.
        let starts = if self.below { 0..=last } else { last..=last };
        let at = |start: usize| {
            let pairs = || self.components.iter().zip(&folded[start..]).zip(&components[start..]);
            pairs()
                .all(|((rule, name), _)| glob(rule.1.as_bytes(), name.as_bytes()))
                .then(|| !pairs().all(|((rule, _), spelled)| glob(rule.0.as_bytes(), spelled)))
        };
        starts.filter_map(at).min()
    }
}

/// Whether a name is a pattern with any number of `*`.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|b| *b == b'*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let found = (0..=rest.len().saturating_sub(part.len())).find(|n| rest[*n..].starts_with(part));
        match found {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}
