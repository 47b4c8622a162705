//! Runs a script inside an enforcer's place and prints what it said and what came of it: for writing attacks.
//! `inside ENFORCER SCRIPT`, the enforcer as in the table's head.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::panic)]

use cordon_attacks::{Attack, Enforcer, Run, World, open};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().expect("an enforcer");
    let enforcer =
        Enforcer::ALL.into_iter().find(|e| e.to_string() == name).expect("one of the table's head");
    let mut world = World::new();
    let mut place = open(enforcer, &world, &Attack::NONE).unwrap_or_else(|why| panic!("{why}"));
    let mut all = Vec::new();
    for script in arguments {
        let said = place.run(&world, &Run::script(script)).expect("an enforcer that runs programs");
        println!("{}\n--- exit {:?}", said.text(), said.code);
        all.extend_from_slice(&said.bytes);
    }
    drop(place);
    println!("--- harm: {:?}", world.harm(&all));
}
