//! Reads `.env` files: `KEY=VALUE` lines, quotes, comments. Nothing is expanded or executed.

use std::collections::BTreeMap;

/// What a file says, and the numbers of the lines that say nothing usable.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) bad_lines: Vec<usize>,
}

pub(crate) fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match assignment(line) {
            Some((key, value)) => {
                parsed.variables.insert(key.to_owned(), value);
            }
            None => parsed.bad_lines.push(index + 1),
        }
    }
    parsed
}

fn assignment(line: &str) -> Option<(&str, String)> {
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => line,
    };
    let (key, value) = line.split_once('=')?;
    let key = key.trim_end();
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) || !key.chars().all(name) {
        return None;
    }
    Some((key, unquote(value.trim_start())?))
}

fn unquote(value: &str) -> Option<String> {
    let (text, rest) = match value.chars().next() {
        Some('\'') => {
            let (text, rest) = value[1..].split_once('\'')?;
            (text.to_owned(), rest)
        }
        Some('"') => double_quoted(&value[1..])?,
        // A comment needs a space before it, so that a fragment of an address stays.
        _ if value.starts_with('#') => (String::new(), ""),
        _ => {
            let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
            (value[..end].trim_end().to_owned(), "")
        }
    };
    let rest = rest.trim_start();
    (rest.is_empty() || rest.starts_with('#')).then_some(text)
}

fn double_quoted(value: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = value.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, &value[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                't' => text.push('\t'),
                c @ ('"' | '\\' | '$') => text.push(c),
                other => text.extend(['\\', other]),
            },
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_forms() {
        let parsed = parse(
            "\u{feff}# comment\n\nA=1\nexport B = two words # why\nC='a # \"b\"' # c\nD=\"x\\n\\\"y\\\"\"\nE=\n\
             F=http://h/#frag\r\nG=#nothing\nA=again\n",
        );
        let expected = [
            ("A", "again"),
            ("B", "two words"),
            ("C", "a # \"b\""),
            ("D", "x\n\"y\""),
            ("E", ""),
            ("F", "http://h/#frag"),
            ("G", ""),
        ];
        assert_eq!(
            parsed.variables,
            expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        );
        assert_eq!(parsed.bad_lines, [] as [usize; 0]);
    }

    #[test]
    fn unusable_lines_are_named_by_number() {
        let parsed = parse("no sign\n1A=x\nA-B=x\n=x\nC='open\nD=\"open\nE='a'b\nF=ok");
        assert_eq!(parsed.bad_lines, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(parsed.variables.into_keys().collect::<Vec<_>>(), ["F"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_trouble(text in any::<String>()) {
            let parsed = parse(&text);
            prop_assert!(parsed.variables.keys().all(|k| !k.is_empty()));
        }

        #[test]
        fn double_quotes_keep_any_value(value in "[^\\x00]{0,60}") {
            let quoted = value
                .replace('\\', "\\\\").replace('"', "\\\"")
                .replace('\n', "\\n").replace('\r', "\\r");
            let parsed = parse(&format!("KEY=\"{quoted}\" # end"));
            prop_assert_eq!(parsed.variables.get("KEY"), Some(&value));
        }
    }
}
