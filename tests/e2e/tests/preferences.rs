//! Rules, arming and preferences through a whole installation: written, read back with the token of the write, taken back.

#![expect(
    clippy::unwrap_used,
    reason = "test code: a failure here is the test's"
)]

use hearth_api::accounts::v1 as accounts;
use hearth_api::accounts::v1::homes_service_client::HomesServiceClient;
use hearth_api::notifications::v1 as notifications;
use hearth_api::notifications::v1::notifications_service_client::NotificationsServiceClient;
use hearth_testkit::person::request_id;
use hearth_testkit::{Person, Sandbox};

type Client = NotificationsServiceClient<tonic::transport::Channel>;

#[tokio::test(flavor = "multi_thread")]
async fn rules_arming_and_preferences_are_written_read_and_taken_back() {
    let sandbox = Sandbox::start().await;
    let anna = sandbox.person("anna").await;
    let home = anna.home("House").await;
    let create = accounts::CreateAreaRequest {
        request_id: request_id(),
        home_id: home.clone(),
        name: "Hall".to_owned(),
    };
    let mut homes = HomesServiceClient::new(anna.channel.clone());
    let area = homes
        .create_area(anna.with(create))
        .await
        .unwrap()
        .into_inner();
    let mut client = NotificationsServiceClient::new(anna.channel.clone());
    // Notifications learns of home and area from accounts: the token of the area says how far.
    let get = notifications::GetArmingRequest {
        home_id: home.clone(),
        after: area.token.into_iter().collect(),
    };
    client.get_arming(anna.with(get)).await.unwrap();
    rules(&mut client, &anna, &home, &area.area_id).await;
    arming(&mut client, &anna, &home, &area.area_id).await;
    muting(&mut client, &anna).await;
}

async fn rules(client: &mut Client, anna: &Person, home: &str, area: &str) {
    let motion = notifications::MotionWhileArmed {
        area_ids: vec![area.to_owned()],
        ..notifications::MotionWhileArmed::default()
    };
    let put = notifications::PutRuleRequest {
        request_id: request_id(),
        home_id: home.to_owned(),
        enabled: true,
        condition: Some(notifications::put_rule_request::Condition::MotionWhileArmed(motion)),
        ..notifications::PutRuleRequest::default()
    };
    let rule = client.put_rule(anna.with(put)).await.unwrap().into_inner();
    let list = |token| notifications::ListRulesRequest {
        home_id: home.to_owned(),
        after: vec![token],
    };
    let rules = client
        .list_rules(anna.with(list(rule.token.unwrap())))
        .await
        .unwrap();
    assert_eq!(rules.into_inner().rules[0].rule_id, rule.rule_id);
    let remove = notifications::RemoveRuleRequest {
        request_id: request_id(),
        home_id: home.to_owned(),
        rule_id: rule.rule_id,
    };
    let removed = client
        .remove_rule(anna.with(remove))
        .await
        .unwrap()
        .into_inner();
    let rules = client
        .list_rules(anna.with(list(removed.token.unwrap())))
        .await
        .unwrap();
    assert!(rules.into_inner().rules.is_empty());
}

async fn arming(client: &mut Client, anna: &Person, home: &str, area: &str) {
    let get = |token| notifications::GetArmingRequest {
        home_id: home.to_owned(),
        after: vec![token],
    };
    let arm = notifications::ArmHomeRequest {
        request_id: request_id(),
        home_id: home.to_owned(),
        area_ids: vec![area.to_owned()],
    };
    let armed = client.arm_home(anna.with(arm)).await.unwrap().into_inner();
    let arming = client
        .get_arming(anna.with(get(armed.token.unwrap())))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(arming.area_ids, vec![area.to_owned()]);
    let disarm = notifications::DisarmHomeRequest {
        request_id: request_id(),
        home_id: home.to_owned(),
        ..notifications::DisarmHomeRequest::default()
    };
    let disarmed = client
        .disarm_home(anna.with(disarm))
        .await
        .unwrap()
        .into_inner();
    let arming = client
        .get_arming(anna.with(get(disarmed.token.unwrap())))
        .await
        .unwrap()
        .into_inner();
    assert!(arming.area_ids.is_empty() && !arming.whole_home);
}

async fn muting(client: &mut Client, anna: &Person) {
    let get = |token| notifications::GetPreferencesRequest { after: vec![token] };
    let mute = notifications::MuteAllRequest {
        request_id: request_id(),
        duration: None,
    };
    let muted = client.mute_all(anna.with(mute)).await.unwrap().into_inner();
    let preferences = client
        .get_preferences(anna.with(get(muted.token.unwrap())))
        .await
        .unwrap();
    assert!(preferences.into_inner().muted);
    let unmute = notifications::UnmuteAllRequest {
        request_id: request_id(),
    };
    let unmuted = client
        .unmute_all(anna.with(unmute))
        .await
        .unwrap()
        .into_inner();
    let preferences = client
        .get_preferences(anna.with(get(unmuted.token.unwrap())))
        .await
        .unwrap();
    assert!(!preferences.into_inner().muted);
}
