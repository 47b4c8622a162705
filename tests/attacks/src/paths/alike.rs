//! Names that only look like others: to whoever reads them the same, to the kernel not.

use super::{
    calls::{few, sound, writing},
    script::script,
};
use crate::{Attack, Call, Must};

/// What is put into a name, or in the place of a letter of it, and is not seen.
const UNSEEN: [&str; 7] = ["\u{200b}", "\u{200d}", "\u{feff}", "\u{ad}", "\u{202e}", "\u{2066}", "\u{34f}"];
/// Other letters for those of `hidden`, `held` and `keep`: fullwidth, Cyrillic, composed and in two parts.
const LETTERS: [(&str, &str); 6] = [
    ("h", "\u{ff48}"),
    ("h", "\u{4bb}"),
    ("e", "\u{435}"),
    ("e", "\u{e9}"),
    ("e", "e\u{301}"),
    ("k", "\u{212a}"),
];

fn alike(name: &str) -> Vec<String> {
    let unseen = UNSEEN.iter().flat_map(|mark| {
        let (first, rest) = name.split_at(1);
        [format!("{name}{mark}"), format!("{mark}{name}"), format!("{first}{mark}{rest}")]
    });
    let letters = LETTERS.iter().filter(|(from, _)| name.contains(from));
    unseen.chain(letters.map(|(from, to)| name.replacen(from, to, 1))).collect()
}

/// FS-11.
pub const LOOK_ALIKES: Attack = Attack {
    id: "FS-11",
    what: "reach what is outside, protected or masked by names that only look like it: invisible characters, other scripts, \
           composed letters",
    runs: |_| {
        let names = |of: &str, rest: &str| {
            alike(of).iter().map(|name| format!("'{name}{rest}'")).collect::<Vec<_>>().join(" ")
        };
        script(&format!(
            "assault {} {}\nfor name in {}; do echo owned > \"$name\"; cat \"$name\"; done 2>/dev/null",
            names("hidden", ""),
            names("keep", "/file"),
            names("held", "")
        ))
    },
    calls: |world| {
        let outside = world.outside().display().to_string();
        let mut calls: Vec<Call> = Vec::new();
        // Another tree, whatever it looks like.
        for name in alike("outside") {
            calls.extend(few(&outside.replace("/outside", &format!("/{name}/canary")), Must::Deny));
        }
        // New names of the agent's own tree, and never the old ones.
        for name in ["hidden", "held", "keep"].iter().flat_map(|name| alike(name)) {
            calls.extend(few(&name, Must::Answer));
            calls.extend(writing(&name, Must::Answer));
        }
        calls.extend(sound());
        calls
    },
    ..Attack::NONE
};
