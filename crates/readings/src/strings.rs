//! A column of texts: each different text once, and a code per row.
//!
//! Enumerations ("heat", "off") and short free text. No allocation per row: a row is a u32.

use std::collections::HashMap;

use crate::{
    cursor::{Cursor, put_count},
    error::{DecodeError, EncodeError},
    integers,
};

/// Texts by row, through a dictionary.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    /// The dictionary's texts, one behind the other.
    bytes: String,
    /// Where each text of the dictionary ends in `bytes`.
    ends: Vec<usize>,
    /// Per row, the index of its text. Always below `ends.len()`.
    codes: Vec<u32>,
}

impl Texts {
    /// Number of rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The text of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        self.entry(usize::try_from(*self.codes.get(row)?).ok()?)
    }

    /// The texts by row.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.codes.iter().map(|&code| {
            // Codes are checked when they come in: the fallback is never taken.
            usize::try_from(code)
                .ok()
                .and_then(|code| self.entry(code))
                .unwrap_or("")
        })
    }

    fn entry(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 {
            0
        } else {
            *self.ends.get(index - 1)?
        };
        self.bytes.get(start..end)
    }

    pub(crate) fn clear(&mut self) {
        self.clear_rows();
        self.bytes.clear();
        self.ends.clear();
    }

    pub(crate) fn clear_rows(&mut self) {
        self.codes.clear();
    }

    pub(crate) fn codes(&self) -> &[u32] {
        &self.codes
    }

    pub(crate) const fn dictionary_len(&self) -> usize {
        self.ends.len()
    }

    /// Adds a row with a code that is in the dictionary.
    pub(crate) fn push_code(&mut self, code: u32) {
        debug_assert!(usize::try_from(code).is_ok_and(|code| code < self.ends.len()));
        self.codes.push(code);
    }

    fn push_entry(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
    }

    /// Bytes of the longest text of the dictionary.
    pub(crate) fn longest(&self) -> usize {
        let mut start = 0;
        self.ends
            .iter()
            .map(|&end| {
                let length = end - start;
                start = end;
                length
            })
            .max()
            .unwrap_or(0)
    }

    /// Appends the dictionary, without the rows.
    pub(crate) fn encode_dictionary(&self, out: &mut Vec<u8>) {
        put_count(out, self.ends.len());
        let mut start = 0;
        for &end in &self.ends {
            put_count(out, end - start);
            start = end;
        }
        out.extend_from_slice(self.bytes.as_bytes());
    }

    /// Replaces everything by a dictionary without rows, of at most `max_entries` texts.
    pub(crate) fn decode_dictionary(
        &mut self,
        cursor: &mut Cursor<'_>,
        max_entries: usize,
        max_text_bytes: usize,
    ) -> Result<(), DecodeError> {
        self.clear();
        let entries = cursor.count_of(max_entries, 1, "texts")?;
        let mut total = 0usize;
        for _ in 0..entries {
            total += cursor.count(max_text_bytes, "bytes of a text")?;
            self.ends.push(total);
        }
        let bytes = cursor.take(total)?;
        let text =
            std::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed("text is not utf-8"))?;
        if !self.ends.iter().all(|&end| text.is_char_boundary(end)) {
            return Err(DecodeError::Malformed("text cut inside a character"));
        }
        self.bytes.push_str(text);
        Ok(())
    }

    /// Appends the dictionary and the rows.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.encode_dictionary(out);
        let codes: Vec<i64> = self.codes.iter().map(|&code| i64::from(code)).collect();
        integers::encode(&codes, out);
    }

    /// Replaces everything by a dictionary and `rows` rows. The caller has bounded `rows`.
    pub(crate) fn decode(
        &mut self,
        cursor: &mut Cursor<'_>,
        rows: usize,
        max_text_bytes: usize,
    ) -> Result<(), DecodeError> {
        self.decode_dictionary(cursor, rows, max_text_bytes)?;
        let mut codes = Vec::new();
        integers::decode(cursor, rows, &mut codes)?;
        self.extend_codes(&codes)
    }

    /// Adds rows whose codes come from outside.
    pub(crate) fn extend_codes(&mut self, codes: &[i64]) -> Result<(), DecodeError> {
        self.codes.reserve(codes.len());
        for &code in codes {
            match u32::try_from(code) {
                Ok(code) if usize::try_from(code).is_ok_and(|code| code < self.ends.len()) => {
                    self.codes.push(code);
                }
                _ => return Err(DecodeError::Malformed("code of a text")),
            }
        }
        Ok(())
    }
}

/// Equality of the rows, whatever the dictionary's order.
impl PartialEq for Texts {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Texts {}

/// Builds [`Texts`]: finds the code of a text that was seen before.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: Texts,
    codes: HashMap<Box<str>, u32>,
}

impl Interner {
    /// Adds a row.
    pub(crate) fn push(&mut self, text: &str, max_text_bytes: usize) -> Result<(), EncodeError> {
        if text.len() > max_text_bytes {
            let what = "bytes of a text";
            return Err(EncodeError::TooLarge {
                what,
                found: text.len(),
                limit: max_text_bytes,
            });
        }
        let code = match self.codes.get(text) {
            Some(&code) => code,
            None => {
                let found = self.texts.ends.len();
                let limit = u32::MAX;
                let code = u32::try_from(found).map_err(|_| EncodeError::TooLarge {
                    what: "texts",
                    found,
                    limit: usize::try_from(limit).unwrap_or(usize::MAX),
                })?;
                self.texts.push_entry(text);
                self.codes.insert(text.into(), code);
                code
            }
        };
        self.texts.push_code(code);
        Ok(())
    }

    /// The rows added.
    pub(crate) fn finish(self) -> Texts {
        self.texts
    }
}

impl Texts {
    /// The column of `rows`.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] for a text longer than `max_text_bytes`.
    pub fn from_rows<'a>(
        rows: impl IntoIterator<Item = &'a str>,
        max_text_bytes: usize,
    ) -> Result<Self, EncodeError> {
        let mut interner = Interner::default();
        for row in rows {
            interner.push(row, max_text_bytes)?;
        }
        Ok(interner.finish())
    }

    /// The column of `codes`, each of which is an index into `dictionary`.
    ///
    /// # Errors
    /// [`EncodeError::Inconsistent`] for a code beyond the dictionary.
    pub fn from_dictionary<'a>(
        dictionary: impl IntoIterator<Item = &'a str>,
        codes: Vec<u32>,
    ) -> Result<Self, EncodeError> {
        let mut texts = Self::default();
        for entry in dictionary {
            texts.push_entry(entry);
        }
        let known = |code: u32| usize::try_from(code).is_ok_and(|code| code < texts.ends.len());
        if !codes.iter().all(|&code| known(code)) {
            return Err(EncodeError::Inconsistent("code of a text"));
        }
        texts.codes = codes;
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_texts_round_trip(rows in prop::collection::vec("\\PC{0,5}", 0..60)) {
            let texts = Texts::from_rows(rows.iter().map(String::as_str), 64).unwrap();
            let mut bytes = Vec::new();
            texts.encode(&mut bytes);
            let mut cursor = Cursor::new(&bytes);
            let mut back = Texts::default();
            back.decode(&mut cursor, rows.len(), 64).unwrap();
            cursor.finish().unwrap();
            prop_assert!(back.iter().eq(rows.iter().map(String::as_str)));
            prop_assert_eq!(back, texts);
        }
    }

    #[test]
    fn a_text_cut_inside_a_character_is_refused() {
        // Two texts of one byte each, over the two bytes of one character.
        let bytes = [2, 1, 1, 0xc3, 0xa9];
        let mut texts = Texts::default();
        let error = texts.decode_dictionary(&mut Cursor::new(&bytes), 2, 64);
        assert_eq!(
            error,
            Err(DecodeError::Malformed("text cut inside a character"))
        );
    }
}
