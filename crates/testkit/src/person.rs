//! A person with an account: registered, verified through the mail that arrived, signed in.

use std::time::Duration;

use hearth_api::accounts::v1 as accounts;
use hearth_api::accounts::v1::accounts_service_client::AccountsServiceClient;
use hearth_api::accounts::v1::homes_service_client::HomesServiceClient;
use ring::digest;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::sandbox::Sandbox;

/// A signed-in person.
#[derive(Clone)]
pub struct Person {
    /// Her connection.
    pub channel: Channel,
    /// Her address.
    pub email: String,
    /// Her password.
    pub password: String,
    /// Her account.
    pub account_id: String,
    /// Her session.
    pub session_id: String,
    /// Her tokens.
    pub tokens: accounts::SessionTokens,
}

/// A request id that no other call has.
#[must_use]
pub fn request_id() -> String {
    let mut bytes = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).unwrap();
    u128::from_be_bytes(bytes).to_string()
}

/// The code in a mail: what follows `Code:` on a line of its own.
#[must_use]
pub fn code_in(text: &str) -> Option<String> {
    text.lines()
        .find_map(|line| Some(line.trim().strip_prefix("Code: ")?.to_owned()))
}

impl Sandbox {
    /// The code of the newest mail to an address that has one.
    pub async fn code_for(&self, email: &str) -> String {
        self.until("a mail with a code", async || {
            let mails = self.mails.sent();
            let to = mails
                .iter()
                .rev()
                .filter(|it| it.to.expose_text() == Some(email));
            to.filter_map(|mail| code_in(mail.text.expose_text()?))
                .next()
        })
        .await
    }

    /// Registers, verifies and signs in a new person.
    pub async fn person(&self, name: &str) -> Person {
        Person::register(self.channel().await, name, async |email| {
            self.code_for(email).await
        })
        .await
    }
}

impl Person {
    /// Registers, verifies and signs in a new person over a connection; `code` waits for the code in the mail to
    /// her address.
    pub async fn register(
        channel: Channel,
        name: &str,
        code: impl AsyncFn(&str) -> String,
    ) -> Self {
        let (email, password) = (
            format!("{name}@example.org"),
            format!("{name} has a long password"),
        );
        let mut client = AccountsServiceClient::new(channel.clone());
        let secret = [crate::hub::random_id(), crate::hub::random_id()].concat();
        let hash = digest::digest(&digest::SHA256, &secret);
        let registered = client
            .register(accounts::RegisterRequest {
                request_id: request_id(),
                email: email.clone(),
                username: name.to_owned(),
                password: password.clone(),
                locale: "en".to_owned(),
                client_secret_hash: hash.as_ref().to_vec().into(),
            })
            .await
            .unwrap()
            .into_inner();
        let code = code(&email).await;
        let verified = client
            .verify_email(accounts::VerifyEmailRequest {
                request_id: request_id(),
                registration_id: registered.registration_id,
                client_secret: secret.into(),
                code,
                device_label: "test".to_owned(),
            })
            .await
            .unwrap()
            .into_inner();
        Self {
            channel,
            email,
            password,
            account_id: verified.account_id,
            session_id: verified.session_id,
            tokens: verified.tokens.unwrap(),
        }
    }

    /// A request with her access token.
    #[must_use]
    pub fn with<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.tokens.access_token);
        request
            .metadata_mut()
            .insert("authorization", MetadataValue::try_from(bearer).unwrap());
        request.set_timeout(Duration::from_secs(20));
        request
    }

    /// Signs in anew: a session of its own, fresh.
    pub async fn sign_in_again(&mut self) {
        let signed_in = AccountsServiceClient::new(self.channel.clone())
            .sign_in(accounts::SignInRequest {
                request_id: request_id(),
                email: self.email.clone(),
                password: self.password.clone(),
                device_label: "again".to_owned(),
                client_secret_hash: vec![7; 32].into(),
            })
            .await
            .unwrap()
            .into_inner();
        self.session_id = signed_in.session_id;
        self.tokens = signed_in.tokens.unwrap();
    }

    /// Makes a home; answers its id.
    pub async fn home(&self, name: &str) -> String {
        HomesServiceClient::new(self.channel.clone())
            .create_home(self.with(accounts::CreateHomeRequest {
                request_id: request_id(),
                name: name.to_owned(),
                kind: accounts::HomeKind::Household.into(),
                time_zone: "Europe/Skopje".to_owned(),
            }))
            .await
            .unwrap()
            .into_inner()
            .home_id
    }
}
