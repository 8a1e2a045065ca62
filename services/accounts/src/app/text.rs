//! Texts that people type, in the one form that Hearth keeps: normalised, bounded, and free of control characters.

use hearth_kernel::Secret;
use unicode_normalization::UnicodeNormalization;

/// The most bytes of an e-mail address (RFC 5321 with its erratum 1690).
const EMAIL_BYTES: usize = 254;
/// The most bytes before the `@`.
const LOCAL_BYTES: usize = 64;
/// The most characters of a name or label.
pub(crate) const NAME_CHARS: usize = 64;
/// The fewest and the most characters of a password (NIST SP 800-63B-4: 15 where it is the only factor).
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 15..=256;
/// Passwords that everybody knows and that are long enough to be tried. Guesses are capped, so a short list does.
const WELL_KNOWN: &str = include_str!("passwords/well-known.txt");

/// An e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// As it was typed, without the spaces around it.
    pub(crate) typed: String,
    /// In normal form: what two spellings of one address have in common.
    pub(crate) normal: String,
}

impl Address {
    /// The address, if the text can be one. Whether mail arrives there is found out by mail.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let typed = text.trim();
        let (local, domain) = typed.split_once('@')?;
        let label = |label: &str| !label.is_empty() && label.len() <= 63;
        let plain = typed
            .chars()
            .all(|c| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"".contains(c));
        let holds = plain
            && typed.len() <= EMAIL_BYTES
            && (1..=LOCAL_BYTES).contains(&local.len())
            && !domain.contains('@')
            && domain.split('.').all(label);
        holds.then(|| Self {
            typed: typed.to_owned(),
            normal: typed.nfkc().collect::<String>().to_lowercase(),
        })
    }
}

/// A name or label of 1 to 64 characters in NFC, if the text is one.
pub(crate) fn name(text: &str) -> Option<String> {
    let name: String = text.trim().nfc().collect();
    let count = name.chars().count();
    let plain = name.chars().all(|c| !c.is_control());
    ((1..=NAME_CHARS).contains(&count) && plain).then_some(name)
}

/// A BCP 47 tag of at most 35 characters, if the text is shaped like one.
pub(crate) fn locale(text: &str) -> Option<String> {
    let subtag = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let mut parts = text.split('-');
    let language = parts.next()?;
    let holds = (2..=8).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        && parts.all(subtag)
        && text.len() <= 35;
    holds.then(|| text.to_owned())
}

/// An IANA time zone that this release knows.
pub(crate) fn time_zone(text: &str) -> Option<String> {
    let known = text.len() <= 64 && jiff::tz::TimeZone::get(text).is_ok();
    known.then(|| text.to_owned())
}

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordFault {
    /// Too short or too long.
    Length,
    /// Everybody knows it.
    WellKnown,
}

impl PasswordFault {
    /// What to tell who chose it.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Length => "15 to 256 characters",
            Self::WellKnown => "one of the well-known passwords; choose another",
        }
    }
}

/// A password in the form that is hashed: NFKC.
pub(crate) fn password(text: &str) -> Secret {
    Secret::from(text.nfkc().collect::<String>())
}

/// A password that may be chosen.
pub(crate) fn new_password(text: &str) -> Result<Secret, PasswordFault> {
    let normal = password(text);
    let shown = normal.expose_text().unwrap_or_default();
    if !PASSWORD_CHARS.contains(&shown.chars().count()) {
        return Err(PasswordFault::Length);
    }
    let folded = Secret::from(shown.to_lowercase());
    let known = |line: &str| !line.starts_with('#') && line.as_bytes() == folded.expose();
    if WELL_KNOWN.lines().any(known) || is_monotonous(shown) {
        return Err(PasswordFault::WellKnown);
    }
    Ok(normal)
}

/// Whether a password can be one at all: what is shown at sign-in is not judged, only bounded.
pub(crate) fn shown_password(text: &str) -> Option<Secret> {
    let normal = password(text);
    let count = normal.expose_text().unwrap_or_default().chars().count();
    (1..=*PASSWORD_CHARS.end())
        .contains(&count)
        .then_some(normal)
}

/// Whether a short piece repeats all along: `aaaaaaaaaaaaaaa`, `123412341234123`.
fn is_monotonous(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    (1..=4).any(|period| chars.windows(period + 1).all(|w| w[0] == w[period]))
}

#[cfg(test)]
mod tests {
    //! What is taken, what is not, and what two spellings have in common.

    use super::*;

    #[test]
    fn addresses() {
        let parse = Address::parse;
        assert_eq!(
            parse(" Anna@Example.ORG ").unwrap().normal,
            "anna@example.org"
        );
        assert_eq!(parse("Anna@Example.ORG").unwrap().typed, "Anna@Example.ORG");
        assert_eq!(parse("ана@пример.мк").unwrap().normal, "ана@пример.мк");
        let long = format!("{}@example.org", "a".repeat(65));
        for text in [
            "",
            "@",
            "anna",
            "anna@",
            "@example.org",
            "a@b@c",
            "a b@c.d",
            "a@b..c",
            "a@.b",
            "\"a\"@b.c",
            "a\n@b.c",
            &long,
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn names_are_trimmed_composed_and_bounded() {
        assert_eq!(name(" Ана "), Some("Ана".into()));
        assert_eq!(name("e\u{301}"), Some("é".into()));
        assert_eq!(name("  "), None);
        assert_eq!(name("a\u{7}"), None);
        assert_eq!(name(&"я".repeat(64)).unwrap().chars().count(), 64);
        assert_eq!(name(&"я".repeat(65)), None);
    }

    #[test]
    fn locales_and_time_zones() {
        assert_eq!(locale("mk"), Some("mk".into()));
        assert_eq!(locale("zh-Hant-TW"), Some("zh-Hant-TW".into()));
        for text in ["", "m", "mk-", "en_GB", "en GB", &"a-".repeat(20)] {
            assert_eq!(locale(text), None, "{text}");
        }
        assert_eq!(time_zone("Europe/Skopje"), Some("Europe/Skopje".into()));
        assert_eq!(time_zone("Mars/Olympus"), None);
        assert_eq!(time_zone(""), None);
    }

    #[test]
    fn passwords_are_long_not_famous_and_otherwise_free() {
        let check = |text: &str| new_password(text).map(|_| ());
        assert_eq!(check("correct horse battery staples"), Ok(()));
        assert_eq!(check("short"), Err(PasswordFault::Length));
        assert_eq!(check(&"aЖ9 ".repeat(65)), Err(PasswordFault::Length));
        assert_eq!(
            check("CorrectHorseBatteryStaple"),
            Err(PasswordFault::WellKnown)
        );
        assert_eq!(check("aaaaaaaaaaaaaaaa"), Err(PasswordFault::WellKnown));
        assert_eq!(check("123412341234123"), Err(PasswordFault::WellKnown));
        // The Kelvin sign is a K after NFKC: typed either way, it is one password.
        assert_eq!(password("\u{212a}elvin"), password("Kelvin"));
    }
}
