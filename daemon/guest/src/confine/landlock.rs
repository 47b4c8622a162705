use super::error::Error;
use super::{Confinement, error::at};
use cordon_proto::guest::{Access as RuleAccess, PathRule};
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, LandlockStatus, PathBeneath, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};
use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

/// The newest rights that were thought through here: with ABI 9 a socket in a
/// read-only tree cannot be connected to any more.
const WANTED: ABI = ABI::V9;

/// Enforces the rules on this thread and all it starts.
pub(super) fn restrict(rules: &[PathRule], required: u32) -> Result<Confinement, Error> {
    let refused = |found, why: String| Error::Landlock { required, found, why };
    let ruleset = ruleset(required).map_err(|e| refused(0, e.to_string()))?;
    let mut created = ruleset.create().map_err(|e| refused(0, e.to_string()))?;
    for rule in rules {
        created = add(created, rule, required)?;
    }
    let status = created.restrict_self().map_err(|e| refused(0, e.to_string()))?;
    let found = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
    };
    // What is required was asked for without compromise, so anything partial is about
    // rights of later kernels. Zero or an older ABI is never taken for success.
    let enforced = status.ruleset != RulesetStatus::NotEnforced && found > 0;
    if required > 0 && (!enforced || found < required) {
        return Err(refused(found, format!("the kernel says {:?}", status.ruleset)));
    }
    Ok(Confinement { landlock_abi: found, landlock_enforced: enforced })
}

fn ruleset(required: u32) -> Result<Ruleset, RulesetError> {
    let mut ruleset = Ruleset::default();
    if required > 0 {
        let abi = ABI::from(i32::try_from(required).unwrap_or(i32::MAX));
        ruleset =
            ruleset.set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(abi))?;
        if abi >= ABI::V6 {
            ruleset = ruleset.scope(Scope::from_all(abi))?;
        }
    }
    ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))?
        .scope(Scope::from_all(WANTED))
}

fn add(created: RulesetCreated, rule: &PathRule, required: u32) -> Result<RulesetCreated, Error> {
    let path = Path::new(OsStr::from_bytes(&rule.path));
    let file = match open(path, rule.optional) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) if rule.optional => return Ok(created),
        Err(e) => return Err(at("open for a Landlock rule", path)(e)),
    };
    let stat = rustix::fs::fstat(&file).map_err(at("look at", path))?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let access = access(rule, directory);
    if access.is_empty() {
        return Ok(created);
    }
    created.add_rule(PathBeneath::new(file, access)).map_err(|e| Error::Landlock {
        required,
        found: 0,
        why: format!("no rule for {path:?}: {e}"),
    })
}

/// Links are followed only in the system directories of an image, which are optional.
fn open(path: &Path, follow: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    if follow {
        return rustix::fs::open(path, flags, Mode::empty());
    }
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve)
}

fn access(rule: &PathRule, directory: bool) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let execute = if rule.execute { AccessFs::Execute.into() } else { BitFlags::EMPTY };
    let wanted = match rule.access() {
        RuleAccess::None => return BitFlags::EMPTY,
        RuleAccess::Read => read | execute,
        RuleAccess::Write => read | AccessFs::from_write(WANTED) | execute,
    };
    if directory { wanted } else { wanted & AccessFs::from_file(WANTED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(access: RuleAccess, execute: bool) -> PathRule {
        PathRule { path: "/".into(), access: access.into(), execute, optional: false }
    }

    #[test]
    fn reading_grants_nothing_that_changes_anything() {
        for execute in [false, true] {
            let granted = access(&rule(RuleAccess::Read, execute), true);
            assert!((granted & AccessFs::from_write(WANTED)).is_empty());
            assert_eq!(granted.contains(AccessFs::Execute), execute);
        }
        assert!(access(&rule(RuleAccess::None, true), true).is_empty());
    }

    #[test]
    fn a_file_gets_no_right_of_a_directory() {
        let granted = access(&rule(RuleAccess::Write, true), false);
        assert!(!granted.contains(AccessFs::ReadDir) && !granted.contains(AccessFs::MakeReg));
        assert!(granted.contains(AccessFs::WriteFile | AccessFs::Truncate));
    }
}
