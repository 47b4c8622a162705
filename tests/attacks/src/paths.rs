//! "Paths and links": attacks on the tools that take a path, and on the walls by every name that a path can have.

pub mod alike;
mod calls;
pub mod links;
pub mod names;
pub mod protected;
pub mod races;
mod script;
pub mod special;

use crate::Enforcer;
use cordon_policy::{Access, Origin, Policy, Rule, Source};
use cordon_sandbox::SandboxSpec;
use std::path::Path;

/// Every attack of this part: `name => attack`. `$each` is a macro that makes something of the list.
#[macro_export]
macro_rules! path_attacks {
    ($each:ident) => {
        $crate::$each! {
            fs_01_sibling_with_the_same_prefix => $crate::paths::names::SIBLING,
            fs_01_what_no_rule_names => $crate::paths::names::PLAIN,
            fs_01_beside_a_single_file => $crate::paths::names::SINGLE,
            fs_02_link_to_outside => $crate::paths::links::LEAF,
            fs_02_link_to_what_is_protected => $crate::paths::links::TO_PROTECTED,
            fs_02_chains_and_circles => $crate::paths::links::CHAIN,
            fs_03_linked_parent_of_what_is_not_there => $crate::paths::links::PARENT,
            fs_04_check_and_use => $crate::paths::races::ATTACK,
            fs_06_dangling_link => $crate::paths::links::DANGLING,
            fs_07_hard_link_and_tools => $crate::paths::links::HARD,
            fs_07_hard_link_and_programs => $crate::paths::links::HARD_GUARDED,
            fs_09_spelled_in_other_ways => $crate::paths::names::SPELLED,
            fs_09_protected_names_spelled_in_other_ways => $crate::paths::names::SPELLED_INSIDE,
            fs_11_look_alikes => $crate::paths::alike::LOOK_ALIKES,
            fs_12_no_names_at_all => $crate::paths::names::BROKEN,
            fs_13_magic_links => $crate::paths::special::MAGIC,
            fs_14_leaked_descriptors => $crate::paths::special::DESCRIPTORS,
            fs_17_into_a_protected_name => $crate::paths::protected::INTO,
            fs_17_protected_name_that_is_not_there => $crate::paths::protected::ABSENT,
            fs_17_move_the_directory_above => $crate::paths::protected::ABOVE,
            fs_17_recursive_over_protected => $crate::paths::protected::RECURSIVE,
            fs_19_calls_on_read_only_files => $crate::paths::protected::READ_ONLY,
            fs_20_mounts => $crate::paths::protected::MOUNTS,
            fs_20_table_of_the_tools => $crate::paths::protected::TABLE,
            fs_22_bits_carried_out => $crate::paths::protected::BITS,
            fs_23_owner_on_the_host => $crate::paths::protected::OWNER,
            fs_24_special_files => $crate::paths::special::FILES,
            fs_28_tree_bombs => $crate::paths::special::BOMBS,
        }
    };
}

crate::path_attacks!(listed);

/// For attacks on rules that an enforcer cannot be told.
fn ruleless(enforcer: Enforcer) -> Option<&'static str> {
    (enforcer == Enforcer::NpmServer).then_some("knows no rule below a directory that is granted")
}

/// For attacks that only make sense against something of ours.
fn ours(enforcer: Enforcer, why: &'static str) -> Option<&'static str> {
    (!enforcer.is_ours()).then_some(why)
}

/// For attacks by programs alone.
fn programs(enforcer: Enforcer) -> Option<&'static str> {
    matches!(enforcer, Enforcer::ToolsAlone | Enforcer::NpmServer).then_some("runs no programs")
}

/// For attacks by tools alone.
fn tools(enforcer: Enforcer) -> Option<&'static str> {
    let serves = matches!(enforcer, Enforcer::ToolsAlone | Enforcer::Tools | Enforcer::NpmServer);
    (!serves).then_some("serves no tools")
}

/// One rule more in a place of ours.
fn add_rule(spec: &mut SandboxSpec, path: &Path, access: Access, source: Source) {
    let rule = Rule { path: path.to_path_buf(), access, origin: Origin { source, place: None } };
    spec.policy = Policy::new(spec.policy.rules().cloned().chain([rule])).expect("a rule in normal form");
}
