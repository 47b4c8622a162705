use super::serve;
use crate::testing::World;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines as Answers, ReadHalf,
        WriteHalf,
    },
    task::JoinHandle,
};

/// A client with a server behind it.
struct Client {
    to: WriteHalf<DuplexStream>,
    from: Answers<BufReader<ReadHalf<DuplexStream>>>,
    server: JoinHandle<std::io::Result<()>>,
    world: Arc<crate::Tools>,
    _keep: World,
}

impl Client {
    fn new() -> Self {
        let mut world = World::new();
        let tools = Arc::new(std::mem::replace(&mut world.tools, World::new().tools));
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (input, output) = tokio::io::split(theirs);
        let server = tokio::spawn(serve(tools.clone(), input, output));
        let (from, to) = tokio::io::split(ours);
        Self { to, from: BufReader::new(from).lines(), server, world: tools, _keep: world }
    }

    async fn open() -> Self {
        let mut client = Self::new();
        client.say(&initialize()).await;
        assert_eq!(client.hear().await["result"]["serverInfo"]["name"], "cordon");
        client.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        client
    }

    async fn raw(&mut self, bytes: &[u8]) {
        self.to.write_all(bytes).await.unwrap();
    }

    async fn say(&mut self, message: &Value) {
        self.raw(format!("{message}\n").as_bytes()).await;
    }

    async fn hear(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(20), self.from.next_line()).await;
        serde_json::from_str(&line.expect("an answer").unwrap().expect("an answer")).unwrap()
    }

    async fn ask(&mut self, message: &Value) -> Value {
        self.say(message).await;
        self.hear().await
    }

    async fn refused(&mut self, line: &[u8]) -> (i64, Value, String) {
        self.raw(line).await;
        self.raw(b"\n").await;
        let answer = self.hear().await;
        let message = answer["error"]["message"].as_str().unwrap_or_default().to_owned();
        (answer["error"]["code"].as_i64().unwrap_or(0), answer["id"].clone(), message)
    }
}

fn initialize() -> Value {
    let who = json!({"name": "test", "version": "1"});
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params":
        {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": who}})
}

fn call(id: impl Into<Value>, name: &str, arguments: Value) -> Value {
    let params = json!({"name": name, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "tools/call", "params": params})
}

#[tokio::test]
async fn a_session_says_who_it_is_and_lists_every_tool() {
    let mut client = Client::new();
    let hello = client.ask(&initialize()).await;
    assert_eq!(hello["result"]["protocolVersion"], "2025-11-25");
    let workspace = client.world.workspace().to_string_lossy().into_owned();
    assert!(hello["result"]["instructions"].as_str().unwrap().contains(&workspace));
    let listed = client.ask(&json!({"jsonrpc": "2.0", "id": "l", "method": "tools/list"})).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), client.world.list().len());
    for (listed, tool) in tools.iter().zip(client.world.list()) {
        assert_eq!(listed["name"], tool.name);
        assert_eq!(listed["annotations"]["readOnlyHint"], tool.read_only);
        assert_eq!(listed["inputSchema"]["type"], "object", "{listed}");
        assert!(!listed["description"].as_str().unwrap().is_empty());
    }
    let pong = client.ask(&json!({"jsonrpc": "2.0", "id": 3, "method": "ping"})).await;
    assert_eq!(pong, json!({"jsonrpc": "2.0", "id": 3, "result": {}}));
}

#[tokio::test]
async fn a_client_of_another_age_gets_a_version_that_both_know() {
    for (asked, given) in
        [("2024-11-05", "2024-11-05"), ("2025-06-18", "2025-06-18"), ("1999-01-01", "2025-11-25")]
    {
        let mut hello = initialize();
        hello["params"]["protocolVersion"] = asked.into();
        let answer = Client::new().ask(&hello).await;
        assert_eq!(answer["result"]["protocolVersion"], given, "{asked}");
    }
}

#[tokio::test]
async fn before_the_session_only_pings_are_answered_and_nothing_ends_it() {
    let mut client = Client::new();
    client.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    client.say(&json!({"jsonrpc": "2.0", "id": 4, "result": {}})).await;
    let early = client.ask(&call(1, "read_text_file", json!({"path": "a.txt"}))).await;
    assert_eq!((&early["id"], &early["error"]["code"]), (&json!(1), &json!(-32600)));
    assert_eq!(client.ask(&json!({"jsonrpc": "2.0", "id": 2, "method": "ping"})).await["id"], 2);
    assert!(client.ask(&initialize()).await["result"].is_object());
}

#[tokio::test]
async fn what_a_tool_refuses_is_a_result_and_what_is_no_tool_is_an_error() {
    let mut client = Client::open().await;
    let read = client.ask(&call(1, "read_text_file", json!({"path": "a.txt"}))).await;
    assert!(read["result"]["content"][0]["text"].as_str().unwrap().contains("two"), "{read}");
    assert_ne!(read["result"]["isError"], true);
    for arguments in [
        json!({"path": ".env"}),
        json!({"path": "a\0b"}),
        json!({"path": "/".repeat(1 << 20)}),
        json!({"path": 7}),
        json!({"path": "a.txt", "unknown": 1}),
        json!({}),
    ] {
        let answer = client.ask(&call(2, "read_text_file", arguments.clone())).await;
        assert_eq!(answer["result"]["isError"], true, "{arguments:.80}");
        assert!(answer.to_string().len() < 4096, "{arguments:.80}");
    }
    let none = client.ask(&call("x", "no_such_tool", json!({}))).await;
    assert_eq!((&none["id"], &none["error"]["code"]), (&json!("x"), &json!(-32602)));
    let none = client.ask(&json!({"jsonrpc": "2.0", "id": 5, "method": "no/such"})).await;
    assert_eq!((&none["id"], &none["error"]["code"]), (&json!(5), &json!(-32601)));
}

#[tokio::test]
async fn a_bad_line_is_answered_and_the_session_goes_on() {
    let mut client = Client::open().await;
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"ping\",\"x\":{}1{}}}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let many = format!("{{\"id\":9,\"x\":[{}1]}}", "1,".repeat(1 << 20));
    let refusals: [(&[u8], i64, Value); 19] = [
        (b"{", -32700, Value::Null),
        (b"nonsense", -32700, Value::Null),
        (b"{} {}", -32700, Value::Null),
        (b"\"\xff\xfe\"", -32700, Value::Null),
        (b"{\"id\":1,\"a\":\"\x00\"}", -32700, Value::Null),
        (b"{\"id\":1,\"a\":\"\\ud800\"}", -32700, Value::Null),
        (b"7", -32600, Value::Null),
        (b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600, Value::Null),
        (b"{\"jsonrpc\":\"1.0\",\"id\":9,\"method\":\"ping\"}", -32600, json!(9)),
        (b"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", -32600, Value::Null),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}", -32600, Value::Null),
        (b"{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":7}", -32600, json!(9)),
        (b"{\"jsonrpc\":\"2.0\",\"id\":9}", -32600, json!(9)),
        (b"{\"jsonrpc\":\"2.0\",\"id\":9,\"id\":9,\"method\":\"ping\"}", -32600, Value::Null),
        (b"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"method\":\"ping\",\"id\":9}", -32600, json!(9)),
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"tools/call\",\"params\":{\"name\":\"read_text_file\",\
              \"arguments\":{\"path\":\"a.txt\",\"p\\u0061th\":\".env\"}}}",
            -32600,
            json!(9),
        ),
        (b"{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"tools/call\",\"params\":{\"name\":7}}", -32602, json!(9)),
        (deep.as_bytes(), -32600, json!(9)),
        (many.as_bytes(), -32600, json!(9)),
    ];
    for (line, code, id) in refusals {
        let (got, whose, message) = client.refused(line).await;
        assert_eq!((got, whose), (code, id), "{message}: {:.100}", String::from_utf8_lossy(line));
        assert!(message.len() < 1000);
    }
    client.raw(b"\r\n\n   \n").await;
    assert_eq!(client.ask(&json!({"jsonrpc": "2.0", "id": 2, "method": "ping"})).await["id"], 2);
}

#[tokio::test]
async fn a_line_without_end_is_skipped_in_little_memory() {
    let mut client = Client::open().await;
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..66 {
        client.raw(&chunk).await;
    }
    // Said as soon as it is known, not when the line ends.
    assert_eq!(client.hear().await["error"]["code"], -32600);
    client.raw(b"\n").await;
    assert_eq!(client.ask(&json!({"jsonrpc": "2.0", "id": 2, "method": "ping"})).await["id"], 2);
}

#[tokio::test]
async fn many_calls_are_answered_each_with_its_own() {
    let mut client = Client::open().await;
    for id in 0..100 {
        let path = if id % 2 == 0 { "a.txt" } else { "sub/b.rs" };
        client.say(&call(id, "read_text_file", json!({"path": path}))).await;
    }
    let mut seen = [false; 100];
    for _ in 0..100 {
        let answer = client.hear().await;
        let id = usize::try_from(answer["id"].as_u64().unwrap()).unwrap();
        let wanted = if id % 2 == 0 { "two" } else { "fn b" };
        assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains(wanted));
        assert!(!std::mem::replace(&mut seen[id], true));
    }
}

#[tokio::test]
async fn roots_of_a_client_change_nothing() {
    let mut client = Client::new();
    let mut hello = initialize();
    hello["params"]["capabilities"] = json!({"roots": {"listChanged": true}});
    client.say(&hello).await;
    client.hear().await;
    client.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    client.say(&json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})).await;
    // No question comes back, and the answer to none is not looked at.
    client.say(&json!({"jsonrpc": "2.0", "id": 1, "result": {"roots": [{"uri": "file:///"}]}})).await;
    let read = client.ask(&call(2, "read_text_file", json!({"path": "/etc/passwd"}))).await;
    assert_eq!((&read["id"], &read["result"]["isError"]), (&json!(2), &json!(true)));
}

#[tokio::test]
async fn the_server_ends_with_its_stream() {
    let mut client = Client::open().await;
    client.say(&call(1, "read_text_file", json!({"path": "a.txt"}))).await;
    client.raw(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/call\"").await;
    client.to.shutdown().await.unwrap();
    // What was asked for is answered; half a message is not acted on.
    let mut answers = [client.hear().await, client.hear().await];
    answers.sort_by_key(|answer| answer["id"].is_null());
    assert_eq!(answers[0]["id"], 1);
    assert_eq!(answers[1]["error"]["code"], -32700);
    tokio::time::timeout(Duration::from_secs(5), client.server).await.unwrap().unwrap().unwrap();
    assert_eq!(Arc::strong_count(&client.world), 1, "something still holds the tools");
}
