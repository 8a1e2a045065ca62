//! Log messages start lowercase and have no full stop, so that they read as one voice and grep as one form.

use super::scan::{Scan, line_of};

const MACROS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

/// What is wrong with the messages of the tracing macros in a file.
pub(crate) fn problems(path: &str, text: &str, scan: &Scan) -> Vec<String> {
    let code = scan.code();
    let mut problems = Vec::new();
    for name in MACROS {
        for (at, found) in code.match_indices(&format!("{name}!(")) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|it| it.is_alphanumeric() || it == '_') {
                continue;
            }
            let Some(message) = message(text, scan, at + found.len()) else {
                continue;
            };
            let line = line_of(text, at);
            if message.chars().next().is_some_and(char::is_uppercase) {
                problems.push(format!(
                    "{path}:{line}: a log message starts lowercase: {message:?}"
                ));
            }
            if message.ends_with('.') {
                problems.push(format!(
                    "{path}:{line}: a log message has no full stop: {message:?}"
                ));
            }
        }
    }
    problems
}

/// The first argument that is a string and not the value of a field.
fn message<'a>(text: &'a str, scan: &Scan, start: usize) -> Option<&'a str> {
    let code = scan.code().as_bytes();
    let mut depth = 0_usize;
    let mut begins_argument = true;
    for (at, byte) in code.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' if depth == 0 => return None,
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                begins_argument = true;
                continue;
            }
            b'"' if depth == 0 && begins_argument => {
                let literal = scan.strings().iter().find(|it| it.range.start == at + 1)?;
                return text.get(literal.range.clone());
            }
            byte if byte.is_ascii_whitespace() => continue,
            _ => {}
        }
        begins_argument = false;
    }
    None
}

#[cfg(test)]
mod tests {
    //! Messages in every place where tracing takes them.

    use super::*;

    fn count(source: &str) -> usize {
        problems("a.rs", source, &Scan::new(source)).len()
    }

    #[test]
    fn good_messages_pass() {
        for source in [
            r#"info!("started");"#,
            r#"tracing::warn!(error = %e, "cannot write {path}");"#,
            r#"debug!(target: "Hearth.", count = f("A."), "done");"#,
            r#"error!(?error);"#,
            r#"log_error!("Not ours.")"#,
            r#"// info!("Not code.")"#,
            "info!(\n    name = \"Upper.\",\n    { a = 1 },\n    \"lower\"\n);",
        ] {
            assert_eq!(count(source), 0, "{source}");
        }
    }

    #[test]
    fn bad_messages_are_found() {
        assert_eq!(count(r#"info!("Started");"#), 1);
        assert_eq!(count(r#"info!("started.");"#), 1);
        assert_eq!(count(r#"tracing::info!(count, "Started.");"#), 2);
        assert_eq!(count("warn!(\n    count = 1,\n    \"Bad\",\n);"), 1);
    }
}
