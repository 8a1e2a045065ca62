//! What the whole contract must hold, read from its descriptors: rules, request ids, commit tokens, the
//! numbers that others rely on. Comments, labels and style are checked by `cargo xtask proto`.

use std::collections::BTreeSet;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ReflectMessage, Value,
};

/// Mutating methods whose answer shows no commit: the answer of `Register` may not depend on what it will find.
const WITHOUT_TOKEN: &[&str] = &["hearth.accounts.v1.AccountsService.Register"];

fn pool() -> DescriptorPool {
    DescriptorPool::decode(crate::FILE_DESCRIPTOR_SET).expect("the descriptor set decodes")
}

fn methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    pool.services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect()
}

/// The names of the enum values in the parts of an option message, by field.
fn part(option: &DynamicMessage, name: &str) -> Option<String> {
    let field = option.descriptor().get_field_by_name(name)?;
    let Kind::Enum(words) = field.kind() else {
        return None;
    };
    let number = option.get_field(&field).as_enum_number()?;
    (number != 0).then(|| words.get_value(number).map(|value| value.name().to_owned()))?
}

fn rule(method: &MethodDescriptor, name: &str) -> Option<String> {
    let extension = method
        .parent_pool()
        .get_extension_by_name("hearth.options.v1.rule")?;
    let options = method.options();
    let value = options.get_extension(&extension).into_owned();
    let Value::Message(rule) = value else {
        return None;
    };
    part(&rule, name)
}

fn has_token(message: &MessageDescriptor) -> bool {
    message
        .get_field_by_name("token")
        .is_some_and(|field| is_message(&field, "hearth.types.v1.CommitToken") && !field.is_list())
}

fn is_message(field: &FieldDescriptor, name: &str) -> bool {
    matches!(field.kind(), Kind::Message(message) if message.full_name() == name)
}

#[test]
fn every_method_says_who_may_call_it_and_what_makes_it_safe_to_repeat() {
    let pool = pool();
    let methods = methods(&pool);
    assert!(methods.len() >= 50, "{} methods", methods.len());
    for method in methods {
        for name in ["authorisation", "idempotency"] {
            assert!(
                rule(&method, name).is_some(),
                "{}: no {name}",
                method.full_name()
            );
        }
    }
}

#[test]
fn what_changes_something_has_a_request_id_and_answers_a_commit_token() {
    for method in methods(&pool()) {
        let name = method.full_name().to_owned();
        let idempotency = rule(&method, "idempotency").unwrap_or_default();
        let request_id = method.input().get_field_by_name("request_id");
        if idempotency == "IDEMPOTENCY_READ" {
            assert!(request_id.is_none(), "{name}: a read needs no request id");
            assert!(
                !has_token(&method.output()),
                "{name}: a read commits nothing"
            );
            continue;
        }
        if method.is_client_streaming() {
            // A stream is made of many requests; each names its own effect.
            assert_eq!(idempotency, "IDEMPOTENCY_NATURAL", "{name}");
            continue;
        }
        let field = request_id.unwrap_or_else(|| panic!("{name}: no request_id"));
        assert!(
            matches!(field.kind(), Kind::String) && field.number() == 1,
            "{name}"
        );
        let expected = !WITHOUT_TOKEN.contains(&name.as_str());
        assert_eq!(
            has_token(&method.output()),
            expected,
            "{name}: the commit token"
        );
    }
}

#[test]
fn rules_that_name_a_home_find_it_in_the_request() {
    for method in methods(&pool()) {
        let authorisation = rule(&method, "authorisation").unwrap_or_default();
        let named = method.input().get_field_by_name("home_id").is_some();
        assert_eq!(
            named,
            authorisation.starts_with("AUTHORISATION_HOME_"),
            "{}",
            method.full_name()
        );
    }
}

#[test]
fn methods_have_messages_of_their_own() {
    let mut seen = BTreeSet::new();
    for method in methods(&pool()) {
        let (input, output) = (method.input(), method.output());
        assert_eq!(input.name(), format!("{}Request", method.name()));
        assert_eq!(output.name(), format!("{}Response", method.name()));
        for message in [input, output] {
            assert!(
                seen.insert(message.full_name().to_owned()),
                "{}",
                message.full_name()
            );
        }
    }
}

#[test]
fn every_capability_says_what_it_measures() {
    let pool = pool();
    let catalogue = pool
        .get_enum_by_name("hearth.types.v1.Capability")
        .expect("the catalogue is there");
    let extension = pool
        .get_extension_by_name("hearth.options.v1.capability")
        .expect("the option is there");
    for value in catalogue.values().filter(|value| value.number() != 0) {
        let name = value.name().to_owned();
        assert!(
            (101..=1_999).contains(&value.number()),
            "{name}: outside the blocks"
        );
        let options = value.options();
        let rule = options.get_extension(&extension).into_owned();
        let rule = rule.as_message().expect("a message");
        let kind = part(rule, "type").unwrap_or_else(|| panic!("{name}: no type"));
        let bound = |field| {
            rule.get_field_by_name(field)
                .and_then(|value| value.as_f64())
        };
        let (min, max) = (bound("min").unwrap_or(0.0), bound("max").unwrap_or(0.0));
        let numeric = ["VALUE_TYPE_NUMBER", "VALUE_TYPE_INTEGER"].contains(&kind.as_str());
        assert_eq!(
            numeric,
            min < max,
            "{name}: numbers have a range, others none"
        );
        if kind == "VALUE_TYPE_FLAG" {
            let state = rule
                .get_field_by_name("state")
                .and_then(|value| value.as_bool());
            assert_eq!(state, Some(true), "{name}: a flag is a state");
        }
    }
}

#[test]
fn published_payloads_stand_at_numbers_that_tell_service_and_family() {
    let pool = pool();
    let envelope = pool
        .get_message_by_name("hearth.events.v1.Envelope")
        .expect("the envelope is there");
    let services = pool
        .get_enum_by_name("hearth.events.v1.Service")
        .expect("the services are there");
    for service in services.values().filter(|service| service.number() != 0) {
        let name = service.name().trim_start_matches("SERVICE_").to_lowercase();
        for (family, block) in [("event", 20), ("fact", 40)] {
            if let Some(field) = envelope.get_field_by_name(&format!("{name}_{family}")) {
                let number = u32::try_from(service.number() + block).expect("small");
                assert_eq!(field.number(), number, "{}", field.full_name());
            }
        }
    }
}

#[test]
fn the_stamp_has_the_fields_that_the_engine_writes() {
    // The engine writes these by number, without this crate: what is listed here may only grow.
    type Field = (&'static str, u32, Kind);

    let engine: [(&str, &[Field]); 2] = [
        (
            "hearth.events.v1.Position",
            &[
                ("generation", 1, Kind::Uint32),
                ("sequence", 2, Kind::Uint64),
            ],
        ),
        (
            "hearth.events.v1.Stamp",
            &[
                ("source", 1, Kind::String),
                ("index", 4, Kind::Uint32),
                ("of", 5, Kind::Uint32),
                ("occurred_at_micros", 6, Kind::Int64),
                ("trace", 7, Kind::String),
                ("commit", 8, Kind::Bytes),
            ],
        ),
    ];
    let pool = pool();
    for (name, fields) in engine {
        let message = pool.get_message_by_name(name).expect("it is there");
        for (field, number, kind) in fields {
            let found = message.get_field(*number).expect("it is there");
            assert_eq!(
                (found.name(), found.kind()),
                (*field, kind.clone()),
                "{name}"
            );
        }
    }
    let field = |message: &str, number| {
        let message = pool.get_message_by_name(message).expect("it is there");
        message.get_field(number).expect("it is there")
    };
    let position = "hearth.events.v1.Position";
    for (message, number, name, inner) in [
        (
            "hearth.events.v1.Envelope",
            1,
            "stamp",
            "hearth.events.v1.Stamp",
        ),
        ("hearth.events.v1.Stamp", 2, "evt", position),
        ("hearth.events.v1.Stamp", 3, "rec", position),
    ] {
        let found = field(message, number);
        assert_eq!(found.name(), name);
        assert!(is_message(&found, inner), "{}", found.full_name());
    }
}

#[test]
fn a_stamp_put_before_a_body_is_one_envelope() {
    use crate::events::v1::{Envelope, Gone, Stamp, envelope::Payload};
    use prost::Message;

    let body = Envelope {
        payload: Some(Payload::Gone(Gone {})),
        ..Envelope::default()
    };
    let stamp = Stamp {
        source: "accounts".to_owned(),
        of: 1,
        ..Stamp::default()
    };
    let mut bytes = Envelope {
        stamp: Some(stamp),
        ..Envelope::default()
    }
    .encode_to_vec();
    bytes.extend_from_slice(&body.encode_to_vec());
    let whole = Envelope::decode(bytes.as_slice()).expect("it decodes");
    assert_eq!(whole.payload, body.payload);
    assert_eq!(
        whole.stamp.map(|stamp| stamp.source).as_deref(),
        Some("accounts")
    );
}

#[test]
fn what_is_generated_is_where_the_packages_say() {
    use prost::Message;

    // One name of each module: a package that moves fails to compile here, not in a service.
    let token = crate::types::v1::CommitToken {
        value: bytes::Bytes::from_static(b"t"),
    };
    let envelope = crate::events::v1::Envelope::default();
    let refusal = crate::errors::v1::Refusal::default();
    let label = crate::options::v1::Category::Identity;
    let hub = crate::ingest::v1::Hub::default();
    let rule = crate::notifications::v1::Rule::default();
    let receipt = crate::retention::v1::SignedReceipt::default();
    let account = crate::accounts::v1::Account::default();
    assert_eq!(token.encode_to_vec(), [10, 1, b't']);
    assert_eq!(label.as_str_name(), "CATEGORY_IDENTITY");
    for bytes in [
        envelope.encode_to_vec(),
        refusal.encode_to_vec(),
        hub.encode_to_vec(),
        rule.encode_to_vec(),
        receipt.encode_to_vec(),
        account.encode_to_vec(),
    ] {
        assert!(bytes.is_empty());
    }
}
