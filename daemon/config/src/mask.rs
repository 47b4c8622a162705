//! What an excerpt must not show. A key written into the file is masked wherever a
//! line is quoted, also where the file is too broken to know what is a value.

/// How the well-known providers' keys begin.
const PREFIXES: [&str; 14] = [
    "sk-",
    "sk_",
    "xai-",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "hf_",
    "AIza",
    "AKIA",
    "xoxb-",
    "eyJ",
];
const SECRET_KEYS: [&str; 9] =
    ["api_key", "apikey", "api-key", "token", "secret", "password", "credential", "authorization", "cookie"];

/// Whether a key names a secret.
pub(crate) fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // `max_tokens` and its kin count something.
    !key.ends_with("tokens") && (SECRET_KEYS.iter().any(|s| key.contains(s)) || key.ends_with("_key"))
}

/// Whether a value is one of the well-known providers' keys, or a URL with a password.
pub(crate) fn looks_secret(value: &str) -> bool {
    let mut chars: Vec<char> = value.chars().collect();
    mask_words(&mut chars);
    mask_userinfo(&mut chars);
    !chars.iter().copied().eq(value.chars())
}

/// The text with every word that looks like a provider's key masked.
pub(crate) fn words(text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    mask_words(&mut chars);
    chars.into_iter().collect()
}

/// The characters of one source line, masked in place so that columns stay. `above`
/// says whether the line continues a value whose key names a secret.
pub(crate) fn line(chars: &mut [char], above: bool) {
    if above {
        fill(chars);
        return;
    }
    mask_words(chars);
    mask_userinfo(chars);
    if let Some(colon) = secret_colon(chars) {
        let rest = &mut chars[colon + 1..];
        let value: String = rest.iter().collect();
        // `${NAME}` says nothing secret, and shows what the problem is about.
        if !is_reference(value.trim()) {
            fill(rest);
        }
    }
}

/// Whether the line opens a value that is secret, `api_key: >` for instance.
pub(crate) fn opens_secret(line: &str) -> bool {
    let chars: Vec<char> = line.chars().collect();
    secret_colon(&chars).is_some()
}

/// Whether a value is one reference to a variable and nothing else.
pub(crate) fn is_reference(value: &str) -> bool {
    let value = value.trim_matches(|c| c == '"' || c == '\'');
    value
        .strip_prefix("${")
        .and_then(|v| v.strip_suffix('}'))
        .is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// The first colon that follows a key which names a secret.
fn secret_colon(chars: &[char]) -> Option<usize> {
    let word = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-');
    (0..chars.len()).filter(|i| chars[*i] == ':').find(|colon| {
        let end =
            chars[..*colon].iter().rposition(|c| !matches!(c, '"' | '\'' | ' ' | '\t')).map_or(0, |p| p + 1);
        let start = chars[..end].iter().rposition(|c| !word(c)).map_or(0, |p| p + 1);
        names_a_secret(&chars[start..end].iter().collect::<String>())
    })
}

fn mask_words(chars: &mut [char]) {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut start = 0;
    while start < chars.len() {
        if !word(chars[start]) {
            start += 1;
            continue;
        }
        let end = chars[start..].iter().position(|c| !word(*c)).map_or(chars.len(), |n| start + n);
        let text: String = chars[start..end].iter().collect();
        if text.len() >= 12 && PREFIXES.iter().any(|p| text.starts_with(p)) {
            fill(&mut chars[start..end]);
        }
        start = end;
    }
}

/// `user:password` of `scheme://user:password@host`.
fn mask_userinfo(chars: &mut [char]) {
    let mut from = 0;
    while let Some(at) = chars[from..].windows(3).position(|w| w == [':', '/', '/']) {
        let start = from + at + 3;
        let end = chars[start..]
            .iter()
            .position(|c| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#'))
            .map_or(chars.len(), |n| start + n);
        if let Some(sign) = chars[start..end].iter().rposition(|c| *c == '@') {
            fill(&mut chars[start..start + sign]);
        }
        from = end;
    }
}

fn fill(chars: &mut [char]) {
    for c in chars.iter_mut().filter(|c| !c.is_whitespace()) {
        *c = '*';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        line(&mut chars, false);
        chars.into_iter().collect()
    }

    #[test]
    fn secrets_are_masked_and_columns_stay() {
        for (from, to) in [
            ("  api_key: hunter2", "  api_key: *******"),
            ("{type: codex, \"api_key\": hunter2, x: 1}", "{type: codex, \"api_key\": ******** ** **"),
            ("  MY_TOKEN: abc", "  MY_TOKEN: ***"),
            ("  api_key: ${OPENAI_API_KEY}", "  api_key: ${OPENAI_API_KEY}"),
            ("  max_tokens: 100", "  max_tokens: 100"),
            ("  model: sk-proj-0123456789", "  model: ******************"),
            ("  base_url: https://u:pw@host/v1", "  base_url: https://****@host/v1"),
            ("  model: gpt-5", "  model: gpt-5"),
        ] {
            assert_eq!(masked(from), to);
            assert_eq!(from.chars().count(), to.chars().count());
        }
    }
}
