use cordon_proto::guest::{ProbeRequest, ProbeResponse, probe_response::Identified};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, StatxAttributes, StatxFlags},
    io::Errno,
};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

/// Says what stands at each path that the daemon mounted something at. Nothing is opened but
/// the name, so that the file's own permissions hide nothing.
pub(super) fn look(request: &ProbeRequest, response: &mut ProbeResponse) {
    response.identified = request
        .identify
        .iter()
        .map(|path| {
            let found = identify(Path::new(OsStr::from_bytes(path))).unwrap_or_else(|errno| Identified {
                // An errno that says nothing must not look like success.
                errno: u32::try_from(errno.raw_os_error()).ok().filter(|e| *e != 0).unwrap_or(u32::MAX),
                ..Identified::default()
            });
            Identified { path: path.clone(), ..found }
        })
        .collect();
}

fn identify(path: &Path) -> Result<Identified, Errno> {
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let flags = StatxFlags::TYPE | StatxFlags::INO;
    let stat = rustix::fs::statx(&place, "", AtFlags::EMPTY_PATH, flags)?;
    let root = StatxAttributes::MOUNT_ROOT;
    Ok(Identified {
        device_major: stat.stx_dev_major,
        device_minor: stat.stx_dev_minor,
        inode: stat.stx_ino,
        r#type: FileType::from_raw_mode(u32::from(stat.stx_mode)).as_raw_mode(),
        no_mount: stat.stx_attributes_mask.contains(root) && !stat.stx_attributes.contains(root),
        ..Identified::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    #[test]
    fn a_link_is_told_as_a_link_and_what_is_missing_by_its_errno() {
        let directory = std::env::temp_dir().join(format!("cordon-places-test-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        symlink("/", directory.join("link")).unwrap();
        let asked = ["", "link", "missing"].map(|name| directory.join(name));
        let identify = asked.iter().map(|p| p.as_os_str().as_bytes().to_vec().into()).collect();
        let mut response = ProbeResponse::default();
        look(&ProbeRequest { identify, ..Default::default() }, &mut response);
        let metadata = std::fs::metadata(&directory).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        let [own, link, missing] = &response.identified[..] else { panic!("{response:?}") };
        assert_eq!((own.errno, own.inode), (0, metadata.ino()));
        assert_eq!(rustix::fs::makedev(own.device_major, own.device_minor), metadata.dev());
        assert_eq!(FileType::from_raw_mode(own.r#type), FileType::Directory);
        assert!(own.no_mount);
        assert_eq!(FileType::from_raw_mode(link.r#type), FileType::Symlink);
        assert_eq!(missing.errno, Errno::NOENT.raw_os_error().cast_unsigned());
    }
}
