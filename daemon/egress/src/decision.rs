use crate::{
    EgressPolicy,
    address::{is_link_local, special},
    target::{Host, Target},
};
use cordon_policy::{Denial, Layer, Operation, Origin, Source};
use std::net::IpAddr;

/// Longest part of a hostile text that a denial repeats.
const SHOWN: usize = 300;

/// Why a target may be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Granted by name: this machine and private networks too.
    Granted,
    /// Covered by this rule: public addresses only.
    Ruled(String),
}

/// What the policy says of a target, before any name is resolved.
pub(crate) fn decide(policy: &EgressPolicy, target: &Target) -> Result<Permission, Box<Denial>> {
    let granted =
        |g: &&crate::Grant| g.port == target.port && Host::parse(&g.host).as_ref() == Ok(&target.host);
    if policy.grants.iter().any(|g| granted(&g)) {
        return Ok(Permission::Granted);
    }
    let host = target.host.to_string();
    for rule in &policy.allow {
        let text = rule.to_string();
        // `*.2.3.4` is a wildcard over names; no address is below a domain.
        let literal = matches!(target.host, Host::Name(_)) || !text.starts_with("*.");
        if literal && rule.covers(&host, target.port) {
            if let Host::Ip(address) = target.host {
                check(&[address], &Permission::Ruled(text.clone()), target)?;
            }
            return Ok(Permission::Ruled(text));
        }
    }
    let elsewhere = policy.allow.iter().find(|r| covers_on_some_port(r, &host));
    let rule = match elsewhere {
        Some(rule) => format!("`{rule}` does not cover port {}", target.port),
        None if policy.allow.is_empty() && policy.grants.is_empty() => {
            "nothing outside is allowed".to_owned()
        }
        None => "no rule covers this host".to_owned(),
    };
    let fix = match target.host {
        Host::Ip(address) if special(address).is_some() => String::new(),
        _ if cordon_policy::HostRule::DEFAULT_PORTS.contains(&target.port) && elsewhere.is_none() => {
            format!("add `{host}` to egress.allow of the agent file")
        }
        _ => format!("add `{target}` to egress.allow of the agent file"),
    };
    let rule = match target.host {
        Host::Ip(address) => match special(address) {
            Some(class) => format!("{rule}, and it is {class}"),
            None => rule,
        },
        Host::Name(_) => rule,
    };
    Err(Box::new(denial(target.to_string(), rule, fix)))
}

fn covers_on_some_port(rule: &cordon_policy::HostRule, host: &str) -> bool {
    let text = rule.to_string();
    let port = text.rsplit_once(':').and_then(|(_, p)| p.parse().ok());
    [Some(443), port].into_iter().flatten().any(|p| rule.covers(host, p))
}

/// Checks every address that a name led to; one bad address refuses all, since
/// an honest public name has none.
pub(crate) fn check(
    addresses: &[IpAddr],
    permission: &Permission,
    target: &Target,
) -> Result<(), Box<Denial>> {
    match permission {
        // A grant names a host of the operator's choice, but whoever answers for that
        // name must not turn it into the machine's metadata service.
        Permission::Granted if matches!(target.host, Host::Name(_)) => {
            if addresses.iter().any(|a| is_link_local(*a)) {
                let rule = "the granted name leads to a link-local or cloud metadata address";
                return Err(Box::new(denial(target.to_string(), rule.to_owned(), String::new())));
            }
        }
        Permission::Granted => {}
        Permission::Ruled(rule) => {
            if let Some(class) = addresses.iter().find_map(|a| special(*a)) {
                let rule = format!("`{rule}` covers public addresses, and this host leads to {class}");
                return Err(Box::new(denial(target.to_string(), rule, String::new())));
            }
        }
    }
    Ok(())
}

/// A refusal to connect. The target may be hostile text.
pub(crate) fn denial(target: impl AsRef<str>, rule: String, would_allow: String) -> Denial {
    let target = target.as_ref();
    let mut shown: String = target.chars().take(SHOWN).flat_map(char::escape_default).collect();
    if target.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    Denial {
        operation: Operation::Connect,
        target: shown,
        rule,
        origin: Origin::built_in(Source::Nothing),
        layer: Layer::Egress,
        would_allow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grant;

    fn policy(allow: &[&str], grants: &[(&str, u16)]) -> EgressPolicy {
        EgressPolicy {
            allow: allow.iter().map(|r| r.parse().unwrap()).collect(),
            grants: grants.iter().map(|(h, p)| Grant { host: (*h).to_owned(), port: *p }).collect(),
        }
    }

    fn decided(policy: &EgressPolicy, text: &str) -> Result<Permission, Box<Denial>> {
        decide(policy, &Target::parse(text, None).unwrap())
    }

    #[test]
    fn near_misses_of_a_rule_are_refused() {
        let p = policy(&["allowed.test", "*.wild.test", "port.test:8443", "1.1.1.1", "*.2.3.4"], &[]);
        for text in [
            "allowed.test:443",
            "allowed.test:80",
            "ALLOWED.TEST.:443",
            "a.wild.test:443",
            "a.b.wild.test:80",
            "port.test:8443",
            "1.1.1.1:443",
        ] {
            assert!(decided(&p, text).is_ok(), "{text}");
        }
        for text in [
            "evilallowed.test:443",
            "allowed.test.evil:443",
            "sub.allowed.test:443",
            "allowed.test:22",
            "allowed.test:8443",
            "wild.test:443",
            "evilwild.test:443",
            "a.wild.test.evil:443",
            "port.test:443",
            "xn--allowed-abc.test:443",
            "test:443",
            "1.1.1.2:443",
            "1.2.3.4:443",
            "[::ffff:1.1.1.1]:443",
        ] {
            assert!(decided(&p, text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_empty_policy_allows_nothing() {
        let denial = decided(&EgressPolicy::default(), "example.test:443").unwrap_err();
        assert_eq!(denial.rule, "nothing outside is allowed");
        assert_eq!(denial.would_allow, "add `example.test` to egress.allow of the agent file");
        assert_eq!(denial.operation, Operation::Connect);
        assert_eq!(denial.layer, Layer::Egress);
    }

    #[test]
    fn a_rule_that_names_a_private_address_still_does_not_reach_it() {
        let p = policy(&["127.0.0.1", "169.254.169.254", "[::1]:443", "[::ffff:10.0.0.1]:443"], &[]);
        for text in ["127.0.0.1:80", "169.254.169.254:80", "[::1]:443", "[::ffff:10.0.0.1]:443"] {
            let denial = decided(&p, text).unwrap_err();
            assert!(denial.rule.contains("address") && denial.would_allow.is_empty(), "{denial}");
        }
    }

    #[test]
    fn a_grant_is_one_host_and_one_port() {
        let p = policy(&[], &[("127.0.0.1", 8080), ("LocalHost.", 9000), ("::1", 7000)]);
        for text in ["127.0.0.1:8080", "localhost:9000", "[::1]:7000"] {
            assert_eq!(decided(&p, text).unwrap(), Permission::Granted, "{text}");
        }
        for text in ["127.0.0.1:8081", "127.0.0.2:8080", "localhost:8080", "[::ffff:127.0.0.1]:8080"] {
            assert!(decided(&p, text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_bad_address_refuses_all() {
        let target = Target::parse("a.test:443", None).unwrap();
        let ruled = Permission::Ruled("a.test".into());
        let public: IpAddr = "8.8.8.8".parse().unwrap();
        assert!(check(&[public], &ruled, &target).is_ok());
        assert!(check(&[public, "10.0.0.1".parse().unwrap()], &ruled, &target).is_err());
        let granted = Permission::Granted;
        assert!(check(&["10.0.0.1".parse().unwrap()], &granted, &target).is_ok());
        assert!(check(&["169.254.169.254".parse().unwrap()], &granted, &target).is_err());
        assert!(check(&["::ffff:169.254.169.254".parse().unwrap()], &granted, &target).is_err());
    }

    #[test]
    fn hostile_targets_are_shortened_and_escaped() {
        let d = denial("\u{1b}[31m".repeat(1000), "x".into(), String::new());
        assert!(d.target.is_ascii() && d.target.len() < 10 * SHOWN);
        assert!(!d.target.contains('\u{1b}'));
    }

    #[test]
    fn a_wrong_port_says_so() {
        let p = policy(&["allowed.test", "other.test:8443"], &[]);
        let denial = decided(&p, "allowed.test:22").unwrap_err();
        assert_eq!(denial.rule, "`allowed.test` does not cover port 22");
        assert_eq!(denial.would_allow, "add `allowed.test:22` to egress.allow of the agent file");
        let denial = decided(&p, "other.test:443").unwrap_err();
        assert_eq!(denial.would_allow, "add `other.test:443` to egress.allow of the agent file");
    }
}
