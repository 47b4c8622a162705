//! Finds a Python interpreter of this machine for the local wall, and what has to be visible for
//! it to run. A virtual environment is shown whole; of the installation that it was made from only
//! what is Python's.

use crate::{BackendError, program};
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// A `pyvenv.cfg` larger than this is none.
const LARGEST_CONFIG: u64 = 64 << 10;
const FIX: &str = "Name the interpreter itself, or that of a virtual environment, by its whole path";

/// An interpreter, and what has to be visible for it to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// As it has to be called.
    pub path: PathBuf,
    /// Canonical files and directories outside the system's.
    pub needs: Vec<PathBuf>,
}

/// The interpreter at a path.
///
/// # Errors
/// When there is none, or what is there belongs to no installation of Python.
pub fn python_at(given: &Path) -> Result<Python, BackendError> {
    let missing = |why: &str| BackendError::NoProgram {
        program: "python3".to_owned(),
        looked_at: vec![format!("{} ({why})", given.display())],
        fix: FIX.to_owned(),
    };
    let executable = fs::canonicalize(given).map_err(|e| missing(&e.to_string()))?;
    if !program::is_native(&executable) {
        return Err(missing("no native executable"));
    }
    let mut needs =
        installation(&executable).ok_or_else(|| missing("no installation of Python is around it"))?;
    let root = given.parent().and_then(Path::parent).and_then(|root| fs::canonicalize(root).ok());
    let path = match root.filter(|root| is_environment(root)) {
        // It is known by where it is called, not by what that leads to.
        Some(root) => {
            let name = given.file_name().ok_or_else(|| missing("no file"))?;
            needs.extend(program::outside_system(root.clone()));
            root.join("bin").join(name)
        }
        None => executable,
    };
    Ok(Python { path, needs })
}

/// The first one on a search path.
///
/// # Errors
/// When there is none.
pub fn python_on(search: &[PathBuf]) -> Result<Python, BackendError> {
    let mut looked_at = Vec::new();
    for candidate in search.iter().map(|d| d.join("python3")) {
        match python_at(&candidate) {
            Ok(python) => return Ok(python),
            Err(BackendError::NoProgram { looked_at: more, .. }) => looked_at.extend(more),
            Err(other) => return Err(other),
        }
    }
    Err(BackendError::NoProgram {
        program: "python3".to_owned(),
        looked_at,
        fix: "Install python3 on this machine, or name an interpreter by its whole path".to_owned(),
    })
}

fn is_environment(root: &Path) -> bool {
    let mut text = String::new();
    let file = fs::symlink_metadata(root.join("pyvenv.cfg")).ok().filter(fs::Metadata::is_file);
    file.is_some()
        && fs::File::open(root.join("pyvenv.cfg"))
            .is_ok_and(|f| f.take(LARGEST_CONFIG).read_to_string(&mut text).is_ok())
        && text.lines().any(|line| line.split('=').next().is_some_and(|key| key.trim() == "home"))
}

/// What of an installation is Python's: the executable, its library of modules, its shared library.
/// What a link led to may be anything: an executable of another name, or without the modules of its
/// version beside it, is none.
fn installation(executable: &Path) -> Option<Vec<PathBuf>> {
    let name = executable.file_name()?.to_str()?;
    let version = name.strip_prefix("python")?;
    let prefix = executable.parent()?.parent()?;
    let is_version = version.chars().all(|c| c.is_ascii_digit() || c == '.');
    let modules = match (is_version, version.contains('.')) {
        (true, true) => vec![prefix.join("lib").join(name)],
        // `python3` itself, in an installation of its own.
        (true, false) => children(&prefix.join("lib"), "python3."),
        _ => return None,
    };
    let modules: Vec<PathBuf> = modules.into_iter().filter(|dir| dir.join("os.py").is_file()).collect();
    if modules.is_empty() {
        return None;
    }
    let shared = children(&prefix.join("lib"), "libpython3").into_iter().filter(|path| path.is_file());
    let all = std::iter::once(executable.to_path_buf()).chain(modules).chain(shared);
    let mut all: Vec<PathBuf> =
        all.filter_map(|path| fs::canonicalize(path).ok()).flat_map(program::outside_system).collect();
    all.dedup();
    Some(all)
}

fn children(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(4096);
    let mut found: Vec<PathBuf> =
        entries.filter(|e| e.file_name().to_string_lossy().starts_with(prefix)).map(|e| e.path()).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn put(path: &Path, content: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn installed(prefix: &Path) {
        put(&prefix.join("bin/python3.11"), b"\x7fELF");
        put(&prefix.join("lib/python3.11/os.py"), b"");
        put(&prefix.join("lib/libpython3.11.so.1.0"), b"\x7fELF");
        put(&prefix.join("private"), b"secret");
        symlink("python3.11", prefix.join("bin/python3")).unwrap();
    }

    #[test]
    fn the_systems_own_needs_nothing() {
        let found = python_at(Path::new("/usr/bin/python3")).unwrap();
        assert_eq!(found.needs, Vec::<PathBuf>::new());
        assert!(found.path.starts_with("/usr/bin"), "{found:?}");
        let search = ["/nowhere".into(), "/usr/bin".into()];
        assert_eq!(python_on(&search).unwrap(), found);
        assert!(python_on(&search[..1]).unwrap_err().to_string().contains("/nowhere"));
    }

    #[test]
    fn of_an_installation_only_what_is_pythons_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        installed(&root.join("py"));
        let own =
            ["bin/python3.11", "lib/python3.11", "lib/libpython3.11.so.1.0"].map(|p| root.join("py").join(p));
        let found = python_at(&root.join("py/bin/python3")).unwrap();
        assert_eq!(found, Python { path: own[0].clone(), needs: own.to_vec() });

        // An environment made from it: shown whole, and called where it is.
        let venv = root.join("venv");
        put(&venv.join("pyvenv.cfg"), b"home = /anywhere\n");
        put(&venv.join("lib/python3.11/site-packages/x.py"), b"");
        fs::create_dir(venv.join("bin")).unwrap();
        symlink(root.join("py/bin/python3.11"), venv.join("bin/python3")).unwrap();
        symlink("../venv", root.join("py/venv")).unwrap();
        let mut needs = own.to_vec();
        needs.push(venv.clone());
        for given in [venv.join("bin/python3"), root.join("py/venv/bin/python3")] {
            assert_eq!(
                python_at(&given).unwrap(),
                Python { path: venv.join("bin/python3"), needs: needs.clone() }
            );
        }
    }

    #[test]
    fn a_link_to_something_else_shows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        put(&root.join("home/bin/tool"), b"\x7fELF");
        put(&root.join("home/bin/python3.11"), b"\x7fELF");
        put(&root.join("home/script"), b"#!/bin/sh\n");
        put(&root.join("venv/pyvenv.cfg"), b"home = /\n");
        fs::create_dir(root.join("venv/bin")).unwrap();
        for (name, to) in
            [("a", "home/bin/tool"), ("b", "home/bin/python3.11"), ("c", "home/script"), ("d", "missing")]
        {
            symlink(root.join(to), root.join("venv/bin").join(name)).unwrap();
            let error = python_at(&root.join("venv/bin").join(name)).unwrap_err().to_string();
            assert!(error.contains("venv/bin"), "{error}");
        }
    }
}
