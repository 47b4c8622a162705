use super::*;
use clap::CommandFactory as _;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_and_option_has_help() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        for sub in command.get_subcommands() {
            assert!(sub.get_about().is_some(), "{}", sub.get_name());
            check(sub);
        }
    }
    check(&Cli::command());
    let help = Cli::command().render_long_help().to_string();
    for code in ["  0  ", "  1  ", "  2  ", "  3  ", "  4  ", "  130  "] {
        assert!(help.contains(code), "{code:?} is not in {help}");
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in Shell::value_variants() {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut Cli::command(), "cordon", &mut script);
        let script = String::from_utf8(script).unwrap();
        for word in ["validate", "no-start", "workspaces", "keep-bytes", "name-only", "no-history"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn the_documented_forms_parse() {
    for line in [
        "cordon run f.yaml -a one -a two --wall local --raw task",
        "cordon run f.yaml --detach -",
        "cordon chat f.yaml -a one -a two --wall local --reasoning --no-history",
        "cordon chat --resume 0199",
        "cordon chat f.yaml --resume 0199",
        "cordon run f.yaml --output json task",
        "cordon ps -a --output json",
        "cordon logs -f --from 7 0199",
        "cordon exec -it 0199 -a one -- bash -l",
        "cordon mcp f.yaml",
        "cordon mcp f.yaml one --wall docker",
        "cordon validate --schema",
        "cordon explain f.yaml /etc/shadow /usr",
        "cordon backends -o json",
        "cordon backends openai",
        "cordon doctor --inside f.yaml --wall docker",
        "cordon images build base --bootstrap --ca ca.pem --proxy http://p:1",
        "cordon --socket /s --no-start daemon stop --stop-runs",
        "cordon run f.yaml --apply data task",
        "cordon diff 0199",
        "cordon diff 0199 a --stat --color always -- src Makefile",
        "cordon apply 0199 a --yes --allow runs-later,steers-agents --on-drift merge --leave-out",
        "cordon apply 0199 --dry-run --paths src /abs/Makefile",
        "cordon snapshots ls 0199 a -o json",
        "cordon snapshots diff 3f 4e --name-only -- src",
        "cordon snapshots restore 3f --yes",
        "cordon snapshots fork 3f f.yaml task -a one -d",
        "cordon snapshots export 3f tree.tar --force",
        "cordon snapshots import - --label old",
        "cordon snapshots label 3f good",
        "cordon snapshots rm 3f 4e",
        "cordon snapshots gc --keep-count 3 --keep-days 7 --keep-bytes 1GiB --dry-run",
        "cordon snapshots verify",
        "cordon workspaces tree 0199/a src --depth 2",
        "cordon workspaces cat /w src/main.rs",
    ] {
        Cli::try_parse_from(line.split(' ')).unwrap();
    }
    for line in [
        "cordon validate",
        "cordon exec 0199 ls",
        "cordon run",
        "cordon doctor --wall local",
        "cordon run f.yaml -d --apply ask task",
        "cordon diff",
        "cordon diff 0199 --stat --name-only",
        "cordon apply 0199 --allow data",
        "cordon apply 0199 --on-drift theirs",
        "cordon snapshots rm",
        "cordon snapshots gc --keep-count 0",
        "cordon snapshots gc --keep-bytes much",
        "cordon workspaces tree /w --depth 0",
    ] {
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}

#[test]
fn nothing_is_the_beginning_of_every_id_and_names_none() {
    for line in [
        "diff X",
        "apply X",
        "snapshots rm X",
        "snapshots rm 3f X",
        "snapshots restore X",
        "snapshots show X",
        "snapshots diff X",
        "snapshots export X",
        "snapshots fork X f.yaml t",
        "workspaces rm X",
        "stop X",
        "rm X",
        "logs X",
        "exec X -- ls",
    ] {
        let words = |id: &'static str| {
            std::iter::once("cordon")
                .chain(line.split(' ').map(move |word| if word == "X" { id } else { word }))
        };
        assert!(Cli::try_parse_from(words("3f")).is_ok(), "{line}");
        assert!(Cli::try_parse_from(words("")).is_err(), "{line}");
    }
}
