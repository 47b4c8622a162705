use std::fmt;

/// What a rule grants below its path. Ordered: a narrower access is smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Neither visible nor reachable.
    None,
    /// Read, list and execute.
    Read,
    /// Everything `Read` grants, and create, change, remove.
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// What somebody tries to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Read a file's content.
    Read,
    /// List a directory.
    List,
    /// Change a file's content or metadata.
    Write,
    /// Make something new.
    Create,
    /// Remove something, with everything below it.
    Delete,
    /// Move something away from here, or to here; both ends are decided.
    Rename,
    /// Make a hard link to or at this path.
    Link,
    /// Execute a file.
    Execute,
    /// Open a network connection. Paths never decide this one.
    Connect,
    /// A system call that no policy grants.
    SystemCall,
}

impl Operation {
    /// The access that a path operation needs.
    #[must_use]
    pub fn needs(self) -> Access {
        match self {
            Self::Read | Self::List | Self::Execute => Access::Read,
            Self::Write
            | Self::Create
            | Self::Delete
            | Self::Rename
            | Self::Link
            | Self::Connect
            | Self::SystemCall => Access::Write,
        }
    }

    /// Whether the operation covers everything below its path as well.
    #[must_use]
    pub fn is_recursive(self) -> bool {
        matches!(self, Self::Delete | Self::Rename)
    }

    /// Whether the operation makes or takes away a name, which changes the directory
    /// that holds it.
    #[must_use]
    pub fn changes_directory(self) -> bool {
        matches!(self, Self::Create | Self::Delete | Self::Rename | Self::Link)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Execute => "execute",
            Self::Connect => "connect",
            Self::SystemCall => "system call",
        })
    }
}
