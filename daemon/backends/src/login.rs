//! Login files of the owner, looked at before they are mounted into a sandbox. The
//! daemon may be more powerful than the owner, and the owner's home is the owner's to
//! arrange: only a plain file of the owner's own is taken.

use crate::credential::Login;
use crate::{Context, LARGEST_LOGIN, LoginKind, LoginSource};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::fs::{FileType, Mode, OFlags};
use serde_json::Value;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LARGEST: u64 = LARGEST_LOGIN as u64;
/// A login must be good for so much longer.
pub(crate) const MARGIN: Duration = Duration::from_secs(600);

/// Where a login file is looked for: Cordon's own first, then the person's.
pub(crate) fn files(context: &Context, kind: &LoginKind) -> [(LoginSource, PathBuf); 2] {
    let own = context.logins.join(kind.backend.name()).join(LoginSource::Own.directory());
    [(LoginSource::Own, own.join(kind.file)), (LoginSource::Person, context.owner_home.join(kind.personal))]
}

/// The login that agents of this owner use. `Err`: which file is unusable, and why.
pub(crate) fn find(context: &Context, kind: &LoginKind) -> Result<Option<Login>, (PathBuf, String)> {
    for (source, file) in files(context, kind) {
        let base = match source {
            LoginSource::Own => &context.logins,
            LoginSource::Person => &context.owner_home,
        };
        let read = read(base, &file).map_err(|why| (file.clone(), why))?;
        let Some((path, text)) = read else { continue };
        if let Some(facts) = kind.look(&text).map_err(|why| (file, why))? {
            return Ok(Some(Login { source, path, facts }));
        }
    }
    Ok(None)
}

/// JSON, with or without lines of comment.
pub(crate) fn parse(text: &[u8], commented: bool) -> Result<Value, String> {
    let lines = text.split(|b| *b == b'\n').filter(|l| !l.trim_ascii_start().starts_with(b"//"));
    let json = if commented { lines.collect::<Vec<_>>().join(&b'\n') } else { text.to_vec() };
    // What a parser says of the place could quote a secret.
    serde_json::from_slice(&json).map_err(|_| "it is not JSON".to_owned())
}

/// Where a file really is, and what is in it. It has to belong to whom `base` belongs to.
///
/// `Ok(None)`: there is none. `Err`: why what is there cannot be used.
fn read(base: &Path, written: &Path) -> Result<Option<(PathBuf, Vec<u8>)>, String> {
    let (Some(parent), Some(name)) = (written.parent(), written.file_name()) else { return Ok(None) };
    let Ok(owner) = std::fs::metadata(base).map(|m| m.uid()) else { return Ok(None) };
    let Ok(parent) = std::fs::canonicalize(parent) else { return Ok(None) };
    let path = parent.join(name);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err("it is a symbolic link".to_owned()),
        Err(error) => return Err(format!("it cannot be opened: {error}")),
    };
    let stat = rustix::fs::fstat(&file).map_err(|e| format!("it cannot be looked at: {e}"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("it is not a regular file".to_owned());
    }
    if stat.st_uid != owner {
        return Err(format!("it belongs to user {}, the home to user {owner}", stat.st_uid));
    }
    let mut text = Vec::new();
    let read = std::fs::File::from(file).take(LARGEST + 1).read_to_end(&mut text);
    read.map_err(|e| format!("it cannot be read: {e}"))?;
    if text.len() as u64 > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    Ok(Some((path, text)))
}

/// When a JSON web token ends, by its own word; none when it does not say.
pub(crate) fn token_expiry(token: &str) -> Option<SystemTime> {
    let payload = token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let seconds = claims["exp"].as_u64().or_else(|| claims["exp"].as_f64().map(|s| s as u64))?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Why a login that ends then cannot be used now.
pub(crate) fn refuse_expiry(expiry: SystemTime, now: SystemTime) -> Option<String> {
    let why = match expiry.duration_since(now) {
        Ok(left) if left >= MARGIN => return None,
        Ok(left) => format!("it expires in {} s and needs {} s", left.as_secs(), MARGIN.as_secs()),
        Err(past) => format!("it expired {}", ago(past.duration())),
    };
    Some(format!("{why}, and it holds nothing to renew it with"))
}

fn ago(past: Duration) -> String {
    match past.as_secs() {
        s @ ..120 => format!("{s} s ago"),
        s @ ..7200 => format!("{} min ago", s / 60),
        s @ ..172_800 => format!("{} h ago", s / 3600),
        s => format!("{} days ago", s / 86_400),
    }
}

/// The members of `content` at these paths that are texts: what must never be shown.
pub(crate) fn secrets(content: &Value, pointers: &[&str]) -> Vec<String> {
    pointers.iter().filter_map(|p| content.pointer(p)?.as_str()).map(str::to_owned).collect()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A token that ends so many seconds from now.
    pub(crate) fn token(seconds: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let part = |v: Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let claims = serde_json::json!({ "exp": now + seconds, "sub": "somebody" });
        format!("{}.{}.c2lnbmF0dXJl", part(serde_json::json!({ "alg": "RS256" })), part(claims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;

    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".codex")).unwrap();
        home
    }

    #[test]
    fn only_a_plain_file_is_taken() {
        let home = home();
        let file = home.path().join(".codex/auth.json");
        let read = |relative: &str| super::read(home.path(), &home.path().join(relative));
        assert!(read(".codex/auth.json").unwrap().is_none());
        assert!(read(".none/auth.json").unwrap().is_none());

        std::fs::write(&file, vec![b' '; LARGEST as usize + 1]).unwrap();
        assert!(read(".codex/auth.json").unwrap_err().contains("larger"));

        std::fs::write(home.path().join("other"), "{}").unwrap();
        std::fs::remove_file(&file).unwrap();
        symlink(home.path().join("other"), &file).unwrap();
        assert_eq!(read(".codex/auth.json").unwrap_err(), "it is a symbolic link");

        std::fs::remove_file(&file).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &file, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(read(".codex/auth.json").unwrap_err(), "it is not a regular file");
    }

    #[test]
    fn lines_of_comment_are_passed_over_where_they_belong() {
        let text = b"// managed\n{\n  // more\n  \"url\": \"https://x\"\n}\n";
        assert_eq!(parse(text, false).unwrap_err(), "it is not JSON");
        assert_eq!(parse(text, true).unwrap()["url"], "https://x");
        // Not a word of what is in it.
        assert_eq!(parse(b"{\"k\":\"secret", true).unwrap_err(), "it is not JSON");
    }

    #[test]
    fn a_linked_directory_is_resolved() {
        let home = home();
        std::fs::create_dir(home.path().join("dot")).unwrap();
        std::fs::write(home.path().join("dot/.credentials.json"), "{}").unwrap();
        symlink("dot", home.path().join(".claude")).unwrap();
        let (path, _) = read(home.path(), &home.path().join(".claude/.credentials.json")).unwrap().unwrap();
        assert_eq!(path, home.path().canonicalize().unwrap().join("dot/.credentials.json"));
    }

    #[test]
    fn an_end_in_the_past_or_the_near_future_is_refused() {
        let now = SystemTime::now();
        assert_eq!(refuse_expiry(now + MARGIN, now), None);
        assert!(
            refuse_expiry(now + MARGIN / 2, now).unwrap().starts_with("it expires in 300 s and needs 600 s")
        );
        assert!(refuse_expiry(now - Duration::from_secs(7200), now).unwrap().contains("expired 2 h ago"));
        assert!(token_expiry(&testing::token(3600)).unwrap() > now + Duration::from_secs(3500));
    }

    proptest! {
        #[test]
        fn no_token_makes_it_panic(token in "[a-zA-Z0-9_.=-]{0,60}", payload in "\\PC{0,30}") {
            let _ = token_expiry(&token);
            let _ = token_expiry(&format!("a.{}.b", URL_SAFE_NO_PAD.encode(payload)));
            let _ = token_expiry(&format!("a.{}.b", URL_SAFE_NO_PAD.encode("{\"exp\":1e300}")));
        }
    }
}
