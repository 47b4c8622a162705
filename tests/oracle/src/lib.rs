//! The differential oracle: random trees, random rules and random operations, and everybody
//! who says what is allowed has to say the same: `Policy::decide`, a reference walker that is
//! as naive as it can be, the tools that agents call, and the kernel behind either wall.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod dice;
pub mod operation;
pub mod reference;
pub mod script;
pub mod tools;
pub mod tree;
pub mod walls;
pub mod world;
