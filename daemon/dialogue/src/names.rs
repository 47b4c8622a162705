//! Names under which models see tools.

use std::collections::BTreeMap;

/// What every provider takes.
const LONGEST: usize = 64;

/// The names that a model is shown, each with the tool's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    own: BTreeMap<String, String>,
}

impl Names {
    /// The name under which a model sees this tool: its own one where every provider takes it.
    pub(crate) fn show(&mut self, own: &str) -> String {
        let mut shown = plain(own);
        if shown != own || self.own.contains_key(&shown) {
            // Of two names that become the same one, each has its own end.
            let hash = blake3::hash(own.as_bytes()).to_hex();
            let kept = LONGEST - 9;
            shown = format!("{}_{}", &shown[..shown.len().min(kept)], &hash[..8]);
        }
        self.own.insert(shown.clone(), own.to_owned());
        shown
    }

    /// The tool that a model means.
    pub(crate) fn own(&self, shown: &str) -> Option<&str> {
        self.own.get(shown).map(String::as_str)
    }
}

fn plain(name: &str) -> String {
    let mut plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '_' }).collect();
    if !plain.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        plain.insert(0, '_');
    }
    plain.truncate(LONGEST);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_names_stay() {
        let mut names = Names::default();
        for own in ["read_text_file", "mcp__a__b-c", "_x"] {
            assert_eq!(names.show(own), own);
        }
        assert_ne!(names.show("mcp__a__b.c"), names.show("mcp__a__b_c"));
    }

    proptest! {
        #[test]
        fn every_name_is_taken_by_all_and_leads_back(own in prop::collection::btree_set(".{1,120}", 1..20)) {
            let mut names = Names::default();
            let shown: Vec<String> = own.iter().map(|o| names.show(o)).collect();
            for (own, shown) in own.iter().zip(&shown) {
                prop_assert!(shown.len() <= LONGEST);
                prop_assert!(shown.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
                prop_assert!(!shown.starts_with(|c: char| c.is_ascii_digit() || c == '-'));
                prop_assert_eq!(names.own(shown), Some(own.as_str()));
            }
        }
    }
}
