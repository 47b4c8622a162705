//! The bodies of answers, and how they come.

use super::Shape;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response,
    body::Frame,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use std::{convert::Infallible, io, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

const EVENTS: &str = "text/event-stream";

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it should.
    Whole,
    /// In the middle, as if that were the end.
    Cut,
    /// In the middle, with the connection.
    Reset,
}

pub(super) fn whole(kind: &'static str, body: Bytes) -> Answer {
    answer(kind, Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync())
}

fn answer(kind: &'static str, body: UnsyncBoxBody<Bytes, io::Error>) -> Answer {
    let mut answer = Answer::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

pub(super) fn json_answer(value: &Value) -> Answer {
    whole("application/json", value.to_string().into())
}

/// An event as it is written; one without a name has none.
pub(super) fn written(name: &str, data: &str) -> String {
    if name.is_empty() { format!("data: {data}\n\n") } else { format!("event: {name}\ndata: {data}\n\n") }
}

/// Events that are all there.
pub(super) fn events(text: String, shape: &Shape, end: End) -> Answer {
    let mut text = Bytes::from(text);
    if end != End::Whole {
        // In the middle of an event, and of a character where there is one that can be cut.
        let middle = text.len() / 2;
        let cut = (middle..text.len()).find(|at| text[*at] & 0xc0 == 0x80).unwrap_or(middle);
        text.truncate(cut);
    }
    if shape.chunk == 0 && end != End::Reset {
        return whole(EVENTS, text);
    }
    let (piece, pause) = (shape.chunk.max(1), Duration::from_millis(shape.pause_ms));
    let size = if shape.chunk == 0 { text.len().max(1) } else { piece };
    pieces(move |out| async move {
        while !text.is_empty() {
            let next = text.split_to(size.min(text.len()));
            if out.send(Ok(Frame::data(next))).await.is_err() {
                return;
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        if end == End::Reset {
            let _ = out.send(Err(io::ErrorKind::ConnectionReset.into())).await;
        }
    })
}

/// Events that are made as they are read.
pub(super) fn flood(events: impl Iterator<Item = String> + Send + 'static) -> Answer {
    pieces(move |out| async move {
        for event in events {
            if out.send(Ok(Frame::data(event.into()))).await.is_err() {
                return;
            }
        }
    })
}

/// A comment, a byte at a time, for ever.
pub(super) fn drip(pause: Duration) -> Answer {
    pieces(move |out| async move {
        for at in 0_usize.. {
            let byte = if at.is_multiple_of(80) { &b"\n"[..] } else { b":" };
            if out.send(Ok(Frame::data(byte.into()))).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    })
}

type Piece = Result<Frame<Bytes>, io::Error>;

fn pieces<F: Future<Output = ()> + Send + 'static>(write: impl FnOnce(mpsc::Sender<Piece>) -> F) -> Answer {
    let (out, pieces) = mpsc::channel(1);
    tokio::spawn(write(out));
    answer(EVENTS, StreamBody::new(ReceiverStream::new(pieces)).boxed_unsync())
}
