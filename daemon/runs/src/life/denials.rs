use super::{agent::warning, log::Log};
use crate::journal::Durability;
use cordon_backends::{Redactor, denial_event};
use cordon_policy::Denial;
use cordon_proto::v1::event::Kind;
use tokio::sync::mpsc;

/// Refusals of egress and of system calls that are told one by one; the rest is only counted.
const DENIALS_TOLD: usize = 1000;

/// Tells what was refused outside of any turn's own words.
pub(super) async fn tell_denials(log: Log, redactor: Redactor, mut refusals: mpsc::Receiver<Denial>) {
    let mut told = 0;
    while let Some(mut denial) = refusals.recv().await {
        // An agent may try to put a secret into a name.
        denial.target = redactor.text(&denial.target);
        denial.would_allow = redactor.text(&denial.would_allow);
        told += 1;
        if told > DENIALS_TOLD {
            log.tally().uncounted_denial();
            continue;
        }
        let mut kinds = vec![Kind::Denial(denial_event(&denial))];
        if told == DENIALS_TOLD {
            kinds.push(warning("denials", "further refusals are only counted"));
        }
        if log.tell(kinds, Durability::Soon).await.is_err() {
            // The turn finds out for itself and ends the run.
            return;
        }
    }
}
