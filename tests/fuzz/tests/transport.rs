//! The stream between a client and the tools, and the table that they decide by.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_fuzz::Feed;
use cordon_policy::{Access, Origin, Policy, Rule, Source};
use cordon_tools::{Table, Tools, inspect, serve};
use serde_json::Value;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[test]
fn a_line_is_read_or_refused() {
    bolero::check!().with_iterations(20_000).for_each(|line: &[u8]| match inspect(line) {
        Ok(asks) => {
            let value: Value = serde_json::from_slice(line).unwrap();
            assert_eq!(value["jsonrpc"], "2.0");
            assert!(asks || value.get("id").is_none() || value.get("method").is_none());
        }
        Err((code, message)) => {
            assert!([-32700, -32600, -32602].contains(&code), "{code}");
            assert!(message.len() < 2000);
            assert!(code != -32700 || serde_json::from_slice::<Value>(line).is_err(), "{message}");
        }
    });
}

/// What the pieces of a stream are made of, so that random ones come near to messages.
const PIECES: [&str; 24] = [
    "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2025-11-25\",\
     \"capabilities\":{},\"clientInfo\":{\"name\":\"f\",\"version\":\"1\"}}}\n",
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/list\"}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"tools/call\",\"params\":{\"name\":\"list_allowed_directories\"}}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"tools/call\",\"params\":{\"name\":\"read_text_file\",",
    "\"arguments\":{\"path\":\"a.txt\"}}}\n",
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":3}}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"server/discover\",\"params\":{\"_meta\":{}}}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"logging/setLevel\",\"params\":{\"level\":\"debug\"}}\n",
    "{\"id\":8",
    "[",
    "]",
    "{",
    "}",
    "\"",
    ",",
    ":",
    "\n",
    "\r\n",
    "\u{0}",
    "\\",
    "7",
];

#[test]
fn a_stream_of_anything_is_answered_in_messages_and_ends() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runtime = std::panic::AssertUnwindSafe(runtime);
    bolero::check!().with_iterations(100).for_each(|input: &[u8]| {
        let mut feed = Feed::new(input);
        let mut stream = Vec::new();
        while !feed.is_empty() {
            match feed.byte() {
                kind @ 0..=223 => {
                    stream.extend_from_slice(PIECES[usize::from(kind) % PIECES.len()].as_bytes());
                }
                _ => stream.push(feed.byte()),
            }
        }
        let said = runtime.block_on(session(&stream));
        for line in said.split_inclusive(|byte| *byte == b'\n') {
            assert_eq!(line.last(), Some(&b'\n'));
            let message: Value = serde_json::from_slice(line).unwrap();
            assert_eq!(message["jsonrpc"], "2.0");
            assert!(message.get("result").is_some() != message.get("error").is_some(), "{message}");
        }
    });
}

async fn session(stream: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    std::fs::write(root.join("a.txt"), "text").unwrap();
    let rule =
        Rule { path: root.clone(), access: Access::Write, origin: Origin::built_in(Source::Workspace) };
    let table = Table::new(Policy::new([rule]).unwrap(), &root).unwrap();
    let (ours, theirs) = tokio::io::duplex(256);
    let (input, output) = tokio::io::split(theirs);
    let server = tokio::spawn(serve(Arc::new(Tools::new(table)), input, output));
    let (mut from, mut to) = tokio::io::split(ours);
    let stream = stream.to_vec();
    let told = tokio::spawn(async move {
        // It may have ended already: a stream that begins with no session is not listened to.
        let _ = to.write_all(&stream).await;
        let _ = to.shutdown().await;
    });
    let mut said = Vec::new();
    let all = async {
        from.read_to_end(&mut said).await.unwrap();
        told.await.unwrap();
        let _ = server.await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("the server ends with its stream");
    said
}

#[test]
fn a_table_is_decoded_or_refused() {
    bolero::check!().with_iterations(5000).for_each(|input: &[u8]| {
        if let Ok(table) = Table::decode(input) {
            let tools = Tools::new(table);
            assert!(tools.workspace().is_absolute());
            assert!(tools.workspace() == Path::new(tools.workspace()) && !tools.list().is_empty());
        }
    });
}
