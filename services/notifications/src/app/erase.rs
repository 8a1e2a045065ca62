//! The stores of personal data of notifications, and what erases somebody from each. Erasing again is harmless.

use std::sync::Arc;

use async_trait::async_trait;
use hearth_engine::erasure::{Order, residual};
use hearth_engine::{ConsumeError, Engine, Erased, Eraser, Timer, Timers};
use hearth_kernel::Owner;
use hearth_ports::Read;
use uuid::Uuid;

use super::dispatch::Task;
use super::inbox::Inbox;
use super::owned::{Kind, Owned};
use super::runner::Runner;
use crate::aggregates::{Notice, Preferences, Rules};

/// The names of the stores, in the order in which they are erased.
pub(crate) const STORES: &[&str] = &[
    "notifications.notices",
    "notifications.mails",
    "notifications.inbox",
    "notifications.preferences",
    "notifications.episodes",
    "notifications.watches",
    "notifications.rules",
];

#[derive(Clone, Copy)]
enum Store {
    Owned(Kind),
    Inbox,
    Preferences,
    Watches,
    Rules,
}

/// What the erasers ask.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) engine: Engine,
    pub(crate) owned: Owned,
    pub(crate) timers: Timers,
    pub(crate) inbox: Inbox,
    pub(crate) runner: Arc<Runner>,
}

struct StoreEraser {
    stores: Stores,
    store: Store,
}

/// An eraser for each store.
pub(crate) fn all(stores: &Stores) -> Vec<Arc<dyn Eraser>> {
    let list = [
        Store::Owned(Kind::Notice),
        Store::Owned(Kind::Mail),
        Store::Inbox,
        Store::Preferences,
        Store::Owned(Kind::Episode),
        Store::Watches,
        Store::Rules,
    ];
    let eraser = |store| {
        let stores = stores.clone();
        Arc::new(StoreEraser { stores, store }) as Arc<dyn Eraser>
    };
    list.map(eraser).into()
}

#[async_trait]
impl Eraser for StoreEraser {
    fn store(&self) -> &'static str {
        match self.store {
            Store::Owned(Kind::Notice) => "notifications.notices",
            Store::Owned(Kind::Mail) => "notifications.mails",
            Store::Owned(Kind::Episode) => "notifications.episodes",
            Store::Inbox => "notifications.inbox",
            Store::Preferences => "notifications.preferences",
            Store::Watches => "notifications.watches",
            Store::Rules => "notifications.rules",
        }
    }

    async fn erase(&self, order: &Order) -> Result<Erased, ConsumeError> {
        let mut removed = 0;
        for owner in &order.owners {
            removed += self.of(*owner).await?;
        }
        let erased = Erased::items(removed);
        Ok(match self.store {
            Store::Inbox | Store::Watches => erased,
            _ => erased.leaving(residual::TOMBSTONES, None),
        })
    }
}

impl StoreEraser {
    async fn of(&self, owner: Owner) -> Result<u64, ConsumeError> {
        let stores = &self.stores;
        Ok(match (self.store, owner) {
            (Store::Owned(kind), owner) => self.owned(kind, owner).await?,
            (Store::Inbox, Owner::Account(account)) => stores.inbox.erase(account).await?,
            (Store::Preferences, Owner::Account(account)) => {
                stores.engine.purge::<Preferences>(account).await?
            }
            (Store::Watches, Owner::Home(home)) => stores.runner.forget(home).await?,
            (Store::Rules, Owner::Home(home)) => stores.engine.purge::<Rules>(home).await?,
            _ => 0,
        })
    }

    async fn owned(&self, kind: Kind, owner: Owner) -> Result<u64, ConsumeError> {
        let mut removed = 0;
        loop {
            let page = self.stores.owned.page(owner, kind).await?;
            if page.is_empty() {
                // They would bring the owner's id back into the index when they fire.
                let hers = |task: &[u8]| Task::names(task, owner);
                self.stores.timers.forget(hers).await?;
                return Ok(removed);
            }
            for id in page {
                removed += match (kind, owner) {
                    (Kind::Notice, Owner::Home(_)) => self.end_notice(id).await?,
                    _ => kind.purge(&self.stores.engine, id).await?,
                };
                self.stores.owned.forget(owner, kind, id).await?;
            }
        }
    }

    /// Has a notice about a home that ends be forgotten now, in the order in which old ones are: its rows go first.
    /// Nothing to do where its person is erased too.
    async fn end_notice(&self, id: Uuid) -> Result<u64, ConsumeError> {
        let engine = &self.stores.engine;
        let notice = engine.load::<Notice>(id, Read::Leader).await?;
        let (Some(at), Some(made)) = (notice.position, &notice.state.made) else {
            return Ok(0);
        };
        let task = Task::End(Kind::Notice, id, Owner::Account(made.place.account)).encode();
        let timer = Timer {
            due: engine.now(),
            id: engine.hasher().id("timer/home", &[&task]),
            task,
        };
        self.stores.timers.set(at, &timer).await?;
        Ok(1)
    }
}
