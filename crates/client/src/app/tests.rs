//! A server that is a script: which token it takes, and what it answers.

use std::convert::Infallible;
use std::sync::Mutex;

use hearth_rpc::status_of;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use prost::Message;

use super::*;

/// What the server knows, and what it was asked.
#[derive(Default)]
struct Server {
    /// The only access token that it takes.
    access: String,
    /// The only refresh token that it takes.
    refresh: String,
    /// Paths and tokens, in order.
    seen: Vec<(String, Option<String>)>,
}

type Shared = Arc<Mutex<Server>>;

fn tokens(number: u32) -> Option<accounts::SessionTokens> {
    Some(accounts::SessionTokens {
        access_token: format!("access-{number}"),
        refresh_token: format!("refresh-{number}"),
        ..accounts::SessionTokens::default()
    })
}

fn answer(message: &impl Message) -> Response<Body> {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len()).unwrap().to_be_bytes();
    let framed = [&[0][..], &length, &encoded].concat();
    let body = Body::new(Full::new(Bytes::from(framed)));
    Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "0")
        .body(body)
        .unwrap()
}

fn refuse(reason: Reason) -> Response<Body> {
    status_of(&Failure::new(reason)).into_http()
}

async fn serve(server: Shared, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes().slice(5..);
    let bearer = parts.headers.get("authorization").map(|value| {
        let text = value.to_str().unwrap();
        text.strip_prefix("Bearer ").unwrap().to_owned()
    });
    assert!(parts.headers.contains_key("grpc-timeout"));
    let mut server = server.lock().unwrap();
    let path = parts.uri.path().rsplit('/').next().unwrap().to_owned();
    server.seen.push((path.clone(), bearer.clone()));
    match path.as_str() {
        "SignIn" => {
            assert_eq!(bearer, None, "a public call shows no token");
            let (access, refresh) = (server.access.clone(), server.refresh.clone());
            answer(&accounts::SignInResponse {
                account_id: "a".repeat(32),
                session_id: "b".repeat(32),
                token: Some(change(1)),
                tokens: Some(accounts::SessionTokens {
                    access_token: access,
                    refresh_token: refresh,
                    ..accounts::SessionTokens::default()
                }),
            })
        }
        "RefreshSession" => {
            assert_eq!(bearer, None, "a public call shows no token");
            let asked = accounts::RefreshSessionRequest::decode(bytes).unwrap();
            if asked.refresh_token != server.refresh {
                return refuse(Reason::SESSION_ENDED);
            }
            "access-2".clone_into(&mut server.access);
            "refresh-2".clone_into(&mut server.refresh);
            answer(&accounts::RefreshSessionResponse {
                tokens: tokens(2),
                ..accounts::RefreshSessionResponse::default()
            })
        }
        _ if bearer.as_deref() == Some(&server.access) => {
            answer(&accounts::GetAccountResponse::default())
        }
        _ => refuse(Reason::NOT_SIGNED_IN),
    }
}

fn change(number: u8) -> CommitToken {
    CommitToken {
        value: Bytes::copy_from_slice(&[number]),
    }
}

fn client(server: &Shared, store: &Arc<MemorySessions>) -> AppClient {
    let server = Arc::clone(server);
    let channel = tower::service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(serve(server, request).await) }
    });
    let store = Arc::clone(store) as Arc<dyn SessionStore>;
    AppClient::over(channel, Duration::from_secs(5), store).unwrap()
}

/// A server that gives out the first tokens, a store, and a client that is signed in.
async fn signed_in() -> (Shared, Arc<MemorySessions>, AppClient) {
    let server = Arc::new(Mutex::new(Server {
        access: "access-1".to_owned(),
        refresh: "refresh-1".to_owned(),
        ..Server::default()
    }));
    let store = Arc::new(MemorySessions::default());
    let client = client(&server, &store);
    let password = Secret::from("a password of some length");
    client.sign_in("a@b", &password, "test").await.unwrap();
    (server, store, client)
}

async fn show(client: &AppClient) -> Result<(), Reason> {
    let answer = client
        .accounts()
        .get_account(accounts::GetAccountRequest::default())
        .await;
    answer
        .map(|_| ())
        .map_err(|status| failure_of(&status).reason)
}

fn refreshes(server: &Shared) -> usize {
    let server = server.lock().unwrap();
    let seen = server.seen.iter();
    seen.filter(|(path, _)| path == "RefreshSession").count()
}

#[tokio::test]
async fn a_session_is_kept_with_its_change_and_found_again() {
    let (server, store, first) = signed_in().await;
    let kept = store.load().unwrap().expect("a session");
    assert_eq!(kept.access_token, Secret::from("access-1"));
    assert_eq!(first.after().await, vec![change(1)]);
    let second = client(&server, &store);
    assert_eq!(show(&second).await, Ok(()));
    assert!(!format!("{kept:?}").contains("access-1"));
}

#[tokio::test]
async fn a_token_that_is_too_old_is_renewed_once_for_all_who_wait() {
    let (server, store, client) = signed_in().await;
    "only-the-next".clone_into(&mut server.lock().unwrap().access);
    let all = futures::future::join_all((0..5).map(|_| show(&client))).await;
    assert_eq!(all, vec![Ok(()); 5]);
    assert_eq!(refreshes(&server), 1);
    let kept = store.load().unwrap().expect("a session");
    assert_eq!(kept.refresh_token, Secret::from("refresh-2"));
    assert_eq!(kept.changes.len(), 1, "changes outlive tokens");
}

#[tokio::test]
async fn tokens_that_another_process_got_are_taken_over() {
    let (server, store, one) = signed_in().await;
    let other = client(&server, &store);
    "only-the-next".clone_into(&mut server.lock().unwrap().access);
    assert_eq!(show(&other).await, Ok(()));
    assert_eq!(show(&one).await, Ok(()));
    assert_eq!(refreshes(&server), 1);
}

#[tokio::test]
async fn remembering_a_change_does_not_bring_old_tokens_back() {
    let (server, store, one) = signed_in().await;
    let other = client(&server, &store);
    "only-the-next".clone_into(&mut server.lock().unwrap().access);
    assert_eq!(show(&other).await, Ok(()));
    one.saw(Some(change(9))).await.unwrap();
    let kept = store.load().unwrap().expect("a session");
    assert_eq!(kept.refresh_token, Secret::from("refresh-2"));
    assert_eq!(kept.changes.len(), 2);
    assert_eq!(show(&one).await, Ok(()));
    assert_eq!(refreshes(&server), 1);
}

#[tokio::test]
async fn a_session_that_has_ended_is_said_and_can_be_forgotten() {
    let (server, store, client) = signed_in().await;
    {
        let mut server = server.lock().unwrap();
        "another".clone_into(&mut server.access);
        "another".clone_into(&mut server.refresh);
    }
    assert_eq!(show(&client).await, Err(Reason::SESSION_ENDED));
    client.sign_out().await.unwrap();
    assert_eq!(store.load().unwrap(), None);
    assert_eq!(show(&client).await, Err(Reason::NOT_SIGNED_IN));
    assert!(matches!(
        client.sign_out().await,
        Err(AppError::NotSignedIn)
    ));
}

#[tokio::test]
async fn only_the_newest_changes_are_remembered() {
    let (_server, _store, client) = signed_in().await;
    for number in 1..=20 {
        client.saw(Some(change(number))).await.unwrap();
    }
    client.saw(Some(change(15))).await.unwrap();
    let after = client.after().await;
    assert_eq!(after.len(), 8);
    assert_eq!(after.last(), Some(&change(15)));
    assert_eq!(after.iter().filter(|it| **it == change(15)).count(), 1);
}

#[tokio::test]
async fn an_address_is_refused_at_once_and_public_authorities_need_no_file() {
    let store = || Arc::new(MemorySessions::default());
    let refused = AppClient::new(&Options::new("not an address"), store());
    assert!(matches!(refused, Err(ConnectError::Address(_))));
    let public = AppClient::new(&Options::new("https://localhost:1"), store());
    assert!(public.is_ok(), "{public:?}");
    assert_ne!(request_id().unwrap(), request_id().unwrap());
    assert_eq!(request_id().unwrap().len(), 32);
}

#[test]
fn an_error_says_its_reason_and_when_to_try_again() {
    let busy = Failure::new(Reason::TOO_MANY_REQUESTS).retry_after(Duration::from_secs(7));
    let busy = AppError::from(status_of(&busy));
    assert_eq!(busy.reason(), Some(Reason::TOO_MANY_REQUESTS));
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(AppError::NotSignedIn.reason(), None);
    assert_eq!(AppError::NotSignedIn.retry_after(), None);
}
