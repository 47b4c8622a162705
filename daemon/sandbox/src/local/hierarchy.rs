//! Which control group hierarchies there are, and where in them this daemon is.

use super::cgroup::Controller;
use std::path::{Path, PathBuf};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Of version 1; empty for version 2.
    pub(super) controllers: Vec<String>,
    /// This daemon's own group in it.
    pub(super) directory: PathBuf,
}

/// From `/proc/self/mountinfo` and `/proc/self/cgroup`.
pub(super) fn hierarchies(mounts: &str, own: &str) -> Vec<Hierarchy> {
    let own_path = |controllers: &[String]| {
        own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (names, path) = (fields.next()?, fields.next()?);
            let same = match controllers.first() {
                Some(first) => names.split(',').any(|name| name == first),
                None => names.is_empty(),
            };
            same.then(|| path.to_owned())
        })
    };
    let mut found = Vec::new();
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let (before, after): (Vec<&str>, Vec<&str>) =
            (before.split(' ').collect(), after.split(' ').collect());
        let (Some(root), Some(at), Some(kind)) = (before.get(3), before.get(4), after.first()) else {
            continue;
        };
        let controllers: Vec<String> = match *kind {
            "cgroup2" => Vec::new(),
            "cgroup" => {
                let options = after.get(2).unwrap_or(&"").split(',');
                let known = |o: &&str| Controller::ALL.iter().any(|c| c.name() == *o);
                options.filter(known).map(str::to_owned).collect()
            }
            _ => continue,
        };
        if *kind == "cgroup" && controllers.is_empty() {
            continue;
        }
        let Some(path) = own_path(&controllers) else { continue };
        // In a container the mount shows a part of the hierarchy, and the path may be outside it.
        let Ok(relative) = Path::new(&path).strip_prefix(root) else { continue };
        found.push(Hierarchy { controllers, directory: Path::new(at).join(relative) });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let mounts = "\
30 29 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
31 29 0:27 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 29 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
33 29 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 29 0:30 / / rw - ext4 /dev/vda rw";
        let own = "9:cpu,cpuacct:/user\n4:memory:/docker/x/y\n0::/user.slice";
        let hierarchy = |controllers: &[&str], directory: &str| Hierarchy {
            controllers: controllers.iter().map(ToString::to_string).collect(),
            directory: directory.into(),
        };
        assert_eq!(
            hierarchies(mounts, own),
            [
                hierarchy(&["cpu"], "/sys/fs/cgroup/cpu/user"),
                hierarchy(&["memory"], "/sys/fs/cgroup/memory/y"),
                hierarchy(&[], "/sys/fs/cgroup/unified/user.slice"),
            ]
        );
    }

    #[test]
    fn a_group_outside_the_mounted_part_is_not_guessed() {
        let mounts = "31 29 0:27 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        assert!(hierarchies(mounts, "4:memory:/docker/other").is_empty());
    }
}
