//! What asking a model costs beside the request itself, against a server that costs nothing.

use crate::report::Report;
use cordon_backends::api::{Choice, Conversation, Endpoint, Item, Part, Settings, Target, provider};
use cordon_models::{Ask, Asks as _, Client, Model};
use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
const END: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
/// Bytes of a long answer.
const LONG: usize = 24 << 20;

fn event(words: usize) -> String {
    let text = "word ".repeat(words);
    format!(
        "data: {{\"id\":\"1\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
    )
}

/// Answers every request with the same: pieces, so long apart.
async fn serve(pieces: Vec<Vec<u8>>, apart: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pieces = Arc::new(pieces);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, pieces.clone(), apart));
        }
    });
    port
}

/// A request at the beginning of what was read.
pub(crate) struct Whole {
    pub(crate) head: usize,
    pub(crate) len: usize,
}

/// Reads on until a request is whole; nothing when there is none any more.
pub(crate) async fn whole_request(
    stream: &mut TcpStream,
    read: &mut Vec<u8>,
) -> std::io::Result<Option<Whole>> {
    loop {
        if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = end + 4;
            let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
            let body = text.lines().find_map(|l| l.strip_prefix("content-length: "));
            let len = head + body.map_or(0, |l| l.trim().parse().unwrap());
            if read.len() >= len {
                return Ok(Some(Whole { head, len }));
            }
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

async fn answer(mut stream: TcpStream, pieces: Arc<Vec<Vec<u8>>>, apart: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let length: usize = pieces.iter().map(Vec::len).sum();
    let head = format!("{HEAD}content-length: {length}\r\n\r\n");
    let mut read = Vec::new();
    while let Some(whole) = whole_request(&mut stream, &mut read).await? {
        read.drain(..whole.len);
        stream.write_all(head.as_bytes()).await?;
        for piece in pieces.iter() {
            stream.write_all(piece).await?;
            if !apart.is_zero() {
                tokio::time::sleep(apart).await;
            }
        }
    }
    Ok(())
}

fn model(port: u16, client: &Client) -> Model {
    let base = format!("http://127.0.0.1:{port}/v1");
    let endpoint = Endpoint::new(provider("chatcompletion").unwrap(), Some(&base), None).unwrap();
    let settings = Settings { model: "m".to_owned(), ..Settings::default() };
    Model::new(Target { endpoint, key: None, settings }, client)
}

async fn ask(model: &Model) -> Duration {
    let items = vec![Item::User(vec![Part::Text("hello".to_owned())])];
    let conversation = Conversation { items, ..Conversation::default() };
    let cancel = CancellationToken::new();
    let ask = Ask {
        conversation: &conversation,
        tools: &[],
        choice: Choice::Auto,
        serial: 1,
        deadline: None,
        cancel: &cancel,
    };
    let began = Instant::now();
    let mut told = 0_usize;
    model.ask(ask, &mut |_| told += 1).await.unwrap();
    assert!(told > 0);
    began.elapsed()
}

/// The same request, read to its end and thrown away.
async fn direct(client: &reqwest::Client, port: u16) -> Duration {
    let began = Instant::now();
    let url = format!("http://127.0.0.1:{port}/v1/chat/completions");
    let mut response = client.post(url).body("{}").send().await.unwrap();
    while response.chunk().await.unwrap().is_some() {}
    began.elapsed()
}

#[allow(clippy::cast_precision_loss)]
fn rate(took: Duration) -> f64 {
    LONG as f64 / 1e6 / took.as_secs_f64()
}

/// Resident memory of this process.
#[allow(clippy::cast_precision_loss)]
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Latency, rate and memory.
pub(crate) async fn all(report: &mut Report, rounds: usize) {
    let client = Client::new().unwrap();
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();

    let port = serve(vec![format!("{}{END}", event(5)).into_bytes()], Duration::ZERO).await;
    let short = model(port, &client);
    for warm in [true, false] {
        for _ in 0..rounds * 10 {
            let (cordon, direct) = (ask(&short).await, direct(&plain, port).await);
            if !warm {
                report.time("model call, short answer", "direct request", direct);
                report.time("model call, short answer", "Cordon", cordon);
            }
        }
    }

    relayed(report, rounds, &client, &plain).await;
    streaming(report, &client).await;
}

async fn relayed(report: &mut Report, rounds: usize, client: &Client, plain: &reqwest::Client) {
    for (row, words) in [("answer relayed, events of 16 kB", 3200), ("answer relayed, events of 100 B", 6)] {
        let one = event(words);
        let piece = one.repeat((64 << 10) / one.len() + 1).into_bytes();
        let mut pieces = vec![piece.clone(); LONG / piece.len()];
        pieces.push(END.as_bytes().to_vec());
        let port = serve(pieces, Duration::ZERO).await;
        let long = model(port, client);
        for _ in 0..rounds.min(10) {
            report.add(row, "direct request", rate(direct(plain, port).await), "MB/s");
            report.add(row, "Cordon", rate(ask(&long).await), "MB/s");
        }
    }
}

async fn streaming(report: &mut Report, client: &Client) {
    let mut pieces = vec![event(20).into_bytes(); 500];
    pieces.push(END.as_bytes().to_vec());
    let port = serve(pieces, Duration::from_millis(1)).await;
    let slow = model(port, client);
    let before = resident();
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let model = slow.clone();
            tokio::spawn(async move { ask(&model).await })
        })
        .collect();
    let mut most = before;
    while !asked.iter().all(tokio::task::JoinHandle::is_finished) {
        most = most.max(resident());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for task in asked {
        task.await.unwrap();
    }
    report.add("memory with 20 answers streaming", "Cordon, each", (most - before) / 20.0, "MB");
}
