//! Puts the parts of an answer together, in bounded memory. All protocols use it, so
//! that what makes a call a call is decided in one place.

use super::{
    Answer, ApiError, Arguments, Broken, Call, Event, Item, Limits, Opaque, Origin, Reasoning, Stop, Text,
    Usage, Written,
    limits::NAME,
    value::{escapes, weight},
};
use crate::text::clip;
use serde_json::Value;
use std::collections::HashSet;

/// A part of an answer, by its place.
pub(super) type Slot = usize;
/// Who is told what comes.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Event);

/// An answer that is being written.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) origin: Origin,
    pub(super) usage: Usage,
    pub(super) model: String,
    pub(super) id: String,
    limits: Limits,
    kept: usize,
    calls: usize,
    serial: u64,
    ids: HashSet<String>,
    slots: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(String, Option<Value>),
    Reasoning(String, Option<Value>),
    Call(Open),
    Kept(Value),
}

#[derive(Debug)]
struct Open {
    index: usize,
    id: String,
    name: String,
    text: String,
    opaque: Option<Value>,
    end: End,
    /// Whether its end was told.
    closed: bool,
}

#[derive(Debug, PartialEq)]
enum End {
    Open,
    /// Whole; whether nothing at all was written is remembered.
    Whole {
        empty: bool,
    },
    Broken(Broken),
}

impl Assembly {
    pub(super) fn new(origin: Origin, limits: Limits, serial: u64) -> Self {
        Self {
            origin,
            limits,
            serial,
            usage: Usage::default(),
            model: String::new(),
            id: String::new(),
            kept: 0,
            calls: 0,
            ids: HashSet::new(),
            slots: Vec::new(),
        }
    }

    /// The name of the model and the id of the answer, once they are known.
    pub(super) fn named(&mut self, model: Option<&str>, id: Option<&str>) {
        if let Some(model) = model.filter(|_| self.model.is_empty()) {
            self.model = clip(model, NAME);
        }
        if let Some(id) = id.filter(|_| self.id.is_empty()) {
            self.id = clip(id, NAME);
        }
    }

    pub(super) fn used(&mut self, usage: Usage, each: Sink<'_>) {
        if usage != self.usage {
            self.usage = usage;
            each(Event::Usage(usage));
        }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.kept = self.kept.saturating_add(bytes);
        if self.kept > self.limits.kept {
            return Err(ApiError::too_much("bytes to be kept", self.limits.kept));
        }
        Ok(())
    }

    /// Counts what a parser keeps itself.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.charge(bytes)
    }

    /// What was written to a part.
    pub(super) fn words(&self, slot: Slot) -> &str {
        match self.slots.get(slot) {
            Some(Piece::Text(text, _) | Piece::Reasoning(text, _)) => text,
            _ => "",
        }
    }

    fn open(&mut self, piece: Piece) -> Result<Slot, ApiError> {
        if self.slots.len() >= self.limits.items {
            return Err(ApiError::too_much("parts", self.limits.items));
        }
        self.slots.push(piece);
        Ok(self.slots.len() - 1)
    }

    pub(super) fn open_text(&mut self) -> Result<Slot, ApiError> {
        self.open(Piece::Text(String::new(), None))
    }

    pub(super) fn open_reasoning(&mut self) -> Result<Slot, ApiError> {
        self.open(Piece::Reasoning(String::new(), None))
    }

    /// Keeps what only the provider understands; `size` is at least that of its text.
    pub(super) fn keep(&mut self, json: Value, size: usize) -> Result<Slot, ApiError> {
        self.charge(size.saturating_add(weight(&json)))?;
        self.open(Piece::Kept(json))
    }

    /// More words or thoughts for a part.
    pub(super) fn write(&mut self, slot: Slot, delta: &str, each: Sink<'_>) -> Result<(), ApiError> {
        if delta.is_empty() {
            return Ok(());
        }
        self.charge(delta.len() + escapes(delta))?;
        match self.slots.get_mut(slot) {
            Some(Piece::Text(text, _)) => {
                text.push_str(delta);
                each(Event::Text(delta.to_owned()));
            }
            Some(Piece::Reasoning(text, _)) => {
                text.push_str(delta);
                each(Event::Reasoning(delta.to_owned()));
            }
            _ => return Err(ApiError::unreadable("words for a part that is none of words")),
        }
        Ok(())
    }

    /// Whether nothing was written to a part yet.
    pub(super) fn is_empty(&self, slot: Slot) -> bool {
        match self.slots.get(slot) {
            Some(Piece::Text(text, _) | Piece::Reasoning(text, _)) => text.is_empty(),
            Some(Piece::Call(call)) => call.text.is_empty(),
            Some(Piece::Kept(_)) | None => true,
        }
    }

    /// What has to go back with a part; `size` is at least that of its text.
    pub(super) fn seal(&mut self, slot: Slot, json: Value, size: usize) -> Result<(), ApiError> {
        self.charge(size.saturating_add(weight(&json)))?;
        match self.slots.get_mut(slot) {
            Some(Piece::Text(_, opaque) | Piece::Reasoning(_, opaque)) => *opaque = Some(json),
            Some(Piece::Call(call)) => call.opaque = Some(json),
            Some(Piece::Kept(kept)) => *kept = json,
            None => {}
        }
        Ok(())
    }

    pub(super) fn sealed(&self, slot: Slot) -> Option<&Value> {
        match self.slots.get(slot)? {
            Piece::Text(_, opaque) | Piece::Reasoning(_, opaque) => opaque.as_ref(),
            Piece::Call(call) => call.opaque.as_ref(),
            Piece::Kept(kept) => Some(kept),
        }
    }

    /// A call begins. One without an id of its own gets one.
    pub(super) fn open_call(&mut self, id: &str, name: &str, each: Sink<'_>) -> Result<Slot, ApiError> {
        if self.calls >= self.limits.calls {
            return Err(ApiError::too_much("tool calls", self.limits.calls));
        }
        let index = self.calls;
        self.calls += 1;
        self.charge(id.len() + name.len())?;
        let mut end = End::Open;
        if name.is_empty() || name.len() > NAME {
            end = End::Broken(Broken::new("the call names no tool", name));
        }
        let usable = !id.is_empty() && id.len() <= NAME && !self.ids.contains(id);
        let id = if usable { id.to_owned() } else { self.made_id(index) };
        self.ids.insert(id.clone());
        let name = clip(name, NAME);
        each(Event::CallBegin { index, id: id.clone(), name: name.clone() });
        self.open(Piece::Call(Open {
            index,
            id,
            name,
            text: String::new(),
            opaque: None,
            end,
            closed: false,
        }))
    }

    fn made_id(&self, index: usize) -> String {
        let mut id = format!("call_{}_{index}", self.serial);
        while self.ids.contains(&id) {
            id.push('x');
        }
        id
    }

    fn call(&mut self, slot: Slot) -> Result<&mut Open, ApiError> {
        match self.slots.get_mut(slot) {
            Some(Piece::Call(call)) => Ok(call),
            _ => Err(ApiError::unreadable("arguments for a part that is no call")),
        }
    }

    /// The id of a call that has begun.
    pub(super) fn call_id(&self, slot: Slot) -> &str {
        match self.slots.get(slot) {
            Some(Piece::Call(call)) => &call.id,
            _ => "",
        }
    }

    /// How many parts there may be.
    pub(super) fn most_items(&self) -> usize {
        self.limits.items
    }

    /// The name of a call that has begun.
    pub(super) fn call_name(&self, slot: Slot) -> &str {
        match self.slots.get(slot) {
            Some(Piece::Call(call)) => &call.name,
            _ => "",
        }
    }

    /// More arguments.
    pub(super) fn arguments(&mut self, slot: Slot, delta: &str, each: Sink<'_>) -> Result<(), ApiError> {
        if delta.is_empty() {
            return Ok(());
        }
        self.charge(delta.len() + escapes(delta))?;
        let most = self.limits.arguments;
        let call = self.call(slot)?;
        if call.text.len() + delta.len() > most {
            return Err(ApiError::too_much("bytes in the arguments of a call", most));
        }
        if !matches!(call.end, End::Open | End::Broken(_)) {
            return Err(ApiError::unreadable("arguments for a call that had ended"));
        }
        call.text.push_str(delta);
        each(Event::CallArguments { index: call.index, delta: delta.to_owned() });
        Ok(())
    }

    /// All arguments at once, after their pieces or instead of them.
    pub(super) fn whole_arguments(&mut self, slot: Slot, all: &str, each: Sink<'_>) -> Result<(), ApiError> {
        let call = self.call(slot)?;
        if call.text == all || all.is_empty() || call.end != End::Open {
            return Ok(());
        }
        if !call.text.is_empty() {
            let why = "the provider sent two different arguments for one call";
            call.end = End::Broken(Broken::new(why, all));
            return Ok(());
        }
        self.arguments(slot, all, each)
    }

    /// Makes a call none, whatever its arguments are.
    pub(super) fn break_call(&mut self, slot: Slot, why: &str) -> Result<(), ApiError> {
        let call = self.call(slot)?;
        if !matches!(call.end, End::Broken(_)) {
            call.end = End::Broken(Broken::new(why, &call.text));
        }
        Ok(())
    }

    /// A call is written. Nothing at all counts as no arguments.
    pub(super) fn close_call(&mut self, slot: Slot, each: Sink<'_>) -> Result<(), ApiError> {
        let mut values = 0;
        let call = self.call(slot)?;
        if call.end == End::Open {
            let empty = call.text.trim().is_empty();
            if empty {
                "{}".clone_into(&mut call.text);
            }
            // Read again at the end: a second copy of it all would double what is kept.
            call.end = match Arguments::parse(std::mem::take(&mut call.text)) {
                Ok(arguments) => {
                    values = arguments.object().values().map(weight).sum();
                    call.text = arguments.into();
                    End::Whole { empty }
                }
                Err(broken) => End::Broken(broken),
            };
        }
        call.closed = true;
        let broken = if let End::Broken(broken) = &call.end { Some(broken.clone()) } else { None };
        each(Event::CallEnd { index: call.index, broken });
        self.charge(values)
    }

    /// Closes the calls that are not closed yet, in their order.
    pub(super) fn close_calls(&mut self, each: Sink<'_>) -> Result<(), ApiError> {
        for slot in 0..self.slots.len() {
            if matches!(&self.slots[slot], Piece::Call(call) if !call.closed) {
                self.close_call(slot, each)?;
            }
        }
        Ok(())
    }

    /// The answer, in the order in which its parts began.
    pub(super) fn finish(self, stop: Stop) -> Answer {
        let sealed = |json: Option<Value>| json.map(|json| Opaque { origin: self.origin.clone(), json });
        let items = self.slots.into_iter().filter_map(|piece| {
            Some(match piece {
                Piece::Text(text, None) if text.is_empty() => return None,
                Piece::Text(text, json) => Item::Text(Text { text, opaque: sealed(json) }),
                Piece::Reasoning(text, None) if text.is_empty() => return None,
                Piece::Reasoning(text, json) => Item::Reasoning(Reasoning { text, opaque: sealed(json) }),
                Piece::Kept(Value::Null) => return None,
                Piece::Kept(json) => Item::Kept(Opaque { origin: self.origin.clone(), json }),
                Piece::Call(call) => Item::Call(call.finish(&stop, &sealed)),
            })
        });
        Answer { items: items.collect(), stop, usage: self.usage, model: self.model, id: self.id }
    }
}

impl Open {
    fn finish(self, stop: &Stop, sealed: &dyn Fn(Option<Value>) -> Option<Opaque>) -> Call {
        let broken = |why: &str| Written::Broken(Broken::new(why, &self.text));
        let arguments = match (self.end, stop) {
            (End::Broken(broken), _) => Written::Broken(broken),
            (End::Open, _) => broken("the provider never finished the call"),
            (_, Stop::Refused(_)) => broken("the provider stopped the answer"),
            (_, Stop::Other(_) | Stop::Malformed(_)) => broken("the answer did not end as it should"),
            // An object ends by itself; of nothing nobody knows whether it was to be more.
            (End::Whole { empty: true }, Stop::Length | Stop::Window) => {
                broken("the answer reached its limit of tokens before the arguments were written")
            }
            (End::Whole { .. }, _) => match Arguments::parse(self.text) {
                Ok(arguments) => Written::Whole(arguments),
                Err(broken) => Written::Broken(broken),
            },
        };
        Call { id: self.id, name: self.name, arguments, opaque: sealed(self.opaque) }
    }
}
