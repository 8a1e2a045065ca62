//! Checking a module's section of the configuration: all that is wrong with it at once, each with its key.
//!
//! It must not know any option. A section's type says its keys and their types; the module's own function the rest.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What is wrong with a section that `T` describes: keys it does not have, values of a wrong type, and what `check`
/// finds in what is left. `T` must take every key as optional, and refuse unknown ones.
pub fn problems_of<T: DeserializeOwned>(
    section: &Value,
    check: fn(&T) -> Vec<String>,
) -> Vec<String> {
    let keys = match section {
        Value::Null => &Map::new(),
        Value::Object(keys) => keys,
        _ => return vec!["it must be a table".to_owned()],
    };
    let (mut problems, mut good) = (Vec::new(), Map::new());
    for (key, value) in keys {
        // Alone, so that none hides another one.
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        match serde_json::from_value::<T>(Value::Object(alone)) {
            Ok(_) => drop(good.insert(key.clone(), value.clone())),
            Err(error) => problems.push(format!("{key}: {error}")),
        }
    }
    match serde_json::from_value::<T>(Value::Object(good)) {
        Ok(options) => problems.extend(check(&options)),
        Err(error) => problems.push(error.to_string()),
    }
    problems
}

/// The check of a module without options.
pub fn no_options(section: &Value) -> Vec<String> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct None {}
    problems_of::<None>(section, |_| Vec::new())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        passes: u32,
        name: String,
    }

    impl Default for Options {
        fn default() -> Self {
            Self {
                passes: 1,
                name: String::new(),
            }
        }
    }

    fn problems(section: &Value) -> Vec<String> {
        problems_of(section, |options: &Options| {
            let wrong = !(1..=16).contains(&options.passes);
            Vec::from_iter(wrong.then(|| "passes is not in 1 to 16".to_owned()))
        })
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_key() {
        assert_eq!(problems(&Value::Null), Vec::<String>::new());
        assert_eq!(problems(&json!({"passes": 2})), Vec::<String>::new());
        let all = problems(&json!({"pases": 2, "passes": 99, "name": 7, "zone": true}));
        assert_eq!(all.len(), 4, "{all:?}");
        for (problem, begins) in
            all.iter()
                .zip(["name: ", "pases: unknown field", "zone: ", "passes is"])
        {
            assert!(problem.starts_with(begins), "{all:?}");
        }
        assert_eq!(problems(&json!([1])), ["it must be a table"]);
        assert_eq!(no_options(&json!({"x": 1})).len(), 1);
        assert!(no_options(&json!({})).is_empty());
    }
}
