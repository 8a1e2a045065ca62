//! What is added, and what is refused by name.

use hearth_kernel::Service;

use super::*;

const WITH: Declaring = Declaring {
    replicas: 1,
    generation: 1,
    telemetry_bytes: 1 << 30,
};

fn stream(family: Family) -> Value {
    declared(Stream::new(family, Service::Accounts), WITH)
}

#[test]
fn each_family_keeps_what_the_design_says() {
    assert_eq!(stream(Family::Evt)["max_msgs_per_subject"], -1);
    assert_eq!(stream(Family::Rec)["max_msgs_per_subject"], 1);
    assert_eq!(stream(Family::State)["max_msgs_per_subject"], 1);
    assert_eq!(stream(Family::Int)["max_age"], 2_592_000_000_000_000_u64);
    assert_eq!(stream(Family::Telemetry)["max_bytes"], 1 << 30);
    assert_eq!(stream(Family::Telemetry)["max_age"], 0);
    for family in [Family::Evt, Family::Rec, Family::Int, Family::State] {
        assert_eq!(stream(family)["discard"], "new");
        assert_eq!(stream(family)["storage"], "file");
    }
    assert_eq!(
        stream(Family::Evt)["subjects"],
        json!(["evt.accounts.g1.>"])
    );
}

#[test]
fn a_stream_that_is_as_declared_is_left_alone() {
    let wanted = stream(Family::Rec);
    assert!(compare(&wanted, &wanted).unwrap().is_none());
    // The servers leave out what is false, and add what nobody asked for.
    let mut found = wanted.clone();
    for key in ["deny_delete", "deny_purge", "allow_rollup_hdrs"] {
        found.as_object_mut().unwrap().remove(key);
    }
    found["metadata"]["_nats.ver"] = json!("2.15.1");
    found["mirror_direct"] = json!(false);
    assert!(compare(&found, &wanted).unwrap().is_none());
}

#[test]
fn what_only_adds_is_set() {
    let wanted = declared(Stream::TELEMETRY, WITH);
    let mut found = wanted.clone();
    found["max_bytes"] = json!(1 << 20);
    found["allow_direct"] = json!(false);
    found["metadata"]["team"] = json!("theirs");
    let patched = compare(&found, &wanted).unwrap().expect("a change");
    assert_eq!(patched["max_bytes"], wanted["max_bytes"]);
    assert_eq!(patched["allow_direct"], true);
    assert_eq!(patched["metadata"]["team"], "theirs");
}

#[test]
fn what_would_lose_or_alter_something_is_refused_by_name() {
    for (key, value) in [
        ("retention", json!("workqueue")),
        ("storage", json!("memory")),
        ("discard", json!("old")),
        ("subjects", json!(["evt.accounts.>"])),
        ("max_msgs_per_subject", json!(1)),
        ("max_age", json!(1_000_000_000)),
        ("num_replicas", json!(3)),
        ("compression", json!("s2")),
        ("persist_mode", json!("async")),
        ("mirror", json!({"name": "OTHER"})),
        ("republish", json!({"src": ">", "dest": "copy.>"})),
    ] {
        let wanted = stream(Family::Evt);
        let mut found = wanted.clone();
        found[key] = value;
        match compare(&found, &wanted) {
            Err(StartError::Differs {
                key: named, stream, ..
            }) => {
                assert_eq!((named.as_str(), stream.as_str()), (key, "EVT_ACCOUNTS"));
            }
            other => panic!("{key}: {other:?}"),
        }
    }
}

#[test]
fn a_stream_without_a_generation_is_not_ours() {
    let wanted = stream(Family::Evt);
    let mut found = wanted.clone();
    found["metadata"] = json!({});
    let wanted = in_its_generation(wanted, &found);
    assert!(matches!(
        compare(&found, &wanted),
        Err(StartError::Differs { .. })
    ));
}

#[test]
fn an_existing_generation_is_kept() {
    let found = declared(
        Stream::new(Family::Evt, Service::Accounts),
        Declaring {
            generation: 4,
            ..WITH
        },
    );
    let wanted = in_its_generation(stream(Family::Evt), &found);
    assert_eq!(wanted["subjects"], json!(["evt.accounts.g4.>"]));
    assert!(compare(&found, &wanted).unwrap().is_none());
}
