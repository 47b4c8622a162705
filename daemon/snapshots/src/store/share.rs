use super::error::StoreError;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// Below as many pieces of work a thread is not worth its start.
const SHARED: usize = 24;

/// Does `one` for all of `items`, by several threads where there are many; the results are in
/// the items' order. An error stops the rest.
pub(super) fn each<I: Sync, T: Send>(
    items: &[I],
    one: impl Fn(&I) -> Result<T, StoreError> + Sync,
) -> Result<Vec<T>, StoreError> {
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(4));
    if threads < 2 || items.len() < SHARED {
        return items.iter().map(one).collect();
    }
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let all = Mutex::new(Vec::with_capacity(items.len()));
    let work = || {
        let mut mine = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            let done = one(item);
            if done.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            mine.push((at, done));
        }
        all.lock().unwrap_or_else(PoisonError::into_inner).extend(mine);
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Where no thread can be had, this one does the work.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, done)| done).collect()
}
