//! A path is where the kernel says it is, however it is written, and the rules of that place decide.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use cordon_fuzz::Feed;
use cordon_policy::Operation;
use serde_json::{Map, Value};
use std::{fs, panic::AssertUnwindSafe, path::Path};
use tokio_util::sync::CancellationToken;
use world::{CANARY, World};

/// What paths are made of. Every link of the tree is there but the one that only a kernel can follow.
const PARTS: [&str; 24] = [
    "/", "/", "/", ".", "..", "//", "/./", "/../", "a.txt", "sub", "b.txt", "deep", "keep", "kept", ".env",
    "out", "canary", "dir", "file", "up", "loop", "secret", "in", "ws",
];

fn path(feed: &mut Feed<'_>, root: &Path) -> String {
    let start = match feed.below(4) {
        0 | 1 => String::new(),
        2 => format!("{}/ws/", root.display()),
        _ => format!("{}/", root.display()),
    };
    let slashes = feed.below(2) == 0;
    let parts = feed.many(9, |feed| feed.one(&PARTS).unwrap());
    start + &parts.join(if slashes { "/" } else { "" })
}

#[test]
fn a_path_is_where_the_kernel_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (runtime, world) = (AssertUnwindSafe(runtime), AssertUnwindSafe(World::new()));
    bolero::check!().with_iterations(3000).for_each(|input: &[u8]| {
        let mut feed = Feed::new(input);
        let text = path(&mut feed, &world.root);
        let real = fs::canonicalize(world.root.join("ws").join(&text)).ok();
        let is_directory = real.as_deref().is_some_and(Path::is_dir);
        let (tool, operation) = if is_directory {
            ("list_directory", Operation::List)
        } else {
            ("read_text_file", Operation::Read)
        };
        // An empty path is no path.
        let expected = !text.is_empty()
            && real.as_deref().is_some_and(|real| world.policy.decide(real, operation).is_allowed());
        let arguments = Map::from_iter([("path".to_owned(), Value::from(text.clone()))]);
        let answer = runtime.block_on(world.tools.call(tool, arguments, CancellationToken::new())).unwrap();
        assert_eq!(!answer.is_error, expected, "{tool} {text:?} is {real:?}: {answer:?}");
        if !expected {
            assert!(!answer.all_text().contains(CANARY), "{tool} {text:?}: {answer:?}");
        } else if !is_directory {
            let content = fs::read_to_string(real.as_deref().unwrap()).unwrap();
            assert!(answer.all_text().contains(content.trim_end()), "{text:?}: {answer:?}");
        }
    });
}
