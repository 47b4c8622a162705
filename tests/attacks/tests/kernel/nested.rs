use super::Kind;
use cordon_attacks::{Place as _, Run, World, enforcer::wall};
use cordon_policy::{Access, Origin, Policy, Rule, Source};
use cordon_sandbox::{PathEntry, PathKind, PathSource};
use std::path::Path;

/// AP-13: another sandbox inside ours starts or says why not, and what is closed outside stays closed.
fn a_nested_sandbox_changes_nothing(kind: Kind, program: &Path, words: &str) {
    let mut world = World::new();
    let mut spec = wall::spec(&world);
    let directory = program.parent().unwrap();
    if !directory.starts_with("/usr") || kind == Kind::Docker {
        // Where programs of the host are, inside a container too, but not over its own.
        let path = if directory.starts_with("/usr") { world.path("ro") } else { directory.to_path_buf() };
        if path == world.path("ro") {
            std::fs::copy(program, path.join(program.file_name().unwrap())).unwrap();
            world.watch();
        } else {
            let origin = Origin { source: Source::Program, place: None };
            let rule = Rule { path: path.clone(), access: Access::Read, origin };
            spec.policy = Policy::new(spec.policy.rules().cloned().chain([rule])).unwrap();
            spec.paths.push(PathEntry {
                source: PathSource::Host(path.clone()),
                path,
                kind: PathKind::Directory,
                access: Access::Read,
                execute: true,
            });
        }
    }
    let program = match kind {
        Kind::Docker if directory.starts_with("/usr") => world.path("ro").join(program.file_name().unwrap()),
        _ => program.to_path_buf(),
    };
    let mut cell = kind.cell(&world, spec);
    let script = format!(
        r#"
export HOME=/tmp
run() {{ timeout -k 1 20 {program} {words} "$@" </dev/null; echo "exit $?"; }}
run /bin/cat "$CANARY" "$WS/hidden"
run /bin/sh -c "echo x > $WS/keep/file; echo x > $RO/file; echo x > $OUTSIDE/made; touch $WS/src/from-inside"
run /bin/sh -c 'cat /proc/[0-9]*/environ | tr "\0" "\n" | grep -a ^SECRET; kill -9 -1'
echo DONE
"#,
        program = program.display()
    );
    let said = cell.run(&world, &Run::script(script)).unwrap();
    let text = said.text();
    assert!(text.contains("DONE"), "{text}");
    assert_eq!(text.matches("exit ").count(), 3, "it hung or was not there: {text}");
    assert!(!text.contains("exit 127") && !text.contains("exit 124"), "{text}");
    let after = cell.run(&world, &Run::script("echo DONE")).unwrap();
    assert!(after.text().contains("DONE"), "{after:?}");
    drop(cell);
    assert_eq!(world.harm(&said.bytes), Vec::<String>::new(), "{text}");
}

mod ap_13_bwrap_inside {
    use super::*;

    const WORDS: &str = "--ro-bind / / --proc /proc --dev /dev --unshare-all";

    fn attack(kind: Kind) {
        if kind.wanted() && !cordon_tests::harness::skipped("bwrap") {
            a_nested_sandbox_changes_nothing(kind, Path::new("/usr/bin/bwrap"), WORDS);
        }
    }

    #[test]
    fn local() {
        attack(Kind::Local);
    }
}

mod ap_13_codex_inside {
    use super::*;

    fn attack(kind: Kind) {
        if kind.wanted() && !cordon_tests::harness::skipped("clis") {
            a_nested_sandbox_changes_nothing(kind, &cordon_tests::harness::codex(), "sandbox");
        }
    }

    #[test]
    fn local() {
        attack(Kind::Local);
    }

    #[test]
    fn docker() {
        attack(Kind::Docker);
    }
}
