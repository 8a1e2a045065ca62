//! A look at Rust source that tells code from comments and from the contents of literals.
//!
//! It is no parser: it knows comments, strings, raw strings and characters, and nothing else. That is enough
//! to find a word in code without finding it in a sentence.

use std::ops::Range;

/// One string literal.
pub(crate) struct Literal {
    /// Where its text stands in the source, quotes not included, in bytes.
    pub(crate) range: Range<usize>,
}

/// A source in which comments and the contents of literals are blanked out.
pub(crate) struct Scan {
    code: String,
    strings: Vec<Literal>,
}

impl Scan {
    /// Scans a source. What is not closed runs to its end.
    pub(crate) fn new(text: &str) -> Self {
        let mut scanner = Scanner {
            bytes: text.as_bytes(),
            at: 0,
            blank: Vec::new(),
            strings: Vec::new(),
        };
        scanner.run();
        let mut code = text.as_bytes().to_vec();
        for range in scanner.blank {
            for byte in &mut code[range] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        // Whole literals and comments are blanked, so no character is cut in two.
        let code = String::from_utf8_lossy(&code).into_owned();
        Self {
            code,
            strings: scanner.strings,
        }
    }

    /// The source, byte for byte as long as the original, with comments and literals as spaces.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// The string literals, in order.
    pub(crate) fn strings(&self) -> &[Literal] {
        &self.strings
    }
}

/// The line of a byte, counted from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|it| *it == b'\n').count() + 1
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    blank: Vec<Range<usize>>,
    strings: Vec<Literal>,
}

impl Scanner<'_> {
    fn run(&mut self) {
        while self.at < self.bytes.len() {
            let rest = &self.bytes[self.at..];
            if rest.starts_with(b"//") {
                self.line_comment();
            } else if rest.starts_with(b"/*") {
                self.block_comment();
            } else if rest[0] == b'"' {
                self.string();
            } else if rest[0] == b'\'' {
                self.character();
            } else if rest[0] == b'r' && !self.follows_a_word() {
                self.raw_string();
            } else {
                self.at += 1;
            }
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// Whether the letter here ends a longer word; the `b` of `br"..."` does not make it one.
    fn follows_a_word(&self) -> bool {
        let word = |at: usize| {
            self.byte(at)
                .is_some_and(|it| it.is_ascii_alphanumeric() || it == b'_')
        };
        let Some(before) = self.at.checked_sub(1) else {
            return false;
        };
        let prefixed =
            matches!(self.bytes[before], b'b' | b'c') && !before.checked_sub(1).is_some_and(word);
        word(before) && !prefixed
    }

    fn line_comment(&mut self) {
        let start = self.at;
        while self.byte(self.at).is_some_and(|it| it != b'\n') {
            self.at += 1;
        }
        self.blank.push(start..self.at);
    }

    fn block_comment(&mut self) {
        let start = self.at;
        let mut depth = 0_usize;
        while self.at < self.bytes.len() {
            let rest = &self.bytes[self.at..];
            if rest.starts_with(b"/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with(b"*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    break;
                }
            } else {
                self.at += 1;
            }
        }
        self.blank.push(start..self.at.min(self.bytes.len()));
    }

    fn string(&mut self) {
        let start = self.at + 1;
        self.at = start;
        while let Some(byte) = self.byte(self.at) {
            match byte {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.literal(start, 1);
    }

    fn raw_string(&mut self) {
        let mut start = self.at + 1;
        let mut hashes = 0;
        while self.byte(start) == Some(b'#') {
            hashes += 1;
            start += 1;
        }
        if self.byte(start) != Some(b'"') {
            self.at += 1;
            return;
        }
        start += 1;
        self.at = start;
        let end = [vec![b'"'], vec![b'#'; hashes]].concat();
        while self.at < self.bytes.len() && !self.bytes[self.at..].starts_with(&end) {
            self.at += 1;
        }
        self.literal(start, end.len());
    }

    fn literal(&mut self, start: usize, closing: usize) {
        let end = self.at.min(self.bytes.len());
        self.blank.push(start..end);
        self.strings.push(Literal { range: start..end });
        self.at = end + closing;
    }

    /// A character literal, or the quote of a lifetime.
    fn character(&mut self) {
        let start = self.at + 1;
        let end = match self.byte(start) {
            Some(b'\\') => self.bytes[start + 1..]
                .iter()
                .skip(1)
                .position(|it| *it == b'\'')
                .map(|it| start + 2 + it),
            Some(first) => {
                let length = match first {
                    0..0x80 => 1,
                    0x80..0xE0 => 2,
                    0xE0..0xF0 => 3,
                    _ => 4,
                };
                (self.byte(start + length) == Some(b'\'')).then_some(start + length)
            }
            None => None,
        };
        match end {
            Some(end) => {
                self.blank.push(start..end);
                self.at = end + 1;
            }
            None => self.at = start,
        }
    }
}

#[cfg(test)]
mod tests {
    //! Code, comments and literals told apart, on short sources.

    use super::*;

    fn check(source: &str, code: &str, strings: &[&str]) {
        let scan = Scan::new(source);
        assert_eq!(scan.code(), code);
        let found: Vec<_> = scan
            .strings()
            .iter()
            .map(|it| &source[it.range.clone()])
            .collect();
        assert_eq!(found, strings);
    }

    #[test]
    fn comments_are_blanked() {
        check("a // b\nc", "a     \nc", &[]);
        check("a /* b /* c */ d */ e", "a                   e", &[]);
    }

    #[test]
    fn strings_are_blanked_and_kept() {
        check(r#"f("a\"b", 1)"#, r#"f("    ", 1)"#, &[r#"a\"b"#]);
        check("r#\"a\"b\"# x", "r#\"   \"# x", &["a\"b"]);
        check("br\"a\" x", "br\" \" x", &["a"]);
        check("\"a // b\" c", "\"      \" c", &["a // b"]);
    }

    #[test]
    fn names_that_end_in_r_are_not_raw_strings() {
        check("for \"a\"", "for \" \"", &["a"]);
        check("r#type = 1", "r#type = 1", &[]);
    }

    #[test]
    fn characters_are_not_lifetimes() {
        check("'\"' \"a\"", "' ' \" \"", &["a"]);
        check("'\\'' 'é' 'a'", "'  ' '  ' ' '", &[]);
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)", &[]);
    }

    #[test]
    fn what_is_not_closed_runs_to_the_end() {
        for source in ["\"a", "/* a", "r#\"a", "'", "'\\", "\"a\\"] {
            assert_eq!(Scan::new(source).code().len(), source.len(), "{source:?}");
        }
    }

    #[test]
    fn lines_count_from_one() {
        assert_eq!(line_of("a\nb", 0), 1);
        assert_eq!(line_of("a\nb", 2), 2);
    }
}
