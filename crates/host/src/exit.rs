//! How a process ends: one clear line on stderr and a code.
//!
//! What the operator can put right at once (a bad option, an occupied port, a folder that cannot be written) is 64, as
//! EX_USAGE in sysexits(3); what went wrong while running is 1.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use hearth_ports::tasks::Chain;

/// Why a process ends.
#[derive(Debug)]
pub enum Exit {
    /// What was asked for cannot be: 64. The line says what and what to do.
    Usage(String),
    /// It went wrong while running: 1.
    Failed(String),
    /// A server refused it: 1. One line says what, and one more each thing that is wrong.
    Refused {
        /// The reason and what it means.
        line: String,
        /// Each thing that is wrong.
        wrong: Vec<String>,
    },
}

impl Exit {
    /// A bad option, path, port or folder.
    pub fn usage(line: impl Into<String>) -> Self {
        Self::Usage(line.into())
    }

    /// Something that failed, with the chain of its causes.
    pub fn failed(what: &str, error: &(dyn Error + 'static)) -> Self {
        Self::Failed(format!("{what}: {}", Chain(error)))
    }

    /// The code.
    #[must_use]
    pub const fn number(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Failed(_) | Self::Refused { .. } => 1,
        }
    }

    /// Says the line on stderr and answers the code: for the end of `main`.
    #[must_use]
    pub fn report(self) -> ExitCode {
        // A closed stderr is nobody to tell.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{self}\n"));
        ExitCode::from(self.number())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever a cause says.
        let one = |text: &str| text.replace(|c: char| c.is_control(), " ");
        let (Self::Usage(line) | Self::Failed(line) | Self::Refused { line, .. }) = self;
        write!(f, "hearth: {}", one(line))?;
        if let Self::Refused { wrong, .. } = self {
            for wrong in wrong {
                write!(f, "\n  {}", one(wrong))?;
            }
        }
        Ok(())
    }
}

impl Error for Exit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_line_and_the_right_code() {
        let usage = Exit::usage("the port 1 is\noccupied");
        assert_eq!(usage.to_string(), "hearth: the port 1 is occupied");
        assert_eq!(usage.number(), 64);
        assert_eq!(Exit::failed("x", &fmt::Error).number(), 1);
    }
}
