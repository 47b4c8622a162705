use super::Kind;
use cordon_attacks::{Place as _, Run, World, enforcer::wall};
use cordon_policy::{Access, Origin, Policy, Rule, Source};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

const TIMES: usize = 12;

/// KX-18: while a sandbox is made, somebody who may write in its trees exchanges what is to be mounted, and what something is
/// to be mounted on, with links to what is outside. What looks a name up twice mounts the outside, or makes mount points there.
fn exchanged_while_it_starts(kind: Kind) {
    if !kind.wanted() {
        return;
    }
    let mut world = World::new();
    let top = world.path("ws/turn");
    for name in ["tree/inner", "point"] {
        fs::create_dir_all(top.join(name)).unwrap();
        symlink(world.outside(), top.join(format!("{}.link", name.replace('/', ".")))).unwrap();
    }
    world.put("ws/turn/tree/inner/file", "own");
    world.put("ws/turn/point/dir/masked", world.token());
    for name in ["tree.inner.link", "point.link"] {
        std::os::unix::fs::lchown(top.join(name), Some(world.uid), Some(world.uid)).unwrap_or_default();
    }
    world.watch();
    let pairs =
        [(top.join("tree/inner"), top.join("tree.inner.link")), (top.join("point"), top.join("point.link"))];
    // Sometimes at once, sometimes late: where a wall looks twice is its secret.
    let turns = AtomicU64::new(1);
    world.meanwhile(move || {
        for (one, other) in &pairs {
            let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
        }
        let turn = turns.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros(turn.wrapping_mul(0x9e37_79b9) % 40_000));
    });
    let (mut made, mut told) = (0, Vec::new());
    for number in 0..TIMES {
        let mut spec = wall::spec(&world);
        spec.id = format!("{}t{number}", world.id());
        let (inner, point) = (top.join("tree/inner"), top.join("point/dir"));
        let rules = [(&inner, Access::Write), (&point, Access::None)].map(|(path, access)| Rule {
            path: path.clone(),
            access,
            origin: Origin { source: Source::ContextPath, place: None },
        });
        spec.policy = Policy::new(spec.policy.rules().cloned().chain(rules)).unwrap();
        spec.paths.push(wall::entry(&inner, Access::Write, true));
        spec.paths.push(cordon_sandbox::PathEntry {
            source: cordon_sandbox::PathSource::Empty,
            ..wall::entry(&point, Access::None, true)
        });
        let mut cell = match super::Cell::of_spec(kind.wall(&world), spec) {
            Ok(cell) => cell,
            Err(why) => {
                told.push(why);
                continue;
            }
        };
        made += 1;
        let look = "cat turn/tree/inner/* turn/point*/* turn/point*/dir/*; echo owned > turn/tree/inner/canary; mkdir turn/point/made; echo DONE";
        let said = cell.run(&world, &Run::script(look)).unwrap();
        assert_eq!(world.harm(&said.bytes), Vec::<String>::new(), "in sandbox {number}");
    }
    assert_eq!(world.harm(told.join("\n").as_bytes()), Vec::<String>::new());
    println!("{made} of {TIMES} were made; refused: {:?}", told.first());
}

mod kx_18_exchanged_while_it_starts {
    #[test]
    fn local() {
        super::exchanged_while_it_starts(super::Kind::Local);
    }

    #[test]
    fn docker() {
        super::exchanged_while_it_starts(super::Kind::Docker);
    }
}
