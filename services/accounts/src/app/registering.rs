//! Registration: what is asked is written down and answered; only then is the address looked up.

use std::sync::Arc;

use hearth_accounts_domain::account::{
    self, AddressKey, Command as AccountCommand, Profile, Status,
};
use hearth_accounts_domain::credentials::Command as CredentialsCommand;
use hearth_accounts_domain::email::Command as EmailCommand;
use hearth_accounts_domain::limits::{REGISTRATION_LIVES, REGISTRATION_TRIES};
use hearth_accounts_domain::registration::{Command, Request as Asked, Stage};
use hearth_engine::{Actor, Loaded};
use hearth_kernel::{AccountId, Failure, Kind, Part, Reason, RegistrationId, Secret, SessionId};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::caller::Request;
use super::mail::Recipient;
use super::sessions::{Opening, SignedIn};
use super::text::Address;
use super::{App, secrets};
use crate::aggregates::{Account, Credentials, Email, Registration};

/// When to come back for an account that is being made.
const SOON: std::time::Duration = std::time::Duration::from_millis(500);

/// What somebody who registers says.
#[derive(Clone, Debug)]
pub(crate) struct NewAccount {
    pub(crate) email: Address,
    pub(crate) username: String,
    pub(crate) locale: String,
    pub(crate) password: Secret,
    pub(crate) client_secret_hash: [u8; 32],
}

/// What proves an address.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(crate) registration: RegistrationId,
    pub(crate) client_secret: Secret,
    pub(crate) code: String,
    pub(crate) device_label: String,
}

fn not_verified() -> Failure {
    Failure::new(Reason::VERIFICATION_FAILED)
}

impl App {
    /// The id of the reservation of an address: a keyed hash of its normal form.
    pub(crate) fn email_id(&self, address: &Address) -> Uuid {
        self.engine
            .hasher()
            .id("email", &[address.normal.as_bytes()])
    }

    /// Writes the registration down. The same work whatever the address.
    pub(crate) async fn register(
        &self,
        request: &Request,
        new: NewAccount,
    ) -> Result<RegistrationId, Failure> {
        let content: [&[u8]; 3] = [
            new.email.typed.as_bytes(),
            new.username.as_bytes(),
            new.locale.as_bytes(),
        ];
        let call = self.call(request, &new.client_secret_hash, Actor::Nobody, &content);
        let hasher = self.engine.hasher();
        let id: RegistrationId = hasher.id("registration", &[call.commit.as_bytes()]).into();
        let password = self.passwords.hash(&new.password).await?;
        let asked = Command::Ask(Box::new(Asked {
            account: hasher.id("account", &[call.commit.as_bytes()]).into(),
            profile: Profile {
                email: Part::clear(&new.email.typed),
                username: Part::clear(&new.username),
                locale: Part::clear(&new.locale),
            },
            password: Part::Clear(password),
            client_secret_hash: new.client_secret_hash,
        }));
        let now = self.now();
        self.engine
            .execute::<Registration, _>(&call, id, &asked, async move |_| Ok(now))
            .await?;
        Ok(id)
    }

    /// Goes on with a registration that was written down: safe to repeat after a crash anywhere in it.
    pub(crate) async fn proceed(&self, id: RegistrationId) -> Result<(), Failure> {
        let registration = self.load::<Registration>(id).await?;
        let Stage::Requested(asked) = &registration.state.stage else {
            return Ok(());
        };
        let account = self.load::<Account>(asked.account).await?;
        if account.gone || account.state.status == Status::Lapsed {
            // It was abandoned before a crash: its keys are going, or gone.
            return self.settle(id, &Command::Drop).await;
        }
        let address = match self.open(&asked.profile.email).await? {
            Some(email) => email.expose_text().and_then(Address::parse),
            None => None,
        };
        let Some(address) = address else {
            return self.settle(id, &Command::Drop).await;
        };
        if !self.reserve(id, asked.account, &address).await? {
            return self.settle(id, &Command::Drop).await;
        }
        self.make(id, asked, &address).await?;
        self.settle(id, &Command::Proceed).await
    }

    /// Gives up the account that a registration named: it has a key ring since that was written down, and is erased like
    /// one that nobody confirmed. At the same time as such a one, so that a repeat of the request tells nothing.
    async fn abandon(
        &self,
        registration: RegistrationId,
        account: AccountId,
    ) -> Result<(), Failure> {
        let abandon = AccountCommand::Abandon { registration };
        match self.of_account(account, &abandon).await {
            // It is in use, or purged: there is nothing to abandon.
            Err(failure) if matches!(failure.kind(), Kind::Rejected | Kind::NotFound) => Ok(()),
            other => other,
        }
    }

    async fn settle(&self, id: RegistrationId, command: &Command) -> Result<(), Failure> {
        let now = self.now();
        let call = self.own_call("registration/settle", &[id.as_bytes()]);
        self.engine
            .execute::<Registration, _>(&call, id, command, async move |_| Ok(now))
            .await?;
        Ok(())
    }

    /// Reserves the address for the account. Whoever has it already is told by mail.
    async fn reserve(
        &self,
        id: RegistrationId,
        account: AccountId,
        address: &Address,
    ) -> Result<bool, Failure> {
        let email = self.email_id(address);
        let record = self.load::<Email>(email).await?;
        let from = match record.state.account {
            None => None,
            Some(holder) if holder == account => return Ok(true),
            Some(holder) => {
                let young = self.now() < record.state.may_change_at();
                if !self.gives_up(id, holder, young).await? {
                    return Ok(false);
                }
                Some(holder)
            }
        };
        let now = self.now();
        let command = EmailCommand::Reserve { account, from };
        let reserved = self
            .engine
            .execute::<Email, _>(&self.fresh_call(), email, &command, async move |_| Ok(now))
            .await;
        match reserved {
            Ok(_) => Ok(true),
            // Another registration of the same address was faster.
            Err(hearth_engine::ExecuteError::Refused(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the account that holds the address gives way to a new registration; one that is in use is told of it.
    async fn gives_up(
        &self,
        id: RegistrationId,
        holder: AccountId,
        young: bool,
    ) -> Result<bool, Failure> {
        let loaded = self.load::<Account>(holder).await?;
        if loaded.gone {
            return Ok(true);
        }
        match loaded.state.status {
            Status::Lapsed => Ok(true),
            Status::Closed(_) | Status::Departed(_) => Ok(false),
            Status::Absent | Status::Unverified if young => Ok(false),
            Status::Absent => Ok(true),
            Status::Unverified => {
                let lapse = AccountCommand::Lapse { replaced: true };
                match self.of_account(holder, &lapse).await {
                    Ok(()) => Ok(true),
                    // She confirmed it meanwhile.
                    Err(failure) if failure.kind() == Kind::Rejected => Ok(false),
                    Err(failure) => Err(failure),
                }
            }
            Status::Active | Status::Closing(_) => {
                self.tell_known(id, &loaded).await?;
                Ok(false)
            }
        }
    }

    async fn tell_known(
        &self,
        id: RegistrationId,
        holder: &Loaded<Account>,
    ) -> Result<(), Failure> {
        // To the address as she proved it, not as somebody else spelt it: that may be another mailbox.
        let recipient = self.recipient(&holder.state).await?;
        let mail = self.known_address_mail(id, &recipient, self.now());
        let command = AccountCommand::RequestMail(mail);
        self.of_account(holder.state.account, &command).await
    }

    /// Makes the account with its password. The mail is asked for in the commit that registers it.
    async fn make(
        &self,
        id: RegistrationId,
        asked: &Asked,
        address: &Address,
    ) -> Result<(), Failure> {
        let account = asked.account;
        let text = async |part: &Part| self.open(part).await?.ok_or_else(not_verified);
        if self
            .load::<Credentials>(account)
            .await?
            .state
            .password
            .is_none()
        {
            let password = text(&asked.password).await?;
            let command = CredentialsCommand::SetPassword {
                account,
                password: Part::Clear(password),
            };
            self.of_credentials(account, &command).await?;
        }
        let locale = text(&asked.profile.locale).await?;
        let recipient = Recipient {
            to: address.typed.clone(),
            locale: locale.expose_text().unwrap_or_default().to_owned(),
        };
        let expires_at = self.now().plus(REGISTRATION_LIVES);
        let command = AccountCommand::Register {
            registration: id,
            address_key: AddressKey(self.email_id(address).into_bytes()),
            profile: Box::new(Profile {
                email: Part::clear(&address.typed),
                username: Part::Clear(text(&asked.profile.username).await?),
                locale: Part::Clear(locale),
            }),
            mail: self.verification_mail(id, &recipient, expires_at),
        };
        let call = self.own_call("account/register", &[id.as_bytes()]);
        let facts = self.account_facts(account);
        self.engine
            .execute::<Account, _>(&call, account, &command, async move |_| Ok(facts))
            .await?;
        Ok(())
    }

    /// Proves the address and signs in.
    pub(crate) async fn verify(
        &self,
        request: &Request,
        proof: Proof,
    ) -> Result<SignedIn, Failure> {
        // One guess at a time: codes that are tried at once would all be compared before the first is counted.
        let turn = usize::from(proof.registration.as_bytes()[15]) % self.guesses.len();
        let turn = self.guesses[turn].lock().await;
        let registration = self.load::<Registration>(proof.registration).await?;
        let secret_hash = digest(&SHA256, proof.client_secret.expose());
        let is_client = |hash: &[u8; 32]| bool::from(secret_hash.as_ref().ct_eq(hash));
        let (account, client) = match &registration.state.stage {
            Stage::Requested(asked) if is_client(&asked.client_secret_hash) => {
                return Err(Failure::new(Reason::TEMPORARILY_UNAVAILABLE).retry_after(SOON));
            }
            Stage::Pending {
                account,
                client_secret_hash,
            } if is_client(client_secret_hash) => (*account, *client_secret_hash),
            _ => return Err(not_verified()),
        };
        let over = registration.state.tries >= REGISTRATION_TRIES
            || self.now() >= registration.state.lapses_at();
        let code = self.secrets.verification_code(proof.registration);
        if over || !secrets::same(&code, &proof.code) {
            return Err(self.wrong_code(proof.registration, over).await);
        }
        drop(turn);
        self.confirm(request, account, &client, &proof).await
    }

    async fn wrong_code(&self, id: RegistrationId, over: bool) -> Failure {
        if over {
            return not_verified();
        }
        let now = self.now();
        let call = self.fresh_call();
        let command = Command::CountWrongCode;
        let counted = self
            .engine
            .execute::<Registration, _>(&call, id, &command, async move |_| Ok(now))
            .await;
        counted.map_or_else(Failure::from, |_| not_verified())
    }

    async fn confirm(
        &self,
        request: &Request,
        account: AccountId,
        client: &[u8; 32],
        proof: &Proof,
    ) -> Result<SignedIn, Failure> {
        let content: [&[u8]; 2] = [proof.registration.as_bytes(), proof.device_label.as_bytes()];
        let call = self.call(request, client, Actor::Account(account), &content);
        let session: SessionId = self
            .engine
            .hasher()
            .id("session", &[call.commit.as_bytes()])
            .into();
        let loaded = self.load::<Account>(account).await?;
        let recipient = self.recipient(&loaded.state).await?;
        // The address is hers when the reservation names her account and her log confirms it.
        let reserved = self
            .load::<Email>(Uuid::from_bytes(loaded.state.address_key.0))
            .await?;
        if reserved.state.account != Some(account) {
            return Err(not_verified());
        }
        let command = AccountCommand::Verify {
            address: recipient.address(),
            session,
            label: Part::clear(&proof.device_label),
        };
        let opening = Opening {
            account,
            session,
            command: &command,
        };
        self.open_session(&call, opening).await
    }

    /// To whom an account's mail goes.
    pub(crate) async fn recipient(&self, state: &account::State) -> Result<Recipient, Failure> {
        let profile = state.profile.as_ref();
        let profile = profile.ok_or_else(|| Failure::new(Reason::NOT_FOUND))?;
        Ok(Recipient {
            to: self.open_text(&profile.email).await?,
            locale: self.open_text(&profile.locale).await?,
        })
    }

    /// The day of a registration is over: what nobody confirmed lapses, and its record goes.
    pub(crate) async fn lapse(&self, id: RegistrationId) -> Result<(), Failure> {
        let registration: Arc<Loaded<Registration>> = self.load(id).await?;
        match &registration.state.stage {
            Stage::Pending { account, .. } => {
                let lapse = AccountCommand::Lapse { replaced: false };
                match self.of_account(*account, &lapse).await {
                    // Confirmed in time.
                    Err(failure) if failure.kind() == Kind::Rejected => {}
                    // Purged.
                    Err(failure) if failure.kind() == Kind::NotFound => {}
                    other => other?,
                }
            }
            // Nobody could go on with it in all that time.
            Stage::Requested(asked) => self.abandon(id, asked.account).await?,
            Stage::Dropped {
                account: Some(account),
            } => self.abandon(id, *account).await?,
            Stage::Absent | Stage::Dropped { account: None } => {}
        }
        self.remove::<Registration>(id).await?;
        Ok(())
    }

    /// An account lapsed: its address and its password go. A newer account may hold the address by now.
    pub(crate) async fn clear_lapsed(&self, account: AccountId) -> Result<(), Failure> {
        let loaded = self.load::<Account>(account).await?;
        self.release_email(account, &loaded.state.address_key)
            .await?;
        self.remove::<Credentials>(account).await?;
        Ok(())
    }

    /// Removes the reservation of an address if it names this account.
    pub(crate) async fn release_email(
        &self,
        account: AccountId,
        address: &AddressKey,
    ) -> Result<bool, Failure> {
        let id = Uuid::from_bytes(address.0);
        let record = self.load::<Email>(id).await?;
        if record.state.account != Some(account) {
            return Ok(false);
        }
        if let Some(position) = record.position {
            // A conflict means that another account has it now.
            self.engine.remove::<Email>(id, position).await?;
        }
        Ok(true)
    }
}
