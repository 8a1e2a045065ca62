//! Sign-in: the same work and the same refusal for an address that is known and one that is not.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use hearth_accounts_domain::account::Command;
use hearth_accounts_domain::credentials::Command as CredentialsCommand;
use hearth_engine::{Actor, Aggregate};
use hearth_kernel::{AccountId, Failure, Origin, Owner, Part, Purpose, Reason, Secret, SessionId};
use hearth_ports::Binding;
use uuid::Uuid;

use super::App;
use super::caller::Request;
use super::sessions::{Opening, SignedIn};
use super::text::Address;
use crate::aggregates::{Account, Credentials, Email};

/// Bytes of a decoy: a key's id, a nonce and a tag, and room for a hash.
const DECOY: usize = 128;
/// Addresses that nobody has and that are remembered: 16 bytes each.
const DECOYS: usize = 65_536;

/// The addresses that nobody has and that were asked for in this process.
#[derive(Debug, Default)]
pub(crate) struct Decoys(Mutex<HashSet<AccountId>>);

impl Decoys {
    fn is_new(&self, nobody: AccountId) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= DECOYS {
            seen.clear();
        }
        seen.insert(nobody)
    }
}

/// Who signs in, and with what.
#[derive(Clone, Debug)]
pub(crate) struct SignIn {
    pub(crate) email: Address,
    pub(crate) password: Secret,
    pub(crate) device_label: String,
    pub(crate) client_secret_hash: [u8; 32],
}

fn refused() -> Failure {
    Failure::new(Reason::INVALID_CREDENTIALS)
}

impl App {
    /// Opens a session.
    pub(crate) async fn sign_in(
        &self,
        request: &Request,
        sign_in: SignIn,
    ) -> Result<SignedIn, Failure> {
        let address = self.email_id(&sign_in.email);
        self.attempts.enter(address, self.now())?;
        let account = self.holder(address).await?;
        self.check_password(account, &sign_in.password).await?;
        self.attempts.forgive(address);
        let content: [&[u8]; 2] = [address.as_bytes(), sign_in.device_label.as_bytes()];
        let (who, actor) = (&sign_in.client_secret_hash, Actor::Account(account));
        let call = self.call(request, who, actor, &content);
        let session: SessionId = self
            .engine
            .hasher()
            .id("session", &[call.commit.as_bytes()])
            .into();
        let command = Command::OpenSession {
            session,
            label: Part::clear(&sign_in.device_label),
        };
        let opening = Opening {
            account,
            session,
            command: &command,
        };
        self.open_session(&call, opening).await
    }

    /// The account that the address is reserved for; one that nobody has, where there is none.
    async fn holder(&self, address: Uuid) -> Result<AccountId, Failure> {
        let record = self.load::<Email>(address).await?;
        let nobody = || {
            self.engine
                .hasher()
                .id("nobody", &[address.as_bytes()])
                .into()
        };
        Ok(record.state.account.unwrap_or_else(nobody))
    }

    /// Checks the password of an account that can be signed in to.
    ///
    /// # Errors
    /// `INVALID_CREDENTIALS` for a wrong password, too many wrong ones, and no such account: after the same work.
    pub(crate) async fn check_password(
        &self,
        account: AccountId,
        password: &Secret,
    ) -> Result<(), Failure> {
        let holder = self.load::<Account>(account).await?;
        let credentials = self.load::<Credentials>(account).await?;
        let usable = holder.state.may_sign_in() && credentials.state.may_attempt(self.now());
        // Opened also when it will not be asked: whether it may be tried is not to be read off the work either.
        let stored = match credentials.state.password.as_ref() {
            Some(part) => self.open(part).await?,
            None => self.open_decoy(account).await,
        };
        let stored = stored.filter(|_| usable);
        let usable = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.passwords.decoy());
        let verdict = self.passwords.verify(password, &stored).await?;
        if !usable || !verdict.right {
            if usable {
                self.afterwards(account, CredentialsCommand::Fail);
            }
            return Err(refused());
        }
        if credentials.state.failures > 0 {
            self.of_credentials(account, &CredentialsCommand::Succeed)
                .await?;
        }
        if verdict.outdated {
            let password = Part::Clear(self.passwords.hash(password).await?);
            self.afterwards(account, CredentialsCommand::Rehash { account, password });
        }
        Ok(())
    }

    /// Asks for a key that there is none of, as a password that is there asks for its own: once, for then a key that
    /// there is would be kept. Nothing comes of it.
    async fn open_decoy(&self, nobody: AccountId) -> Option<Secret> {
        if self.decoys.is_new(nobody) {
            let origin = Origin {
                aggregate: Credentials::reference(nobody.into()),
                version: 1,
                event: 0,
                part: 0,
            };
            let (owner, binding) = (Owner::Account(nobody), Binding::Event(origin));
            let sealing = self.engine.sealing();
            let opened = sealing.open(owner, Purpose::Profile, &binding, &[0; DECOY]);
            drop(opened.await);
        }
        None
    }

    /// Writes down behind the answer, so that its time does not tell whether there was anything to write.
    fn afterwards(&self, account: AccountId, command: CredentialsCommand) {
        let app = self.clone();
        self.tasks.spawn_draining("credentials", async move {
            if let Err(failure) = app.of_credentials(account, &command).await {
                tracing::warn!(%failure, "credentials not updated");
            }
        });
    }
}
