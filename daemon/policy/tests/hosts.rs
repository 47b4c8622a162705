//! Host rules are what they say they are, in both directions.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use cordon_policy::HostRule;
use proptest::prelude::*;

fn label() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9]([a-zA-Z0-9_-]{0,8}[a-zA-Z0-9])?"
}

fn host() -> impl Strategy<Value = String> {
    prop::collection::vec(label(), 2..5).prop_map(|labels| labels.join("."))
}

/// Text that is nearly a host rule.
fn nearly() -> impl Strategy<Value = String> {
    let pieces = [
        "*", "*.", ".", ":", "443", "a", "B", "-", "_", "[", "]", "::1", "1.2.3.4", "@", "/", "\0", " ", "é",
        "0x7f", "xn--",
    ];
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8).prop_map(|p| p.concat()),
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn what_a_rule_shows_is_the_same_rule(text in nearly()) {
        if let Ok(rule) = text.parse::<HostRule>() {
            let shown = rule.to_string();
            prop_assert_eq!(shown.parse::<HostRule>().ok(), Some(rule), "{:?} shown as {:?}", text, shown);
            prop_assert!(!shown.contains(char::is_whitespace) && !shown.contains(char::is_control));
        }
    }

    #[test]
    fn a_host_covers_itself_and_nothing_near(host in host(), port in 1_u16.., other in label()) {
        let rule: HostRule = format!("{host}:{port}").parse().unwrap();
        for same in [host.clone(), host.to_uppercase(), format!("{host}.")] {
            prop_assert!(rule.covers(&same, port), "{same}");
        }
        for near in [
            format!("{other}.{host}"),
            format!("{other}{host}"),
            format!("{host}.{other}"),
            format!("{host}{other}"),
            format!("{other}@{host}"),
            format!("{host}\0"),
            format!("{host}.."),
            format!(".{host}"),
            format!("*.{host}"),
            format!("{host}/"),
            host.split_once('.').unwrap().1.to_owned(),
            String::new(),
        ] {
            prop_assert!(!rule.covers(&near, port), "{near}");
        }
        prop_assert!(!rule.covers(&host, port ^ 1));
        let plain: HostRule = host.parse().unwrap();
        prop_assert_eq!(plain.covers(&host, port), HostRule::DEFAULT_PORTS.contains(&port));
    }

    #[test]
    fn a_wildcard_covers_exactly_what_is_below(host in host(), other in label()) {
        let rule: HostRule = format!("*.{host}").parse().unwrap();
        for below in [format!("{other}.{host}"), format!("{other}.{other}.{host}")] {
            prop_assert!(rule.covers(&below, 443), "{below}");
        }
        for near in [host.clone(), format!("{other}{host}"), format!(".{host}"), format!("..{host}"), format!("{other}..{host}")] {
            prop_assert!(!rule.covers(&near, 443), "{near}");
        }
    }

    #[test]
    fn addresses_are_compared_as_addresses(address in any::<[u8; 16]>(), port in 1_u16..) {
        let v6 = std::net::Ipv6Addr::from(address);
        let long = v6.segments().map(|s| format!("{s:04X}")).join(":");
        let rule: HostRule = format!("[{v6}]:{port}").parse().unwrap();
        for same in [long.clone(), format!("[{long}]")] {
            prop_assert!(rule.covers(&same, port), "{same}");
        }
        prop_assert!(!rule.covers(&std::net::Ipv6Addr::from(u128::from(v6) ^ 1).to_string(), port));
        let bare: HostRule = v6.to_string().parse().unwrap();
        prop_assert!(bare.covers(&long, 443));
    }

    /// Also a hostile name: what is covered has nothing in it that another parser could cut at.
    #[test]
    fn only_plain_names_are_covered(text in nearly(), asked in nearly(), port: u16) {
        if let Ok(rule) = text.parse::<HostRule>()
            && rule.covers(&asked, port)
        {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
            prop_assert!(asked.chars().all(plain), "{asked:?}");
        }
    }
}
