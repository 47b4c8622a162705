//! One program's terminal and everybody who looks at it.

use crate::model::{Fed, Model, Size};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, mpsc};

/// What may be on its way to one viewer's terminal.
const IN_FLIGHT: u64 = 64 << 10;
/// How far a viewer may fall behind. One that falls further gets the screen as it is then,
/// and never sees what came between.
const BEHIND: usize = 256 << 10;
/// The largest piece for a viewer.
const PIECE: usize = 16 << 10;
/// Pieces of input under way to the program.
const INPUTS: usize = 64;
/// Viewers at once.
const VIEWERS: usize = 32;

/// What goes to the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Typed by the writer, or answered to the program.
    Data(Bytes),
    /// The writer's terminal has this size now.
    Resize(Size),
}

/// What a viewer wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The writer, where there is none.
    Any,
    /// No writer.
    Watch,
    /// The writer, or nothing.
    Write,
    /// The writer, whoever is it now.
    Take,
}

/// Why somebody cannot join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotJoined {
    /// Somebody else writes.
    Written,
    /// Too many look already.
    TooMany,
    /// The program has ended.
    Over,
}

/// Where a viewer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whether what it types arrives.
    pub writes: bool,
    /// Of the screen.
    pub size: Size,
    /// How many look.
    pub viewers: usize,
}

/// What a viewer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// For its terminal.
    Output(Bytes),
    /// Where it stands, when that has changed.
    Place(Place),
}

/// What happens among the viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Somebody came.
    Joined,
    /// Somebody went, or was lost.
    Left,
    /// Somebody may write from now on.
    Writes,
    /// Somebody may not any more.
    Watches,
}

/// What happened to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// The viewer's number.
    pub viewer: u64,
    /// Who that is, as told by whoever let it join.
    pub who: u32,
    /// What happened.
    pub what: Happening,
}

/// How the program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// As a shell counts: exit code, or 128 + signal.
    pub code: u32,
    /// Why it could not be started.
    pub failure: String,
}

/// What somebody who joins asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What to be.
    pub role: Role,
    /// Of the viewer's terminal.
    pub size: Size,
    /// Everything that the program prints, unfiltered.
    pub raw: bool,
    /// Who it is, for [`News`].
    pub who: u32,
}

/// Where the program is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing to show yet.
    Before,
    Running,
    /// None: it never ran, or how it ended is not known.
    Over(Option<End>),
}

/// A terminal, shared by whoever hosts it and whoever looks at it.
#[derive(Debug)]
pub struct Hub {
    inner: Mutex<Inner>,
    inputs: mpsc::Sender<Input>,
    program: tokio::sync::Mutex<mpsc::Receiver<Input>>,
    news: mpsc::UnboundedSender<News>,
}

struct Inner {
    model: Model,
    viewers: BTreeMap<u64, Slot>,
    writer: Option<u64>,
    next: u64,
    stage: Stage,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("viewers", &self.viewers.len()).field("stage", &self.stage).finish()
    }
}

struct Slot {
    wish: Wish,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Nothing that is queued is of use any more: it needs the whole screen.
    stale: bool,
    /// It has not been shown anything yet.
    new: bool,
    sent: u64,
    shown: u64,
    told: Option<Place>,
    wake: Arc<Notify>,
}

impl Slot {
    fn push(&mut self, data: &Bytes) {
        if self.stale || data.is_empty() {
            return;
        }
        if self.queued + data.len() > BEHIND {
            self.queue.clear();
            self.queued = 0;
            self.stale = true;
        } else {
            self.queued += data.len();
            self.queue.push_back(data.clone());
        }
        self.wake.notify_one();
    }
}

impl Hub {
    /// A terminal of this size. What happens among its viewers is told to the receiver.
    #[must_use]
    pub fn new(size: Size) -> (Arc<Self>, mpsc::UnboundedReceiver<News>) {
        Self::over(Model::new(size))
    }

    /// One that goes on where [`Hub::save`] was.
    #[must_use]
    pub fn load(size: Size, saved: &[u8]) -> (Arc<Self>, mpsc::UnboundedReceiver<News>) {
        let mut model = Model::new(size);
        // What the restored screen seems to ask was answered long ago.
        model.feed(saved);
        Self::over(model)
    }

    fn over(model: Model) -> (Arc<Self>, mpsc::UnboundedReceiver<News>) {
        let (inputs, program) = mpsc::channel(INPUTS);
        let (news, told) = mpsc::unbounded_channel();
        let inner = Inner { model, viewers: BTreeMap::new(), writer: None, next: 1, stage: Stage::Before };
        let hub = Self { inner: Mutex::new(inner), inputs, program: tokio::sync::Mutex::new(program), news };
        (Arc::new(hub), told)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, inner: &Inner, viewer: u64, what: Happening) {
        let who = inner.viewers.get(&viewer).map_or(0, |slot| slot.wish.who);
        // Nobody listens any more: the program has ended.
        let _ = self.news.send(News { viewer, who, what });
    }

    /// Takes what the program printed. It never waits for a viewer.
    pub fn feed(&self, data: &[u8]) {
        let mut inner = self.inner();
        let Fed { shown, answers } = inner.model.feed(data);
        let (shown, raw) = (Bytes::from(shown), Bytes::copy_from_slice(data));
        for slot in inner.viewers.values_mut() {
            slot.push(if slot.wish.raw { &raw } else { &shown });
        }
        drop(inner);
        if !answers.is_empty() {
            // A program that asks and does not read the answers does not get them all.
            let _ = self.inputs.try_send(Input::Data(answers.into()));
        }
    }

    /// What the program is to be told next; for whoever hosts the program, and once at a time.
    pub async fn input(&self) -> Option<Input> {
        self.program.lock().await.recv().await
    }

    /// Its size, and what [`Hub::load`] needs.
    #[must_use]
    pub fn save(&self) -> (Size, Vec<u8>) {
        let mut inner = self.inner();
        (inner.model.size(), inner.model.save())
    }

    /// The size of the screen.
    #[must_use]
    pub fn size(&self) -> Size {
        self.inner().model.size()
    }

    /// Makes the program paint everything again, by changing its terminal's size and changing
    /// it back.
    pub fn repaint(&self) {
        let size = self.size();
        let other = Size { rows: size.rows.saturating_sub(1).max(2), ..size };
        for size in [other, size] {
            // With so much to read it will paint anyway.
            let _ = self.inputs.try_send(Input::Resize(size));
        }
    }

    /// The program runs: viewers see its screen from now on.
    pub fn begin(&self) {
        let mut inner = self.inner();
        if inner.stage == Stage::Before {
            inner.stage = Stage::Running;
        }
        inner.wake_all();
    }

    /// The program has ended: viewers see the rest, and nobody joins any more. Only the first
    /// word on that counts.
    pub fn end(&self, end: Option<End>) {
        let mut inner = self.inner();
        if !matches!(inner.stage, Stage::Over(_)) {
            inner.stage = Stage::Over(end);
        }
        inner.wake_all();
    }

    /// Whether it can be joined.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.inner().stage, Stage::Over(_))
    }

    /// Joins.
    ///
    /// # Errors
    /// When the role cannot be had, or nobody can join.
    pub fn join(self: &Arc<Self>, wish: Wish) -> Result<Viewer, NotJoined> {
        let mut inner = self.inner();
        let Wish { role, size, .. } = wish;
        if matches!(inner.stage, Stage::Over(_)) {
            return Err(NotJoined::Over);
        }
        if inner.viewers.len() >= VIEWERS {
            return Err(NotJoined::TooMany);
        }
        if role == Role::Write && inner.writer.is_some() {
            return Err(NotJoined::Written);
        }
        let id = inner.next;
        inner.next += 1;
        let wake = Arc::new(Notify::new());
        wake.notify_one();
        let slot = Slot {
            wish,
            queue: VecDeque::new(),
            queued: 0,
            stale: true,
            new: true,
            sent: 0,
            shown: 0,
            told: None,
            wake: wake.clone(),
        };
        inner.viewers.insert(id, slot);
        self.tell(&inner, id, Happening::Joined);
        let writes = match role {
            Role::Watch => false,
            Role::Any | Role::Write => inner.writer.is_none(),
            Role::Take => true,
        };
        if writes {
            if let Some(before) = inner.writer.replace(id) {
                self.tell(&inner, before, Happening::Watches);
            }
            self.tell(&inner, id, Happening::Writes);
        }
        let resized = writes.then(|| inner.resize(size)).flatten();
        inner.wake_all();
        drop(inner);
        if let Some(size) = resized {
            let _ = self.inputs.try_send(Input::Resize(size));
        }
        Ok(Viewer { hub: self.clone(), id, wake })
    }
}

impl Inner {
    /// The writer's size is the screen's; the new one, where it changes.
    fn resize(&mut self, size: Size) -> Option<Size> {
        if size == self.model.size() {
            return None;
        }
        self.model.resize(size);
        // The program paints it again. Whoever has another size needs to be told.
        Some(size)
    }

    fn wake_all(&self) {
        self.viewers.values().for_each(|slot| slot.wake.notify_one());
    }

    fn place(&self, id: u64) -> Place {
        Place { writes: self.writer == Some(id), size: self.model.size(), viewers: self.viewers.len() }
    }
}

/// One who looks. Dropping it leaves.
#[derive(Debug)]
pub struct Viewer {
    hub: Arc<Hub>,
    id: u64,
    wake: Arc<Notify>,
}

impl Viewer {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What it is told next; none when the program has ended and it was told everything.
    pub async fn next(&self) -> Option<Told> {
        loop {
            {
                let mut inner = self.hub.inner();
                match inner.next_for(self.id) {
                    Some(told) => return Some(told),
                    None if inner.is_done(self.id) => return None,
                    None => {}
                }
            }
            self.wake.notified().await;
        }
    }

    /// How the program ended, once it has, where that is known.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        match &self.hub.inner().stage {
            Stage::Over(end) => end.clone(),
            Stage::Before | Stage::Running => None,
        }
    }

    /// So many bytes of output are on its terminal.
    pub fn shown(&self, bytes: u64) {
        let mut inner = self.hub.inner();
        if let Some(slot) = inner.viewers.get_mut(&self.id) {
            // What was never sent cannot have been shown.
            slot.shown = bytes.min(slot.sent).max(slot.shown);
            slot.wake.notify_one();
        }
    }

    /// It typed. Waits while the program does not read; what a watcher types goes nowhere.
    pub async fn type_in(&self, data: Bytes) {
        let writes = self.hub.inner().writer == Some(self.id);
        if writes {
            let _ = self.hub.inputs.send(Input::Data(data)).await;
        }
    }

    /// Its terminal has another size.
    pub async fn resize(&self, size: Size) {
        let resized = {
            let mut inner = self.hub.inner();
            if let Some(slot) = inner.viewers.get_mut(&self.id) {
                slot.wish.size = size;
            }
            let resized = (inner.writer == Some(self.id)).then(|| inner.resize(size)).flatten();
            inner.wake_all();
            resized
        };
        if let Some(size) = resized {
            let _ = self.hub.inputs.send(Input::Resize(size)).await;
        }
    }
}

impl Inner {
    fn next_for(&mut self, id: u64) -> Option<Told> {
        let place = self.place(id);
        let Self { viewers, model, stage, .. } = self;
        if *stage == Stage::Before {
            return None;
        }
        let over = matches!(stage, Stage::Over(_));
        let slot = viewers.get_mut(&id)?;
        if slot.told != Some(place) {
            // A watcher whose screen has become another size needs it anew.
            let resized = slot.told.is_some_and(|told| told.size != place.size);
            if resized && !place.writes {
                slot.queue.clear();
                slot.queued = 0;
                slot.stale = true;
            }
            slot.told = Some(place);
            return Some(Told::Place(place));
        }
        // After the end nobody waits for a slow terminal, but everybody gets the last screen.
        if slot.sent.saturating_sub(slot.shown) >= IN_FLIGHT && !over {
            return None;
        }
        if std::mem::take(&mut slot.stale) {
            let mut screen = Vec::new();
            if std::mem::take(&mut slot.new) {
                // Nothing that stands on the person's screen is lost.
                screen.extend(model.above());
                screen.extend(b"\x1b[999;1H");
                screen.resize(screen.len() + usize::from(slot.wish.size.rows), b'\n');
            }
            screen.extend(model.restore());
            let screen = Bytes::from(screen);
            slot.queued = screen.len();
            slot.queue = (0..screen.len())
                .step_by(PIECE)
                .map(|at| screen.slice(at..screen.len().min(at + PIECE)))
                .collect();
        }
        let data = slot.queue.pop_front()?;
        slot.queued -= data.len();
        slot.sent += data.len() as u64;
        Some(Told::Output(data))
    }

    fn is_done(&self, id: u64) -> bool {
        if !matches!(self.stage, Stage::Over(_)) {
            return false;
        }
        self.viewers.get(&id).is_none_or(|slot| slot.queue.is_empty() && !slot.stale)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut inner = self.hub.inner();
        self.hub.tell(&inner, self.id, Happening::Left);
        inner.viewers.remove(&self.id);
        let mut resized = None;
        if inner.writer == Some(self.id) {
            // Whoever has waited longest, and did not ask only to watch.
            inner.writer = inner.viewers.iter().find(|(_, s)| s.wish.role != Role::Watch).map(|(id, _)| *id);
            if let Some(next) = inner.writer {
                self.hub.tell(&inner, next, Happening::Writes);
                let size = inner.viewers.get(&next).map(|slot| slot.wish.size);
                resized = size.and_then(|size| inner.resize(size));
            }
        }
        inner.wake_all();
        drop(inner);
        if let Some(size) = resized {
            let _ = self.hub.inputs.try_send(Input::Resize(size));
        }
    }
}

#[cfg(test)]
mod tests;
