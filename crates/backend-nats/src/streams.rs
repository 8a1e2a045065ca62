//! What each stream must be, and what may be done to one that is not: properties that only add are set, and those
//! that would lose or alter what is stored are refused by name.

use hearth_ports::{Family, StoreError, Stream};
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::error::StartError;

/// The greatest message of the port.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// What a message's headers may take beside it.
pub(crate) const HEADER_BYTES: usize = 4096;
/// The shortest that the servers take: identical ids are nobody's business here.
const DUPLICATE_WINDOW_NANOS: u64 = 100_000_000;
const EVENT_AGE_NANOS: u64 = 30 * 24 * 3600 * 1_000_000_000;
/// Where a stream says which generation it holds.
const GENERATION: &str = "hearth.generation";
/// The stream of leases.
pub(crate) const LEASES: &str = "LEASES";

/// What a stream is declared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declaring {
    pub(crate) replicas: u8,
    pub(crate) generation: u32,
    pub(crate) telemetry_bytes: u64,
}

/// The pattern of a stream's subjects in a generation.
pub(crate) fn pattern(stream: Stream, generation: u32) -> String {
    let service = stream.service;
    match stream.family {
        Family::Evt => format!("evt.{service}.g{generation}.>"),
        Family::Rec => format!("rec.{service}.g{generation}.>"),
        Family::State => format!("state.{service}.g{generation}.>"),
        Family::Int => format!("int.{service}.>"),
        Family::Telemetry => "tel.*".to_owned(),
    }
}

/// The generation that a stream says it holds.
pub(crate) fn generation_of(config: &Value) -> Option<u32> {
    let text = config.get("metadata")?.get(GENERATION)?.as_str()?;
    text.parse().ok()
}

fn base(name: &str, subject: &str, with: Declaring) -> Value {
    json!({
        "name": name,
        "subjects": [subject],
        "retention": "limits",
        "storage": "file",
        // Without it a full stream drops its oldest message.
        "discard": "new",
        "num_replicas": with.replicas,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        "max_msg_size": MAX_MESSAGE_BYTES + HEADER_BYTES,
        "duplicate_window": DUPLICATE_WINDOW_NANOS,
        "allow_direct": true,
        "deny_delete": false,
        "deny_purge": false,
        "allow_rollup_hdrs": false,
        // What is sealed does not compress, and a copy of it must be found by a search.
        "compression": "none",
        "metadata": {(GENERATION): with.generation.to_string()},
    })
}

/// What a stream must be.
pub(crate) fn declared(stream: Stream, with: Declaring) -> Value {
    let mut config = base(&stream.name(), &pattern(stream, with.generation), with);
    match stream.family {
        Family::Evt => {}
        Family::Rec | Family::State => config["max_msgs_per_subject"] = json!(1),
        Family::Int => config["max_age"] = json!(EVENT_AGE_NANOS),
        Family::Telemetry => config["max_bytes"] = json!(with.telemetry_bytes),
    }
    config
}

/// What the stream of leases must be. Leases have no generation: a fence grows for ever.
pub(crate) fn leases(with: Declaring) -> Value {
    let mut config = base(LEASES, "lease.>", with);
    config["max_msgs_per_subject"] = json!(1);
    config
}

/// Properties that must not be there at all.
const FOREIGN: &[&str] = &[
    "mirror",
    "sources",
    "republish",
    "subject_transform",
    "sealed",
    "no_ack",
    "template_owner",
];

/// What to do with a stream that exists: nothing (`None`), or set it to this.
pub(crate) fn compare(found: &Value, wanted: &Value) -> Result<Option<Value>, StartError> {
    let name = wanted["name"].as_str().unwrap_or_default();
    let differs = |key: &str, found: &Value, wanted: &Value| StartError::Differs {
        stream: name.to_owned(),
        key: key.to_owned(),
        found: found.to_string(),
        wanted: wanted.to_string(),
    };
    for key in FOREIGN {
        let value = found.get(key).unwrap_or(&Value::Null);
        let absent = matches!(value, Value::Null | Value::Bool(false))
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_str() == Some("");
        if !absent {
            return Err(differs(key, value, &Value::Null));
        }
    }
    let persist = found.get("persist_mode").unwrap_or(&Value::Null);
    if !matches!(persist.as_str(), None | Some("" | "default")) {
        return Err(differs("persist_mode", persist, &json!("default")));
    }
    let mut patched = found.clone();
    let mut changed = false;
    for (key, wanted) in wanted.as_object().into_iter().flatten() {
        let found = effective(key, found);
        if key == "metadata" {
            let missing = wanted.as_object().into_iter().flatten();
            for (key, wanted) in missing {
                if found.get(key) != Some(wanted) {
                    return Err(differs(key, found.get(key).unwrap_or(&Value::Null), wanted));
                }
            }
        } else if found != *wanted {
            if !only_adds(key, &found, wanted) {
                return Err(differs(key, &found, wanted));
            }
            patched[key] = wanted.clone();
            changed = true;
        }
    }
    Ok(changed.then_some(patched))
}

/// What a stream's property is, where the servers leave out what is false or nothing.
fn effective(key: &str, found: &Value) -> Value {
    found.get(key).cloned().unwrap_or_else(|| match key {
        "max_age" => json!(0),
        "compression" => json!("none"),
        "metadata" => json!({}),
        "allow_direct" | "deny_delete" | "deny_purge" | "allow_rollup_hdrs" => json!(false),
        _ => Value::Null,
    })
}

/// Whether a change of this property takes nothing away.
fn only_adds(key: &str, found: &Value, wanted: &Value) -> bool {
    // -1 is no bound.
    let bound = |value: &Value| value.as_i64().map(|it| if it < 0 { i64::MAX } else { it });
    match key {
        "allow_direct" => *wanted == json!(true),
        "duplicate_window" => true,
        "num_replicas" | "max_msg_size" | "max_bytes" | "max_msgs" => bound(found) < bound(wanted),
        _ => false,
    }
}

/// Creates the stream, or compares the one that is there and adds what may be added.
pub(crate) async fn declare(connection: &Connection, wanted: Value) -> Result<(), StartError> {
    let name = wanted["name"].as_str().unwrap_or_default().to_owned();
    let until = connection.deadline();
    let found = match connection.info(&name, until).await? {
        Ok(info) => info,
        Err(refusal) if refusal.is_no_stream() => {
            let call = format!("STREAM.CREATE.{name}");
            let made = connection.api(&call, &wanted, until).await?;
            match made {
                Ok(info) => info,
                // Another process was quicker, with other options: what is there decides.
                Err(refusal) if refusal.is_stream_exists() => {
                    let info = connection.info(&name, until).await?;
                    info.map_err(crate::error::Refusal::class)?
                }
                Err(refusal) => return Err(refusal.class().into()),
            }
        }
        Err(refusal) => return Err(refusal.class().into()),
    };
    let wanted = in_its_generation(wanted, &found.config);
    if let Some(patched) = compare(&found.config, &wanted)? {
        tracing::warn!(stream = %name, "a stream's properties are extended");
        let call = format!("STREAM.UPDATE.{name}");
        let updated = connection
            .api::<crate::api::Done>(&call, &patched, until)
            .await?;
        updated.map_err(crate::error::Refusal::class)?;
    }
    if found.is_led() {
        Ok(())
    } else {
        Err(StoreError::retryable("the stream has no leader yet").into())
    }
}

/// The declaration in the generation that the stream is in: options name the first one only.
fn in_its_generation(mut wanted: Value, found: &Value) -> Value {
    let first = generation_of(&wanted);
    if let (Some(first), Some(generation)) = (first, generation_of(found)) {
        wanted["metadata"][GENERATION] = json!(generation.to_string());
        if let Some(subject) = wanted["subjects"][0].as_str() {
            let now = subject.replace(&format!(".g{first}."), &format!(".g{generation}."));
            wanted["subjects"][0] = json!(now);
        }
    }
    wanted
}

#[cfg(test)]
mod tests;
