//! What a plain scalar means: the core schema of YAML 1.2, and the old words for
//! true and false where a flag is wanted, for MassGen reads YAML 1.1.

/// The type of a plain scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Plain {
    Null,
    Flag,
    Integer,
    Number,
    Text,
}

pub(crate) fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Plain::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Plain::Flag,
        _ if is_integer(text) => Plain::Integer,
        _ if is_number(text) => Plain::Number,
        _ => Plain::Text,
    }
}

pub(crate) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Decimal numbers only: hexadecimal ones have no use in an agent file.
pub(crate) fn number(text: &str) -> Option<f64> {
    let simple = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    text.parse::<f64>().ok().filter(|n| simple && n.is_finite())
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all = |s: &str, radix| !s.is_empty() && s.chars().all(|c| c.is_digit(radix));
    all(digits, 10)
        || text.strip_prefix("0x").is_some_and(|t| all(t, 16))
        || text.strip_prefix("0o").is_some_and(|t| all(t, 8))
}

fn is_number(text: &str) -> bool {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(bare, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
        || (bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') && number(text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_the_type_of_the_core_schema() {
        for (text, kind) in [
            ("", Plain::Null),
            ("~", Plain::Null),
            ("true", Plain::Flag),
            ("yes", Plain::Text),
            ("12", Plain::Integer),
            ("-0x1", Plain::Text),
            ("0x1F", Plain::Integer),
            ("1.20", Plain::Number),
            ("1e3", Plain::Number),
            (".5", Plain::Number),
            ("-.inf", Plain::Number),
            ("1.2.3", Plain::Text),
            (".", Plain::Text),
            ("inf", Plain::Text),
            ("2g", Plain::Text),
            ("e5", Plain::Text),
        ] {
            assert_eq!(plain(text), kind, "{text:?}");
        }
        assert_eq!(number("inf"), None);
        assert_eq!(number("NaN"), None);
        assert_eq!(flag("Yes"), Some(true));
        assert_eq!(flag("maybe"), None);
    }
}
