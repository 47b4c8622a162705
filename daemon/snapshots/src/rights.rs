//! Whose rights count. A daemon that is root reads and changes a user's tree as that user would:
//! with the user's file-system identity and groups, and without any of root's capabilities. It
//! holds for the calling thread alone, and as long as a closure runs.
//!
//! The thread's real, effective and saved user stay the daemon's: otherwise that user could signal
//! it, or set where and how it runs.

use nix::unistd::{self, User, setfsgid, setfsuid};
use rustix::{
    fs::Gid,
    process::{getegid, geteuid, getgroups},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups},
};
use serde::{Deserialize, Serialize};
use std::{cell::RefCell, ffi::CString, io};

/// A user whose tree is read or changed, and in whose name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// User id.
    pub user: u32,
    /// Group id; what is made belongs to it where no directory says otherwise.
    pub group: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Owner {
    /// A user with no further groups.
    #[must_use]
    pub fn new(user: u32, group: u32) -> Self {
        Self { user, group, groups: Vec::new() }
    }

    /// A user with the groups that a login would give.
    #[must_use]
    pub fn known(user: u32, group: u32) -> Self {
        let name = User::from_uid(user.into()).ok().flatten().and_then(|u| CString::new(u.name).ok());
        let groups = name.and_then(|name| unistd::getgrouplist(&name, group.into()).ok());
        let groups = groups.into_iter().flatten().map(unistd::Gid::as_raw).filter(|g| *g != group);
        Self { groups: groups.collect(), ..Self::new(user, group) }
    }
}

/// Nothing was done with anybody's rights.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    /// The owner is no user or group.
    #[error("{user}:{group} is no user and group to act for")]
    Nobody {
        /// User id.
        user: u32,
        /// Group id.
        group: u32,
    },
    /// Only root acts for others.
    #[error("user {daemon} cannot act for user {user}: a daemon that serves others runs as root")]
    Another {
        /// Whom the daemon runs as.
        daemon: u32,
        /// For whom it was to act.
        user: u32,
    },
    /// The kernel does not let this thread have the owner's rights.
    #[error("cannot take the rights of user {user}: {source}; the daemon needs CAP_SETUID and CAP_SETGID")]
    Refused {
        /// Whose.
        user: u32,
        /// Why.
        source: io::Error,
    },
}

thread_local! {
    /// Who this thread acts for; none: for the daemon itself.
    static ACTING: RefCell<Option<Owner>> = const { RefCell::new(None) };
}

/// Does something with the rights of `owner` over files, and with no capability. A daemon that is
/// not root can act for itself only, and then nothing changes; the same holds for root's own trees.
/// What is opened before stays open: rights count when something is opened.
///
/// A snapshot store is the daemon's and cannot be read meanwhile. Where a live tree is compared
/// with a stored one, [`crate::live::LiveTree::open_as`] takes the rights for each look instead.
///
/// # Errors
/// When the rights cannot be had; then nothing was done. When they cannot be given back, the
/// process ends: it must not go on as somebody else.
pub fn as_owner<T>(owner: &Owner, act: impl FnOnce() -> T) -> Result<T, RightsError> {
    if owner.user == u32::MAX || owner.group == u32::MAX || owner.groups.contains(&u32::MAX) {
        return Err(RightsError::Nobody { user: owner.user, group: owner.group });
    }
    let daemon = geteuid();
    if owner.user == daemon.as_raw() {
        return Ok(as_daemon(act));
    }
    if !daemon.is_root() {
        return Err(RightsError::Another { daemon: daemon.as_raw(), user: owner.user });
    }
    if acting().as_ref() == Some(owner) {
        return Ok(act());
    }
    as_daemon(|| {
        let refused = |source: io::Error| RightsError::Refused { user: owner.user, source };
        let taken = Taken::take(owner).map_err(refused)?;
        let done = act();
        drop(taken);
        Ok(done)
    })
}

/// As [`as_owner`], where there may be no owner: then as the caller.
pub(crate) fn acting_for<T>(owner: Option<&Owner>, act: impl FnOnce() -> T) -> Result<T, RightsError> {
    match owner {
        Some(owner) => as_owner(owner, act),
        None => Ok(act()),
    }
}

/// Does something with the daemon's own rights, in the midst of acting for somebody.
pub(crate) fn as_daemon<T>(act: impl FnOnce() -> T) -> T {
    /// Goes back to whom it was acted for, or ends the process.
    struct Again(Option<Owner>);
    impl Drop for Again {
        fn drop(&mut self) {
            let Some(owner) = self.0.take() else { return };
            match Taken::take(&owner) {
                // It ends with the guard that took it first.
                Ok(taken) => std::mem::forget(taken),
                Err(error) => end(&error),
            }
        }
    }
    let Some(owner) = acting() else { return act() };
    give_back();
    let again = Again(Some(owner));
    let done = act();
    drop(again);
    done
}

/// The user for whom this thread acts; none: for the daemon itself.
pub(crate) fn acting_uid() -> Option<u32> {
    ACTING.with_borrow(|owner| owner.as_ref().map(|owner| owner.user))
}

fn acting() -> Option<Owner> {
    ACTING.with_borrow(Clone::clone)
}

/// What the daemon's thread had before it acted for anybody.
struct Own {
    capabilities: CapabilitySets,
    groups: Vec<Gid>,
}

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

/// The rights of an owner, until dropped.
struct Taken;

impl Taken {
    fn take(owner: &Owner) -> io::Result<Self> {
        let own = Own { capabilities: capabilities(None)?, groups: getgroups()? };
        let groups: Vec<_> = owner.groups.iter().map(|g| Gid::from_raw(*g)).collect();
        let none = CapabilitySets { effective: CapabilitySet::empty(), ..own.capabilities };
        if groups != own.groups {
            set_thread_groups(&groups)?;
        }
        OWN.set(Some(own));
        ACTING.set(Some(owner.clone()));
        // From here on dropping it gives everything back.
        let taken = Self;
        let (user, group) = (unistd::Uid::from_raw(owner.user), unistd::Gid::from_raw(owner.group));
        setfsgid(group);
        setfsuid(user);
        set_capabilities(None, none)?;
        // Neither of the two says whether it did anything; asked again, they do.
        if setfsuid(user) != user || setfsgid(group) != group {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    ACTING.set(None);
    let Some(own) = OWN.take() else { return };
    let back = || -> io::Result<()> {
        set_capabilities(None, own.capabilities)?;
        let user = unistd::Uid::from_raw(geteuid().as_raw());
        let group = unistd::Gid::from_raw(getegid().as_raw());
        setfsuid(user);
        setfsgid(group);
        if getgroups()? != own.groups {
            set_thread_groups(&own.groups)?;
        }
        if setfsuid(user) != user || setfsgid(group) != group || capabilities(None)? != own.capabilities {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        Ok(())
    };
    if let Err(error) = back() {
        end(&error);
    }
}

/// Nothing that this thread would do from here on would be done with the right rights.
fn end(error: &io::Error) -> ! {
    eprintln!("cordon: the identity of a thread cannot be restored ({error}): ending");
    std::process::abort()
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
