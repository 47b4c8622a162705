//! Names inside a user's tree that are never an agent's to write, or to see.

use cordon_policy::{Access, Source};
use cordon_sandbox::PathKind;
use std::path::{Path, PathBuf};

/// Names that an agent may not write inside a writable context path, at any depth, and
/// what each is when it has to be held empty.
pub(super) const HELD: [(&str, Source, Option<PathKind>); 40] = [
    // All of it: `commondir`, a submodule's configuration or an index with an embedded repository
    // in it run programs on the host as surely as a hook does. The finer names below are what
    // stays guarded where a context path allows `.git` by name.
    (".git", Source::RunsLater, Some(PathKind::Directory)),
    (".git/hooks", Source::RunsLater, Some(PathKind::Directory)),
    (".git/config", Source::RunsLater, Some(PathKind::File)),
    (".git/info", Source::RunsLater, Some(PathKind::Directory)),
    (".git/config.worktree", Source::RunsLater, Some(PathKind::File)),
    (".git/commondir", Source::RunsLater, None),
    (".git/modules", Source::RunsLater, Some(PathKind::Directory)),
    (".git/worktrees", Source::RunsLater, Some(PathKind::Directory)),
    (".claude", Source::SteersAgents, Some(PathKind::Directory)),
    (".codex", Source::SteersAgents, Some(PathKind::Directory)),
    (".gemini", Source::SteersAgents, Some(PathKind::Directory)),
    (".mcp.json", Source::SteersAgents, Some(PathKind::File)),
    (".agents", Source::SteersAgents, Some(PathKind::Directory)),
    (".claude-plugin", Source::SteersAgents, Some(PathKind::Directory)),
    (".copilot", Source::SteersAgents, Some(PathKind::Directory)),
    (".github/copilot", Source::SteersAgents, Some(PathKind::Directory)),
    (".github/hooks", Source::SteersAgents, Some(PathKind::Directory)),
    (".github/extensions", Source::SteersAgents, Some(PathKind::Directory)),
    (".github/agents", Source::SteersAgents, Some(PathKind::Directory)),
    (".github/plugin", Source::SteersAgents, Some(PathKind::Directory)),
    (".github/mcp.json", Source::SteersAgents, Some(PathKind::File)),
    (".github/lsp.json", Source::SteersAgents, Some(PathKind::File)),
    (".lsp.json", Source::SteersAgents, Some(PathKind::File)),
    (".vscode", Source::RunsLater, Some(PathKind::Directory)),
    (".idea", Source::RunsLater, Some(PathKind::Directory)),
    (".envrc", Source::RunsLater, Some(PathKind::File)),
    // Shell start-up files matter where they are: in a home. Present ones are protected
    // anywhere, absent ones are not held.
    (".bashrc", Source::RunsLater, None),
    (".bash_profile", Source::RunsLater, None),
    (".bash_login", Source::RunsLater, None),
    (".bash_logout", Source::RunsLater, None),
    (".bash_aliases", Source::RunsLater, None),
    (".profile", Source::RunsLater, None),
    (".zshrc", Source::RunsLater, None),
    (".zprofile", Source::RunsLater, None),
    (".zshenv", Source::RunsLater, None),
    (".zlogin", Source::RunsLater, None),
    (".zlogout", Source::RunsLater, None),
    (".xprofile", Source::RunsLater, None),
    (".pam_environment", Source::RunsLater, None),
    (".config/fish", Source::RunsLater, None),
];

/// Directories that hold other things as well, which an agent may be asked for: where one is not
/// there it is not held, and what would steer agents in it shows when the fork is applied.
const SHARED: [&str; 1] = [".github"];

/// The directory that has to be there for an absent name to be held.
pub(super) fn only_in(name: &Path) -> Option<&'static Path> {
    SHARED.iter().map(Path::new).find(|shared| name.starts_with(shared))
}

/// Names that hold logins; hidden inside every context path, at any depth.
const SECRET: [&str; 15] = [
    ".env",
    ".netrc",
    ".git-credentials",
    ".pgpass",
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker/config.json",
    ".config/gcloud",
    ".config/gh",
    ".codex/auth.json",
    ".claude/.credentials.json",
    ".gemini/oauth_creds.json",
];
const SECRET_FILES: [&str; 6] =
    ["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa_sk", "id_ed25519_sk"];
const SECRET_SUFFIXES: [&str; 6] = [".pem", ".key", ".p12", ".pfx", ".jks", ".keystore"];

/// Whether a context path's `allow` lifts the guard of a name. `.git` lifts its own guard and
/// not those of the names in it that run programs.
pub(super) fn lifted(allow: &[PathBuf], relative: &Path) -> bool {
    allow.iter().any(|a| relative.ends_with(a) || (!a.ends_with(".git") && relative.starts_with(a)))
}

/// How a name has to be written relative to a tree, to be guarded in it: as it is, and, where the
/// tree is the beginning of the name itself, the rest of it.
pub(super) fn within(root: &Path, name: &Path) -> Vec<PathBuf> {
    let mut all = vec![name.to_path_buf()];
    let (mut begin, mut rest) = (PathBuf::new(), name.components());
    while let Some(component) = rest.next() {
        begin.push(component);
        if !rest.as_path().as_os_str().is_empty() && root.ends_with(&begin) {
            all.push(rest.as_path().to_path_buf());
        }
    }
    all
}

/// What the built-in names say of a path; none: nothing.
pub(super) fn verdict(path: &Path, writable: bool, is_file: bool) -> Option<(Access, Source)> {
    if is_secret(path, is_file) {
        return Some((Access::None, Source::Secret));
    }
    if !writable {
        return None;
    }
    HELD.iter().find(|(name, ..)| path.ends_with(name)).map(|(_, source, _)| (Access::Read, *source))
}

/// Whether a name is one that logins are kept under.
pub(crate) fn is_secret(relative: &Path, is_file: bool) -> bool {
    if SECRET.iter().any(|name| relative.ends_with(name)) {
        return true;
    }
    let Some(name) = relative.file_name().and_then(|n| n.to_str()) else { return false };
    // Templates are made to be read.
    let template = [".env.example", ".env.sample", ".env.template", ".env.dist"].contains(&name);
    is_file
        && ((name.starts_with(".env.") && !template)
            || SECRET_FILES.contains(&name)
            || SECRET_SUFFIXES.iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_allow_git_is_not_to_allow_its_hooks() {
        let allow = [PathBuf::from(".git"), PathBuf::from(".vscode")];
        for (name, is) in [(".git", true), ("sub/.git", true), (".git/hooks", false), (".vscode/x", true)] {
            assert_eq!(lifted(&allow, Path::new(name)), is, "{name}");
        }
    }

    #[test]
    fn a_tree_that_begins_a_name_holds_the_rest_of_it() {
        let within = |root: &str, name: &str| within(Path::new(root), Path::new(name));
        assert_eq!(within("/c", ".git/hooks"), [Path::new(".git/hooks")]);
        assert_eq!(within("/c/.git", ".git/hooks"), [Path::new(".git/hooks"), Path::new("hooks")]);
        assert_eq!(within("/c/.git", ".git"), [Path::new(".git")]);
    }

    #[test]
    fn names_are_judged_at_any_depth() {
        let say = |p: &str, w| verdict(Path::new(p), w, true).map(|v| v.0);
        assert_eq!(say("a/b/.env", false), Some(Access::None));
        assert_eq!(say(".env.production", false), Some(Access::None));
        assert_eq!(say(".env.example", false), None);
        assert_eq!(say("deploy/id_ed25519", true), Some(Access::None));
        assert_eq!(say("tls/server.key", true), Some(Access::None));
        assert_eq!(say("sub/.git/hooks", true), Some(Access::Read));
        assert_eq!(say("sub/.github/hooks", true), Some(Access::Read));
        assert_eq!(say(".github/workflows", true), None);
        assert_eq!(say("sub/.git", true), Some(Access::Read));
        assert_eq!(say("sub/.git/commondir", true), Some(Access::Read));
        assert_eq!(say("sub/.git/hooks", false), None);
        assert_eq!(say("environment", true), None);
        assert_eq!(say("a.git/hooks", true), None);
    }
}
