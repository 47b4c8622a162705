use crate::logins::Hidden;
use bytes::Bytes;
use cordon_backends::Redactor;
use cordon_proto::v1::{OutputEvent, OutputStream};
use cordon_sandbox::guest::ProcessEvent;
use std::{collections::VecDeque, sync::Arc};

/// Raw output is told in pieces of at most so many bytes, as far as a secret in them
/// does not make them longer.
const PIECE: usize = 64 << 10;

/// What a process prints on its way into the journal: without secrets, in few pieces,
/// and with the places of the guest's log that a piece stands for. Redaction may hold
/// bytes back and changes lengths, so places are counted in what the process printed.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    hidden: Arc<Hidden>,
    /// How many of them the redactors know.
    known: usize,
    out: Side,
    err: Side,
    seen: u64,
}

#[derive(Debug, Default)]
struct Side {
    redactor: Redactor,
    /// Where the bytes that the redactor holds back stand in the log.
    held: VecDeque<(u64, u64)>,
    /// Every byte of this stream before here is told.
    covered: u64,
}

/// How far a journal covers the log of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Covered {
    pub(crate) out: u64,
    pub(crate) err: u64,
    pub(crate) resume: u64,
}

impl Covered {
    /// Takes the places of a journaled piece into account.
    pub(crate) fn note(&mut self, output: &OutputEvent) {
        let side = if output.stream() == OutputStream::Stderr { &mut self.err } else { &mut self.out };
        *side = (*side).max(output.end_offset);
        self.resume = self.resume.max(output.resume_offset);
    }
}

/// One piece of a batch.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece {
    Output(OutputEvent),
    Dropped { from: u64, to: u64 },
}

impl Intake {
    pub(crate) fn new(hidden: Arc<Hidden>, covered: Covered) -> Self {
        let secrets = hidden.all();
        let side = |covered| Side { redactor: Redactor::new(&secrets), held: VecDeque::new(), covered };
        Self {
            known: secrets.len(),
            out: side(covered.out),
            err: side(covered.err),
            seen: covered.resume,
            hidden,
        }
    }

    /// A login that was renewed has new values: they are known before a process can see them.
    fn learn(&mut self) {
        let more = self.hidden.after(self.known);
        if !more.is_empty() {
            self.known += more.len();
            self.out.redactor.add(&more);
            self.err.redactor.add(&more);
        }
    }

    /// Everything before here is told: the guest may forget it once it is journaled.
    pub(crate) fn resume_offset(&self) -> u64 {
        let held = [&self.out, &self.err].into_iter().filter_map(|s| s.held.front().map(|(at, _)| *at));
        held.min().unwrap_or(self.seen)
    }

    fn side(&mut self, stream: OutputStream) -> &mut Side {
        if stream == OutputStream::Stderr { &mut self.err } else { &mut self.out }
    }

    /// Takes the output of a batch of events; the other events are not its business.
    pub(crate) fn take(&mut self, events: &[ProcessEvent]) -> Vec<Piece> {
        self.learn();
        let mut pieces = Vec::new();
        let mut rest = events.iter().peekable();
        while let Some(event) = rest.next() {
            match event {
                ProcessEvent::Output { stream, offset, data } => {
                    let (first, mut end) = (*offset, offset + data.len() as u64);
                    let mut joined = Joined::One(data.clone());
                    // What follows without a gap on the same stream goes along.
                    while let Some(ProcessEvent::Output { stream: s, offset, data }) = rest.peek()
                        && s == stream
                        && *offset == end
                        && joined.len() + data.len() <= PIECE
                    {
                        joined.push(data);
                        end += data.len() as u64;
                        rest.next();
                    }
                    let stream = match stream {
                        cordon_proto::guest::Stream::Stderr => OutputStream::Stderr,
                        _ => OutputStream::Stdout,
                    };
                    pieces.extend(self.output(stream, first, joined.into_bytes()).map(Piece::Output));
                }
                ProcessEvent::Dropped { from, to } => {
                    self.seen = self.seen.max(*to);
                    pieces.push(Piece::Dropped { from: *from, to: *to });
                }
                _ => {}
            }
        }
        let resume = self.resume_offset();
        // Only at the end of the batch is it known, and only whole batches are journaled.
        for piece in &mut pieces {
            if let Piece::Output(output) = piece {
                output.resume_offset = resume;
            }
        }
        pieces
    }

    fn output(&mut self, stream: OutputStream, offset: u64, mut data: Bytes) -> Option<OutputEvent> {
        let end = offset + data.len() as u64;
        self.seen = self.seen.max(end);
        let redacts = self.known > 0;
        let side = self.side(stream);
        // After a restart the other stream's bytes come again.
        let told = side.covered.saturating_sub(offset).min(data.len() as u64);
        let mut offset = offset + told;
        data = data.slice(usize::try_from(told).unwrap_or(data.len())..);
        if data.is_empty() {
            return None;
        }
        if redacts {
            side.held.push_back((offset, data.len() as u64));
            let first = side.held.front().map_or(offset, |(at, _)| *at);
            data = side.redactor.feed(&data).into();
            side.let_go(side.redactor.pending() as u64);
            offset = first;
        }
        side.covered = side.held.front().map_or(end, |(at, _)| *at);
        let end_offset = side.covered;
        (!data.is_empty()).then(|| OutputEvent {
            stream: stream.into(),
            data,
            offset,
            end_offset,
            resume_offset: 0,
        })
    }

    /// The end of the process: what was held back.
    pub(crate) fn finish(&mut self) -> Vec<OutputEvent> {
        let seen = self.seen;
        let mut rest = Vec::new();
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let side = self.side(stream);
            let offset = side.held.front().map_or(seen, |(at, _)| *at);
            let data: Bytes = side.redactor.finish().into();
            side.held.clear();
            side.covered = seen;
            if !data.is_empty() {
                let (end_offset, stream) = (seen, stream.into());
                rest.push(OutputEvent { stream, data, offset, end_offset, resume_offset: seen });
            }
        }
        rest
    }
}

impl Side {
    /// Keeps the last `pending` bytes of what is held.
    fn let_go(&mut self, pending: u64) {
        let total: u64 = self.held.iter().map(|(_, length)| length).sum();
        let mut gone = total.saturating_sub(pending);
        while let Some((at, length)) = self.held.front_mut() {
            if *length > gone {
                *at += gone;
                *length -= gone;
                return;
            }
            gone -= *length;
            self.held.pop_front();
        }
    }
}

/// One piece is passed on as it is; several are copied together.
enum Joined {
    One(Bytes),
    Many(Vec<u8>),
}

impl Joined {
    fn len(&self) -> usize {
        match self {
            Self::One(data) => data.len(),
            Self::Many(data) => data.len(),
        }
    }

    fn push(&mut self, more: &[u8]) {
        match self {
            Self::One(data) => {
                let mut all = Vec::with_capacity(PIECE);
                all.extend_from_slice(data);
                all.extend_from_slice(more);
                *self = Self::Many(all);
            }
            Self::Many(data) => data.extend_from_slice(more),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::One(data) => data,
            Self::Many(data) => data.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_proto::guest::Stream;
    use proptest::prelude::*;

    const SECRET: &str = "sk-abcdefgh";

    fn hidden() -> Arc<Hidden> {
        Arc::new(Hidden::only(&[SECRET.to_owned()]))
    }

    fn printed(pieces: &[(bool, Vec<u8>)]) -> Vec<ProcessEvent> {
        let mut offset = 0;
        let event = |(err, data): &(bool, Vec<u8>)| {
            let stream = if *err { Stream::Stderr } else { Stream::Stdout };
            let event = ProcessEvent::Output { stream, offset, data: data.clone().into() };
            offset += data.len() as u64;
            event
        };
        pieces.iter().map(event).collect()
    }

    /// The guest's log again from an offset on, as after an attach.
    fn from(events: &[ProcessEvent], start: u64) -> Vec<ProcessEvent> {
        let mut rest = Vec::new();
        for event in events {
            let ProcessEvent::Output { stream, offset, data } = event else { continue };
            let skip = start.saturating_sub(*offset);
            if skip < data.len() as u64 {
                let data = data.slice(skip as usize..);
                rest.push(ProcessEvent::Output { stream: *stream, offset: offset + skip, data });
            }
        }
        rest
    }

    fn add(streams: &mut [Vec<u8>; 2], outputs: &[OutputEvent]) {
        for o in outputs {
            streams[usize::from(o.stream() == OutputStream::Stderr)].extend_from_slice(&o.data);
        }
    }

    fn outputs(pieces: Vec<Piece>) -> Vec<OutputEvent> {
        let output = |p| match p {
            Piece::Output(o) => Some(o),
            Piece::Dropped { .. } => None,
        };
        pieces.into_iter().filter_map(output).collect()
    }

    #[test]
    fn small_pieces_of_one_stream_become_one() {
        let mut intake = Intake::new(Arc::default(), Covered::default());
        let events = printed(&[(false, b"a".to_vec()), (false, b"b".to_vec()), (true, b"c".to_vec())]);
        let found = outputs(intake.take(&events));
        let data: Vec<&[u8]> = found.iter().map(|o| &*o.data).collect();
        assert_eq!(data, [&b"ab"[..], b"c"]);
        assert_eq!((found[0].offset, found[0].end_offset, found[0].resume_offset), (0, 2, 3));
    }

    #[test]
    fn what_may_be_a_secret_is_asked_for_again() {
        let mut intake = Intake::new(hidden(), Covered::default());
        let events = printed(&[(false, b"key: sk-abc".to_vec()), (true, b"warn".to_vec())]);
        let found = outputs(intake.take(&events));
        assert_eq!(&*found[0].data, b"key: ");
        assert_eq!((found[0].end_offset, found[1].end_offset), (5, 15));
        assert_eq!(found[1].resume_offset, 5);
    }

    proptest! {
        /// Stopping after any batch and going on from the journal alone tells the
        /// same bytes as never stopping, each once, and never a secret.
        #[test]
        fn a_restart_neither_loses_nor_repeats(
            pieces in prop::collection::vec(
                (any::<bool>(), prop_oneof![
                    Just(SECRET.as_bytes().to_vec()),
                    Just(SECRET.as_bytes()[..7].to_vec()),
                    Just(SECRET.as_bytes()[7..].to_vec()),
                    prop::collection::vec(any::<u8>(), 1..20),
                ]), 1..20),
            stop in 0usize..20,
            batch in 1usize..5,
        ) {
            let events = printed(&pieces);
            let mut whole = [Vec::new(), Vec::new()];
            let mut intake = Intake::new(hidden(), Covered::default());
            add(&mut whole, &outputs(intake.take(&events)));
            add(&mut whole, &intake.finish());

            let mut parts = [Vec::new(), Vec::new()];
            let mut covered = Covered::default();
            let mut intake = Intake::new(hidden(), covered);
            for group in events.chunks(batch).take(stop) {
                let found = outputs(intake.take(group));
                found.iter().for_each(|o| covered.note(o));
                add(&mut parts, &found);
            }
            let mut intake = Intake::new(hidden(), covered);
            add(&mut parts, &outputs(intake.take(&from(&events, covered.resume))));
            add(&mut parts, &intake.finish());
            prop_assert_eq!(&parts, &whole);
            for stream in &whole {
                prop_assert!(!stream.windows(SECRET.len()).any(|w| w == SECRET.as_bytes()));
            }
        }
    }
}
