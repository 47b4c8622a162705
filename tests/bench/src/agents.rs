//! What an agent of a model API costs beside the requests and calls that it makes: time for each
//! call of a tool, memory while its model thinks.

use crate::{
    daemon::{guests, memory},
    mcp,
    models::whole_request,
    report::Report,
};
use cordon_tests::harness::{Host, User, wait_until};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

/// Calls of one turn.
const CALLS: usize = 40;
/// Agents that are idle at one time.
const AGENTS: usize = 50;
const CALL: &str = "call_0";

/// A model that asks for the same file again and again, and knows how long each question took that
/// came upon such an answer.
struct Reader {
    path: String,
    /// From the end of an answer to the whole of the next question.
    took: Mutex<Vec<Duration>>,
    /// The questions, to be asked again.
    asked: Mutex<Vec<Vec<u8>>>,
}

impl Reader {
    fn answer(&self, number: usize) -> String {
        let mut words = String::new();
        let mut event = |delta: Value, reason: Value| {
            let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
            words += &format!("data: {}\n\n", json!({"id": "1", "model": "m", "choices": [choice]}));
        };
        if number < CALLS {
            let arguments = json!({"path": self.path}).to_string();
            let function = json!({"name": "read_text_file", "arguments": arguments});
            let call = json!({"index": 0, "id": format!("{CALL}{number}"), "function": function});
            event(json!({"tool_calls": [call]}), Value::Null);
            event(json!({}), json!("tool_calls"));
        } else {
            event(json!({"content": "done"}), Value::Null);
            event(json!({}), json!("stop"));
        }
        words + "data: [DONE]\n\n"
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut read, mut answered) = (Vec::new(), None::<Instant>);
        while let Some(whole) = whole_request(&mut stream, &mut read).await? {
            if let Some(answered) = answered {
                self.took.lock().unwrap().push(answered.elapsed());
            }
            let body: Vec<u8> = read.drain(..whole.len).skip(whole.head).collect();
            let number = body.windows(CALL.len()).filter(|w| *w == CALL.as_bytes()).count() / 2;
            let said = self.answer(number);
            self.asked.lock().unwrap().push(body);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n",
                said.len()
            );
            stream.write_all(format!("{head}{said}").as_bytes()).await?;
            answered = Some(Instant::now());
        }
        Ok(())
    }

    fn take(&self, report: &mut Report, case: &str) {
        let mut took = std::mem::take(&mut *self.took.lock().unwrap());
        // The first is its connection's and its server's start.
        took.drain(..1);
        for took in took {
            report.time("tool call of an API agent, from answer to next question", case, took);
        }
    }
}

fn agents(host: &Host, ids: usize, base: &str, workspace: &Path) -> std::path::PathBuf {
    let agents: String = (0..ids)
        .map(|id| {
            format!(
                "  - id: a{id}\n    backend:\n      type: chatcompletion\n      model: m\n      base_url: {base}\n      \
                 api_key: none\n      cwd: {}\n",
                workspace.display()
            )
        })
        .collect();
    host.agent_file("api.yaml", &format!("agents:\n{agents}"))
}

/// A call of a tool by an agent, and by a program that does nothing but asking and calling.
pub(crate) async fn calls(report: &mut Report, rounds: usize) {
    let host = Host::start();
    let workspace = host.tree("ws");
    let file = workspace.join("1k.txt");
    fs::write(&file, "0123456789abcde\n".repeat(64)).unwrap();
    host.give(&file);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let reader = Arc::new(Reader {
        path: file.display().to_string(),
        took: Mutex::default(),
        asked: Mutex::default(),
    });
    let served = reader.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(served.clone().serve(stream));
        }
    });
    let agents = agents(&host, 1, &base, &workspace);
    // The first client of Cordon's says what cryptography there is.
    cordon_models::Client::new().unwrap();
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    for _ in 0..rounds {
        reader.asked.lock().unwrap().clear();
        let mut client = host.command("cordon");
        client.args(["run", agents.to_str().unwrap(), "read"]);
        let ran = tokio::task::spawn_blocking({
            let mut client = client;
            move || client.output().unwrap()
        });
        let out = ran.await.unwrap();
        assert!(out.status.success(), "{out:?}");
        reader.take(report, "Cordon");
        // The same questions, each when the answer before it has been read, and the tool called.
        let asked = std::mem::take(&mut *reader.asked.lock().unwrap());
        assert_eq!(asked.len(), CALLS + 1);
        let told = String::from_utf8_lossy(asked.last().unwrap());
        assert!(told.matches("0123456789abcde\\n0123").count() >= CALLS, "{told:.2000}");
        for (case, called) in [("direct request", false), ("direct request and call", true)] {
            let mut server = mcp::Session::ours(&workspace);
            for body in &asked {
                let url = format!("{base}/chat/completions");
                let mut response = plain.post(url).body(body.clone()).send().await.unwrap();
                while response.chunk().await.unwrap().is_some() {}
                if called {
                    server.call("read_text_file", &json!({"path": file}));
                }
            }
            server.end();
            // A connection of its own for each case, as each run has.
            reader.take(report, case);
        }
    }
}

/// Memory of agents whose model does not answer, and of sandboxes in which nothing happens.
#[allow(clippy::cast_precision_loss)]
pub(crate) async fn idle(report: &mut Report) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut read = Vec::new();
                if let Ok(Some(_)) = whole_request(&mut stream, &mut read).await {
                    heard.lock().unwrap().push(stream);
                }
            });
        }
    });
    let each = |is_api: bool| {
        let host = Host::start_as(User::Tester);
        let workspace = host.tree("ws");
        let file = if is_api {
            agents(&host, 1, &base, &workspace)
        } else {
            host.agent_file(
                "a.yaml",
                "agents:\n  - id: a\n    backend:\n      type: command\n      command: [bash, -c, \"exec sleep 600\"]\n",
            )
        };
        let before = memory(host.daemon_pid());
        for _ in 0..AGENTS {
            host.spawn(["run", file.to_str().unwrap(), "--detach", "x"]).wait().unwrap();
        }
        let within = Duration::from_secs(300);
        let wanted = if is_api { 2 * AGENTS } else { AGENTS };
        assert!(wait_until(within, || guests(&host).len() >= wanted), "{}", guests(&host).len());
        assert!(wait_until(within, || !is_api || asked.lock().unwrap().len() >= AGENTS));
        let daemon = memory(host.daemon_pid()) - before;
        let inside: f64 = guests(&host).iter().map(|pid| memory(*pid)).sum();
        (daemon / AGENTS as f64, inside / AGENTS as f64)
    };
    let (daemon, inside) = tokio::task::block_in_place(|| each(false));
    report.add("memory with 50 idle, each (PSS)", "sandbox: guest", inside, "MB");
    report.add("memory with 50 idle, each (PSS)", "sandbox: daemon's share", daemon, "MB");
    let (api_daemon, api_inside) = tokio::task::block_in_place(|| each(true));
    report.add("memory with 50 idle, each (PSS)", "API agent: guest and its tools", api_inside, "MB");
    report.add("memory with 50 idle, each (PSS)", "API agent: daemon's share", api_daemon, "MB");
    let beyond = (api_daemon + api_inside - daemon - inside).max(0.0);
    report.add("memory with 50 idle, each (PSS)", "API agent beyond its sandbox", beyond, "MB");
}
