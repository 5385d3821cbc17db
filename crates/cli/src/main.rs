//! The `extproc` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    extproc_cli::main()
}
