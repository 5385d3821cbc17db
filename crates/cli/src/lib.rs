//! The `extproc` command.
