//! Malformed, oversized and hostile input to every RPC, made from the descriptors: never a panic, always a typed error.

use std::time::Duration;

use bytes::Bytes;
use hearth_e2e::dynamic::{Answer, Filler, call, encode, methods, path};
use hearth_e2e::random::Random;
use hearth_testkit::Sandbox;
use prost_reflect::MethodDescriptor;
use tonic::Code;
use tonic_types::StatusExt;

/// Rounds for each method and caller.
const ROUNDS: usize = 12;

/// What an error must look like: a code that means something to a client, and a reason.
fn check(method: &MethodDescriptor, what: &str, answer: &Answer) {
    let Err(status) = answer else { return };
    let path = path(method);
    let defects = [Code::Internal, Code::Unknown, Code::DataLoss];
    assert!(
        !defects.contains(&status.code()),
        "{path} {what}: {status:?}"
    );
    let info = status.get_details_error_info();
    assert!(info.is_some(), "{path} {what}: no reason in {status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_is_answered_with_a_typed_error() {
    let mut random = Random::seeded("hostile");
    let sandbox = Sandbox::start().await;
    let anna = sandbox.person("anna").await;
    let home = anna.home("Home").await;
    let texts = vec![
        home,
        anna.account_id.clone(),
        anna.session_id.clone(),
        anna.email.clone(),
    ];
    let channel = sandbox.channel().await;
    for method in methods() {
        // What ends the session that the others need is tried without it.
        let ends = ["SignOut", "RevokeSession", "CloseAccount", "RefreshSession"];
        let keeps = !ends.contains(&method.name());
        let tokens = [
            None,
            keeps.then_some(anna.tokens.access_token.as_str()),
            Some("x.y.z"),
        ];
        for round in 0..ROUNDS {
            for token in tokens {
                let garbage = Bytes::from(random.bytes(200));
                check(
                    &method,
                    "garbage",
                    &call(&channel, &method, token, vec![garbage]).await,
                );
                let oddness = round % 11;
                let mut filler = Filler {
                    random: &mut random,
                    texts: &texts,
                    oddness,
                };
                let message = encode(&filler.message(&method.input(), 0));
                let answer = call(&channel, &method, token, vec![message.clone()]).await;
                check(&method, "random message", &answer);
                let mut mutated = message.to_vec();
                for _ in 0..3 {
                    if !mutated.is_empty() {
                        let at = random.below(mutated.len());
                        mutated[at] = random.bits().to_le_bytes()[0];
                    }
                }
                let answer = call(&channel, &method, token, vec![mutated.into()]).await;
                check(&method, "mutated message", &answer);
            }
        }
        let huge = Bytes::from(vec![0x0a; 6 << 20]);
        let answer = call(&channel, &method, tokens[1], vec![huge]).await;
        check(&method, "six megabytes", &answer);
        let none = call(&channel, &method, tokens[1], Vec::new()).await;
        check(&method, "no message", &none);
    }
    // It still serves, and Anna is still who she was.
    let alive = tokio::time::timeout(Duration::from_secs(30), sandbox.person("bojan")).await;
    assert!(alive.is_ok(), "the server serves no more");
}
