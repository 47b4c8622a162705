use std::collections::BTreeSet;

/// Which tools are shown: those that every list of allowed ones has, when there is one,
/// and that no list of excluded ones has. Entries are names as a server gives them, or as
/// they are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    allowed: Option<BTreeSet<String>>,
    excluded: BTreeSet<String>,
}

impl Filter {
    pub(crate) fn new(allowed: Option<&[String]>, excluded: &[String]) -> Self {
        Self {
            allowed: allowed.map(|names| names.iter().cloned().collect()),
            excluded: excluded.iter().cloned().collect(),
        }
    }

    pub(crate) fn lets(&self, own: &str, shown: &str) -> bool {
        let has = |names: &BTreeSet<String>| names.contains(own) || names.contains(shown);
        self.allowed.as_ref().is_none_or(has) && !has(&self.excluded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(allowed: Option<&[&str]>, excluded: &[&str]) -> Filter {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        Filter::new(allowed.map(owned).as_deref(), &owned(excluded))
    }

    #[test]
    fn exclusion_wins_and_an_empty_list_lets_nothing() {
        assert!(filter(None, &[]).lets("a", "mcp__s__a"));
        assert!(!filter(Some(&[]), &[]).lets("a", "mcp__s__a"));
        assert!(filter(Some(&["a"]), &[]).lets("a", "mcp__s__a"));
        assert!(filter(Some(&["mcp__s__a"]), &[]).lets("a", "mcp__s__a"));
        assert!(!filter(Some(&["mcp__t__a"]), &[]).lets("a", "mcp__s__a"));
        assert!(!filter(Some(&["a"]), &["mcp__s__a"]).lets("a", "mcp__s__a"));
        assert!(!filter(None, &["a"]).lets("a", "a"));
        assert!(filter(None, &["A"]).lets("a", "a"), "names have their case");
    }
}
