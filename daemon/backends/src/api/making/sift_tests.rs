use super::*;
use ::base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

fn sift(text: &[u8], most: usize, piece: usize) -> Result<(String, Vec<Blob>), Fault> {
    let mut sift = Sift::new(&["b64_json", "data"], &["seal"], most);
    for piece in text.chunks(piece.max(1)) {
        sift.push(piece)?;
    }
    let (rest, blobs) = sift.finish();
    Ok((String::from_utf8_lossy(&rest).into_owned(), blobs))
}

#[test]
fn what_is_long_is_decoded_and_the_rest_stays() {
    let text =
        r#"{"data": [{"b64_json":  "YWJj", "seal":"\"xx\\","s":"b64_json"}], "b64_json": 3, "data":"YQ"}"#;
    let (rest, blobs) = sift(text.as_bytes(), 100, 1).unwrap();
    assert_eq!(rest, r#"{"data": [{"b64_json": 0, "seal":null,"s":"b64_json"}], "b64_json": 3, "data":1}"#);
    assert_eq!(blobs, [Blob::Bytes(b"abc".to_vec()), Blob::Bytes(b"a".to_vec())]);
}

#[test]
fn every_way_to_write_base64_is_read() {
    for (written, bytes) in [
        ("/+/+", Some(&[0xff, 0xef, 0xfe][..])),
        (r"\/+\/+", Some(&[0xff, 0xef, 0xfe])),
        (r"\u002f\u002B/+", Some(&[0xff, 0xef, 0xfe])),
        (r"YW\r\nJj", Some(b"abc")),
        ("data:image/png;base64,YWJj", Some(b"abc")),
        ("data", Some(&[0x75, 0xab, 0x5a])),
        ("", Some(b"")),
        ("data:image/png,YWJj", None),
        ("https://x.test/a.png", None),
        ("YWJj!", None),
        (r"YW\u12", None),
        (r"YW\u1234Jj", None),
        (r"YW\tJj", None),
        ("YWJ=j", None),
    ] {
        let (_, blobs) = sift(format!(r#"{{"data":"{written}"}}"#).as_bytes(), 100, 1).unwrap();
        let expected = bytes.map_or(Blob::Bad, |bytes| Blob::Bytes(bytes.to_vec()));
        // What is no end of a text swallows the rest.
        assert_eq!(blobs.first().unwrap_or(&Blob::Bad), &expected, "{written}");
    }
}

#[test]
fn what_is_too_much_is_refused_when_it_comes() {
    let long = format!(r#"{{"data":"{}"#, "A".repeat(4000));
    assert_eq!(sift(long.as_bytes(), 2999, 7), Err(Fault::TooMuch));
    assert!(sift(long.as_bytes(), 3000, 7).is_ok());
    let many = r#"{"data":"AAAA"}"#.repeat(11);
    assert_eq!(sift(many.as_bytes(), 32, 7), Err(Fault::TooMuch));
    let text = format!(r#"{{"x":"{}"}}"#, "A".repeat(REST));
    assert_eq!(sift(text.as_bytes(), 3000, 4096), Err(Fault::Rest));
    // Neither is kept.
    assert!(sift(" ".repeat(2 * REST).as_bytes(), 1, 4096).unwrap().0.len() <= 1);
    let skipped = format!(r#"{{"seal":"{}"}}"#, "A".repeat(2 * REST));
    assert_eq!(sift(skipped.as_bytes(), 1, 4096).unwrap().0, r#"{"seal":null}"#);
}

/// JSON without the members that are sifted out.
fn plain() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-c\"\\\\é]{0,4}", inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_rest_is_the_json_without_what_was_long(value in plain(), bytes in prop::collection::vec(any::<u8>(), 0..300), pretty: bool, piece in 1usize..40) {
        let whole = json!({"before": value, "data": STANDARD.encode(&bytes), "after": value});
        let text = if pretty { serde_json::to_string_pretty(&whole).unwrap() } else { whole.to_string() };
        let (rest, blobs) = sift(text.as_bytes(), 1000, piece).unwrap();
        prop_assert_eq!(blobs, vec![Blob::Bytes(bytes)]);
        prop_assert_eq!(serde_json::from_str::<Value>(&rest).unwrap(), json!({"before": value, "data": 0, "after": value}));
    }

    #[test]
    fn any_split_of_anything_gives_the_same_within_bounds(
        text in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b':'), Just(b'='), any::<u8>()], 0..200),
        before in prop_oneof![Just(&b""[..]), Just(&b"{\"data\":\""[..]), Just(&b"{\"seal\":\""[..])],
        piece in 1usize..20,
        most in 0usize..100,
    ) {
        let text = [before, &text].concat();
        let whole = sift(&text, most, usize::MAX);
        prop_assert_eq!(&whole, &sift(&text, most, piece));
        if let Ok((_, blobs)) = whole {
            let sizes = blobs.iter().map(|b| if let Blob::Bytes(bytes) = b { bytes.len() } else { 0 });
            prop_assert!(sizes.sum::<usize>() <= most);
        }
    }
}
