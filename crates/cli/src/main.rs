//! The `extproc` command.

fn main() {}
