//! The style of the contract, and the labels that every method and field must carry.
//!
//! Only packages of Hearth are linted; vendored definitions of others keep their authors' style.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FileDescriptor, MessageDescriptor, ServiceDescriptor,
};

use super::labels::{self, is_ours};

/// Everything in the contract that breaks a rule.
pub(crate) fn problems(pool: &DescriptorPool) -> Vec<String> {
    let comments = Comments::of(pool);
    let mut problems = Vec::new();
    for file in pool.files().filter(|it| is_ours(it.package_name())) {
        problems.extend(package_problem(&file));
    }
    for message in pool.all_messages().filter(|it| is_ours(it.package_name())) {
        if !message.is_map_entry() {
            problems.extend(comments.missing(
                &message.parent_file(),
                message.path(),
                message.full_name(),
            ));
            problems.extend(message_problems(&message));
        }
    }
    for list in pool.all_enums().filter(|it| is_ours(it.package_name())) {
        problems.extend(comments.missing(&list.parent_file(), list.path(), list.full_name()));
        problems.extend(enum_problems(&list));
    }
    let mut used = BTreeMap::new();
    for service in pool.services().filter(|it| is_ours(it.package_name())) {
        problems.extend(comments.missing(
            &service.parent_file(),
            service.path(),
            service.full_name(),
        ));
        problems.extend(service_problems(&service, &comments, &mut used));
    }
    problems.extend(labels::rule_problems(pool));
    problems
}

/// The elements of all files that have a comment in front of them.
struct Comments(BTreeSet<(String, Vec<i32>)>);

impl Comments {
    fn of(pool: &DescriptorPool) -> Self {
        let mut found = BTreeSet::new();
        for file in pool.file_descriptor_protos() {
            for place in file.source_code_info.iter().flat_map(|it| &it.location) {
                if !place.leading_comments().trim().is_empty() {
                    found.insert((file.name().to_owned(), place.path.clone()));
                }
            }
        }
        Self(found)
    }

    fn missing(&self, file: &FileDescriptor, path: &[i32], name: &str) -> Option<String> {
        let place = (file.name().to_owned(), path.to_vec());
        (!self.0.contains(&place)).then(|| format!("{name}: has no comment"))
    }
}

/// `hearth.<service>.v1` lies in `hearth/<service>/v1/`.
fn package_problem(file: &FileDescriptor) -> Option<String> {
    let package = file.package_name();
    let folder = file.name().rsplit_once('/').map_or("", |it| it.0);
    let major = package
        .rsplit('.')
        .next()
        .and_then(|it| it.strip_prefix('v'));
    let versioned =
        major.is_some_and(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()));
    if !versioned || package.split('.').count() < 3 {
        return Some(format!(
            "{}: package {package} is not hearth.<service>.v<major>",
            file.name()
        ));
    }
    (package.replace('.', "/") != folder).then(|| {
        format!(
            "{}: package {package} does not match the folder",
            file.name()
        )
    })
}

fn message_problems(message: &MessageDescriptor) -> Vec<String> {
    let mut problems = Vec::new();
    if !is_camel_case(message.name()) {
        problems.push(format!("{}: is not CamelCase", message.full_name()));
    }
    for field in message.fields().filter(|it| !is_snake_case(it.name())) {
        problems.push(format!("{}: is not snake_case", field.full_name()));
    }
    problems
}

fn enum_problems(list: &EnumDescriptor) -> Vec<String> {
    let prefix = upper_snake(list.name());
    let mut problems = Vec::new();
    for value in list.values() {
        let name = format!("{}: {}", list.full_name(), value.name());
        if value
            .name()
            .strip_prefix(&prefix)
            .is_none_or(|it| !it.starts_with('_'))
        {
            problems.push(format!("{name} does not start with {prefix}_"));
        } else if value.number() == 0 && value.name() != format!("{prefix}_UNSPECIFIED") {
            problems.push(format!(
                "{name} has number 0, which is {prefix}_UNSPECIFIED"
            ));
        }
    }
    problems
}

fn service_problems(
    service: &ServiceDescriptor,
    comments: &Comments,
    used: &mut BTreeMap<String, String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    if !service.name().ends_with("Service") {
        problems.push(format!(
            "{}: does not end in `Service`",
            service.full_name()
        ));
    }
    for method in service.methods() {
        let name = method.full_name().to_owned();
        problems.extend(comments.missing(&service.parent_file(), method.path(), &name));
        for (message, suffix) in [(method.input(), "Request"), (method.output(), "Response")] {
            let own = format!("{}{suffix}", method.name());
            if message.name() != own || message.package_name() != service.package_name() {
                problems.push(format!(
                    "{name}: takes or gives {}, not its own {own}",
                    message.full_name()
                ));
            }
            if let Some(other) = used.insert(message.full_name().to_owned(), name.clone()) {
                problems.push(format!(
                    "{name}: shares {} with {other}",
                    message.full_name()
                ));
            }
        }
    }
    problems
}

fn is_snake_case(name: &str) -> bool {
    let part = |it: &str| {
        !it.is_empty()
            && it
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    name.starts_with(|it: char| it.is_ascii_lowercase()) && name.split('_').all(part)
}

fn is_camel_case(name: &str) -> bool {
    name.starts_with(|it: char| it.is_ascii_uppercase()) && !name.contains('_')
}

/// `DeviceState` as `DEVICE_STATE`; digits stay with the word before them.
fn upper_snake(name: &str) -> String {
    let mut upper = String::new();
    for (at, letter) in name.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            upper.push('_');
        }
        upper.push(letter.to_ascii_uppercase());
    }
    upper
}

#[cfg(test)]
mod tests {
    //! Contracts that keep every rule, and one break of each.

    use super::*;
    use crate::proto::made_up;

    const GOOD: &str = r#"
// What it is.
service DemoService {
  // What it does.
  rpc Look(LookRequest) returns (LookResponse) {
    option (hearth.options.v1.rule) = {
      authorisation: AUTHORISATION_ACCOUNT
      idempotency: IDEMPOTENCY_READ
    };
  }
}
// What is asked.
message LookRequest { string home_id = 1; map<string, string> extra = 2; }
// What is answered.
message LookResponse { State state = 1; }
// What it may be.
enum State { STATE_UNSPECIFIED = 0; STATE_ON = 1; }
"#;

    fn check(from: &str, to: &str, expected: &[&str]) {
        let body = GOOD.replacen(from, to, 1);
        assert!(from.is_empty() || body != GOOD, "{from} is not there");
        let found = problems(&made_up::contract(&body));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for part in expected {
            assert!(
                found.iter().any(|it| it.contains(part)),
                "{part} in {found:?}"
            );
        }
    }

    #[test]
    fn a_good_contract_passes() {
        check("", "", &[]);
    }

    #[test]
    fn comments_are_demanded() {
        check("// What it is.", "", &["DemoService: has no comment"]);
        check("// What it does.", "", &["Look: has no comment"]);
        check("// What is asked.", "", &["LookRequest: has no comment"]);
        check("// What it may be.", "", &["State: has no comment"]);
    }

    #[test]
    fn names_are_checked() {
        check(
            "home_id",
            "homeId",
            &["LookRequest.homeId: is not snake_case"],
        );
        check(
            "service DemoService",
            "service Demo",
            &["Demo: does not end"],
        );
        check("STATE_ON", "ON", &["ON does not start with STATE_"]);
        check("STATE_UNSPECIFIED", "STATE_NONE", &["number 0"]);
    }

    #[test]
    fn every_method_has_messages_of_its_own() {
        check(
            "returns (LookResponse)",
            "returns (LookRequest)",
            &[
                "not its own LookResponse",
                "shares hearth.demo.v1.LookRequest",
            ],
        );
    }

    #[test]
    fn every_method_has_a_rule() {
        check("idempotency: IDEMPOTENCY_READ", "", &["idempotency"]);
        check(
            "IDEMPOTENCY_READ",
            "IDEMPOTENCY_REQUEST_ID",
            &["no `request_id`"],
        );
    }

    #[test]
    fn a_package_lies_in_its_folder() {
        let pool = made_up::named("hearth/other/v1/demo.proto", GOOD);
        assert!(
            problems(&pool)
                .iter()
                .any(|it| it.contains("does not match the folder"))
        );
    }

    #[test]
    fn words_are_split_at_capitals() {
        assert_eq!(upper_snake("DeviceState"), "DEVICE_STATE");
        assert!(is_snake_case("co2_ppm") && !is_snake_case("a__b") && !is_snake_case("_a"));
    }
}
