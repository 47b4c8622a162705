#![doc = include_str!("quirks.md")]

#[cfg(test)]
#[path = "quirks_tests.rs"]
mod tests;
