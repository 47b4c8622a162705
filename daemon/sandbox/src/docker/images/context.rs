//! The build context, made in memory from the files below `images/`.

use super::ImageSource;
use crate::SandboxError;
use std::{
    io,
    path::{Path, PathBuf},
};

const FILES: &[(&str, &str)] = &[
    ("base/Dockerfile", include_str!("../../../../../images/base/Dockerfile")),
    ("codex/Dockerfile", include_str!("../../../../../images/codex/Dockerfile")),
    ("codex/checksums", include_str!("../../../../../images/codex/checksums")),
    ("claude-code/Dockerfile", include_str!("../../../../../images/claude-code/Dockerfile")),
    ("claude-code/checksums", include_str!("../../../../../images/claude-code/checksums")),
    ("gemini-cli/Dockerfile", include_str!("../../../../../images/gemini-cli/Dockerfile")),
    ("gemini-cli/checksums", include_str!("../../../../../images/gemini-cli/checksums")),
    ("copilot/Dockerfile", include_str!("../../../../../images/copilot/Dockerfile")),
    ("copilot/checksums", include_str!("../../../../../images/copilot/checksums")),
    ("all/Dockerfile", include_str!("../../../../../images/all/Dockerfile")),
    ("sudo/Dockerfile", include_str!("../../../../../images/sudo/Dockerfile")),
    ("fetch.sh", include_str!("../../../../../images/fetch.sh")),
    ("certificates/README", include_str!("../../../../../images/certificates/README")),
    ("vendor/README", include_str!("../../../../../images/vendor/README")),
];

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The context as one archive.
pub(super) struct Context {
    pub(super) archive: Vec<u8>,
    /// Whether the image's tarball came along.
    pub(super) vendored: bool,
}

/// Makes the context for one image. Of `certificates` only certificates are taken,
/// whatever else is in the file; of `vendor` only the tarballs whose checksum the
/// image knows.
pub(super) fn make(
    image: &ImageSource,
    certificates: Option<&[u8]>,
    vendor: Option<&Path>,
) -> Result<Context, SandboxError> {
    let mut archive = tar::Builder::new(Vec::new());
    let fault = |error| SandboxError::io("make the build context of", image.name)(error);
    for (path, content) in FILES {
        add(&mut archive, path, content.as_bytes()).map_err(fault)?;
    }
    for (number, certificate) in split_certificates(certificates.unwrap_or_default())?.iter().enumerate() {
        add(&mut archive, &format!("certificates/site-{number:03}.crt"), certificate.as_bytes())
            .map_err(fault)?;
    }
    let tarballs = match vendor {
        Some(directory) => tarballs(image, directory)?,
        None => Vec::new(),
    };
    for (name, path) in &tarballs {
        let content = std::fs::read(path).map_err(SandboxError::io("read", path))?;
        add(&mut archive, &format!("vendor/{name}"), &content).map_err(fault)?;
    }
    Ok(Context { archive: archive.into_inner().map_err(fault)?, vendored: !tarballs.is_empty() })
}

/// One file of a context, the same for the builder's cache every time.
pub(super) fn add(archive: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) -> io::Result<()> {
    // Fixed owner, mode and time: the builder's cache goes by them.
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive.append_data(&mut header, path, content)
}

/// The tarballs in `directory` that the image's checksums name.
fn tarballs(image: &ImageSource, directory: &Path) -> Result<Vec<(String, PathBuf)>, SandboxError> {
    let checksums = format!("{}/checksums", image.short);
    let Some((_, lines)) = FILES.iter().find(|(path, _)| *path == checksums) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for name in lines.lines().filter_map(|line| line.split_once("  ")).map(|(_, name)| name) {
        let path = directory.join(name);
        if path.try_exists().map_err(SandboxError::io("look for", &path))? {
            found.push((name.to_owned(), path));
        }
    }
    Ok(found)
}

fn split_certificates(pem: &[u8]) -> Result<Vec<String>, SandboxError> {
    let text = String::from_utf8_lossy(pem);
    let found: Vec<String> = text
        .split(BEGIN)
        .skip(1)
        .filter_map(|rest| rest.split_once(END))
        .map(|(body, _)| format!("{BEGIN}{body}{END}\n"))
        .collect();
    if found.is_empty() && !pem.is_empty() {
        return Err(SandboxError::Unavailable {
            what: "the certificate authority".to_owned(),
            why: "the file holds no certificate in PEM form".to_owned(),
            fix: "Give a file with BEGIN CERTIFICATE in it".to_owned(),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn names(archive: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(archive);
        archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn only_certificates_are_taken_from_a_file() {
        let pem = format!(
            "{BEGIN}\nAAAA\n{END}\n-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n{BEGIN}\nBBBB\n{END}\n"
        );
        let context = make(&super::super::IMAGES[0], Some(pem.as_bytes()), None).unwrap();
        let mut all = String::new();
        for entry in tar::Archive::new(context.archive.as_slice()).entries().unwrap() {
            entry.unwrap().read_to_string(&mut all).unwrap();
        }
        assert!(all.contains("AAAA") && all.contains("BBBB") && !all.contains("secret"));
        assert_eq!(names(&context.archive).iter().filter(|n| n.ends_with(".crt")).count(), 2);
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        assert!(make(&super::super::IMAGES[0], Some(b"nothing"), None).is_err());
    }

    #[test]
    fn a_tarball_comes_along_only_when_its_checksum_is_known() {
        let vendor = tempfile::tempdir().unwrap();
        let image = ImageSource::find("codex").unwrap();
        std::fs::write(vendor.path().join("openai-codex-9.9.9-linux-x64.tgz"), "x").unwrap();
        assert!(!make(image, None, Some(vendor.path())).unwrap().vendored);
        let known = format!("openai-codex-{}-linux-x64.tgz", super::super::pinned_version("codex").unwrap());
        std::fs::write(vendor.path().join(&known), "x").unwrap();
        let context = make(image, None, Some(vendor.path())).unwrap();
        assert!(context.vendored);
        assert!(names(&context.archive).iter().any(|n| *n == format!("vendor/{known}")));
    }

    #[test]
    fn every_dockerfile_is_in_the_context() {
        for image in super::super::IMAGES {
            let context = make(image, None, None).unwrap();
            assert!(names(&context.archive).iter().any(|n| n == image.dockerfile));
        }
    }
}
