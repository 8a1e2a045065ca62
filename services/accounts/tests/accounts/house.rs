//! The service as a process runs it, on stores in memory, with its calls in process; and a reader of its mails, who has
//! no more keys than notifications.

use std::sync::Arc;
use std::time::Duration;

use hearth_access::Access;
use hearth_accounts::MODULE;
use hearth_api::accounts::v1 as api;
use hearth_api::accounts::v1::accounts_service_client::AccountsServiceClient;
use hearth_api::accounts::v1::homes_service_client::HomesServiceClient;
use hearth_api::events::v1 as events;
use hearth_api::events::v1::{MailContent, accounts_event::Event, envelope, mail_content::Body};
use hearth_backend_memory::Memory;
use hearth_engine::Watermarks;
use hearth_host::{Bound, Config, Context, Metrics, Module, Plan, Running};
use hearth_kernel::{Failure, Sealed, Service};
use hearth_ports::{
    AdjustableClock, Binding, Clock, Documents, Family, Log, Opened, Position, Stream, Tasks,
};
use hearth_rpc::stack::Front;
use hearth_rpc::token::Parties;
use hearth_rpc::{Authority, TokenKeys, failure_of};
use hearth_vault::Vault;
use prost::Message;
use tonic::service::Routes;
use tonic::{Request, Status};

use crate::counted::{Counted, Reads};

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running service.
pub(crate) struct House {
    pub(crate) memory: Memory,
    pub(crate) clock: AdjustableClock,
    pub(crate) vault: Vault,
    /// What is read of log and documents.
    pub(crate) reads: Reads,
    running: Running,
}

impl House {
    /// On empty stores.
    pub(crate) async fn open() -> Self {
        let clock = AdjustableClock::default();
        let memory = Memory::new(Arc::new(clock.clone()));
        Self::on(memory, clock).await
    }

    /// The same stores under a new process.
    pub(crate) async fn reopen(self) -> Self {
        let (memory, clock) = (self.memory.clone(), self.clock.clone());
        self.running.drain(PATIENCE).await;
        Self::on(memory, clock).await
    }

    async fn on(memory: Memory, clock: AdjustableClock) -> Self {
        let tasks = Tasks::new();
        let now: Arc<dyn Clock> = Arc::new(clock.clone());
        let reads = Reads::default();
        let log: Arc<dyn Log> = memory.log.clone();
        let log: Arc<dyn Log> = Arc::new(Counted {
            inner: log,
            reads: reads.clone(),
        });
        let documents: Arc<dyn Documents> = memory.documents.clone();
        let documents: Arc<dyn Documents> = Arc::new(Counted {
            inner: documents,
            reads: reads.clone(),
        });
        let vault = Vault::start(log.clone(), memory.custody.clone(), now.clone(), &tasks).await;
        let vault = vault.expect("a vault");
        let watermarks = Watermarks::new(log.clone());
        for service in Service::ALL {
            let listening = watermarks.clone();
            tasks.supervise("watermarks", move || {
                let listening = listening.clone();
                async move { listening.listen(service).await }
            });
        }
        let access = Access::start(log.clone(), now.clone(), watermarks.clone(), &tasks);
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".to_owned();
        config.server.rate_limits = false;
        let cheap = serde_json::json!({ "password_memory_kib": 64 });
        let context = |module: &'static Module| Context {
            service: module.service,
            log: log.clone(),
            documents: documents.clone(),
            series: memory.series.clone(),
            blobs: memory.blobs.clone(),
            leases: memory.leases.clone(),
            clock: now.clone(),
            outbound: memory.outbound.clone(),
            sealing: vault.handle(module.service),
            access: Arc::clone(&access),
            erasing: None,
            watermarks: watermarks.clone(),
            tasks: tasks.child(),
            metrics: Metrics::new(),
            config: Arc::new(cheap.clone()),
        };
        let folder = std::env::temp_dir();
        let plan = Plan {
            bound: Bound::new(&config.server, &folder, now.now()).expect("a port"),
            admin: None,
            server: config.server.clone(),
            modules: vec![&MODULE],
            context: &context,
            authority: Authority {
                parties: Parties::default(),
                keys: Arc::clone(&access) as _,
                sessions: Arc::clone(&access) as _,
            },
            clock: now.clone(),
            metrics: Metrics::new(),
            readiness: Vec::new(),
            tasks: tasks.clone(),
        };
        let running = Box::pin(plan.start()).await.expect("it starts");
        let house = Self {
            memory,
            clock,
            vault,
            reads,
            running,
        };
        house
            .until("knowledge of facts", async || {
                TokenKeys::is_fresh(&*access).then_some(())
            })
            .await;
        house
    }

    pub(crate) fn accounts(&self) -> AccountsServiceClient<Front<Routes>> {
        AccountsServiceClient::new(self.running.front())
    }

    pub(crate) fn homes(&self) -> HomesServiceClient<Front<Routes>> {
        HomesServiceClient::new(self.running.front())
    }

    /// Waits until something holds.
    pub(crate) async fn until<T>(&self, what: &str, probe: impl AsyncFn() -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = probe().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, wait).await;
        found.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    /// Every event that was published, oldest first.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let stream = Stream::new(Family::Int, Service::Accounts);
        let page = self.memory.log.page(stream, Position::START, 1000).await;
        let read = |bytes: &[u8]| match events::Envelope::decode(bytes).unwrap().payload {
            Some(envelope::Payload::AccountsEvent(event)) => event.event,
            _ => None,
        };
        page.unwrap()
            .iter()
            .filter_map(|it| read(&it.bytes))
            .collect()
    }

    /// The mails to an address that were asked for, as notifications opens them.
    pub(crate) async fn mails(&self, to: &str) -> Vec<Body> {
        let handle = self.vault.handle(Service::Notifications);
        let mut mails = Vec::new();
        for event in self.events().await {
            let Event::MailRequested(mail) = event else {
                continue;
            };
            let sealed = Sealed::decode(&mail.sealed).expect("a sealed part");
            let binding = Binding::Event(sealed.origin.clone());
            let (owner, purpose) = (sealed.owner, sealed.purpose);
            let opened = handle
                .open(owner, purpose, &binding, &sealed.bytes)
                .await
                .unwrap();
            let Opened::Clear(clear) = opened else {
                continue;
            };
            let content = MailContent::decode(clear.expose()).unwrap();
            mails.extend(content.body.filter(|_| content.to == to));
        }
        mails
    }

    /// Waits for the first mail to an address that the reader takes.
    pub(crate) async fn mail<T>(&self, to: &str, reader: impl Fn(&Body) -> Option<T>) -> T {
        let read = async || self.mails(to).await.iter().rev().find_map(&reader);
        self.until("a mail", read).await
    }

    /// A person who registered, verified and is signed in.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let mut person = Person::new(name);
        let registration_id = person.register(self).await.expect("an answer");
        let code = self.code(&person.email).await;
        let verified = self.verify(&person, &registration_id, &code).await;
        person.signed_in(verified.expect("verified"));
        person
    }

    /// The code of the newest verification mail.
    pub(crate) async fn code(&self, email: &str) -> String {
        let code = |body: &Body| match body {
            Body::Verification(mail) => Some(mail.code.clone()),
            _ => None,
        };
        self.mail(email, code).await
    }

    /// The code of a mail that came after the one with this code.
    pub(crate) async fn code_after(&self, email: &str, old: &str) -> String {
        let newer = async || Some(self.code(email).await).filter(|code| code != old);
        self.until("another mail", newer).await
    }

    pub(crate) async fn verify(
        &self,
        person: &Person,
        registration_id: &str,
        code: &str,
    ) -> Result<api::VerifyEmailResponse, Failure> {
        // The mail may be there a moment before the registration says that it waits for its code.
        loop {
            let request = api::VerifyEmailRequest {
                request_id: request_id(),
                registration_id: registration_id.to_owned(),
                client_secret: person.client_secret.to_vec().into(),
                code: code.to_owned(),
                device_label: "first".to_owned(),
            };
            let verified = self.accounts().verify_email(request).await;
            match outcome(verified) {
                Err(failure) if failure.kind() == hearth_kernel::Kind::Unavailable => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                other => return other,
            }
        }
    }
}

/// The message, or the failure behind the status.
pub(crate) fn outcome<T>(result: Result<tonic::Response<T>, Status>) -> Result<T, Failure> {
    let result = result.map(tonic::Response::into_inner);
    result.map_err(|status| failure_of(&status))
}

/// A request id that no other call has.
pub(crate) fn request_id() -> String {
    hearth_engine::random_id::<uuid::Uuid>()
        .as_simple()
        .to_string()
}

/// Somebody with an account, or on her way to one.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) client_secret: [u8; 32],
    pub(crate) account_id: String,
    pub(crate) session_id: String,
    pub(crate) tokens: api::SessionTokens,
}

impl Person {
    pub(crate) fn new(name: &str) -> Self {
        let mut client_secret = [0; 32];
        client_secret[..name.len()].copy_from_slice(name.as_bytes());
        Self {
            name: name.to_owned(),
            email: format!("{name}@example.org"),
            password: format!("{name} keeps a long password"),
            client_secret,
            account_id: String::new(),
            session_id: String::new(),
            tokens: api::SessionTokens::default(),
        }
    }

    pub(crate) fn secret_hash(&self) -> Vec<u8> {
        let hash = ring::digest::digest(&ring::digest::SHA256, &self.client_secret);
        hash.as_ref().to_vec()
    }

    pub(crate) async fn register(&self, house: &House) -> Result<String, Failure> {
        let request = api::RegisterRequest {
            request_id: request_id(),
            email: self.email.clone(),
            username: self.name.clone(),
            password: self.password.clone(),
            locale: "mk".to_owned(),
            client_secret_hash: self.secret_hash().into(),
        };
        let registered = outcome(house.accounts().register(request).await);
        registered.map(|it| it.registration_id)
    }

    pub(crate) fn signed_in(&mut self, verified: api::VerifyEmailResponse) {
        self.account_id = verified.account_id;
        self.session_id = verified.session_id;
        self.tokens = verified.tokens.expect("tokens");
    }

    pub(crate) fn sign_in_request(&self) -> api::SignInRequest {
        api::SignInRequest {
            request_id: request_id(),
            email: self.email.clone(),
            password: self.password.clone(),
            device_label: "again".to_owned(),
            client_secret_hash: self.secret_hash().into(),
        }
    }

    pub(crate) async fn sign_in(&mut self, house: &House) -> Result<(), Failure> {
        let signed_in = outcome(house.accounts().sign_in(self.sign_in_request()).await)?;
        self.session_id = signed_in.session_id;
        self.tokens = signed_in.tokens.expect("tokens");
        Ok(())
    }

    /// A request with her access token.
    pub(crate) fn with<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.tokens.access_token);
        request
            .metadata_mut()
            .insert("authorization", bearer.parse().expect("a header"));
        request
    }

    pub(crate) async fn home(&self, house: &House, name: &str) -> api::CreateHomeResponse {
        let request = api::CreateHomeRequest {
            request_id: request_id(),
            name: name.to_owned(),
            kind: api::HomeKind::Household.into(),
            time_zone: "Europe/Skopje".to_owned(),
        };
        outcome(house.homes().create_home(self.with(request)).await).expect("a home")
    }

    pub(crate) async fn account(&self, house: &House) -> Result<api::Account, Failure> {
        let request = self.with(api::GetAccountRequest::default());
        let answered = outcome(house.accounts().get_account(request).await)?;
        Ok(answered.account.expect("an account"))
    }
}
