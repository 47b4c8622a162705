use crate::decision::denial;
use cordon_policy::Denial;
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};
use tokio::sync::mpsc::Sender;

/// Tells the journal of refusals. The agent decides how many there are, so each
/// different one is told once, and after [`Refusals::MOST`] nothing more is.
#[derive(Debug)]
pub(crate) struct Refusals {
    sender: Sender<Denial>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    denials: HashSet<(String, String)>,
    summed_up: bool,
}

impl Refusals {
    /// Different refusals that are told before they are only summed up.
    pub(crate) const MOST: usize = 1000;

    pub(crate) fn new(sender: Sender<Denial>) -> Self {
        Self { sender, told: Mutex::default() }
    }

    /// Never waits: a full channel drops the denial, and the next like it is tried again.
    pub(crate) fn tell(&self, refused: &Denial) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (refused.target.clone(), refused.rule.clone());
        if told.denials.contains(&key) {
            return;
        }
        if told.denials.len() >= Self::MOST {
            if !told.summed_up {
                let rule = format!(
                    "more than {} different destinations were refused; no more are listed",
                    Self::MOST
                );
                told.summed_up =
                    self.sender.try_send(denial("further destinations", rule, String::new())).is_ok();
            }
            return;
        }
        if self.sender.try_send(refused.clone()).is_ok() {
            told.denials.insert(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(number: usize) -> Denial {
        denial(format!("h{number}.test:443"), "no rule covers this host".into(), String::new())
    }

    #[test]
    fn a_flood_is_summed_up() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(5000);
        let refusals = Refusals::new(sender);
        for number in 0..3000 {
            refusals.tell(&refused(number));
            refusals.tell(&refused(number));
        }
        let mut all = Vec::new();
        while let Ok(denial) = receiver.try_recv() {
            all.push(denial);
        }
        assert_eq!(all.len(), Refusals::MOST + 1);
        assert_eq!(all[0], refused(0));
        assert_eq!(all[Refusals::MOST].target, "further destinations");
    }

    #[test]
    fn a_full_channel_neither_waits_nor_forgets() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let refusals = Refusals::new(sender);
        refusals.tell(&refused(0));
        refusals.tell(&refused(1));
        assert_eq!(receiver.try_recv().unwrap(), refused(0));
        refusals.tell(&refused(1));
        assert_eq!(receiver.try_recv().unwrap(), refused(1));
    }
}
