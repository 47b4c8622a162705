//! Trees made by an enemy, against everything of ours that looks at trees.

cordon_attacks::tested_trees! {
    links, swapped, flipped, hard_links, look_alikes, names, rights, others, special, endless, deep, wide, texts, git,
    filters, submodules, alternates, agents, deferred, shims, servers,
}
