//! The verification command.
fn main() {}
