//! Every file tool with arguments that no model would send, in a tree made to lead astray.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use cordon_fuzz::Feed;
use cordon_tools::{Answer, Piece, Tool, Tools};
use serde_json::{Map, Value, json};
use std::{fs, panic::AssertUnwindSafe, path::Path};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use world::{CANARY, World};

const NAMES: [&str; 22] = [
    "a.txt", "sub", "deep", "b.txt", "keep", "kept", ".env", "out", "file", "up", "loop", "magic", "secret",
    "new", "in", "..", ".", "", "made", "outside", "canary", "ws-twin",
];

/// Where there is something to find.
const PLACES: [&str; 20] = [
    "a.txt",
    "sub/b.txt",
    "keep/kept",
    ".env",
    "out/canary",
    "out/dir",
    "file",
    "sub/up/outside/canary",
    "secret",
    "new",
    "in/made",
    "sub",
    "keep",
    "magic/etc/passwd",
    "../outside/canary",
    "../ws-twin/canary",
    "sub/../.env",
    "made/up",
    "loop",
    ".",
];

fn path(feed: &mut Feed<'_>, world: &World) -> String {
    if feed.below(4) != 0 {
        let place = feed.one(&PLACES).unwrap();
        let root = world.root.display();
        return if feed.below(4) == 0 { format!("{root}/ws/{place}") } else { place.to_owned() };
    }
    let names = feed.many(5, |feed| feed.one(&NAMES).unwrap()).join("/");
    match feed.below(6) {
        0 | 1 => names,
        2 => format!("{}/{names}", world.root.display()),
        3 => format!("{}/ws/{names}", world.root.display()),
        4 => format!("/proc/self/root{}/{names}", world.root.display()),
        _ => feed.one(&STRANGE).unwrap().into(),
    }
}

const STRANGE: [&str; 9] =
    ["~", "/", "\u{0}", "a.txt\u{0}", "/etc/shadow", "*", "**/*", "{a,b}", "\u{202e}x"];

/// A value of any type, whatever the tool wants.
fn anything(feed: &mut Feed<'_>, world: &World, depth: usize) -> Value {
    match feed.below(if depth == 0 { 7 } else { 9 }) {
        0 | 1 => path(feed, world).into(),
        2 => Value::Null,
        3 => (feed.byte() > 127).into(),
        4 => i64::from(feed.byte()).into(),
        5 => feed.one(&[-1.0, 0.5, 1e300, 9.3e18]).unwrap().into(),
        6 => feed.one(&["", "one", "two\n", "x\u{0}y", "[", "base64", CANARY_HALF]).unwrap().into(),
        7 => feed.many(3, |feed| anything(feed, world, depth - 1)).into(),
        _ => {
            let keys = ["path", "oldText", "newText", "source", "destination", "x"];
            let entry =
                |feed: &mut Feed<'_>| (feed.one(&keys).unwrap().to_owned(), anything(feed, world, depth - 1));
            Value::Object(feed.many(3, entry).into_iter().collect())
        }
    }
}

const CANARY_HALF: &str = "canary-";

/// A value as the schema wants it, most of the time.
fn fitting(feed: &mut Feed<'_>, world: &World, schema: &Value) -> Value {
    if feed.below(16) == 15 {
        return anything(feed, world, 2);
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().cloned().unwrap_or_default(),
        kind => kind.clone(),
    };
    match kind.as_str() {
        Some("string") => path(feed, world).into(),
        Some("integer" | "number") => (i64::from(feed.byte()) - 8).into(),
        Some("boolean") => (feed.byte() > 127).into(),
        Some("array") => feed.many(3, |feed| fitting(feed, world, &schema["items"])).into(),
        Some("object") => Value::Object(object(feed, world, schema)),
        _ => anything(feed, world, 2),
    }
}

fn object(feed: &mut Feed<'_>, world: &World, schema: &Value) -> Map<String, Value> {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let required =
        |name: &String| schema["required"].as_array().is_some_and(|all| all.contains(&json!(name)));
    let mut made = Map::new();
    for (name, schema) in properties {
        if (required(name) && feed.below(16) != 15) || feed.below(3) == 0 {
            made.insert(name.clone(), fitting(feed, world, schema));
        }
    }
    if feed.below(16) == 15 {
        made.insert("unknown".to_owned(), Value::Null);
    }
    made
}

fn runtime() -> AssertUnwindSafe<Runtime> {
    AssertUnwindSafe(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
}

fn call(runtime: &Runtime, tools: &Tools, name: &str, arguments: Map<String, Value>) -> Answer {
    let answer = runtime.block_on(tools.call(name, arguments, CancellationToken::new()));
    answer.unwrap_or_else(|| panic!("{name} is not there"))
}

/// Whether the canary is in an answer, in any form.
fn tells(answer: &Answer) -> bool {
    let inside = |bytes: &[u8]| bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => inside(text.as_bytes()),
        Piece::Image { data, .. } | Piece::Audio { data, .. } | Piece::Blob { data, .. } => inside(data),
    };
    answer.pieces.iter().any(piece)
        || answer.structured.iter().any(|value| inside(value.to_string().as_bytes()))
}

/// A shell without a wall around it would do as it is told.
fn works_on_files(tool: &&Tool) -> bool {
    !tool.name.contains("command")
}

#[test]
fn no_arguments_lead_out_of_the_tree() {
    let runtime = runtime();
    bolero::check!().with_iterations(120).for_each(|input: &[u8]| {
        let world = World::new();
        let before = world.untouchable();
        let mut feed = Feed::new(input);
        for _ in 0..6 {
            let tools: Vec<&Tool> = world.tools.list().iter().filter(works_on_files).collect();
            let tool = feed.one(&tools).unwrap();
            let arguments = object(&mut feed, &world, &Value::Object(tool.schema.clone()));
            let what = format!("{} {}", tool.name, Value::Object(arguments.clone()));
            let answer = call(&runtime, &world.tools, tool.name, arguments);
            assert!(!answer.all_text().contains("failed within itself"), "{what}: {answer:?}");
            assert!(!tells(&answer), "{what}: {answer:?}");
            assert!(!answer.pieces.is_empty(), "{what}");
            assert_eq!(world.untouchable(), before, "{what}: {answer:?}");
            if tool.read_only {
                assert_eq!(fs::read_to_string(world.root.join("ws/keep/kept")).unwrap(), "kept");
            }
        }
    });
}

const LETTERS: [&str; 9] = ["a", "b", "ab", "\n", " ", "\t", "\r\n", "\u{e4}", ""];

fn text(feed: &mut Feed<'_>) -> String {
    feed.many(12, |feed| feed.one(&LETTERS).unwrap()).concat()
}

/// Something that is in the text.
fn part(feed: &mut Feed<'_>, text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let from = feed.below(letters.len());
    let length = feed.below(letters.len() - from + 1);
    letters.iter().skip(from).take(length).collect()
}

#[test]
fn an_edit_does_what_it_says_or_nothing() {
    let runtime = runtime();
    let world = AssertUnwindSafe(World::new());
    let file = world.root.join("ws/edited");
    bolero::check!().with_iterations(1000).for_each(|input: &[u8]| {
        let mut feed = Feed::new(input);
        let before = text(&mut feed);
        let edits = feed.many(2, |feed| {
            let old = if feed.below(4) == 0 { text(feed) } else { part(feed, &before) };
            (old, text(feed))
        });
        let dry = feed.below(3) == 0;
        fs::write(&file, &before).unwrap();
        let given: Vec<Value> =
            edits.iter().map(|(old, new)| json!({"oldText": old, "newText": new})).collect();
        let arguments = json!({"path": "edited", "edits": given, "dryRun": dry});
        let Value::Object(map) = arguments.clone() else { panic!("no object") };
        let answer = call(&runtime, &world.tools, "edit_file", map);
        let after = fs::read_to_string(&file).unwrap();
        if dry || answer.is_error {
            assert_eq!(after, before, "{arguments}: {answer:?}");
        } else if let ([(old, new)], false) = (edits.as_slice(), before.contains('\r')) {
            // More than one place is a matter of the tool; one is a matter of nobody's opinion.
            if !old.is_empty()
                && before.matches(old.as_str()).count() == 1
                && !(old.clone() + new).contains('\r')
            {
                assert_eq!(after, before.replacen(old.as_str(), new, 1), "{arguments}");
            }
        }
        let strays: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().collect();
        assert!(strays.len() <= 13, "something was left behind: {strays:?}");
    });
    assert!(Path::new(&file).is_file());
}
