//! What verifies, and that nothing else does.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn parties() -> Parties {
    Parties {
        issuer: "https://hearth.example".to_owned(),
        audience: "hearth".to_owned(),
    }
}

fn signer() -> TokenSigner {
    TokenSigner::new(&Secret::new(vec![7; 32]), parties()).expect("a signer")
}

fn claims() -> Claims {
    Claims {
        account: AccountId::from_bytes([1; 16]),
        session: SessionId::from_bytes([2; 16]),
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(300)),
        signed_in_at: NOW.minus(Duration::from_secs(60)),
    }
}

fn token() -> String {
    let token = signer().sign(&claims()).expect("a token");
    token.expose_text().expect("text").to_owned()
}

fn check(token: &str) -> Result<Claims, TokenError> {
    check_at(token, NOW)
}

fn check_at(token: &str, now: Timestamp) -> Result<Claims, TokenError> {
    let signer = signer();
    verify(token, &parties(), now, |id| {
        (id == signer.key_id()).then(|| signer.public_key())
    })
}

/// A token signed by our key with these texts as header and payload.
fn forged(header: &str, payload: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", encode(header), encode(payload));
    let signature = signer().key.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn header(change: &str) -> String {
    format!(
        r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{}"{change}}}"#,
        signer().key_id()
    )
}

fn payload(exp: i64, extra: &str) -> String {
    format!(
        r#"{{"iss":"https://hearth.example","aud":"hearth","sub":"{0}","sid":"{0}","iat":{1},"exp":{exp},"auth_time":{1}{extra}}}"#,
        "ab".repeat(16),
        NOW.seconds(),
    )
}

#[test]
fn a_token_says_what_was_signed_until_it_expires() {
    assert_eq!(check(&token()), Ok(claims()));
    let last = Timestamp::from_micros(claims().expires_at.micros() - 1);
    assert_eq!(check_at(&token(), last), Ok(claims()));
    assert_eq!(
        check_at(&token(), claims().expires_at),
        Err(TokenError::Expired)
    );
}

#[test]
fn the_forger_of_these_tests_can_make_a_good_one() {
    let good = forged(&header(""), &payload(NOW.seconds() + 300, ""));
    assert!(check(&good).is_ok());
}

#[test]
fn other_headers_and_claims_are_refused_even_when_signed() {
    let exp = NOW.seconds() + 300;
    let id = signer().key_id().to_owned();
    let with_header = |header: &str| check(&forged(header, &payload(exp, "")));
    assert_eq!(
        with_header(&header(r#","crit":["x"]"#)),
        Err(TokenError::Header)
    );
    assert_eq!(
        with_header(&header(r#","alg":"EdDSA""#)),
        Err(TokenError::Header)
    );
    for algorithm in ["none", "HS256", "eddsa", "ES256"] {
        let header = format!(r#"{{"alg":"{algorithm}","typ":"at+jwt","kid":"{id}"}}"#);
        assert_eq!(with_header(&header), Err(TokenError::Header), "{algorithm}");
    }
    let header_of = |typ: &str, kid: &str| {
        with_header(&format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}"}}"#))
    };
    assert_eq!(header_of("JWT", &id), Err(TokenError::Header));
    assert_eq!(header_of("at+jwt", "00"), Err(TokenError::UnknownKey));
    assert_eq!(
        header_of("at+jwt", &"0".repeat(65)),
        Err(TokenError::Header)
    );

    let with_payload = |payload: &str| check(&forged(&header(""), payload));
    assert_eq!(
        with_payload(&payload(exp, r#","admin":true"#)),
        Err(TokenError::Claims)
    );
    assert_eq!(
        with_payload(&payload(NOW.seconds(), "")),
        Err(TokenError::Claims)
    );
    assert_eq!(
        with_payload(&payload(NOW.seconds() + 3601, "")),
        Err(TokenError::Claims)
    );
    assert_eq!(
        with_payload(&payload(i64::MAX, "")),
        Err(TokenError::Claims)
    );
    let elsewhere = payload(exp, "").replace(r#""aud":"hearth""#, r#""aud":"other""#);
    assert_eq!(with_payload(&elsewhere), Err(TokenError::Audience));
    let dashed = payload(exp, "").replace(&"ab".repeat(16), &"ab".repeat(15));
    assert_eq!(with_payload(&dashed), Err(TokenError::Claims));
}

#[test]
fn other_encodings_are_refused() {
    let token = token();
    for other in [
        String::new(),
        "..".to_owned(),
        format!("{token}="),
        format!("{token}."),
        format!(".{token}"),
        format!(" {token}"),
        format!("{token}\n"),
        token.replacen('.', "", 1),
        "a".repeat(LONGEST + 1),
    ] {
        assert!(check(&other).is_err(), "{other:?}");
    }
}

#[test]
fn contradictory_claims_are_not_signed() {
    let late = Claims {
        signed_in_at: NOW.plus(Duration::from_secs(1)),
        ..claims()
    };
    let long = Claims {
        expires_at: NOW.plus(Duration::from_secs(3601)),
        ..claims()
    };
    for claims in [late, long] {
        assert_eq!(signer().sign(&claims).err(), Some(TokenError::Claims));
    }
    assert!(TokenSigner::new(&Secret::new(vec![1; 31]), parties()).is_err());
}

proptest! {
    #[test]
    fn a_token_with_any_other_byte_does_not_verify(at in 0_usize..10_000, byte in 0x20_u8..0x7f) {
        let mut bytes = token().into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert!(check(&String::from_utf8(bytes).expect("ascii")).is_err());
    }

    #[test]
    fn a_token_that_is_cut_stretched_or_shuffled_does_not_verify(
        from in 0_usize..10_000, to in 0_usize..10_000, insert in "[A-Za-z0-9._=-]{0,8}",
    ) {
        let token = token();
        let (from, to) = (from % token.len(), to % token.len());
        let (from, to) = (from.min(to), from.max(to));
        let changed = format!("{}{insert}{}", &token[..from], &token[to..]);
        prop_assume!(changed != token);
        prop_assert!(check(&changed).is_err());
    }

    #[test]
    fn garbage_does_not_panic(text in ".{0,300}") {
        prop_assert!(check(&text).is_err());
    }
}
