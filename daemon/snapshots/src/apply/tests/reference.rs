//! Applies beside a reference that is too simple to be wrong, on random trees.

use super::*;
use crate::testing::paths;
use std::collections::BTreeMap;

/// Every path with what stands there; of a directory only that it is one.
fn flat(node: &Node) -> BTreeMap<Vec<u8>, Option<Node>> {
    let plain = |node: Node| if matches!(node, Node::Dir(..)) { None } else { Some(node) };
    paths(node).into_iter().map(|(path, node)| (path, plain(node))).collect()
}

type Flat = BTreeMap<Vec<u8>, Option<Node>>;

/// What the agent changed is the agent's, all else the user's; none: both changed the same path.
fn merged(base: &Node, agent: &Node, user: &Node) -> Option<Flat> {
    let (base, agent, user) = (flat(base), flat(agent), flat(user));
    let mut all = Flat::new();
    for path in base.keys().chain(agent.keys()).chain(user.keys()) {
        let (b, a, u) = (base.get(path), agent.get(path), user.get(path));
        let now = match () {
            () if a == b => u,
            () if u == b || u == a => a,
            () => return None,
        };
        all.extend(now.map(|node| (path.clone(), node.clone())));
    }
    Some(all)
}

/// Whether everything stands in a directory.
fn possible(flat: &Flat) -> bool {
    flat.keys().all(|path| {
        let parent = crate::live::split(path).0;
        parent.is_empty() || matches!(flat.get(parent), Some(None))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn an_apply_is_what_the_reference_says(base in any_root(), agent in any_root(), other in any_root(), mixed in any::<bool>()) {
        // Often the user changed little.
        let user = match (mixed, &base, &other) {
            (true, Node::Dir(mode, children), Node::Dir(_, others)) => {
                let mut children = children.clone();
                children.extend(others.iter().take(1).map(|(name, node)| (name.clone(), node.clone())));
                Node::Dir(*mode, children)
            }
            _ => other,
        };
        let world = World::new(&user);
        let plan = world.plan(&base, &agent, &on(OnDrift::Fail));
        prop_assert_eq!(world.plan(&base, &agent, &on(OnDrift::Fail)).digest(), plan.digest());
        let expected = merged(&base, &agent, &user);
        match world.execute(&plan, &agent) {
            Ok(outcome) => {
                prop_assert!(outcome.kept.is_empty() && outcome.left.is_empty());
                prop_assert_eq!(Some(flat(&world.now())), expected);
            }
            Err(error) => {
                prop_assert!(matches!(error, ApplyError::Refused(_)), "{error}");
                prop_assert_eq!(flat(&world.now()), flat(&user));
            }
        }
        world.assert_no_journal();
        world.assert_outside_untouched();
    }

    #[test]
    fn what_does_not_meet_is_never_refused(base in any_root(), agent in any_root()) {
        // The user made something of its own where nobody else has anything.
        let mut user = base.clone();
        if let Node::Dir(_, children) = &mut user {
            children.insert(b"own".to_vec(), dir([("notes", file("mine"))]));
        }
        let world = World::new(&user);
        let plan = world.plan(&base, &agent, &on(OnDrift::Fail));
        prop_assert_eq!(plan.refused().count(), 0);
        world.execute(&plan, &agent).unwrap();
        let expected = merged(&base, &agent, &user).unwrap();
        prop_assert!(possible(&expected));
        prop_assert_eq!(flat(&world.now()), expected);
    }

    #[test]
    fn killed_anywhere_it_is_all_or_nothing(base in any_root(), agent in any_root(), user in any_root(), stop in 0usize..60) {
        struct Stop(Cell<usize>);
        impl Seam for Stop {
            fn at(&self, _: &'static str) -> Result<(), ApplyError> {
                let left = self.0.get();
                self.0.set(left.saturating_sub(1));
                if left == 0 { Err(ApplyError::Stopped) } else { Ok(()) }
            }
        }
        let options = on(OnDrift::Ours);
        let whole = World::new(&user);
        whole.execute(&whole.plan(&base, &agent, &options), &agent).unwrap();
        let world = World::new(&user);
        let plan = world.plan(&base, &agent, &options);
        let _ = world.stopped(&plan, &agent, &Stop(Cell::new(stop)));
        recover(&world.journals()).unwrap();
        let now = world.now();
        prop_assert!(now == with_mode_of(&world, &user) || now == with_mode_of(&world, &whole.now()), "{now:#?}");
        world.assert_no_journal();
        world.assert_outside_untouched();
    }
}
