use super::{
    Answer, ApiError, Event, Failure, Limits, Origin, Protocol, assembly::Sink, chat, generate, messages,
    node::Node, responses, sse::Sse, value,
};

/// So much of a body that is no stream of events is looked at for what it says.
const HEAD: usize = super::failure::BODY;

/// Reads the events of one protocol into one answer.
pub(super) trait Parser: std::fmt::Debug + Send {
    /// The next event; `size` is that of its text.
    fn event(&mut self, name: &str, event: &Node<'_>, size: usize, each: Sink<'_>) -> Result<(), ApiError>;
    /// An event that is no JSON, such as `[DONE]`; false when the protocol has none such.
    fn sentinel(&mut self, _data: &str) -> bool {
        false
    }
    /// Whether nothing may follow.
    fn is_done(&self) -> bool;
    /// The answer, if it is complete.
    fn finish(self: Box<Self>, each: Sink<'_>) -> Result<Answer, ApiError>;
}

/// Reads a streamed answer, cut anywhere.
///
/// What comes is told as it comes; what may be acted upon is what [`Stream::finish`]
/// answers. An error is final: of the answer nothing is left.
#[derive(Debug)]
pub struct Stream {
    limits: Limits,
    sse: Sse,
    parser: Box<dyn Parser>,
    total: u64,
    head: Vec<u8>,
    begun: bool,
    failed: Option<ApiError>,
}

impl Stream {
    /// For an answer of this origin. `serial` counts the answers of a conversation: it
    /// makes the ids of calls differ to which the provider gave none.
    #[must_use]
    pub fn new(origin: Origin, limits: Limits, serial: u64) -> Self {
        let parser: Box<dyn Parser> = match origin.protocol {
            Protocol::Responses => Box::new(responses::Reader::new(origin, limits, serial)),
            Protocol::Chat => Box::new(chat::Reader::new(origin, limits, serial)),
            Protocol::Messages => Box::new(messages::Reader::new(origin, limits, serial)),
            Protocol::Generate => Box::new(generate::Reader::new(origin, limits, serial)),
        };
        Self {
            limits,
            sse: Sse::new(limits.event),
            parser,
            total: 0,
            head: Vec::new(),
            begun: false,
            failed: None,
        }
    }

    /// The next piece of the body of a successful response.
    ///
    /// # Errors
    /// When the provider reports a failure, when what comes is none of the protocol, or
    /// too much; the same again afterwards.
    pub fn push(&mut self, bytes: &[u8], each: &mut dyn FnMut(Event)) -> Result<(), ApiError> {
        self.guarded(|this| {
            if this.is_done() {
                return Ok(());
            }
            this.total = this.total.saturating_add(bytes.len() as u64);
            if this.total > this.limits.stream {
                return Err(ApiError::TooMuch { what: "bytes", limit: this.limits.stream });
            }
            if !this.begun {
                let room = HEAD.saturating_sub(this.head.len());
                this.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            let Self { sse, parser, limits, begun, .. } = this;
            let read = sse.push(bytes, &mut |name, data| {
                *begun = true;
                read_event(parser.as_mut(), limits, name, data, each)
            });
            if *begun {
                this.head = Vec::new();
            }
            read
        })
    }

    /// Whether the answer is complete and nothing more has to be read. Not every protocol
    /// says so before the body ends.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.failed.is_none() && self.parser.is_done()
    }

    /// The body has ended.
    ///
    /// # Errors
    /// When the answer is not complete, or anything was wrong before.
    pub fn finish(mut self, each: &mut dyn FnMut(Event)) -> Result<Answer, ApiError> {
        self.guarded(|this| {
            if this.is_done() {
                return Ok(());
            }
            let Self { sse, parser, limits, begun, .. } = this;
            let read = sse.finish(&mut |name, data| {
                *begun = true;
                read_event(parser.as_mut(), limits, name, data, each)
            });
            // The last event may have lost its end, in the middle of a character too.
            match read {
                Err(ApiError::Unreadable { .. }) => Err(ApiError::Truncated),
                other => other,
            }
        })?;
        if !self.begun {
            return Err(no_stream(&self.head));
        }
        self.parser.finish(each)
    }

    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<(), ApiError>) -> Result<(), ApiError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let result = step(self);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }
}

fn read_event(
    parser: &mut dyn Parser,
    limits: &Limits,
    name: &str,
    data: &str,
    each: Sink<'_>,
) -> Result<(), ApiError> {
    // What begins like an object is no word of its own.
    if parser.is_done()
        || (!data.starts_with('{') && (data.trim().is_empty() || parser.sentinel(data.trim())))
    {
        return Ok(());
    }
    let event = Node::read(data, limits.values)
        .map_err(|why| ApiError::unreadable(format!("an event that is no JSON to be trusted ({why})")))?;
    if !event.is_object() {
        return Err(ApiError::unreadable("an event that is no JSON object"));
    }
    parser.event(name, &event, data.len(), each)
}

/// A success whose body has no events: some servers report failures like this.
fn no_stream(head: &[u8]) -> ApiError {
    let text = String::from_utf8_lossy(head);
    match value::parse(&text, 10_000) {
        Ok(body) if body.get("error").is_some_and(|e| !e.is_null()) || body.get(0).is_some() => {
            ApiError::Refused(Box::new(Failure::of_body(None, &body)))
        }
        _ if text.trim().is_empty() => ApiError::Truncated,
        _ => ApiError::NoStream { began: text.trim().chars().take(120).collect() },
    }
}
