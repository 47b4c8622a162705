use cordon_policy::{Access, Origin, Rule, Source};
use std::path::{Path, PathBuf};

/// The rules that every sandbox has: the machine's programs to read, private places
/// to write, and the few names below /etc that nobody inside needs.
pub(super) fn built_in(home: &Path) -> Vec<Rule> {
    let rule = |path: &str, access, source| Rule {
        path: PathBuf::from(path),
        access,
        origin: Origin::built_in(source),
    };
    let read = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/proc", "/dev"]
        .map(|p| rule(p, Access::Read, Source::System));
    let hidden = [
        "/etc/shadow",
        "/etc/shadow-",
        "/etc/gshadow",
        "/etc/gshadow-",
        "/etc/sudoers",
        "/etc/sudoers.d",
        "/etc/ssh",
        "/etc/ssl/private",
        "/etc/security/opasswd",
    ]
    .map(|p| rule(p, Access::None, Source::Secret));
    // The devices that the walls make; no name can be added beside them.
    let devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/pts", "/dev/shm"]
        .map(|p| rule(p, Access::Write, Source::System));
    let write = [
        rule("/tmp", Access::Write, Source::Temporary),
        Rule { path: home.to_path_buf(), access: Access::Write, origin: Origin::built_in(Source::Home) },
    ];
    read.into_iter().chain(hidden).chain(devices).chain(write).collect()
}
