//! What a released client would notice: whether one contract still understands the bytes of an older one.
//!
//! Nothing of the older contract may be removed, renamed, renumbered or retyped. Additions are free.

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};

use super::labels::is_ours;

/// Every way in which `new` breaks `old`.
pub(crate) fn problems(old: &DescriptorPool, new: &DescriptorPool) -> Vec<String> {
    let mut problems = Vec::new();
    for message in old.all_messages().filter(|it| is_ours(it.package_name())) {
        match new.get_message_by_name(message.full_name()) {
            None => problems.push(format!("message {} is gone", message.full_name())),
            Some(now) => problems.extend(message_problems(&message, &now)),
        }
    }
    for list in old.all_enums().filter(|it| is_ours(it.package_name())) {
        match new.get_enum_by_name(list.full_name()) {
            None => problems.push(format!("enum {} is gone", list.full_name())),
            Some(now) => problems.extend(enum_problems(&list, &now)),
        }
    }
    for service in old.services().filter(|it| is_ours(it.package_name())) {
        match new.get_service_by_name(service.full_name()) {
            None => problems.push(format!("service {} is gone", service.full_name())),
            Some(now) => problems.extend(service_problems(&service, &now)),
        }
    }
    problems
}

fn message_problems(old: &MessageDescriptor, new: &MessageDescriptor) -> Vec<String> {
    let mut problems = Vec::new();
    for field in old.fields() {
        let name = field.full_name();
        let Some(now) = new.get_field(field.number()) else {
            problems.push(format!("field {name} = {} is gone", field.number()));
            continue;
        };
        if now.name() != field.name() {
            problems.push(format!("field {name} is now called {}", now.name()));
        }
        let (before, after) = (shape(&field), shape(&now));
        if before != after {
            problems.push(format!("field {name} was `{before}` and is `{after}`"));
        }
    }
    problems
}

fn enum_problems(old: &EnumDescriptor, new: &EnumDescriptor) -> Vec<String> {
    let mut problems = Vec::new();
    for value in old.values() {
        match new.get_value_by_name(value.name()) {
            Some(now) if now.number() == value.number() => {}
            Some(now) => problems.push(format!(
                "value {} was {} and is {}",
                value.full_name(),
                value.number(),
                now.number()
            )),
            None => problems.push(format!("value {} is gone", value.full_name())),
        }
    }
    problems
}

fn service_problems(old: &ServiceDescriptor, new: &ServiceDescriptor) -> Vec<String> {
    let mut problems = Vec::new();
    for method in old.methods() {
        let Some(now) = new.methods().find(|it| it.name() == method.name()) else {
            problems.push(format!("rpc {} is gone", method.full_name()));
            continue;
        };
        let (before, after) = (signature(&method), signature(&now));
        if before != after {
            problems.push(format!(
                "rpc {} was `{before}` and is `{after}`",
                method.full_name()
            ));
        }
    }
    problems
}

/// Everything about a field, but its name and number, that changes bytes or generated code.
fn shape(field: &FieldDescriptor) -> String {
    let label = match field.cardinality() {
        Cardinality::Repeated if field.is_map() => "",
        Cardinality::Repeated => "repeated ",
        Cardinality::Required => "required ",
        Cardinality::Optional if field.supports_presence() => "optional ",
        Cardinality::Optional => "",
    };
    let oneof = field
        .containing_oneof()
        .filter(|it| !it.is_synthetic())
        .map(|it| format!(" in oneof {}", it.name()))
        .unwrap_or_default();
    format!("{label}{}{oneof}", kind(&field.kind()))
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(entry) if entry.is_map_entry() => {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            format!(
                "map<{}, {}>",
                self::kind(&key.kind()),
                self::kind(&value.kind())
            )
        }
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(list) => list.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn signature(method: &MethodDescriptor) -> String {
    let stream = |yes: bool| if yes { "stream " } else { "" };
    format!(
        "({}{}) returns ({}{})",
        stream(method.is_client_streaming()),
        method.input().full_name(),
        stream(method.is_server_streaming()),
        method.output().full_name()
    )
}

#[cfg(test)]
mod tests {
    //! One contract against its changed copies.

    use super::*;
    use crate::proto::made_up;

    const OLD: &str = "
service DemoService { rpc Look(LookRequest) returns (LookResponse); }
message LookRequest { string a = 1; int64 b = 2; oneof c { string d = 3; State e = 4; } }
message LookResponse { repeated bytes f = 1; map<string, int64> g = 2; optional bool h = 3; }
enum State { STATE_UNSPECIFIED = 0; STATE_ON = 1; }
";

    fn check(from: &str, to: &str, expected: &[&str]) {
        let new = OLD.replace(from, to);
        assert!(from.is_empty() || new != OLD, "{from} is not there");
        let found = problems(&made_up::contract(OLD), &made_up::contract(&new));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{expected} in {found}");
        }
    }

    #[test]
    fn additions_break_nothing() {
        check("", "", &[]);
        check("string a = 1;", "string a = 1; string z = 9;", &[]);
        check("STATE_ON = 1;", "STATE_ON = 1; STATE_OFF = 2;", &[]);
        check("enum State", "message More {} enum State", &[]);
    }

    #[test]
    fn fields_stay_what_they_are() {
        check("string a = 1;", "", &["LookRequest.a = 1 is gone"]);
        check(
            "string a = 1;",
            "string a = 7;",
            &["LookRequest.a = 1 is gone"],
        );
        check("string a = 1;", "string z = 1;", &["is now called z"]);
        check("int64 b", "int32 b", &["was `int64` and is `int32`"]);
        check("int64 b", "optional int64 b", &["is `optional int64`"]);
        check("repeated bytes f", "bytes f", &["was `repeated bytes`"]);
        check(
            "map<string, int64>",
            "map<string, int32>",
            &["map<string, int32>", "int32"],
        );
        check(
            "oneof c { string d = 3;",
            "string d = 3; oneof c {",
            &["in oneof c"],
        );
    }

    #[test]
    fn values_stay_what_they_are() {
        check("STATE_ON = 1", "STATE_OFF = 1", &["STATE_ON is gone"]);
        check("STATE_ON = 1", "STATE_ON = 2", &["was 1 and is 2"]);
    }

    #[test]
    fn rpcs_stay_what_they_are() {
        check("rpc Look", "rpc Peek", &["Look is gone"]);
        check(
            "returns (LookR",
            "returns (stream LookR",
            &["returns (stream "],
        );
        check(
            "DemoService",
            "OtherService",
            &["service hearth.demo.v1.DemoService is gone"],
        );
    }

    #[test]
    fn whole_messages_stay() {
        let old = made_up::contract("message A {} enum B { B_UNSPECIFIED = 0; }");
        let found = problems(&old, &made_up::contract(""));
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
