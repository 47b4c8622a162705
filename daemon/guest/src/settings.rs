//! What the guest works with, out of what the daemon wrote for it.

use bytes::Bytes;
use cordon_proto::guest::{Boot, EnvVar, Forward};
use prost::Message as _;
use std::{
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

/// Seed files and rules are small; more than this is a mistake.
const BOOT_LIMIT: u64 = 64 << 20;
const OUTPUT_BYTES: u64 = 64 << 20;
/// How long a full log holds its process up before the oldest output is dropped.
const STALL: Duration = Duration::from_secs(60);

/// Why there is nothing to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    #[error("read the boot message: {0}")]
    Read(#[from] io::Error),
    #[error("the boot message is larger than {BOOT_LIMIT} bytes")]
    TooLarge,
    #[error("the boot message is malformed: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("the boot message names no {0}")]
    Missing(&'static str),
    #[error("port {0} of the boot message is not a port")]
    Port(u32),
}

/// Reads what the daemon wrote, to its end.
pub(crate) fn read(from: impl Read) -> Result<Boot, BootError> {
    let mut bytes = Vec::new();
    from.take(BOOT_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BOOT_LIMIT {
        return Err(BootError::TooLarge);
    }
    Ok(Boot::decode(Bytes::from(bytes))?)
}

/// The part of the boot message that outlives the start.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) sandbox_id: String,
    pub(crate) directory: PathBuf,
    /// Whether the daemon is called rather than listened for.
    pub(crate) call: bool,
    pub(crate) home: Vec<u8>,
    pub(crate) env: Vec<EnvVar>,
    pub(crate) proxy_port: Option<u16>,
    pub(crate) forwards: Vec<(u16, String)>,
    pub(crate) output_bytes: u64,
    pub(crate) stall: Duration,
}

impl Settings {
    pub(crate) fn new(boot: &Boot) -> Result<Self, BootError> {
        if boot.sandbox_id.is_empty() {
            return Err(BootError::Missing("sandbox"));
        }
        if boot.directory.is_empty() {
            return Err(BootError::Missing("directory"));
        }
        let forwards: Result<_, _> = boot.forwards.iter().map(forward).collect();
        Ok(Self {
            sandbox_id: boot.sandbox_id.clone(),
            directory: crate::path(&boot.directory),
            call: boot.call,
            home: boot.home.to_vec(),
            env: boot.env.clone(),
            proxy_port: if boot.proxy_port == 0 { None } else { Some(port(boot.proxy_port)?) },
            forwards: forwards?,
            output_bytes: if boot.output_buffer_bytes == 0 { OUTPUT_BYTES } else { boot.output_buffer_bytes },
            stall: STALL,
        })
    }
}

fn port(number: u32) -> Result<u16, BootError> {
    u16::try_from(number).ok().filter(|port| *port != 0).ok_or(BootError::Port(number))
}

fn forward(forward: &Forward) -> Result<(u16, String), BootError> {
    // It becomes part of a request's head.
    let plain = |byte: u8| byte.is_ascii_graphic();
    if forward.target.is_empty() || !forward.target.bytes().all(plain) {
        return Err(BootError::Missing("usable forward target"));
    }
    Ok((port(forward.port)?, forward.target.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot() -> Boot {
        Boot { sandbox_id: "s1".to_owned(), directory: "/run/cordon".into(), ..Boot::default() }
    }

    #[test]
    fn defaults_are_finite() {
        let settings = Settings::new(&boot()).unwrap();
        assert_eq!(settings.output_bytes, 64 << 20);
        assert_eq!(settings.proxy_port, None);
    }

    #[test]
    fn a_forward_cannot_write_headers() {
        let target = "a:1 HTTP/1.1\r\nX: y".to_owned();
        let boot = Boot { forwards: vec![Forward { port: 80, target }], ..boot() };
        assert!(Settings::new(&boot).is_err());
        let boot = Boot { proxy_port: 65536, ..self::boot() };
        assert!(matches!(Settings::new(&boot), Err(BootError::Port(65536))));
    }

    #[test]
    fn nonsense_is_no_boot_message() {
        assert!(matches!(read(&b"\xff\xff\xff"[..]), Err(BootError::Malformed(_))));
    }
}
