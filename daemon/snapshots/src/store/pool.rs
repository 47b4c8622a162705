//! Work shared by a few threads, the newest piece first, so that a tree is done depth first.

use super::error::StoreError;
use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// More threads than that wait for the disk and for each other.
const MOST: usize = 4;

pub(super) struct Pool<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    jobs: Vec<J>,
    running: usize,
    /// Somebody failed: nobody begins anything.
    over: bool,
}

impl<J> Pool<J> {
    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a piece of work that any thread may do.
    pub(super) fn push(&self, job: J) {
        self.state().jobs.push(job);
        self.changed.notify_one();
    }

    fn next(&self) -> Option<J> {
        let mut state = self.state();
        loop {
            if state.over {
                return None;
            }
            if let Some(job) = state.jobs.pop() {
                state.running += 1;
                return Some(job);
            }
            if state.running == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn each(&self, mut one: impl FnMut(J) -> Result<(), StoreError>) -> Result<(), StoreError> {
        while let Some(job) = self.next() {
            // Should it panic, the others must not wait for it.
            let mut running = Running { pool: self, failed: true };
            let done = one(job);
            running.failed = done.is_err();
            drop(running);
            done?;
        }
        Ok(())
    }
}

struct Running<'a, J> {
    pool: &'a Pool<J>,
    failed: bool,
}

impl<J> Drop for Running<'_, J> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.running -= 1;
        state.over |= self.failed;
        let left = if state.over { std::mem::take(&mut state.jobs) } else { Vec::new() };
        if state.over || (state.running == 0 && state.jobs.is_empty()) {
            self.pool.changed.notify_all();
        }
        drop(state);
        drop(left);
    }
}

/// Does `first` and what follows from it: every thread makes itself a worker with `start`, and
/// `one` does a piece of work with it. An error stops the rest.
pub(super) fn run<J: Send, W: Send>(
    first: J,
    start: impl Fn() -> W + Sync,
    one: impl Fn(&Pool<J>, &mut W, J) -> Result<(), StoreError> + Sync,
) -> Result<Vec<W>, StoreError> {
    let state = State { jobs: vec![first], running: 0, over: false };
    let pool = Pool { state: Mutex::new(state), changed: Condvar::new() };
    let all = Mutex::new((Vec::new(), None));
    let work = || {
        let mut worker = start();
        let done = pool.each(|job| one(&pool, &mut worker, job));
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.0.push(worker);
        if let Err(e) = done {
            all.1.get_or_insert(e);
        }
    };
    thread::scope(|scope| {
        for _ in 1..thread::available_parallelism().map_or(1, |n| n.get().min(MOST)) {
            // Where no thread can be had, this one does the work.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let (workers, failed) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(Ok(workers), Err)
}
