use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// Answers that are remembered, over all owners.
const MOST: usize = 256;

/// Answers to what was asked with a key, to be given again. They do not outlive the daemon:
/// what they are for does no harm when it is done twice.
#[derive(Debug)]
pub(crate) struct Answers<T>(Mutex<VecDeque<(u32, String, T)>>);

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Answers<T> {
    pub(crate) fn get(&self, owner: u32, key: &str) -> Option<T> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = all.iter().filter(|(o, k, _)| !key.is_empty() && *o == owner && k == key);
        known.next().map(|(_, _, answer)| answer.clone())
    }

    pub(crate) fn keep(&self, owner: u32, key: &str, answer: &T) {
        if key.is_empty() {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.pop_front();
        }
        all.push_back((owner, key.to_owned(), answer.clone()));
    }
}
