//! Sessions: tokens that rotate, and ends that hold.

use std::time::Duration;

use hearth_api::accounts::v1 as api;
use hearth_api::events::v1::accounts_event::Event;
use hearth_kernel::{Failure, Reason, Service};
use hearth_ports::{Family, Log, Position, Stream};

use crate::house::{House, Person, outcome, request_id};

async fn refresh(house: &House, token: &str) -> Result<api::SessionTokens, Failure> {
    let request = api::RefreshSessionRequest {
        request_id: request_id(),
        refresh_token: token.to_owned(),
    };
    let refreshed = outcome(house.accounts().refresh_session(request).await)?;
    Ok(refreshed.tokens.expect("tokens"))
}

async fn sessions(house: &House, person: &Person) -> Vec<api::Session> {
    let request = person.with(api::ListSessionsRequest::default());
    outcome(house.accounts().list_sessions(request).await)
        .unwrap()
        .sessions
}

#[tokio::test]
async fn concurrent_refreshes_of_one_token_get_the_same_new_one() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    let token = &anna.tokens.refresh_token;
    let all = futures::future::join_all((0..64).map(|_| refresh(&house, token))).await;
    let first = all[0].as_ref().unwrap().refresh_token.clone();
    assert_ne!(&first, token);
    for other in all {
        assert_eq!(other.unwrap().refresh_token, first);
    }
    assert!(refresh(&house, &first).await.is_ok());
}

#[tokio::test]
async fn a_token_used_again_after_its_grace_ends_the_session_for_all() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    let old = anna.tokens.refresh_token.clone();
    let newer = refresh(&house, &old).await.unwrap();
    house.clock.advance(Duration::from_secs(11));
    assert_eq!(
        refresh(&house, &old).await.unwrap_err().reason,
        Reason::SESSION_ENDED
    );
    let descendant = refresh(&house, &newer.refresh_token).await.unwrap_err();
    assert_eq!(descendant.reason, Reason::SESSION_ENDED);
    let refused = async || {
        let refused = anna.account(&house).await.err()?;
        (refused.reason == Reason::NOT_SIGNED_IN).then_some(())
    };
    house.until("the access token to be refused", refused).await;
}

#[tokio::test]
async fn what_is_no_token_of_ours_is_over() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    let mut forged = anna.tokens.refresh_token.clone().into_bytes();
    let last = forged.len() - 2;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    for token in ["x", &String::from_utf8(forged).unwrap()] {
        assert_eq!(
            refresh(&house, token).await.unwrap_err().reason,
            Reason::SESSION_ENDED
        );
    }
    assert!(refresh(&house, &anna.tokens.refresh_token).await.is_ok());
}

#[tokio::test]
async fn sessions_are_listed_newest_first_and_one_can_end_another() {
    let house = House::open().await;
    let first = house.person("anna").await;
    let mut second = first.clone();
    second.sign_in(&house).await.unwrap();
    let listed = sessions(&house, &second).await;
    let ids: Vec<&str> = listed.iter().map(|it| it.session_id.as_str()).collect();
    assert_eq!(ids, [&second.session_id, &first.session_id]);
    assert!(listed[0].current && !listed[1].current);
    assert_eq!(listed[1].device_label, "first");

    let request = api::RevokeSessionRequest {
        request_id: request_id(),
        session_id: first.session_id.clone(),
    };
    let revoked = house.accounts().revoke_session(second.with(request)).await;
    assert!(outcome(revoked).unwrap().token.is_some());
    assert!(refresh(&house, &first.tokens.refresh_token).await.is_err());
    let refused = async || first.account(&house).await.err();
    house
        .until("the other session to be refused", refused)
        .await;
    assert_eq!(sessions(&house, &second).await.len(), 1);
}

#[tokio::test]
async fn somebody_else_s_session_does_not_exist() {
    let house = House::open().await;
    let (anna, boris) = (house.person("anna").await, house.person("boris").await);
    let request = api::RevokeSessionRequest {
        request_id: request_id(),
        session_id: anna.session_id.clone(),
    };
    let refused = outcome(house.accounts().revoke_session(boris.with(request)).await);
    assert_eq!(refused.unwrap_err().reason, Reason::NOT_FOUND);
    assert!(anna.account(&house).await.is_ok());
}

#[tokio::test]
async fn signing_out_ends_the_session_that_calls() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    let request = api::SignOutRequest {
        request_id: request_id(),
    };
    outcome(house.accounts().sign_out(anna.with(request)).await).unwrap();
    assert!(refresh(&house, &anna.tokens.refresh_token).await.is_err());
    house
        .until("the end", async || anna.account(&house).await.err())
        .await;
}

#[tokio::test]
async fn an_idle_session_ends_after_thirty_days() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    house.clock.advance(Duration::from_secs(31 * 86_400));
    let refused = refresh(&house, &anna.tokens.refresh_token)
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::SESSION_ENDED);
    // Nothing of it stays: neither its tokens nor its place in the account.
    let family = async || {
        let stream = Stream::new(Family::Rec, Service::Accounts);
        let page = house.memory.log.page(stream, Position::START, 1000);
        let records = page.await.unwrap();
        records.iter().any(|it| it.subject.kind() == "session")
    };
    assert!(!family().await);
    let ended = |it: &Event| matches!(it, Event::SessionRevoked(_)).then_some(());
    let published = async || house.events().await.iter().find_map(ended);
    house.until("the end to be published", published).await;
}
