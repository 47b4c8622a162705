//! `cordon login BACKEND --api-key`.

use super::again::new_key;
use crate::{
    args::Global, error::CliError, exit::Exit, neutral, progress, session::Session, signals::interruptible,
    terminal::RawMode,
};
use cordon_proto::v1::KeepKeyRequest;
use std::io::{self, BufRead, IsTerminal as _, Read};
use tokio::sync::oneshot;

/// No key is as long: what is more than that is not read.
const LONGEST: usize = 16 << 10;

const INTERRUPT: u8 = 3;
const END: u8 = 4;
const ERASE_LINE: u8 = 21;

pub(crate) async fn login(global: &Global, backend: String) -> Result<Exit, CliError> {
    interruptible(async {
        let Some(key) = ask(&backend).await? else {
            eprintln!("cordon: given up; nothing is kept");
            return Ok(Exit::Cancelled);
        };
        let session = Session::open(global).await?;
        let mut client = session.logins();
        let request = KeepKeyRequest { backend, key, idempotency_key: new_key() };
        let kept = progress::during("keeping the key", client.keep_key(request)).await?.into_inner().kept;
        let backend = neutral::word(&kept.unwrap_or_default().backend);
        eprintln!(
            "cordon: the key is kept; agents with the backend {backend} use it that have none in their file or \
             your environment"
        );
        Ok(Exit::Success)
    })
    .await
}

/// None: the person does not want to.
async fn ask(backend: &str) -> Result<Option<String>, CliError> {
    let terminal = io::stdin().is_terminal();
    // Given back also when a signal comes while nothing is typed.
    let raw = terminal.then(RawMode::enter).transpose().map_err(CliError::Terminal)?;
    if terminal {
        eprint!("API key of {} (it is not shown): ", neutral::word(backend));
    }
    let (tell, told) = oneshot::channel();
    // No task: the runtime would wait for one that reads a terminal.
    std::thread::spawn(move || {
        let stdin = io::stdin().lock();
        let _ = tell.send(if terminal { typed(stdin) } else { piped(stdin).map(Some) });
    });
    let key = told.await;
    drop(raw);
    if terminal {
        eprintln!();
    }
    let key = key.map_err(|_| CliError::Input("the key could not be read".to_owned()))?;
    Ok(key?.map(|key| key.trim().to_owned()))
}

fn too_long() -> CliError {
    CliError::TooLarge { what: "what was given as an API key".to_owned(), limit: LONGEST as u64 }
}

fn text(key: Vec<u8>) -> Result<String, CliError> {
    // The error of the conversion would hold the key.
    String::from_utf8(key).map_err(|_| CliError::Input("what was given as an API key is not text".to_owned()))
}

fn piped(from: impl Read) -> Result<String, CliError> {
    let mut key = Vec::new();
    from.take(LONGEST as u64 + 1).read_to_end(&mut key).map_err(CliError::Terminal)?;
    if key.len() > LONGEST {
        return Err(too_long());
    }
    text(key)
}

/// A line of a raw terminal.
fn typed(from: impl BufRead) -> Result<Option<String>, CliError> {
    let mut key = Vec::new();
    for byte in from.bytes() {
        match byte.map_err(CliError::Terminal)? {
            b'\r' | b'\n' => return text(key).map(Some),
            INTERRUPT => return Ok(None),
            END if key.is_empty() => return Ok(None),
            ERASE_LINE => key.clear(),
            8 | 127 => {
                // Of a character of several bytes, all.
                while key.pop().is_some_and(|last| last & 0xc0 == 0x80) {}
            }
            _ if key.len() == LONGEST => return Err(too_long()),
            byte => key.push(byte),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_typed_and_corrected() {
        let typed = |keys: &str| typed(keys.as_bytes()).unwrap();
        assert_eq!(typed("sk-1\rmore"), Some("sk-1".to_owned()));
        assert_eq!(typed("sk-12\u{7f}\u{8}3\n"), Some("sk-3".to_owned()));
        assert_eq!(typed("aé\u{7f}b\r"), Some("ab".to_owned()));
        assert_eq!(typed("wrong\u{15}right\r"), Some("right".to_owned()));
        for given_up in ["sk\u{3}", "\u{4}", "", "sk"] {
            assert_eq!(typed(given_up), None);
        }
        assert!(super::typed(&*"x".repeat(LONGEST + 1).into_bytes()).is_err());
        assert!(piped(&*"x".repeat(LONGEST + 1).into_bytes()).is_err());
        assert_eq!(piped(&b"sk-1\n"[..]).unwrap(), "sk-1\n");
        let wrong = piped(&[b's', 0xff][..]).unwrap_err().to_string();
        assert_eq!(wrong, "what was given as an API key is not text");
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_a_line_or_none(keys in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(key)) = typed(&*keys) {
                prop_assert!(!key.contains(['\r', '\n']) && key.len() <= keys.len());
            }
        }
    }
}
