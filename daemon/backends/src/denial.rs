use cordon_policy::{Denial, Operation, Policy, Verdict};
use cordon_proto::v1;
use std::path::{Component, Path, PathBuf};

/// A denial as the journal has it.
#[must_use]
pub fn denial_event(denial: &Denial) -> v1::Denial {
    v1::Denial {
        operation: denial.operation.to_string(),
        target: denial.target.clone(),
        rule: denial.rule.clone(),
        origin: denial.origin.to_string(),
        layer: denial.layer.to_string(),
        would_allow: denial.would_allow.clone(),
    }
}

/// What the policy says against an operation; none when it allows it. The path is
/// taken as text: this explains a refusal that the kernel has made, it makes none.
pub(crate) fn explain(policy: &Policy, path: &Path, operation: Operation) -> Option<v1::Denial> {
    match policy.decide(&tidy(path), operation) {
        Verdict::Denied(denial) => Some(denial_event(&denial)),
        Verdict::Allowed(_) => None,
    }
}

/// The path without `.`, `..` and doubled slashes.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir | Component::Prefix(_) => {}
            part @ (Component::RootDir | Component::Normal(_)) => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_policy::{Access, Origin, Rule, Source};

    #[test]
    fn a_denial_names_rule_layer_and_remedy() {
        let policy = Policy::new([Rule {
            path: "/r".into(),
            access: Access::Read,
            origin: Origin::built_in(Source::ContextPath),
        }])
        .unwrap();
        assert_eq!(explain(&policy, Path::new("/r/a"), Operation::Read), None);
        let denial = explain(&policy, Path::new("/r/./x/../a"), Operation::Write).unwrap();
        assert_eq!(
            denial,
            v1::Denial {
                operation: "write".into(),
                target: "/r/a".into(),
                rule: "/r is read only (context path)".into(),
                origin: "built in".into(),
                layer: "mount view".into(),
                would_allow: "set permission: write on /r".into(),
            }
        );
        assert!(explain(&policy, Path::new("/r/../etc/shadow"), Operation::Read).is_some());
    }
}
