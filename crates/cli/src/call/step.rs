//! `--step`: every message is shown before it goes out.

use std::io::{self, BufRead, IsTerminal, Write as _};

use extproc_proto::{ProcessingRequest, ProcessingResponse};

use crate::dialogue::Watch;
use crate::dialogue::words::{self, Phase};
use crate::text::{BOLD, DIM};

/// Asks on stdout and reads commands from stdin, line by line; works with pipes as well as with people.
#[derive(Debug)]
pub(super) struct Stdin {
    /// Nobody is asked any more.
    run: bool,
}

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Continue,
    Run,
    Quit,
    Help,
}

const HELP: &str = "c or nothing: send it; r: send everything from here on; q: end the exchange\n";

impl Stdin {
    pub(super) const fn new() -> Self {
        Self { run: false }
    }
}

impl Watch for Stdin {
    fn before(&mut self, message: &ProcessingRequest) -> anyhow::Result<bool> {
        let phase = words::asked(message).map_or("nothing", Phase::name);
        crate::text::println(format_args!("{BOLD}-> {phase}{BOLD:#}  {}", words::sent(message).join(", ")));
        for (name, value) in words::fields(message) {
            crate::text::println(format_args!("     {DIM}{name}: {value}{DIM:#}"));
        }
        while !self.run {
            crate::text::print("(c)ontinue, (r)un, (q)uit? ");
            let mut line = String::new();
            let read = io::stdin().lock().read_line(&mut line)?;
            if !io::stdin().is_terminal() {
                // What was typed is on the terminal; what came by a pipe is not.
                crate::text::println(line.trim());
            }
            match parse(line.trim(), read == 0) {
                Some(Command::Continue) => return Ok(true),
                Some(Command::Run) => self.run = true,
                Some(Command::Quit) => return Ok(false),
                Some(Command::Help) | None => crate::text::print(HELP),
            }
        }
        Ok(true)
    }

    fn after(&mut self, message: &ProcessingResponse) {
        let phase = words::answered(message).map_or("any phase", Phase::name);
        crate::text::println(format_args!("{BOLD}<- {phase}{BOLD:#}  {}", words::received(message).join("; ")));
        // The next question may be long in coming.
        let _ = io::stdout().flush();
    }
}

/// The end of the input is as `quit`: nobody is there to say more.
fn parse(line: &str, ended: bool) -> Option<Command> {
    match line {
        "" if ended => Some(Command::Quit),
        "" | "c" | "continue" => Some(Command::Continue),
        "r" | "run" => Some(Command::Run),
        "q" | "quit" => Some(Command::Quit),
        "h" | "help" | "?" => Some(Command::Help),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        for (line, ended, command) in [
            ("", false, Some(Command::Continue)),
            ("", true, Some(Command::Quit)),
            ("c", false, Some(Command::Continue)),
            ("run", false, Some(Command::Run)),
            ("q", true, Some(Command::Quit)),
            ("?", false, Some(Command::Help)),
            ("x", false, None),
        ] {
            assert_eq!(parse(line, ended), command, "{line}");
        }
    }
}
