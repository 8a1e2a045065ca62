//! The stores of personal data of accounts, and what erases somebody from each.
//!
//! The account's own log goes last: it is what the others are found by.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_engine::erasure::{Order, residual};
use hearth_engine::{ConsumeError, Erased, Eraser};
use hearth_kernel::{AccountId, Failure, HomeId, MembershipId, Owner};

use crate::aggregates::{Account, Credentials, Home, Membership, Registration, SessionFamily};
use crate::app::App;

/// The names of the stores, in the order in which they are erased.
pub(crate) const STORES: &[&str] = &[
    "accounts.credentials",
    "accounts.sessions",
    "accounts.memberships",
    "accounts.registrations",
    "accounts.emails",
    "accounts.homes",
    "accounts.accounts",
];

/// How long events stay published.
const EVENTS_STAY: Duration = Duration::from_secs(30 * 86_400);

#[derive(Clone, Copy)]
enum Store {
    Credentials,
    Sessions,
    Memberships,
    Registrations,
    Emails,
    Homes,
    Accounts,
}

struct StoreEraser {
    app: App,
    store: Store,
}

/// An eraser for each store.
pub(crate) fn all(app: &App) -> Vec<Arc<dyn Eraser>> {
    let stores = [
        Store::Credentials,
        Store::Sessions,
        Store::Memberships,
        Store::Registrations,
        Store::Emails,
        Store::Homes,
        Store::Accounts,
    ];
    let eraser = |store| {
        let app = app.clone();
        Arc::new(StoreEraser { app, store }) as Arc<dyn Eraser>
    };
    stores.map(eraser).into()
}

#[async_trait]
impl Eraser for StoreEraser {
    fn store(&self) -> &'static str {
        match self.store {
            Store::Credentials => "accounts.credentials",
            Store::Sessions => "accounts.sessions",
            Store::Memberships => "accounts.memberships",
            Store::Registrations => "accounts.registrations",
            Store::Emails => "accounts.emails",
            Store::Homes => "accounts.homes",
            Store::Accounts => "accounts.accounts",
        }
    }

    async fn erase(&self, order: &Order) -> Result<Erased, ConsumeError> {
        let mut removed = 0;
        for owner in &order.owners {
            removed += match owner {
                Owner::Account(account) => self.of_account(*account).await?,
                Owner::Home(home) => self.of_home(*home).await?,
                Owner::Service(_) => 0,
            };
        }
        if let Store::Memberships = self.store {
            for membership in &order.memberships {
                removed += self.record::<Membership>(*membership).await?;
            }
        }
        let erased = Erased::items(removed);
        Ok(match self.store {
            Store::Homes | Store::Accounts => {
                let events_end = self.app.now().plus(EVENTS_STAY);
                erased
                    .leaving(residual::TOMBSTONES, None)
                    .leaving(residual::INT_EVENTS, Some(events_end))
            }
            _ => erased,
        })
    }
}

impl StoreEraser {
    async fn record<A: hearth_engine::Aggregate>(
        &self,
        id: impl Into<uuid::Uuid>,
    ) -> Result<u64, Failure> {
        Ok(u64::from(self.app.remove::<A>(id).await?))
    }

    async fn of_account(&self, account: AccountId) -> Result<u64, ConsumeError> {
        let state = Arc::clone(&self.app.load::<Account>(account).await?.state);
        let mut removed = 0;
        match self.store {
            Store::Credentials => removed += self.record::<Credentials>(account).await?,
            Store::Sessions => {
                for session in state.sessions.keys().chain(state.revoked.keys()) {
                    removed += self.record::<SessionFamily>(*session).await?;
                }
            }
            Store::Memberships => {
                let homes = state.homes.values().map(|it| it.membership);
                let joining = state.joining.values().map(|it| it.membership);
                let left = state.left.iter().copied();
                let all: Vec<MembershipId> = homes.chain(joining).chain(left).collect();
                for membership in all {
                    removed += self.record::<Membership>(membership).await?;
                }
            }
            Store::Registrations => {
                removed += self.record::<Registration>(state.registration).await?;
            }
            Store::Emails => {
                let held = self.app.release_email(account, &state.address_key).await?;
                removed += u64::from(held);
            }
            Store::Accounts => removed += self.app.engine.purge::<Account>(account).await?,
            Store::Homes => {}
        }
        Ok(removed)
    }

    async fn of_home(&self, home: HomeId) -> Result<u64, ConsumeError> {
        match self.store {
            Store::Homes => Ok(self.app.engine.purge::<Home>(home).await?),
            // What is left of its members' records goes with it.
            Store::Memberships => {
                let state = Arc::clone(&self.app.load::<Home>(home).await?.state);
                let mut removed = 0;
                for membership in state.members.keys() {
                    removed += self.record::<Membership>(*membership).await?;
                }
                Ok(removed)
            }
            _ => Ok(0),
        }
    }
}
