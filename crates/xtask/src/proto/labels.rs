//! The labels of the contract, as `hearth.options.v1` defines them: read by reflection, by name.
//!
//! A part of a label is known by the names of its fields only, so a new category or purpose needs no change
//! here. A label counts when all its parts are given: the zero of an enum is not an answer.

use anyhow::{Context, Result};
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    ReflectMessage, Value,
};

/// The label of a field.
const DATA: &str = "hearth.options.v1.data";
/// The label of all fields of a message that have none.
const DATA_DEFAULT: &str = "hearth.options.v1.data_default";
/// Who may call a method, and what makes it safe to repeat.
const RULE: &str = "hearth.options.v1.rule";
/// What a capability measures.
const CAPABILITY: &str = "hearth.options.v1.capability";
/// The catalogue of capabilities.
const CATALOGUE: &str = "hearth.ingest.v1.Capability";
/// The value of `MethodRule.idempotency` that demands a field `request_id`.
const BY_REQUEST_ID: &str = "IDEMPOTENCY_REQUEST_ID";

/// Whether a package is Hearth's own.
pub(crate) fn is_ours(package: &str) -> bool {
    package == "hearth" || package.starts_with("hearth.")
}

/// The label that a field has or inherits, as the names and values of its parts, in order.
pub(crate) type Label = Vec<(String, String)>;

/// What is said about one leaf field.
pub(crate) struct Labelled {
    pub(crate) field: FieldDescriptor,
    /// `None` when neither the field nor its message says anything.
    pub(crate) label: Option<Label>,
}

/// All leaf fields of Hearth's messages, in order of package, message and field number.
///
/// # Errors
/// The contract does not define the options.
pub(crate) fn leaves(pool: &DescriptorPool) -> Result<Vec<Labelled>> {
    let own = extension(pool, DATA)?;
    let default = extension(pool, DATA_DEFAULT)?;
    let mut messages: Vec<MessageDescriptor> = pool
        .all_messages()
        .filter(|it| is_ours(it.package_name()) && !it.is_map_entry())
        .collect();
    messages.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    let mut leaves = Vec::new();
    for message in messages {
        let inherited = label(&message.options(), &default);
        for field in message.fields().filter(is_leaf) {
            let label = label(&field.options(), &own).or_else(|| inherited.clone());
            leaves.push(Labelled { field, label });
        }
    }
    Ok(leaves)
}

/// Leaf fields without a label or with half of one, and labels where they mean nothing.
///
/// # Errors
/// The contract does not define the options.
pub(crate) fn data_problems(pool: &DescriptorPool) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for Labelled { field, label } in leaves(pool)? {
        let Some(label) = label else {
            problems.push(format!("{}: has no label ({DATA})", field.full_name()));
            continue;
        };
        for (part, value) in label {
            if is_unspecified(&value) {
                problems.push(format!("{}: its label gives no {part}", field.full_name()));
            }
        }
    }
    let own = extension(pool, DATA)?;
    for message in pool.all_messages().filter(|it| is_ours(it.package_name())) {
        for field in message.fields().filter(|it| !is_leaf(it)) {
            if field.options().has_extension(&own) {
                problems.push(format!(
                    "{}: is labelled where it leads to",
                    field.full_name()
                ));
            }
        }
    }
    Ok(problems)
}

/// Methods and capabilities without a whole rule. Nothing where the contract has no such options.
pub(crate) fn rule_problems(pool: &DescriptorPool) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(rule) = pool.get_extension_by_name(RULE) {
        for method in pool
            .services()
            .filter(|it| is_ours(it.package_name()))
            .flat_map(|it| it.methods().collect::<Vec<_>>())
        {
            let Some(parts) = label(&method.options(), &rule) else {
                problems.push(format!("{}: has no rule ({RULE})", method.full_name()));
                continue;
            };
            for (part, value) in &parts {
                if is_unspecified(value) {
                    problems.push(format!("{}: its rule gives no {part}", method.full_name()));
                }
                if value == BY_REQUEST_ID
                    && method.input().get_field_by_name("request_id").is_none()
                {
                    let name = method.full_name();
                    problems.push(format!(
                        "{name}: is safe by request id, and has no `request_id`"
                    ));
                }
            }
        }
    }
    let catalogue = pool.get_enum_by_name(CATALOGUE);
    if let (Some(rule), Some(catalogue)) = (pool.get_extension_by_name(CAPABILITY), catalogue) {
        for value in catalogue.values().filter(|it| it.number() != 0) {
            if !value.options().has_extension(&rule) {
                problems.push(format!(
                    "{CATALOGUE}: {} has no rule ({CAPABILITY})",
                    value.name()
                ));
            }
        }
    }
    problems
}

/// Whether a field holds a value itself: a scalar, an enum, bytes, or a message that is not Hearth's. A map
/// is what its values are.
fn is_leaf(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(message) if message.is_map_entry() => {
            is_leaf(&message.map_entry_value_field())
        }
        Kind::Message(message) => !is_ours(message.package_name()),
        _ => true,
    }
}

fn extension(pool: &DescriptorPool, name: &str) -> Result<ExtensionDescriptor> {
    pool.get_extension_by_name(name)
        .with_context(|| format!("the contract has no option {name}"))
}

fn label(options: &DynamicMessage, extension: &ExtensionDescriptor) -> Option<Label> {
    if !options.has_extension(extension) {
        return None;
    }
    let value = options.get_extension(extension);
    let message = value.as_message()?;
    let mut fields: Vec<FieldDescriptor> = message.descriptor().fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    let part = |field: FieldDescriptor| {
        let text = match (message.get_field(&field).as_ref(), field.kind()) {
            (Value::EnumNumber(number), Kind::Enum(list)) => list
                .get_value(*number)
                .map_or_else(|| number.to_string(), |it| it.name().to_owned()),
            (Value::String(text), _) => text.clone(),
            (other, _) => format!("{other:?}"),
        };
        (field.name().to_owned(), text)
    };
    Some(fields.into_iter().map(part).collect())
}

fn is_unspecified(value: &str) -> bool {
    value.is_empty() || value.ends_with("_UNSPECIFIED")
}

#[cfg(test)]
mod tests {
    //! Labels on fields, by default, missing, half given and misplaced.

    use super::*;
    use crate::proto::made_up;

    const LABEL: &str = "{ category: CATEGORY_IDENTITY purpose: PURPOSE_ACCOUNT retention: RETENTION_ACCOUNT_LIFE }";

    fn found(body: &str) -> Vec<String> {
        data_problems(&made_up::contract(body)).unwrap()
    }

    #[test]
    fn a_label_of_the_field_or_of_its_message_is_enough() {
        let own = format!("message A {{ string a = 1 [(hearth.options.v1.data) = {LABEL}]; }}");
        assert_eq!(found(&own), Vec::<String>::new());
        let default = format!(
            "message A {{ option (hearth.options.v1.data_default) = {LABEL}; bytes a = 1; B b = 2; }} message B {{}}"
        );
        assert_eq!(found(&default), Vec::<String>::new());
    }

    #[test]
    fn a_leaf_without_a_label_is_named() {
        assert_eq!(found("message A { string a = 1; }").len(), 1);
        assert_eq!(found("message A { map<string, string> a = 1; }").len(), 1);
        assert_eq!(
            found("message A { map<string, B> a = 1; } message B {}").len(),
            0
        );
        let nested = format!(
            "message A {{ option (hearth.options.v1.data_default) = {LABEL}; message B {{ int64 c = 1; }} }}"
        );
        assert!(found(&nested)[0].contains("A.B.c: has no label"));
    }

    #[test]
    fn half_a_label_is_named() {
        let half = LABEL.replace("purpose: PURPOSE_ACCOUNT", "");
        let body = format!("message A {{ string a = 1 [(hearth.options.v1.data) = {half}]; }}");
        assert_eq!(
            found(&body),
            ["hearth.demo.v1.A.a: its label gives no purpose"]
        );
    }

    #[test]
    fn a_label_on_what_is_no_leaf_is_named() {
        let body =
            format!("message A {{ B b = 1 [(hearth.options.v1.data) = {LABEL}]; }} message B {{}}");
        assert_eq!(found(&body).len(), 1);
    }
}
