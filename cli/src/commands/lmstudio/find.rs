//! Where a person's programs are. A place that somebody else may write to is refused: what lies
//! there would run with the person's rights.

use crate::error::CliError;
use std::{
    ffi::OsString,
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Where it is looked.
pub(crate) struct Places {
    pub(crate) home: PathBuf,
    pub(crate) path: OsString,
    pub(crate) owner: u32,
}

impl Places {
    pub(crate) fn of_this_process() -> Result<Self, CliError> {
        let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        Ok(Self {
            home: home.ok_or_else(|| CliError::Input("HOME is not set to an absolute path".to_owned()))?,
            path: std::env::var_os("PATH").unwrap_or_default(),
            owner: rustix::process::geteuid().as_raw(),
        })
    }

    /// LM Studio's program: on PATH, or where LM Studio puts it.
    pub(crate) fn lms(&self) -> Result<Option<PathBuf>, CliError> {
        if let Some(found) = self.on_path("lms")? {
            return Ok(Some(found));
        }
        for own in [".lmstudio/bin/lms", ".cache/lm-studio/bin/lms"] {
            if let Some(found) = self.usable(&self.home.join(own))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// A program on PATH. An entry that depends on the directory somebody is in is none: a
    /// repository could bring the program.
    pub(crate) fn on_path(&self, name: &str) -> Result<Option<PathBuf>, CliError> {
        for directory in std::env::split_paths(&self.path).filter(|d| d.is_absolute()) {
            if let Some(found) = self.usable(&directory.join(name))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The program with every link followed; an error when it is there and must not be used.
    fn usable(&self, path: &Path) -> Result<Option<PathBuf>, CliError> {
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            // What this person cannot look at would not run either.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
            Err(source) => return Err(CliError::Read { path: path.to_owned(), source }),
        };
        let look =
            |path: &Path| path.metadata().map_err(|source| CliError::Read { path: path.to_owned(), source });
        let file = look(&real)?;
        if !file.is_file() || file.mode() & 0o111 == 0 {
            return Ok(None);
        }
        // Whoever can write a directory above can exchange what is in it.
        for place in [path.parent(), real.parent()].into_iter().flatten() {
            for above in place.ancestors().filter(|p| !p.as_os_str().is_empty()) {
                self.trusted(above, &look(above)?)?;
            }
        }
        self.trusted(&real, &file)?;
        Ok(Some(real))
    }

    fn trusted(&self, path: &Path, found: &Metadata) -> Result<(), CliError> {
        let refused = |why: &str| Err(CliError::Unsafe { path: path.to_owned(), why: why.to_owned() });
        if found.uid() != self.owner && found.uid() != 0 {
            return refused("it belongs to another user, who could replace the program that is to be run");
        }
        // In a directory like /tmp nobody can exchange what is another's.
        let kept = found.is_dir() && found.mode() & 0o1000 != 0;
        // A user's own group is that user's alone on most machines; whom root lets write is root's choice.
        let by_group = found.mode() & 0o020 != 0 && found.uid() != 0 && found.gid() != self.owner;
        if !kept && (found.mode() & 0o002 != 0 || by_group) {
            return refused("others may write it, and so exchange the program that is to be run");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn program(path: &Path, mode: u32) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn places(home: &Path, path: &str) -> Places {
        Places { home: home.to_owned(), path: path.into(), owner: rustix::process::geteuid().as_raw() }
    }

    #[test]
    fn path_comes_first_then_what_lm_studio_has_made() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let (bin, own) = (home.join("bin"), home.join(".lmstudio/bin/lms"));
        let path = format!("{}:.::relative/bin", bin.display());
        assert_eq!(places(&home, &path).lms().unwrap(), None);
        program(&own, 0o755);
        assert_eq!(places(&home, &path).lms().unwrap(), Some(own.clone()));
        program(&bin.join("lms"), 0o644);
        assert_eq!(places(&home, &path).lms().unwrap(), Some(own.clone()), "what cannot run is none");
        std::fs::remove_file(bin.join("lms")).unwrap();
        program(&home.join("elsewhere"), 0o755);
        symlink(home.join("elsewhere"), bin.join("lms")).unwrap();
        assert_eq!(places(&home, &path).lms().unwrap(), Some(home.join("elsewhere")));
    }

    #[test]
    fn what_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let own = home.join(".lmstudio/bin/lms");
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        program(&own, 0o757);
        assert!(matches!(places(&home, "").lms(), Err(CliError::Unsafe { .. })));
        mode(&own, 0o755);
        mode(&home.join(".lmstudio"), 0o777);
        assert!(matches!(places(&home, "").lms(), Err(CliError::Unsafe { .. })));
        mode(&home.join(".lmstudio"), 0o755);
        assert!(places(&home, "").lms().unwrap().is_some());
        let other = Places { owner: rustix::process::geteuid().as_raw() + 1, ..places(&home, "") };
        let foreign = other.lms();
        // As root its files are trusted by everybody.
        assert!(rustix::process::geteuid().is_root() || matches!(foreign, Err(CliError::Unsafe { .. })));
    }
}
