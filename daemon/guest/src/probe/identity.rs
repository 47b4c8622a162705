use cordon_proto::guest::{
    ProbeResponse,
    probe_response::{Descriptor, MountPoint, Namespace},
};
use rustix::fs::{Mode, OFlags, RawDir};
use std::{
    fs,
    mem::MaybeUninit,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    },
    path::Path,
};

/// Ids, capabilities, descriptors, mounts, namespaces and visible processes.
pub(super) fn look(response: &mut ProbeResponse) {
    // First of all, before anything here opens a file of its own.
    response.descriptors = descriptors();
    response.uid = rustix::process::geteuid().as_raw();
    response.gid = rustix::process::getegid().as_raw();
    response.groups = rustix::process::getgroups()
        .map(|groups| groups.into_iter().map(|g| g.as_raw()).collect())
        // "Cannot tell" must not look like "none".
        .unwrap_or_else(|_| vec![u32::MAX]);
    status(&fs::read_to_string("/proc/self/status").unwrap_or_default(), response);
    // Not every kernel tells it there.
    response.no_new_privs = rustix::thread::no_new_privs().unwrap_or(false);
    response.kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    response.mounts = fs::read("/proc/self/mountinfo").map(|text| mounts(&text)).unwrap_or_default();
    response.namespaces = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]
        .into_iter()
        .filter_map(|kind| {
            let inode = fs::metadata(Path::new("/proc/self/ns").join(kind)).ok()?.ino();
            Some(Namespace { kind: kind.to_owned(), inode })
        })
        .collect();
    response.visible_pids = fs::read_dir("/proc")
        .map(|entries| {
            entries.flatten().filter_map(|e| e.file_name().to_str().and_then(|n| n.parse().ok())).collect()
        })
        .unwrap_or_default();
}

fn descriptors() -> Vec<Descriptor> {
    let unknown = || vec![Descriptor { number: u32::MAX, target: "unknown".into() }];
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::open("/proc/self/fd", flags, Mode::empty()) else { return unknown() };
    let own = directory.as_raw_fd().cast_unsigned();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&directory, &mut buffer);
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let Ok(entry) = entry else { return unknown() };
        // Neither "." and "..", nor the descriptor that is being read.
        let Some(number) = entry.file_name().to_str().ok().and_then(|n| n.parse().ok()) else { continue };
        if number != own {
            let target = fs::read_link(format!("/proc/self/fd/{number}"));
            let target = target.map(|t| t.into_os_string().into_vec()).unwrap_or_default();
            found.push(Descriptor { number, target: target.into() });
        }
    }
    found
}

fn status(text: &str, response: &mut ProbeResponse) {
    let unreadable = u64::MAX;
    let value =
        |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let mask = |name| value(name).and_then(|v| u64::from_str_radix(v, 16).ok()).unwrap_or(unreadable);
    let number = |name| value(name).and_then(|v| v.parse().ok()).unwrap_or(0);
    response.cap_inheritable = mask("CapInh");
    response.cap_permitted = mask("CapPrm");
    response.cap_effective = mask("CapEff");
    response.cap_bounding = mask("CapBnd");
    response.cap_ambient = mask("CapAmb");
    response.seccomp_mode = number("Seccomp");
    response.seccomp_filters = number("Seccomp_filters");
}

/// `/proc/self/mountinfo`: id, parent, device, root, place, options, optional
/// fields, a dash, type, source, options of the filesystem.
fn mounts(text: &[u8]) -> Vec<MountPoint> {
    text.split(|b| *b == b'\n')
        .filter_map(|line| {
            let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
            let dash = fields.iter().position(|f| *f == b"-")?;
            let options = String::from_utf8_lossy(fields.get(5)?).split(',').map(str::to_owned).collect();
            Some(MountPoint {
                path: unescape(fields.get(4)?).into(),
                filesystem: String::from_utf8_lossy(fields.get(dash + 1)?).into_owned(),
                options,
            })
        })
        .collect()
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|d| *first == b'\\' && d.iter().all(|b| matches!(b, b'0'..=b'7')));
        match digits {
            Some(digits) => {
                plain.push(digits.iter().fold(0u8, |sum, d| (sum << 3) | (d - b'0')));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mount_line_is_read_field_by_field() {
        let line = b"36 35 98:0 /a /mnt/with\\040space ro,nosuid,nodev master:1 - ext4 /dev/root rw\n";
        let found = mounts(line);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path.as_ref(), b"/mnt/with space");
        assert_eq!(found[0].filesystem, "ext4");
        assert_eq!(found[0].options, ["ro", "nosuid", "nodev"]);
    }

    #[test]
    fn a_status_that_cannot_be_read_is_no_good_news() {
        let mut response = ProbeResponse::default();
        status("", &mut response);
        assert_eq!(response.cap_effective, u64::MAX);
    }

    proptest! {
        #[test]
        fn any_name_survives_the_kernels_escapes(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut escaped = Vec::new();
            for byte in &name {
                if matches!(byte, b' ' | b'\t' | b'\n' | b'\\') {
                    escaped.extend(format!("\\{byte:03o}").into_bytes());
                } else {
                    escaped.push(*byte);
                }
            }
            prop_assert_eq!(unescape(&escaped), name);
        }
    }
}
