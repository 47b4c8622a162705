//! Finds programs of this machine for the local wall.

use crate::{BackendError, Context, versions};
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Directories that every local sandbox sees anyway.
const SYSTEM: [&str; 6] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32"];

/// A `package.json` larger than this is none.
const LARGEST_MANIFEST: u64 = 1 << 20;

/// A program, and what has to be visible for it to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Canonical executable.
    pub(crate) path: PathBuf,
    /// Canonical files and directories outside the system's.
    pub(crate) needs: Vec<PathBuf>,
}

/// How a package of one program is laid out.
pub(crate) struct Package {
    /// The program's name on the search path.
    pub(crate) name: &'static str,
    /// Where its native executable stands below a platform package; a component `*`
    /// is any one directory.
    pub(crate) native: &'static [&'static str],
    /// Platform packages, beside the package or below its `node_modules`; `ARCH` is
    /// replaced.
    pub(crate) platforms: &'static [&'static str],
    /// Executables that it starts from its own directory.
    pub(crate) companions: &'static [&'static str],
    /// How many directories above the native executable belong to it.
    pub(crate) depth: usize,
    /// What to do when it is missing.
    pub(crate) fix: &'static str,
}

/// How a package is laid out whose program is a script for an interpreter.
pub(crate) struct Interpreted {
    /// The program's name on the search path.
    pub(crate) name: &'static str,
    /// The package's name: only a directory that says so is made visible.
    pub(crate) package: &'static str,
    /// Where its script stands in the package.
    pub(crate) script: &'static str,
    /// The interpreter's name on the search path.
    pub(crate) interpreter: &'static str,
    /// What to do when one of them is missing.
    pub(crate) fix: &'static str,
}

/// A script, its interpreter, and what has to be visible for them to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    /// Canonical native executable.
    pub(crate) interpreter: PathBuf,
    /// Canonical script.
    pub(crate) script: PathBuf,
    /// Canonical files and directories outside the system's.
    pub(crate) needs: Vec<PathBuf>,
}

/// Finds a package's script and the interpreter for it on the search path. The interpreter
/// beside the program comes first: a version manager installs both in one place.
pub(crate) fn find_interpreted(package: &Interpreted, search: &[PathBuf]) -> Result<Script, BackendError> {
    interpreted_at(package, search.iter().map(|d| d.join(package.name)).collect(), search)
}

/// The same for an agent: `cli_path` comes in place of the search.
pub(crate) fn interpreted_of(context: &Context, package: &Interpreted) -> Result<Script, BackendError> {
    let search = &context.program_path;
    let script = match &context.agent.program.path {
        Some(path) => interpreted_at(package, vec![path.clone()], search)?,
        None => find_interpreted(package, search)?,
    };
    let root = script.script.ancestors().nth(Path::new(package.script).components().count());
    versions::check(package.name, &script.script, root.and_then(version).as_deref())?;
    Ok(script)
}

fn interpreted_at(
    package: &Interpreted,
    candidates: Vec<PathBuf>,
    search: &[PathBuf],
) -> Result<Script, BackendError> {
    let mut looked_at = Vec::new();
    let missing = |program: &str, looked_at: Vec<String>| BackendError::NoProgram {
        program: program.to_owned(),
        looked_at: if looked_at.is_empty() { vec!["an empty search path".to_owned()] } else { looked_at },
        fix: package.fix.to_owned(),
    };
    for candidate in candidates {
        let Ok(script) = std::fs::canonicalize(&candidate) else {
            looked_at.push(candidate.display().to_string());
            continue;
        };
        let depth = Path::new(package.script).components().count();
        let is_package = |root: &&Path| {
            root.join(package.script) == script
                && manifest(root).is_some_and(|manifest| manifest["name"] == package.package)
        };
        let Some(root) = script.ancestors().nth(depth).filter(is_package) else {
            looked_at.push(format!("{} (it is no part of {})", candidate.display(), package.package));
            continue;
        };
        let beside = candidate.parent().map(Path::to_path_buf);
        let places = || beside.iter().chain(search);
        let Some(interpreter) = places()
            .filter_map(|d| std::fs::canonicalize(d.join(package.interpreter)).ok())
            .find(|i| is_native(i))
        else {
            let places = search.iter().map(|d| d.display().to_string()).collect();
            return Err(missing(package.interpreter, places));
        };
        let needs = [interpreter.clone(), root.to_path_buf()].into_iter().flat_map(outside_system).collect();
        return Ok(Script { interpreter, script, needs });
    }
    Err(missing(package.name, looked_at))
}

/// Finds a native executable on the search path. What stands there may be a script
/// that starts the native one of a platform package: the sandbox has no interpreter
/// for it and needs none.
pub(crate) fn find(package: &Package, search: &[PathBuf]) -> Result<Program, BackendError> {
    native_at(package, search.iter().map(|d| d.join(package.name)).collect())
}

/// The same for an agent: `cli_path` comes in place of the search. What is older than Cordon can
/// drive is refused.
pub(crate) fn of(context: &Context, package: &Package) -> Result<Program, BackendError> {
    let program = match &context.agent.program.path {
        Some(path) => native_at(package, vec![path.clone()])?,
        None => find(package, &context.program_path)?,
    };
    versions::check(package.name, &program.path, version_of(package, &program.path).as_deref())?;
    Ok(program)
}

/// What the package around an executable says of its version; none for one that was put somewhere
/// by hand. The program itself is not asked: it would run outside of every sandbox.
fn version_of(package: &Package, executable: &Path) -> Option<String> {
    let scope = package.platforms.first()?.split('/').next()?;
    let is_own = |root: &&Path| {
        manifest(root).is_some_and(|m| m["name"].as_str().is_some_and(|name| name.starts_with(scope)))
    };
    executable.ancestors().skip(1).take(5).find(is_own).and_then(version)
}

fn native_at(package: &Package, candidates: Vec<PathBuf>) -> Result<Program, BackendError> {
    let mut looked_at = Vec::new();
    for candidate in candidates {
        let Ok(path) = std::fs::canonicalize(&candidate) else {
            looked_at.push(candidate.display().to_string());
            continue;
        };
        if is_native(&path) {
            return Ok(standalone(package, path));
        }
        if let Some((root, native)) = of_package(package, &path) {
            return Ok(Program { needs: outside_system(root), path: native });
        }
        looked_at.push(format!(
            "{} (no native executable, and none in a platform package beside it)",
            candidate.display()
        ));
    }
    if looked_at.is_empty() {
        looked_at.push("an empty search path".to_owned());
    }
    Err(BackendError::NoProgram { program: package.name.to_owned(), looked_at, fix: package.fix.to_owned() })
}

/// The canonical path of a command's program when it stands outside the system's
/// directories; none when it needs nothing.
pub(crate) fn outside(program: &Path, search: &[PathBuf]) -> Option<PathBuf> {
    let found = if program.is_absolute() {
        std::fs::canonicalize(program).ok()
    } else if program.components().count() == 1 {
        let candidates = search.iter().map(|d| d.join(program));
        candidates.filter_map(|c| std::fs::canonicalize(c).ok()).find(|c| is_executable(c))
    } else {
        None
    }?;
    outside_system(found).pop()
}

/// A native executable that was put on the search path by hand: the file itself and its
/// companions, and not whatever else is in that directory.
fn standalone(package: &Package, path: PathBuf) -> Program {
    let companions = package.companions.iter().map(|c| path.with_file_name(c));
    let mut needs: Vec<PathBuf> =
        companions.filter_map(|c| std::fs::canonicalize(c).ok()).filter(|c| is_native(c)).collect();
    needs.insert(0, path.clone());
    Program { path, needs: needs.into_iter().flat_map(outside_system).collect() }
}

/// What npm calls this machine's processor.
pub(crate) fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The version that the package in this directory says it has; none when it is not one that
/// can be part of a path.
pub(crate) fn version(package: &Path) -> Option<String> {
    let version = manifest(package)?["version"].as_str()?.to_owned();
    let plain = version.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
    (plain && !version.starts_with('.')).then_some(version)
}

/// The `package.json` in this directory, of a size that such files have.
fn manifest(package: &Path) -> Option<serde_json::Value> {
    let mut text = Vec::new();
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits();
    let path = package.join("package.json");
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path).ok()?;
    file.take(LARGEST_MANIFEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The native executable of the package that a script belongs to, and what has to be visible of
/// that. Links may lead to a package, as some package managers have it, and never out of one:
/// what is above the executable is shown to an agent.
fn of_package(package: &Package, script: &Path) -> Option<(PathBuf, PathBuf)> {
    let arch = platform();
    // bin/x.js, or x.cjs in the package itself.
    let roots = script.ancestors().skip(1).take(2);
    roots
        .flat_map(|root| {
            let platforms = package.platforms.iter().map(|p| p.replace("ARCH", arch));
            let places = platforms.flat_map(|p| {
                let short = p.rsplit('/').next().unwrap_or(&p).to_owned();
                [root.join("..").join(short), root.join("node_modules").join(p)]
            });
            places.chain([root.to_path_buf()]).collect::<Vec<_>>()
        })
        .filter_map(|place| std::fs::canonicalize(place).ok())
        .filter(|place| is_of(package, place))
        .find_map(|place| {
            let natives = package.native.iter().flat_map(|n| expand(&place, n));
            natives.filter_map(|path| std::fs::canonicalize(path).ok()).find_map(|native| {
                let root = native.ancestors().nth(package.depth)?;
                (root.starts_with(&place) && is_native(&native)).then(|| (root.to_path_buf(), native.clone()))
            })
        })
}

/// Whether a directory says that it is one of the program's packages.
fn is_of(package: &Package, directory: &Path) -> bool {
    let scopes = || package.platforms.iter().filter_map(|p| p.split('/').next());
    let named = manifest(directory).and_then(|m| m["name"].as_str().map(str::to_owned));
    named.is_some_and(|name| {
        scopes().any(|scope| name.strip_prefix(scope).is_some_and(|n| n.starts_with('/')))
    })
}

/// The path with its `*` component replaced by each directory that is there.
fn expand(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once("*/") else { return vec![root.join(pattern)] };
    let Ok(entries) = std::fs::read_dir(root.join(before)) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.flatten().take(64).map(|e| e.path().join(after)).collect();
    found.sort();
    found
}

pub(crate) fn outside_system(path: PathBuf) -> Vec<PathBuf> {
    if SYSTEM.iter().any(|s| path.starts_with(s)) { Vec::new() } else { vec![path] }
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

pub(crate) fn is_native(path: &Path) -> bool {
    let mut magic = [0; 4];
    // Whoever arranged the search path may have put a FIFO there.
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path);
    is_executable(path) && file.and_then(|mut f| f.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const CODEX: &Package = &crate::cli::codex::PACKAGE;

    fn put(path: &Path, content: &[u8]) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn arch() -> &'static str {
        if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" }
    }

    #[test]
    fn a_script_leads_to_its_platform_package() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let modules = root.join("lib/node_modules/@openai");
        put(&modules.join("codex/bin/codex.js"), b"#!/usr/bin/env node\n");
        std::fs::create_dir(root.join("bin")).unwrap();
        symlink("../lib/node_modules/@openai/codex/bin/codex.js", root.join("bin/codex")).unwrap();
        let search = [root.join("none"), root.join("bin")];

        let BackendError::NoProgram { looked_at, .. } = find(CODEX, &search).unwrap_err() else {
            panic!("another error")
        };
        assert_eq!(looked_at.len(), 2);

        for package in [modules.join("codex/node_modules/@openai"), modules] {
            let triple = package.join(format!("codex-linux-{}/vendor/any-triple", arch()));
            put(&triple.join("bin/codex"), b"\x7fELF....");
            // Something of that name that is no such package is passed over.
            let manifest = package.join(format!("codex-linux-{}/package.json", arch()));
            put(&manifest, br#"{"name":"elsewhere","version":"1.0.0"}"#);
            let before = find(CODEX, &search).map(|found| found.path).ok();
            assert_ne!(before, Some(triple.join("bin/codex")));
            put(&manifest, br#"{"name":"@openai/codex","version":"1.0.0"}"#);
            let found = find(CODEX, &search).unwrap();
            assert_eq!(found, Program { path: triple.join("bin/codex"), needs: vec![triple] });
            std::fs::remove_file(&manifest).unwrap();
        }
    }

    #[test]
    fn a_link_in_a_package_shows_nothing_outside_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        put(&root.join("home/bin/tool"), b"\x7fELF");
        put(&root.join("home/vendor/any/bin/codex"), b"\x7fELF");
        put(&root.join("home/private"), b"secret");
        let modules = root.join("project/node_modules/@openai");
        put(&modules.join("codex/bin/codex.js"), b"#!/usr/bin/env node\n");
        let package = modules.join(format!("codex-linux-{}", arch()));
        put(&package.join("package.json"), br#"{"name":"@openai/codex","version":"1.0.0"}"#);
        let of = || native_at(CODEX, vec![modules.join("codex/bin/codex.js")]);
        std::fs::create_dir_all(package.join("vendor/any/bin")).unwrap();
        // The executable, the directory that it is in, and the package itself.
        symlink(root.join("home/bin/tool"), package.join("vendor/any/bin/codex")).unwrap();
        assert!(of().is_err());
        std::fs::remove_dir_all(package.join("vendor")).unwrap();
        symlink(root.join("home/vendor"), package.join("vendor")).unwrap();
        assert!(of().is_err());
        std::fs::remove_dir_all(&package).unwrap();
        symlink(root.join("home"), &package).unwrap();
        assert!(of().is_err());
        // A link to a package is one.
        put(&root.join("home/package.json"), br#"{"name":"@openai/codex","version":"1.0.0"}"#);
        assert_eq!(of().unwrap().needs, [root.join("home/vendor/any")]);
    }

    #[test]
    fn a_path_of_the_file_comes_before_the_search_and_an_old_program_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let mut context = crate::testing::context(cordon_config::BackendKind::Codex, &root);
        put(&root.join("search/codex"), b"\x7fELF");
        // A project's own manifest says nothing of a program that lies there.
        put(&root.join("package.json"), br#"{"name":"project","version":"0.0.1"}"#);
        context.program_path = vec![root.join("search")];
        assert_eq!(of(&context, CODEX).unwrap().path, root.join("search/codex"));
        let package = root.join("other/node_modules/@openai/codex-linux-x64");
        let own = package.join("vendor/any-triple/bin/codex");
        put(&own, b"\x7fELF");
        put(&package.join("package.json"), br#"{"name":"@openai/codex","version":"0.169.0-linux-x64"}"#);
        context.agent.program.path = Some(own.clone());
        assert_eq!(of(&context, CODEX).unwrap().path, own);
        put(&package.join("package.json"), br#"{"name":"@openai/codex","version":"0.20.0-linux-x64"}"#);
        assert!(of(&context, CODEX).unwrap_err().to_string().contains("0.20.0"));
        context.agent.program.path = Some(root.join("missing/codex"));
        let told = of(&context, CODEX).unwrap_err().to_string();
        assert!(told.contains("missing/codex"), "{told}");
    }

    #[test]
    fn a_native_program_is_shown_without_its_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        put(&root.join("codex"), b"\x7fELF");
        put(&root.join("private"), b"\x7fELF");
        let search = [root.clone()];
        assert_eq!(find(CODEX, &search).unwrap().needs, [root.join("codex")]);
        put(&root.join("codex-code-mode-host"), b"\x7fELF");
        let needs = [root.join("codex"), root.join("codex-code-mode-host")];
        assert_eq!(find(CODEX, &search).unwrap().needs, needs);
    }

    #[test]
    fn a_directory_or_a_fifo_is_no_program() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("codex");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        assert!(find(CODEX, &[dir.path().to_path_buf()]).is_err());
    }

    #[test]
    fn a_script_is_found_with_the_interpreter_beside_it() {
        const GEMINI: &Interpreted = &Interpreted {
            name: "gemini",
            package: "@g/cli",
            script: "bundle/gemini.js",
            interpreter: "node",
            fix: "",
        };
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let package = root.join("lib/node_modules/@google/gemini-cli");
        put(&package.join("bundle/gemini.js"), b"#!/usr/bin/env node\n");
        put(&package.join("package.json"), br#"{"name":"@g/cli","version":"1.2.3"}"#);
        assert_eq!(version(&package).as_deref(), Some("1.2.3"));
        for bin in ["bin", "other"] {
            std::fs::create_dir(root.join(bin)).unwrap();
        }
        symlink("../lib/node_modules/@google/gemini-cli/bundle/gemini.js", root.join("bin/gemini")).unwrap();
        let search = [root.join("other"), root.join("bin")];
        let BackendError::NoProgram { program, looked_at, .. } =
            find_interpreted(GEMINI, &search).unwrap_err()
        else {
            panic!("another error")
        };
        assert_eq!((program.as_str(), looked_at.len()), ("node", 2));
        put(&root.join("other/node"), b"#!/bin/sh\n");
        put(&root.join("bin/node"), b"\x7fELF");
        let script = package.join("bundle/gemini.js");
        let expected = |interpreter: PathBuf| Script {
            interpreter: interpreter.clone(),
            script: script.clone(),
            needs: vec![interpreter, package.clone()],
        };
        assert_eq!(find_interpreted(GEMINI, &search).unwrap(), expected(root.join("bin/node")));
        put(&root.join("other/node"), b"\x7fELF");
        assert_eq!(find_interpreted(GEMINI, &search).unwrap(), expected(root.join("bin/node")));

        // A script of the same name that is no such package brings nothing in.
        put(&root.join("other/gemini"), b"#!/bin/sh\n");
        std::fs::remove_file(root.join("bin/gemini")).unwrap();
        let BackendError::NoProgram { program, looked_at, .. } =
            find_interpreted(GEMINI, &search).unwrap_err()
        else {
            panic!("another error")
        };
        assert_eq!((program.as_str(), looked_at.len()), ("gemini", 2));
    }

    #[test]
    fn programs_of_the_system_need_nothing() {
        assert_eq!(outside(Path::new("/bin/sh"), &[]), None);
        assert_eq!(outside(Path::new("sh"), &["/usr/bin".into()]), None);
        assert_eq!(outside(Path::new("./run"), &["/".into()]), None);
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        put(&root.join("tool-1.2"), b"#!/bin/sh\n");
        symlink("tool-1.2", root.join("tool")).unwrap();
        assert_eq!(outside(&root.join("tool"), &[]), Some(root.join("tool-1.2")));
        assert_eq!(outside(Path::new("tool"), std::slice::from_ref(&root)), Some(root.join("tool-1.2")));
    }
}
