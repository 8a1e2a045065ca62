//! Sign-in: the same work and the same refusal for an address that is known and one that is not.

use hearth_accounts_domain::account::Command;
use hearth_accounts_domain::credentials::Command as CredentialsCommand;
use hearth_engine::Actor;
use hearth_kernel::{AccountId, Failure, Part, Reason, Secret, SessionId};
use uuid::Uuid;

use super::App;
use super::caller::Request;
use super::sessions::{Opening, SignedIn};
use super::text::Address;
use crate::aggregates::{Account, Credentials, Email};

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
        let stored = match credentials.state.password.as_ref().filter(|_| usable) {
            Some(part) => self.open(part).await?,
            None => None,
        };
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
