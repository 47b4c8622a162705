use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::{collections::BTreeSet, fmt, sync::Arc};

/// Shorter values are too common to be told from ordinary output.
const SHORTEST: usize = 6;
/// A shorter piece of base64 would match by chance.
const SHORTEST_ENCODED: usize = 8;
/// Stands where a secret was.
pub const REDACTED: &str = "[redacted]";

/// Replaces secret values in a byte stream by `[redacted]`, also where they are
/// escaped for JSON or a URL, or encoded in base64. However the stream is cut into
/// pieces, the same bytes come out; what may be the beginning of a secret is held
/// back, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    mode: Mode,
    held: Vec<u8>,
}

#[derive(Clone, Default)]
enum Mode {
    /// There is nothing to hide.
    #[default]
    Open,
    Search(Arc<Secrets>),
    /// There is something to hide and no way to find it: nothing is shown.
    Sealed,
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::Search(secrets) => write!(f, "Search({} patterns)", secrets.patterns.len()),
            Self::Sealed => f.write_str("Sealed"),
        }
    }
}

impl Mode {
    fn search(patterns: Vec<Vec<u8>>) -> Self {
        let Some(longest) = patterns.iter().map(Vec::len).max() else { return Self::Open };
        let mut first = [false; 256];
        patterns.iter().filter_map(|p| p.first()).for_each(|b| first[usize::from(*b)] = true);
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&patterns);
        match automaton {
            Ok(automaton) => Self::Search(Arc::new(Secrets { automaton, patterns, longest, first })),
            Err(_) => Self::Sealed,
        }
    }
}

struct Secrets {
    automaton: AhoCorasick,
    patterns: Vec<Vec<u8>>,
    longest: usize,
    /// Bytes that begin a pattern.
    first: [bool; 256],
}

impl Redactor {
    /// For these values; those below six bytes are left alone.
    #[must_use]
    pub fn new(secrets: &[String]) -> Self {
        let patterns: BTreeSet<Vec<u8>> =
            secrets.iter().filter(|s| s.len() >= SHORTEST).flat_map(|s| forms(s)).collect();
        Self { mode: Mode::search(patterns.into_iter().collect()), held: Vec::new() }
    }

    /// These values are secret as well, from what was not answered yet on.
    pub fn add(&mut self, secrets: &[String]) {
        let mut more = Self::new(secrets);
        more.mode = match (&self.mode, more.mode) {
            (_, Mode::Open) => return,
            (Mode::Open, mode) => mode,
            (Mode::Search(old), Mode::Search(new)) => {
                let all: BTreeSet<Vec<u8>> = old.patterns.iter().chain(&new.patterns).cloned().collect();
                Mode::search(all.into_iter().collect())
            }
            (Mode::Sealed, _) | (_, Mode::Sealed) => Mode::Sealed,
        };
        self.mode = more.mode;
    }

    /// The next piece of the stream: answers what can be told of it, and of what was
    /// held back before.
    pub fn feed(&mut self, data: &[u8]) -> Vec<u8> {
        match &self.mode {
            Mode::Open => data.to_vec(),
            Mode::Sealed => Vec::new(),
            Mode::Search(secrets) => {
                self.held.extend_from_slice(data);
                let (out, done) = secrets.replace(&self.held, false);
                self.held.drain(..done);
                out
            }
        }
    }

    /// The end of the stream: everything that was held back.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        match &self.mode {
            Mode::Search(secrets) => secrets.replace(&held, true).0,
            Mode::Open | Mode::Sealed => held,
        }
    }

    /// A text of its own, apart from the stream.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        match &self.mode {
            Mode::Open => text.to_owned(),
            Mode::Sealed => REDACTED.to_owned(),
            Mode::Search(secrets) => {
                String::from_utf8_lossy(&secrets.replace(text.as_bytes(), true).0).into_owned()
            }
        }
    }

    /// How many bytes are held back now: the last ones of what was fed.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.held.len()
    }
}

impl Secrets {
    /// The redacted beginning of `data`, and how long that beginning was.
    fn replace(&self, data: &[u8], end: bool) -> (Vec<u8>, usize) {
        let mut out = Vec::with_capacity(data.len());
        let mut at = 0;
        let undecided = if end { Vec::new() } else { self.undecided(data) };
        loop {
            // From here on more data could still change what is found.
            let open = undecided.iter().copied().find(|u| *u >= at).unwrap_or(data.len());
            match self.automaton.find(&data[at..]) {
                Some(found) if at + found.start() < open => {
                    out.extend_from_slice(&data[at..at + found.start()]);
                    out.extend_from_slice(REDACTED.as_bytes());
                    at += found.end();
                }
                _ => {
                    out.extend_from_slice(&data[at..open]);
                    return (out, open);
                }
            }
        }
    }

    /// The places at which the rest of the data begins a pattern without completing it.
    fn undecided(&self, data: &[u8]) -> Vec<usize> {
        (data.len().saturating_sub(self.longest - 1)..data.len())
            .filter(|at| self.first[usize::from(data[*at])])
            .filter(|at| {
                let rest = &data[*at..];
                self.patterns.iter().any(|p| p.len() > rest.len() && p.starts_with(rest))
            })
            .collect()
    }
}

/// The secret as it is and as programs commonly write it.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec()];
    let json = serde_json::Value::from(secret).to_string();
    forms.push(json.as_bytes()[1..json.len() - 1].to_vec());
    forms.push(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>().into_bytes());
    for before in 0..3 {
        // Of an encoding only the characters that the secret alone decides, whatever
        // stands before and after it.
        let bytes = [vec![0; before], secret.as_bytes().to_vec()].concat();
        let decided = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&bytes);
            forms.extend(encoded.get(decided.clone()).map(|e| e.as_bytes().to_vec()));
        }
    }
    forms.retain(|f| f.len() >= if f == secret.as_bytes() { SHORTEST } else { SHORTEST_ENCODED });
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redact(secrets: &[String], pieces: &[&[u8]]) -> Vec<u8> {
        let mut redactor = Redactor::new(secrets);
        let mut out: Vec<u8> = pieces.iter().flat_map(|p| redactor.feed(p)).collect();
        out.extend(redactor.finish());
        out
    }

    fn contains(data: &[u8], what: &[u8]) -> bool {
        data.windows(what.len()).any(|w| w == what)
    }

    #[test]
    fn a_secret_is_found_in_every_dress() {
        let secret = "s3cr3t+/\"key\"\\end".to_owned();
        let redactor = Redactor::new(std::slice::from_ref(&secret));
        let json = serde_json::json!({ "k": secret }).to_string();
        for (shown, hidden) in [
            (format!("key={secret};"), "key=[redacted];"),
            (json, r#"{"k":"[redacted]"}"#),
            ("x%3D&k=s3cr3t%2B%2F%22key%22%5Cend&y".into(), "x%3D&k=[redacted]&y"),
        ] {
            assert_eq!(redactor.text(&shown), hidden);
        }
        for before in ["", "u", "user:", "user"] {
            let basic = STANDARD_NO_PAD.encode(format!("{before}{secret}tail"));
            assert!(redactor.text(&basic).contains(REDACTED), "{basic}");
        }
    }

    #[test]
    fn short_values_are_left_alone() {
        assert_eq!(redact(&["short".into(), String::new()], &[b"a short text"]), b"a short text");
    }

    #[test]
    fn only_a_possible_beginning_is_held_back() {
        let mut redactor = Redactor::new(&["abcdefgh".into()]);
        assert_eq!(redactor.feed(b"{\"type\":\"turn.completed\"}\n"), b"{\"type\":\"turn.completed\"}\n");
        assert_eq!(redactor.feed(b"x abc"), b"x ");
        assert_eq!(redactor.pending(), 3);
        assert_eq!(redactor.feed(b"x"), b"abcx");
        assert_eq!(redactor.feed(b"abcdefgh"), b"[redacted]");
    }

    #[test]
    fn of_two_secrets_with_one_beginning_the_longer_is_taken() {
        let secrets = ["abcdef".to_owned(), "abcdefghij".to_owned()];
        for pieces in [&[b"abcdefghij.".as_slice()][..], &[b"abcdef", b"ghij."]] {
            assert_eq!(redact(&secrets, pieces), b"[redacted].");
        }
        assert_eq!(redact(&secrets, &[b"abcdefghi"]), b"[redacted]ghi");
    }

    proptest! {
        #[test]
        fn no_secret_comes_through_however_it_is_cut(
            secrets in proptest::collection::vec("[ab]{6,9}", 1..4),
            parts in proptest::collection::vec(prop_oneof![
                (0usize..4).prop_map(Err),
                proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), any::<u8>()], 0..6).prop_map(Ok),
            ], 0..10),
            cuts in proptest::collection::vec(0usize..60, 0..8),
        ) {
            let stream: Vec<u8> = parts.into_iter().flat_map(|part| match part {
                Ok(noise) => noise,
                Err(n) => secrets[n % secrets.len()].clone().into_bytes(),
            }).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|c| *c < stream.len()).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            let out = redact(&secrets, &pieces);
            for secret in &secrets {
                prop_assert!(!contains(&out, secret.as_bytes()));
            }
            prop_assert_eq!(&out, &redact(&secrets, &[&stream]));
        }

        #[test]
        fn what_holds_no_secret_is_unchanged(text in "[ -~\n]{0,80}") {
            let secrets = ["\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}".to_owned()];
            prop_assert_eq!(redact(&secrets, &[text.as_bytes()]), text.as_bytes());
        }
    }
}
