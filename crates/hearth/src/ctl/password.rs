//! Passwords: typed without echo, or one line from stdin when that is no terminal. Never an argument, which every
//! process of the machine could read.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use hearth_host::Exit;
use hearth_kernel::Secret;

/// The longest line that is read, in bytes: above the longest password of the contract.
const LONGEST: u64 = 4096;

/// Asks for a password that exists.
///
/// # Errors
/// `Usage` when none is given.
pub(crate) fn ask() -> Result<Secret, Exit> {
    if io::stdin().is_terminal() {
        return typed("Password: ");
    }
    piped(&mut io::stdin().lock())
}

/// Asks for a new password, twice on a terminal.
///
/// # Errors
/// `Usage` when none is given, or the two differ.
pub(crate) fn choose() -> Result<Secret, Exit> {
    if !io::stdin().is_terminal() {
        return piped(&mut io::stdin().lock());
    }
    let first = typed("New password (15 characters or more): ")?;
    let second = typed("The same again: ")?;
    if first != second {
        return Err(Exit::usage("the two passwords differ"));
    }
    Ok(first)
}

fn typed(prompt: &str) -> Result<Secret, Exit> {
    let read = rpassword::prompt_password(prompt);
    let read = read.map_err(|error| Exit::failed("the password cannot be read", &error))?;
    given(read.into_bytes())
}

fn piped(from: &mut impl io::BufRead) -> Result<Secret, Exit> {
    let mut line = Vec::new();
    let read = from.take(LONGEST).read_until(b'\n', &mut line);
    read.map_err(|error| Exit::failed("the password cannot be read", &error))?;
    while line
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        line.pop();
    }
    given(line)
}

fn given(bytes: Vec<u8>) -> Result<Secret, Exit> {
    let secret = Secret::new(bytes);
    if secret.is_empty() {
        return Err(Exit::usage(
            "no password was given: type it, or give it as one line on stdin",
        ));
    }
    if secret.expose_text().is_none() {
        return Err(Exit::usage("the password is not UTF-8"));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_stdin_is_the_password() {
        let read = |bytes: &[u8]| piped(&mut io::Cursor::new(bytes.to_vec()));
        assert_eq!(
            read(b"a word\r\nsecond line").unwrap(),
            Secret::from("a word")
        );
        assert_eq!(read(b"a word").unwrap(), Secret::from("a word"));
        for none in [&b""[..], b"\n", b"\xff\n"] {
            assert_eq!(read(none).unwrap_err().number(), 64);
        }
    }
}
