//! Names of tools.

/// The longest name that a server may give a tool.
const LONGEST: usize = 100;
const PREFIX: &str = "mcp__";
const CUSTOM: &str = "custom_tool__";

/// Words that clients take for commands of their own.
const RESERVED: [&str; 20] = [
    "connect",
    "disconnect",
    "list",
    "help",
    "status",
    "config",
    "login",
    "logout",
    "exit",
    "quit",
    "version",
    "health",
    "ping",
    "debug",
    "admin",
    "system",
    "settings",
    "auth",
    "shutdown",
    "restart",
];

/// Why a server's name for a tool is not taken.
pub(crate) fn fault(tool: &str) -> Option<&'static str> {
    if tool.is_empty() || tool.len() > LONGEST {
        return Some("a name has from 1 to 100 characters");
    }
    if !tool.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
        return Some("a name has letters, digits, `_`, `-` and `.`");
    }
    if RESERVED.iter().any(|r| tool.eq_ignore_ascii_case(r)) {
        return Some("the name is reserved");
    }
    None
}

/// The same for the guest's own, whose names stand without a prefix.
pub(crate) fn plain_fault(tool: &str) -> Option<&'static str> {
    let others = tool.starts_with(PREFIX) || tool.starts_with(CUSTOM);
    fault(tool).or_else(|| others.then_some("the name looks like another server's"))
}

/// The same for custom tools, which all begin alike, so that none is taken for another's.
pub(crate) fn custom_fault(tool: &str) -> Option<&'static str> {
    fault(tool)
        .or_else(|| (!tool.starts_with(CUSTOM)).then_some("the name of a custom tool begins otherwise"))
}

/// The name under which a tool of a user's server is known: `mcp__SERVER__TOOL`.
#[must_use]
pub fn composed(server: &str, tool: &str) -> String {
    format!("{PREFIX}{server}__{tool}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_plain_and_not_reserved() {
        for good in ["read_text_file", "a", "a.b-c", "Connection", "list_files"] {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in ["", "a b", "a/b", "ä", "a\n", "\u{1b}[2J", "connect", "LIST", "Exit", &"x".repeat(101)] {
            assert!(fault(bad).is_some(), "{bad}");
        }
        assert_eq!(fault("mcp__x"), None);
        assert!(plain_fault("mcp__x__y").is_some());
    }

    proptest! {
        #[test]
        fn what_is_taken_is_printable_and_short(name in ".{0,120}") {
            if fault(&name).is_none() {
                prop_assert!(name.len() <= LONGEST && name.bytes().all(|b| b.is_ascii_graphic()));
            }
        }

        /// No two tools of different servers, nor one of the guest's own, are ever
        /// known by one name: server names have no `__` and no `_` at an end.
        #[test]
        fn names_of_two_servers_never_meet(
            a in "[a-z0-9-]([a-z0-9_-]{0,3}[a-z0-9-])?", x in "[a-z_.-]{1,6}",
            b in "[a-z0-9-]([a-z0-9_-]{0,3}[a-z0-9-])?", y in "[a-z_.-]{1,6}",
        ) {
            prop_assume!(!a.contains("__") && !b.contains("__"));
            prop_assert_eq!(composed(&a, &x) == composed(&b, &y), a == b && x == y);
            prop_assert!(plain_fault(&composed(&a, &x)).is_some());
        }
    }
}
