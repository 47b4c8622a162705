//! System calls that a sandbox's filter refused, from its guest to whoever writes them down.

use crate::guest::Guest;
use cordon_policy::{Denial, Layer, Operation, Origin, Source};
use cordon_proto::guest::RefusedCall;
use tokio::sync::mpsc;

/// Different calls of one sandbox that are told. A guest that says more is no guest of ours.
const MOST: usize = 128;
/// Characters of what a guest says that are kept.
const SHOWN: usize = 80;

/// Tells every refused call, until the guest or the listener is gone. Where the kernel tells the
/// guest nothing there is nothing to tell, and nothing is less refused for it.
pub(crate) fn watch(guest: &Guest, denials: mpsc::Sender<Denial>) {
    let guest = guest.clone();
    tokio::spawn(async move {
        let Ok(mut calls) = guest.refusals().await else { return };
        for _ in 0..MOST {
            let call = tokio::select! {
                call = calls.message() => call,
                () = denials.closed() => return,
            };
            let Ok(Some(call)) = call else { return };
            if denials.send(denial(&call)).await.is_err() {
                return;
            }
        }
    });
}

fn denial(call: &RefusedCall) -> Denial {
    let name = shown(&call.call);
    let program = shown(&String::from_utf8_lossy(&call.program));
    let by = if program.is_empty() { String::new() } else { format!(" by {program}") };
    Denial {
        operation: Operation::SystemCall,
        target: format!("{name}{by}"),
        rule: format!("{name} is refused to every agent"),
        origin: Origin::built_in(Source::Nothing),
        layer: Layer::Seccomp,
        would_allow: String::new(),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_call_is_a_denial_that_nothing_would_allow() {
        let denial = denial(&RefusedCall { call: "ptrace".into(), program: "gdb\u{1b}[2J".into() });
        assert_eq!(
            denial.to_string(),
            "system call ptrace by gdb\\u{1b}[2J denied by seccomp: ptrace is refused to every agent"
        );
    }

    #[test]
    fn what_a_guest_says_is_cut() {
        let long = RefusedCall { call: "x".repeat(1 << 20), program: vec![b'y'; 1 << 20].into() };
        assert!(denial(&long).to_string().len() < 400);
    }
}
