use super::*;
use proptest::prelude::*;

fn apply(text: &str, old: &str, new: &str) -> Result<String, EditError> {
    let mut text = Text::new(text.to_owned());
    text.apply(&Edit { old: old.to_owned(), new: new.to_owned() })?;
    Ok(text.finish())
}

#[test]
fn exact_matches() {
    assert_eq!(apply("a b c", "b", "X").unwrap(), "a X c");
    assert_eq!(apply("a\nb\n", "b\n", "").unwrap(), "a\n");
    // What has a meaning to regular expressions or replacements has none here.
    assert_eq!(apply("a $& c", "$&", "$1 \\0 $&").unwrap(), "a $1 \\0 $& c");
    assert_eq!(apply("", "", "new").unwrap(), "new");
}

#[test]
fn what_is_not_clear_is_refused() {
    assert_eq!(apply("a a", "a", "b"), Err(EditError::Ambiguous("2".to_owned())));
    assert_eq!(apply("aaa", "aa", "b"), Err(EditError::Ambiguous("2".to_owned())));
    assert_eq!(apply(&"a ".repeat(500), "a", "b"), Err(EditError::Ambiguous("more than 100".to_owned())));
    assert_eq!(apply("a", "b", "c"), Err(EditError::Missing));
    assert_eq!(apply("a", "", "c"), Err(EditError::Empty));
    assert_eq!(apply("  x\n\tx\n", "x  ", "y"), Err(EditError::Ambiguous("2".to_owned())));
}

#[test]
fn white_space_may_differ_and_indentation_stays() {
    let text = "fn f() {\n        if x {\n            y();\n        }\n}\n";
    let got = apply(text, "if x {\n    y();\n}", "if z {\n    y();\n        w();\n}").unwrap();
    assert_eq!(got, "fn f() {\n        if z {\n            y();\n                w();\n        }\n}\n");
    let got = apply("\t\ta\n\t\t\tb\n", "    a\n        b", "    a\n\n      c\n  d").unwrap();
    assert_eq!(got, "\t\ta\n\n\t\t  c\nd\n");
    assert_eq!(apply("  a  \n b", "a\nb", "c\nd").unwrap(), "  c\n  d");
}

#[test]
fn line_breaks_stay_as_they_are() {
    assert_eq!(apply("a\r\nb\r\nc\r\n", "b\n", "x\ny\n").unwrap(), "a\r\nx\r\ny\r\nc\r\n");
    assert_eq!(apply("a\r\nb\nc\r\nd", "c", "x").unwrap(), "a\r\nb\nx\r\nd");
    assert_eq!(apply("a\r\nb\nc\r\nd", "a\r\nb\r\n", "1\r\n2\r\n").unwrap(), "1\r\n2\nc\r\nd");
    assert_eq!(apply("a\nb\n", "b\r\n", "x\r\ny\r\n").unwrap(), "a\nx\ny\n");
    assert_eq!(apply("a\r\r\nb\r\n", "b", "c").unwrap(), "a\r\r\nc\r\n");
    assert_eq!(apply("a\r\nb", "b", "b\nc").unwrap(), "a\r\nb\r\nc");
}

#[test]
fn blank_lines_without_end_are_no_trap() {
    let text = "\n".repeat(200_000);
    let old = format!("{} x", " \n".repeat(50_000));
    assert_eq!(apply(&text, &old, "y"), Err(EditError::Missing));
}

proptest! {
    #[test]
    fn one_exact_match_is_a_plain_replacement(
        before in "[a-c\\n é]{0,30}", old in "[a-c\\n é]{1,6}", after in "[a-c\\n é]{0,30}", new in "(?s).{0,12}",
    ) {
        let text = format!("{before}{old}{after}");
        let plain_new = new.replace("\r\n", "\n");
        let places = (0..text.len()).filter(|n| text.get(*n..).is_some_and(|rest| rest.starts_with(&old))).count();
        match apply(&text, &old, &new) {
            Ok(got) => {
                prop_assert_eq!(places, 1);
                prop_assert_eq!(got, text.replacen(&old, &plain_new, 1));
            }
            Err(EditError::Ambiguous(n)) => prop_assert_eq!(n, places.to_string()),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_text_survives(text in "(?s)([ab \\t\\n]|\\r\\n|.){0,60}", old in "(?s)([ab \\t\\n]|\\r\\n){0,8}", new in "(?s)([ab \\n]|\\r\\n|.){0,8}") {
        let whole = Text::new(text.clone());
        prop_assert_eq!(whole.finish(), text.clone());
        let _ = apply(&text, &old, &new);
        // What comes before the first changed line and after the last one is untouched.
        if let Ok(got) = apply(&text, &old, &old) {
            prop_assert_eq!(got.replace("\r\n", "\n").trim_end().is_empty(), text.trim_end().is_empty());
        }
    }
}
