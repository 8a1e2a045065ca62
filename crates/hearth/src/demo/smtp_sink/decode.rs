//! Reads a mail of one text part: headers (RFC 5322), encoded words (RFC 2047), transfer encodings (RFC 2045).
//!
//! Only what a mail to the sink needs; what it cannot read it leaves as it came.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Subject and text of a mail.
pub(super) fn mail(bytes: &[u8]) -> (String, String) {
    let whole = String::from_utf8_lossy(bytes);
    let (head, body) = whole.split_once("\r\n\r\n").unwrap_or((&whole, ""));
    let subject = header(head, "subject")
        .map(|value| words(&value))
        .unwrap_or_default();
    let encoding = header(head, "content-transfer-encoding").unwrap_or_default();
    let text = match encoding.to_ascii_lowercase().as_str() {
        "base64" => base64_text(body),
        "quoted-printable" => quoted_printable(body),
        _ => body.to_owned(),
    };
    (subject, text.replace("\r\n", "\n"))
}

/// The first header of that name, unfolded.
fn header(head: &str, name: &str) -> Option<String> {
    let mut lines = head.split("\r\n").peekable();
    while let Some(line) = lines.next() {
        let Some((found, value)) = line.split_once(':') else {
            continue;
        };
        if !found.eq_ignore_ascii_case(name) {
            continue;
        }
        let mut value = value.trim().to_owned();
        while let Some(more) = lines.next_if(|next| next.starts_with([' ', '\t'])) {
            value.push(' ');
            value.push_str(more.trim());
        }
        return Some(value);
    }
    None
}

fn base64_text(body: &str) -> String {
    let digits: String = body.split_whitespace().collect();
    let bytes = STANDARD.decode(digits).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn quoted_printable(body: &str) -> String {
    let joined = body.replace("=\r\n", "");
    String::from_utf8_lossy(&escapes(joined.as_bytes(), false)).into_owned()
}

/// `=41` as `A`; in encoded words `_` is a space.
fn escapes(bytes: &[u8], in_word: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).and_then(|digits| hex::decode(digits).ok());
        match (first, escaped) {
            (b'=', Some(byte)) => {
                out.extend_from_slice(&byte);
                rest = &after[2..];
            }
            (b'_', _) if in_word => {
                out.push(b' ');
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// A header's value with its encoded words read. Space between two of them is no part of the value.
fn words(value: &str) -> String {
    let mut out = String::new();
    let mut after_word = false;
    for part in value.split(' ') {
        let word = encoded_word(part);
        if !(out.is_empty() || after_word && word.is_some()) {
            out.push(' ');
        }
        after_word = word.is_some();
        out.push_str(&word.unwrap_or_else(|| part.to_owned()));
    }
    out
}

fn encoded_word(part: &str) -> Option<String> {
    let inner = part.strip_prefix("=?")?.strip_suffix("?=")?;
    let mut fields = inner.splitn(3, '?');
    let (charset, encoding, text) = (fields.next()?, fields.next()?, fields.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let bytes = match encoding {
        "b" | "B" => STANDARD.decode(text).ok()?,
        "q" | "Q" => escapes(text.as_bytes(), true),
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_quoted_and_base64_texts_are_read() {
        let plain = mail(b"Subject: Hi\r\n\r\none\r\ntwo\r\n");
        assert_eq!(plain, ("Hi".to_owned(), "one\ntwo\n".to_owned()));
        let quoted = b"subject: =?utf-8?q?a=3Db_c?=\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nlo=\r\nng =C3=A9 = x\r\n";
        assert_eq!(
            mail(quoted),
            ("a=b c".to_owned(), "long é = x\n".to_owned())
        );
        let coded = b"Content-Transfer-Encoding: base64\r\nSubject: =?utf-8?b?SGVh?=\r\n =?utf-8?b?cnRo?= now\r\n\r\nw6l4\r\n";
        assert_eq!(mail(coded), ("Hearth now".to_owned(), "éx".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_stays_or_is_empty() {
        assert_eq!(mail(b"").0, "");
        assert_eq!(mail(b"Subject: =?latin1?q?x?=\r\n\r\n").0, "=?latin1?q?x?=");
        let broken = mail(b"Content-Transfer-Encoding: base64\r\n\r\n*\r\n");
        assert_eq!(broken.1, "");
    }
}
