//! Prints what the last run of the matrix found, as the table of the README.
#![allow(clippy::print_stdout)]

fn main() {
    print!("{}", cordon_tests::matrix::table());
}
