//! Models that speak HTTP/2: honest ones, and those that do what only it lets a server do.

use super::*;
use crate::{
    AskError, Patience,
    testing::{END, Outcome, ask, ask_until, chunk, hurried, with_client},
};
use bytes::Bytes;
use h2::{Reason, server::SendResponse};
use hyper::http::Response;
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{net::TcpListener, sync::mpsc, task::AbortHandle};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// Answers with this word.
    Says(&'static str),
    /// Begins, and breaks the stream.
    Breaks,
    /// Begins, and ends the connection.
    GoesAway,
    /// Takes no request, which is to be sent again.
    Refuses,
    /// Sends headers without measure.
    Headers,
    /// Sends interim answers, and no other.
    Interim,
    /// Says nothing, and tells when the stream is given up.
    Waits,
}

struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    given_up: mpsc::UnboundedReceiver<Reason>,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Does one after the other, and the last for ever.
    async fn start(script: &'static [Does]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (tell, given_up) = mpsc::unbounded_channel();
        let (counted, heard) = (connections.clone(), requests.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let (heard, tell) = (heard.clone(), tell.clone());
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.ok()?;
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let does = {
                            let mut heard = heard.lock().unwrap();
                            heard.push(format!("{request:?}"));
                            script[(heard.len() - 1).min(script.len() - 1)]
                        };
                        // What it is asked is read, so that the connection goes on.
                        let mut body = request.into_body();
                        tokio::spawn(async move {
                            while let Some(Ok(bytes)) = body.data().await {
                                let _ = body.flow_control().release_capacity(bytes.len());
                            }
                        });
                        if does == Does::GoesAway {
                            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                        }
                        tokio::spawn(answer(does, respond, tell.clone()));
                    }
                    Some(())
                });
            }
        });
        Self { port, connections, requests, given_up, task: task.abort_handle() }
    }

    fn model(&self) -> crate::Model {
        with_client(&format!("http://127.0.0.1:{}/v1", self.port), &Client::second_version())
    }

    fn asked(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

async fn answer(
    does: Does,
    mut respond: SendResponse<Bytes>,
    tell: mpsc::UnboundedSender<Reason>,
) -> Result<(), h2::Error> {
    let head = || Response::builder().header("content-type", "text/event-stream");
    match does {
        Does::Says(word) => {
            let mut body = respond.send_response(head().body(()).unwrap(), false)?;
            body.send_data(Bytes::from(chunk(word)), false)?;
            body.send_data(Bytes::from_static(END.as_bytes()), true)?;
        }
        Does::Breaks => {
            let mut body = respond.send_response(head().body(()).unwrap(), false)?;
            body.send_data(Bytes::from(chunk("half")), false)?;
            body.send_reset(Reason::INTERNAL_ERROR);
        }
        Does::GoesAway => {}
        Does::Refuses => respond.send_reset(Reason::REFUSED_STREAM),
        Does::Headers => {
            let large = "x".repeat(30 << 10);
            let head = (0..20).fold(head(), |head, n| head.header(format!("x-{n}"), &large));
            respond.send_response(head.body(()).unwrap(), true)?;
        }
        Does::Interim => loop {
            let hint = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
            respond.send_informational(hint)?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        },
        Does::Waits => {
            let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await?;
            let _ = tell.send(reason);
        }
    }
    Ok(())
}

fn is_key_told(outcome: &Outcome) -> bool {
    format!("{:?} {:?}", outcome.end, outcome.told).contains(crate::testing::KEY)
}

#[tokio::test]
async fn many_questions_share_a_connection() {
    let server = Server::start(&[Does::Says("grüße")]).await;
    let model = server.model();
    assert_eq!(ask(&model).await.text(), "grüße");
    let cancel = CancellationToken::new();
    let all: Vec<_> = (0..16).map(|_| ask_until(&model, None, &cancel)).collect();
    for asked in all {
        assert_eq!(asked.await.text(), "grüße");
    }
    let both = tokio::join!(ask(&model), ask(&model));
    assert_eq!((both.0.text(), both.1.text()), ("grüße".to_owned(), "grüße".to_owned()));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let request = server.requests.lock().unwrap()[0].clone();
    assert!(request.contains("HTTP/2.0") && request.contains("authorization"), "{request}");
    assert!(!request.contains("accept-encoding"), "{request}");
}

#[tokio::test]
async fn what_breaks_off_is_asked_again() {
    for breaks in [
        &[Does::Breaks, Does::Breaks, Does::Says("all")],
        &[Does::GoesAway, Does::GoesAway, Does::Says("all")],
    ] {
        let server = Server::start(breaks).await;
        let outcome = ask(&server.model()).await;
        assert_eq!(outcome.text(), "all", "{breaks:?}: {:?}", outcome.end);
        assert_eq!(outcome.end.as_ref().unwrap().items.len(), 1);
        assert!(server.asked() >= 3 && !is_key_told(&outcome));
    }
    // What was certainly not worked on may be sent again by whoever notices first.
    let server = Server::start(&[Does::Refuses, Does::Says("all")]).await;
    assert_eq!(ask(&server.model()).await.text(), "all");
}

#[tokio::test]
async fn headers_without_measure_are_no_answer() {
    let server = Server::start(&[Does::Headers]).await;
    let outcome = ask(&server.model()).await;
    assert!(outcome.end.is_err() && outcome.text().is_empty() && !is_key_told(&outcome), "{:?}", outcome.end);
}

#[tokio::test]
async fn interim_answers_are_none() {
    let server = Server::start(&[Does::Interim]).await;
    let short = Patience { first: Duration::from_millis(200), ..hurried() };
    let outcome = ask(&server.model().with_patience(short)).await;
    assert!(outcome.end.is_err());
    assert!(outcome.again().iter().all(|why| why.contains("sent nothing")), "{:?}", outcome.again());
}

#[tokio::test]
async fn a_question_that_is_given_up_is_given_up_there_too() {
    let mut server = Server::start(&[Does::Waits, Does::Says("next")]).await;
    let (model, cancel) = (server.model(), CancellationToken::new());
    let stops = async {
        while server.asked() == 0 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(ask_until(&model, None, &cancel), stops);
    assert!(matches!(outcome.end, Err(AskError::Cancelled)), "{:?}", outcome.end);
    assert_eq!(server.given_up.recv().await, Some(Reason::CANCEL));
    // And nobody else's.
    assert_eq!(ask(&model).await.text(), "next");
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}
