//! A host with servers behind pipes: honest, dead, silent and hostile ones.

use crate::{
    CallError, CallResult, Host, HostError, Observer, ObserverFailed, filter::Filter, launch::Launch,
    server::Server,
};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};

type Lines = tokio::io::Lines<BufReader<tokio::io::ReadHalf<DuplexStream>>>;
type Out = tokio::io::WriteHalf<DuplexStream>;

#[derive(Default)]
struct Heard(Mutex<Vec<String>>, Mutex<bool>);

#[async_trait]
impl Observer for Heard {
    async fn called(
        &self,
        id: &str,
        tool: &str,
        arguments: &Map<String, Value>,
    ) -> Result<(), ObserverFailed> {
        if *self.1.lock().unwrap() {
            return Err(ObserverFailed("the disk is full".to_owned()));
        }
        let arguments = Value::Object(arguments.clone());
        self.0.lock().unwrap().push(format!("{id} {tool} {arguments}"));
        Ok(())
    }

    async fn answered(
        &self,
        id: &str,
        tool: &str,
        answer: Option<&CallResult>,
    ) -> Result<(), ObserverFailed> {
        let said = answer.map_or("none".to_owned(), |a| a.texts().collect::<Vec<_>>().join("|"));
        self.0.lock().unwrap().push(format!("{id} {tool} = {said}"));
        Ok(())
    }
}

impl Heard {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// What a server answers to a request, by method; none: nothing.
type Answer = Arc<dyn Fn(&str, &Value) -> Option<Value> + Send + Sync>;

fn tools(names: &[&str]) -> Value {
    let tool = |n: &&str| json!({"name": n, "description": "d", "inputSchema": {"type": "object"}});
    json!({ "tools": names.iter().map(tool).collect::<Vec<_>>() })
}

fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

/// Speaks line-delimited JSON-RPC; a "die" tool ends it.
async fn speak(pipe: DuplexStream, answer: Answer, heard: Arc<Mutex<Vec<Value>>>) {
    let (read, mut write): (_, Out) = tokio::io::split(pipe);
    let mut lines: Lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(request) = serde_json::from_str::<Value>(&line) else { return };
        heard.lock().unwrap().push(request.clone());
        let method = request["method"].as_str().unwrap_or_default();
        if request.pointer("/params/name") == Some(&json!("die")) {
            return;
        }
        let result = match method {
            "initialize" => Some(json!({
                "protocolVersion": request["params"]["protocolVersion"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "s", "version": "1"},
            })),
            _ => answer(method, &request["params"]),
        };
        if let (Some(result), Some(id)) = (result, request.get("id")) {
            let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
            if write.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

struct World {
    server: Server,
    starts: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<Value>>>,
}

fn world(name: Option<&str>, call: Duration, answer: Answer) -> World {
    let (starts, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (count, told) = (starts.clone(), heard.clone());
    let launch = Launch::Pipe(Box::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        tokio::spawn(speak(theirs, answer.clone(), told.clone()));
        ours
    }));
    let server = Server::new(name.map(str::to_owned), launch, (Duration::from_secs(5), call));
    World { server, starts, heard }
}

fn honest(names: &'static [&'static str]) -> Answer {
    Arc::new(move |method, params| match method {
        "tools/list" => Some(tools(names)),
        "tools/call" => Some(text(&format!("{} {}", params["name"], params["arguments"]))),
        _ => None,
    })
}

const LONG: Duration = Duration::from_secs(20);

async fn host(
    own: Server,
    users: Vec<(Server, Filter)>,
    all: Filter,
) -> (Result<Host, HostError>, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    (Host::of(own, users, &all, Vec::new(), heard.clone()).await, heard)
}

fn names(host: &Host) -> Vec<&str> {
    host.list_tools().iter().map(crate::Tool::name).collect()
}

#[tokio::test]
async fn tools_of_all_servers_stand_under_their_names() {
    let own = world(None, LONG, honest(&["read", "mcp__x__y", "config"]));
    let one = world(Some("one"), LONG, honest(&["read", "a.b", "connect", "b c"]));
    let two = world(Some("two"), LONG, honest(&["keep", "drop"]));
    let only = Filter::new(Some(&["keep".to_owned(), "drop".to_owned()]), &["mcp__two__drop".to_owned()]);
    let users = vec![(one.server, Filter::default()), (two.server, only)];
    let (host, heard) = host(own.server, users, Filter::new(None, &["a.b".to_owned()])).await;
    let host = host.unwrap();
    assert_eq!(names(&host), ["read", "mcp__one__read", "mcp__two__keep"]);
    assert_eq!(host.warnings().len(), 4, "{:?}", host.warnings());

    let arguments = Map::from_iter([("x".to_owned(), json!(1))]);
    let answer = host.call("mcp__one__read", arguments).await.unwrap();
    assert_eq!(answer.texts().collect::<Vec<_>>(), ["\"read\" {\"x\":1}"]);
    assert_eq!(
        heard.all(),
        ["call-1 mcp__one__read {\"x\":1}", "call-1 mcp__one__read = \"read\" {\"x\":1}"]
    );
    for hidden in ["mcp__two__drop", "mcp__one__connect", "mcp__one__a.b", "keep", ""] {
        assert!(matches!(host.call(hidden, Map::new()).await, Err(CallError::UnknownTool(_))), "{hidden}");
    }
    assert_eq!(heard.all().len(), 2, "what is not called is not told");
    let deep = (0..100).fold(Value::Null, |inner, _| json!([inner]));
    let deep = host.call("read", Map::from_iter([("x".to_owned(), deep)])).await;
    assert!(matches!(deep, Err(CallError::Arguments(_))));
}

#[tokio::test]
async fn a_dead_server_is_an_answer_and_harms_no_other() {
    let own = world(None, LONG, honest(&["read", "die"]));
    let user = world(Some("u"), LONG, honest(&["read", "die"]));
    let silent = world(Some("silent"), LONG, Arc::new(|_, _| None));
    let (own_starts, user_starts) = (own.starts.clone(), user.starts.clone());
    let users = vec![(user.server, Filter::default())];
    drop(silent);
    let (host, _) = host(own.server, users, Filter::default()).await;
    let host = host.unwrap();
    let failed = host.call("mcp__u__die", Map::new()).await.unwrap();
    assert!(failed.is_error() && failed.texts().any(|t| t.contains("MCP server u")), "{failed:?}");
    let failed = host.call("mcp__u__read", Map::new()).await.unwrap();
    assert!(failed.is_error() && failed.texts().any(|t| t.contains("ended")), "{failed:?}");
    assert_eq!(user_starts.load(Ordering::SeqCst), 1, "a user's server is not started again");
    assert!(!host.call("read", Map::new()).await.unwrap().is_error());

    assert!(host.call("die", Map::new()).await.unwrap().is_error());
    assert!(host.call("read", Map::new()).await.unwrap().is_error());
    assert_eq!(own_starts.load(Ordering::SeqCst), 1, "nor is the sandbox's own");
}

#[tokio::test]
async fn without_the_sandboxs_own_tools_there_is_no_host() {
    let own = world(None, LONG, Arc::new(|_, _| Some(json!({"tools": 7}))));
    let (host, _) = host(own.server, Vec::new(), Filter::default()).await;
    assert!(matches!(host, Err(HostError::Guest(_))));
}

#[tokio::test]
async fn the_sandboxs_own_tools_are_there_before_anything_else_runs() {
    let dead = world(None, LONG, Arc::new(|_, _| Some(json!(7))));
    let user = world(Some("user"), LONG, honest(&["x"]));
    let (host, _) = host(dead.server, vec![(user.server, Filter::default())], Filter::default()).await;
    assert!(host.is_err());
    assert_eq!(user.starts.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_and_told_so() {
    let own = world(None, LONG, honest(&["read"]));
    let silent = Arc::new(|method: &str, _: &Value| (method == "tools/list").then(|| tools(&["wait"])));
    let slow = world(Some("slow"), Duration::from_secs(3), silent);
    let deaf = world(Some("deaf"), LONG, Arc::new(|_, _| None));
    let users = vec![(slow.server, Filter::default()), (deaf.server, Filter::default())];
    let (host, _) = host(own.server, users, Filter::default()).await;
    let host = host.unwrap();
    assert_eq!(names(&host), ["read", "mcp__slow__wait"]);
    assert!(host.warnings()[0].contains("deaf has no tools: it did not answer within 5 s"));
    let late = host.call("mcp__slow__wait", Map::new()).await.unwrap();
    assert!(late.is_error() && late.texts().any(|t| t.contains("within 3 s")), "{late:?}");
    let cancelled = || slow.heard.lock().unwrap().iter().any(|m| m["method"] == "notifications/cancelled");
    while !cancelled() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled_and_told() {
    let own = world(None, LONG, Arc::new(|method, _| (method == "tools/list").then(|| tools(&["wait"]))));
    let (host, heard) = host(own.server, Vec::new(), Filter::default()).await;
    let host = Arc::new(host.unwrap());
    let calling = host.clone();
    let call = tokio::spawn(async move { calling.call("wait", Map::new()).await });
    let called = || own.heard.lock().unwrap().iter().any(|m| m["method"] == "tools/call");
    while !called() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    call.abort();
    let cancelled = || own.heard.lock().unwrap().iter().any(|m| m["method"] == "notifications/cancelled");
    while !(cancelled() && heard.all().len() == 2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(heard.all()[1], "call-1 wait = none");
}

#[tokio::test]
async fn calls_that_wait_hold_only_so_much() {
    let own = world(None, LONG, honest(&["read"]));
    let (host, heard) = host(own.server, Vec::new(), Filter::default()).await;
    let host = host.unwrap();
    let large = || Map::from_iter([("x".to_owned(), json!("x".repeat(1 << 20)))]);
    let others = host.held.try_acquire_many((crate::host::HELD - 1024) as u32).unwrap();
    host.call("read", large()).await.unwrap();
    host.call("read", large()).await.unwrap();
    let other = host.held.try_acquire_many(1).unwrap();
    let told = heard.all().len();
    assert!(matches!(host.call("read", large()).await, Err(CallError::Busy)));
    host.call("read", Map::new()).await.unwrap();
    assert_eq!(heard.all().len(), told + 2, "what is refused is not called");
    drop((others, other));
    host.call("read", large()).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let own = world(None, LONG, honest(&["read"]));
    let (host, heard) = host(own.server, Vec::new(), Filter::default()).await;
    *heard.1.lock().unwrap() = true;
    assert!(matches!(host.unwrap().call("read", Map::new()).await, Err(CallError::Unrecorded(_))));
    assert!(!own.heard.lock().unwrap().iter().any(|m| m["method"] == "tools/call"));
}

#[tokio::test]
async fn only_the_sandboxs_own_tools_speak_of_denials() {
    let refused = json!({"content": [], "isError": true, "structuredContent": {"denial": {"rule": "r"}}});
    let says = move |method: &str, _: &Value| match method {
        "tools/list" => Some(tools(&["x"])),
        _ => Some(refused.clone()),
    };
    let (own, user) = (world(None, LONG, Arc::new(says.clone())), world(Some("u"), LONG, Arc::new(says)));
    let (host, _) = host(own.server, vec![(user.server, Filter::default())], Filter::default()).await;
    let host = host.unwrap();
    assert_eq!(host.call("x", Map::new()).await.unwrap().denial().unwrap().rule, "r");
    assert_eq!(host.call("mcp__u__x", Map::new()).await.unwrap().denial(), None);
}

#[tokio::test]
async fn endless_lists_have_an_end() {
    let endless = Arc::new(|method: &str, _: &Value| {
        (method == "tools/list").then(|| json!({"tools": [], "nextCursor": "again"}))
    });
    let many = Arc::new(|method: &str, _: &Value| {
        let tool = json!({"name": "t", "inputSchema": {}});
        (method == "tools/list").then(|| json!({"tools": vec![tool; 400], "nextCursor": "again"}))
    });
    let own = world(None, LONG, honest(&["read"]));
    let (endless, many) = (world(Some("e"), LONG, endless), world(Some("m"), LONG, many));
    let users = vec![(endless.server, Filter::default()), (many.server, Filter::default())];
    let (host, _) = host(own.server, users, Filter::default()).await;
    let host = host.unwrap();
    assert_eq!(names(&host), ["read"]);
    assert!(host.warnings()[0].contains("pages") && host.warnings()[1].contains("1000 tools"));
}

#[tokio::test]
async fn a_client_sees_one_server() {
    use rmcp::{ServiceExt as _, model::CallToolRequestParams};
    let own = world(None, LONG, honest(&["read"]));
    let user = world(Some("u"), LONG, honest(&["go"]));
    let (host, _) = host(own.server, vec![(user.server, Filter::default())], Filter::default()).await;
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let (read, write) = tokio::io::split(theirs);
    let serving = tokio::spawn(Arc::new(host.unwrap()).serve(read, write));
    let client = rmcp::model::ClientConfig::default().serve(ours).await.unwrap();
    let listed = client.peer().list_all_tools().await.unwrap();
    assert_eq!(listed.iter().map(|t| t.name.as_ref()).collect::<Vec<_>>(), ["read", "mcp__u__go"]);
    let called = client.peer().call_tool_once(CallToolRequestParams::new("mcp__u__go")).await.unwrap();
    assert!(format!("{called:?}").contains("go"), "{called:?}");
    let unknown = client.peer().call_tool_once(CallToolRequestParams::new("nope")).await.unwrap_err();
    assert!(unknown.to_string().contains("no tool \"nope\""), "{unknown}");
    drop(client);
    serving.await.unwrap().unwrap();
}
