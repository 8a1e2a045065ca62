//! The kernel's catalogue says what the contract's options say.

use hearth_kernel::Capability;
use hearth_kernel::capability::ValueType;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};

fn field(rule: &DynamicMessage, name: &str) -> Value {
    rule.get_field_by_name(name).unwrap().into_owned()
}

#[test]
fn every_capability_is_as_the_contract_has_it() {
    let pool = DescriptorPool::decode(hearth_api::FILE_DESCRIPTOR_SET).unwrap();
    let catalogue = pool.get_enum_by_name("hearth.types.v1.Capability").unwrap();
    let option = pool
        .get_extension_by_name("hearth.options.v1.capability")
        .unwrap();
    assert_eq!(catalogue.values().len(), Capability::catalogue().len() + 1);
    for value in catalogue.values().filter(|it| it.number() != 0) {
        let capability = Capability::from_number(u16::try_from(value.number()).unwrap());
        let spec = capability.and_then(Capability::spec).unwrap();
        assert_eq!(value.name(), format!("CAPABILITY_{}", spec.name));
        let options = value.options();
        let rule = options.get_extension(&option);
        let rule = rule.as_message().unwrap();
        assert_eq!(
            field(rule, "unit").as_str(),
            Some(spec.unit),
            "{}",
            spec.name
        );
        assert_eq!(
            field(rule, "state").as_bool(),
            Some(spec.is_state()),
            "{}",
            spec.name
        );
        let (kind, min, max, words) = match spec.value {
            ValueType::Number { min, max } => (1, min, max, &[][..]),
            ValueType::Integer { min, max } => (2, min as f64, max as f64, &[][..]),
            ValueType::Flag => (3, 0.0, 0.0, &[][..]),
            ValueType::Text { words } => (4, 0.0, 0.0, words),
        };
        assert_eq!(
            field(rule, "type").as_enum_number(),
            Some(kind),
            "{}",
            spec.name
        );
        assert_eq!(field(rule, "min").as_f64(), Some(min), "{}", spec.name);
        assert_eq!(field(rule, "max").as_f64(), Some(max), "{}", spec.name);
        let listed = field(rule, "words");
        let listed: Vec<_> = listed
            .as_list()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(listed, words, "{}", spec.name);
    }
}
