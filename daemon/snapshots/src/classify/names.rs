//! Names compared as the most forgiving filesystem, and the least careful reader, compare them.

use crate::diff::hidden;
use unicode_normalization::UnicodeNormalization as _;

/// The last component of a path.
pub(super) fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

/// A component without what cannot be seen, in one case and one normal form, letters of other
/// scripts as the Latin ones they look like, and without the endings that some filesystems drop.
pub(crate) fn fold(component: &[u8]) -> String {
    if component.iter().all(|b| matches!(b, b' '..=b'~')) {
        let name = component.split(|b| *b == b':').next().unwrap_or_default();
        let end = name.iter().rposition(|b| !matches!(b, b'.' | b' ')).map_or(name.len(), |last| last + 1);
        return name[..end].iter().map(|b| char::from(b.to_ascii_lowercase())).collect();
    }
    let text = String::from_utf8_lossy(component);
    let plain: String = text
        .nfkc()
        .filter(|c| !hidden(*c) && *c != '\u{fe0f}')
        .flat_map(char::to_lowercase)
        .map(|c| looks_like(c).unwrap_or(c))
        .collect::<String>()
        .nfkc()
        .collect();
    // A stream of a file is named after a colon, and `name::$DATA` is the file.
    let plain = plain.split(':').next().unwrap_or_default();
    let trimmed = plain.trim_end_matches(['.', ' ']);
    if trimmed.is_empty() { plain.to_owned() } else { trimmed.to_owned() }
}

/// Whether a component of the path is a repository's own directory, however it is spelled.
pub(crate) fn is_git(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').any(|component| {
        let name = fold(component);
        let short = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
        // The short name that FAT and NTFS give it.
        name == ".git" || name.strip_prefix("git~").is_some_and(short)
    })
}

/// The Latin letter or sign that a lower-case character of another script passes for.
fn looks_like(c: char) -> Option<char> {
    Some(match c {
        'а' | 'α' | 'ɑ' => 'a',
        'в' | 'β' | 'ь' | 'ᏼ' => 'b',
        'с' | 'ϲ' | 'ᴄ' | 'ⅽ' => 'c',
        'ԁ' | 'ɗ' | 'ⅾ' => 'd',
        'е' | 'ё' | 'ε' | 'ҽ' | 'ℯ' => 'e',
        'ғ' | 'ƒ' => 'f',
        'ɡ' | 'ց' | 'ɢ' => 'g',
        'н' | 'һ' | 'η' | 'հ' => 'h',
        'і' | 'ι' | 'ı' | 'ɩ' | 'ї' => 'i',
        'ј' | 'ϳ' => 'j',
        'к' | 'κ' | 'қ' => 'k',
        'ӏ' | 'ⅼ' | 'ǀ' | 'ʟ' => 'l',
        'м' | 'μ' | 'ⅿ' | 'ᴍ' => 'm',
        'п' | 'ո' | 'ɴ' | 'ν' => 'n',
        'о' | 'ο' | 'օ' | 'σ' | 'ᴏ' | 'ө' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' | 'զ' => 'q',
        'г' | 'ʀ' => 'r',
        'ѕ' | 'ꜱ' => 's',
        'т' | 'τ' | 'ᴛ' => 't',
        'υ' | 'ս' | 'ᴜ' => 'u',
        'ѵ' | 'ᴠ' => 'v',
        'ԝ' | 'ω' | 'ᴡ' => 'w',
        'х' | 'χ' | 'ⅹ' => 'x',
        'у' | 'γ' | 'ү' | 'ʏ' => 'y',
        'ᴢ' | 'ζ' => 'z',
        '\u{3002}' | '\u{b7}' | '\u{2219}' | '\u{22c5}' | '\u{a4f8}' => '.',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2043}' => '-',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The short way for plain names is the long one.
        #[test]
        fn plain_names_are_folded_as_all_are(name in "[ -~&&[^/]]{0,20}") {
            // A letter that folds to itself and is none of the plain ones, taken away again.
            let long = fold(format!("\u{200b}{name}").as_bytes());
            prop_assert_eq!(fold(name.as_bytes()), long);
        }
    }
}
