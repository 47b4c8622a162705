use std::path::Path;

/// Trees of the machine that are never an agent's, as a workspace or as a context path: they
/// are the walls' business, or would hand over the machine.
const MACHINE: [&str; 14] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/docker",
    "/var/run",
];

/// The tree of the machine's own that a path lies in, is, or holds; `/` holds them all.
#[must_use]
pub fn machine_tree(path: &Path) -> Option<&'static str> {
    if path == Path::new("/") {
        return Some("/");
    }
    MACHINE.into_iter().find(|tree| path.starts_with(tree) || Path::new(tree).starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_at_and_around_the_machines_trees() {
        for (path, tree) in [
            ("/", Some("/")),
            ("/proc/self", Some("/proc")),
            ("/usr", Some("/usr")),
            ("/var", Some("/var/lib/docker")),
            ("/var/lib", Some("/var/lib/docker")),
            ("/run/cordon-policy", Some("/run")),
            ("/usrx", None),
            ("/var/tmp", None),
            ("/home/u", None),
        ] {
            assert_eq!(machine_tree(Path::new(path)), tree, "{path}");
        }
    }
}
