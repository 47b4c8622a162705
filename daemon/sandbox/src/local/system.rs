//! The system part of the local view: programs and libraries as the host has them, and
//! a /etc with what programs need and nothing that is this host's business.

use super::view::{bind, link, text};
use crate::Identity;
use cordon_proto::guest::Mount;
use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

/// On a merged /usr these are links into it; elsewhere directories.
const PROGRAMS: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Configuration that programs read and that tells an agent nothing. Not in here: users,
/// passwords, keys (also those below /etc/ssl), package sources with their tokens, services.
const ETC: [&str; 36] = [
    "alternatives",
    "bash.bashrc",
    "bash_completion.d",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "fonts",
    "gai.conf",
    "gitconfig",
    "host.conf",
    "inputrc",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "mime.types",
    "networks",
    "nsswitch.conf",
    "os-release",
    "perl",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "profile",
    "profile.d",
    "protocols",
    "python3",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];

/// Larger files are mounted.
const COPIED: u64 = 16 << 10;

/// Directories that carry a version in their name.
const ETC_PREFIX: &str = "python3.";

/// The mounts of the system part, in no particular order.
pub(super) fn mounts(identity: Identity, home: &Path, hostname: &str) -> io::Result<Vec<Mount>> {
    let mut mounts = vec![bind(Path::new("/usr"), &fs::canonicalize("/usr")?, false, true)];
    for name in PROGRAMS {
        mounts.extend(as_on_the_host(Path::new(name), true)?);
    }
    for name in ETC {
        mounts.extend(as_on_the_host(&Path::new("/etc").join(name), false)?);
    }
    for entry in fs::read_dir("/etc")?.flatten() {
        if entry.file_name().to_str().is_some_and(|n| n.starts_with(ETC_PREFIX)) {
            mounts.extend(as_on_the_host(&entry.path(), false)?);
        }
    }
    let Identity { uid, gid } = identity;
    let home = home.display();
    let file = |path: &str, content: String| text(Path::new(path), content.into_bytes());
    mounts.extend([
        file(
            "/etc/passwd",
            format!(
                "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nagent:x:{uid}:{gid}:agent:{home}:/bin/bash\n"
            ),
        ),
        file("/etc/group", format!("root:x:0:\nagent:x:{gid}:\n")),
        file("/etc/hosts", format!("127.0.0.1 localhost {hostname}\n::1 localhost\n")),
        file("/etc/hostname", format!("{hostname}\n")),
        // No resolver: names are resolved outside, by the egress proxy.
        file("/etc/resolv.conf", String::new()),
    ]);
    Ok(mounts)
}

/// A path of the host at the same place: a link into /usr stays a link, anything else that
/// a link leads to is bound itself. What the host does not have is left out.
fn as_on_the_host(path: &Path, execute: bool) -> io::Result<Option<Mount>> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    if !execute && found.is_file() && found.len() <= COPIED && found.mode() & 0o004 != 0 {
        // A copy is made faster than a mount. Of a file that not everybody may read the
        // content would get out this way, so that one is mounted.
        return Ok(Some(text(path, fs::read(path)?)));
    }
    if !found.is_symlink() {
        return Ok(Some(bind(path, &fs::canonicalize(path)?, false, execute)));
    }
    let target = fs::read_link(path)?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    if lexical(&parent.join(&target)).starts_with("/usr") {
        return Ok(Some(link(path, &target)));
    }
    match fs::canonicalize(path) {
        Ok(real) => Ok(Some(bind(path, &real, false, execute))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Where a link's text leads when nothing on the way is a link.
fn lexical(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut done, component| {
        match component {
            Component::ParentDir => {
                done.pop();
            }
            Component::CurDir => {}
            other => done.push(other),
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn nothing_secret_of_the_host_is_in_the_view() {
        let identity = Identity { uid: 1000, gid: 1000 };
        let mounts = mounts(identity, Path::new("/home/agent"), "sandbox").unwrap();
        for secret in ["/etc/shadow", "/etc/ssh", "/etc/ssl/private", "/etc/passwd-", "/root", "/etc/docker"]
        {
            for mount in &mounts {
                let source = Path::new(std::ffi::OsStr::from_bytes(&mount.source));
                let shows = mount.kind() == cordon_proto::guest::mount::Kind::Bind
                    && Path::new(secret).starts_with(source);
                assert!(!shows, "{secret} is shown by {mount:?}");
            }
        }
    }

    #[test]
    fn links_are_followed_by_their_text() {
        assert_eq!(lexical(Path::new("/etc/../usr/./lib")), Path::new("/usr/lib"));
        assert_eq!(lexical(Path::new("/../../etc")), Path::new("/etc"));
    }
}
