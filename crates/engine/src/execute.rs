//! Load, fold, decide, append: one command on one aggregate, atomically and once.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_kernel::{CommitId, Failure, Part, Parts, Reason, Sealed, Service, Timestamp};
use hearth_ports::{
    Binding, Clock, Documents, Expected, Log, Message, Position, Read, Sealing, StoreError,
};
use moka::sync::Cache;
use prost::Message as _;
use uuid::Uuid;

use crate::aggregate::{Aggregate, Stored};
use crate::call::{Call, Outcome};
use crate::envelope::{Commit, CommitKind, Remembered};
use crate::error::ExecuteError;
use crate::hashing::{Hasher, link, random_below};
use crate::loaded::{Loaded, decode_events, encode_event, forget, origin};
use crate::snapshot;

/// How often a conflict is tried again before the caller hears ABORTED (DESIGN section 3).
const TRIES: u32 = 8;
/// The base of the full-jitter backoff between tries.
const BACKOFF_BASE: Duration = Duration::from_micros(200);
/// The longest wait between tries.
const BACKOFF_MOST: Duration = Duration::from_millis(50);
/// How often an append whose outcome is unknown is looked up and repeated.
const SETTLE_TRIES: u32 = 3;
/// Messages per page of a load.
const PAGE: usize = 256;

/// What an engine runs on.
pub struct EngineOptions {
    /// The service whose aggregates it runs.
    pub service: Service,
    /// The log.
    pub log: Arc<dyn Log>,
    /// Where snapshots lie.
    pub documents: Arc<dyn Documents>,
    /// The service's own sealing handle.
    pub sealing: Arc<dyn Sealing>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The service's hash key.
    pub hasher: Hasher,
    /// How many aggregates are kept in memory.
    pub cache: u64,
}

type Key = (&'static str, Uuid);

/// Runs the commands of one service. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) options: EngineOptions,
    cache: Cache<Key, Arc<dyn Any + Send + Sync>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({})", self.inner.options.service)
    }
}

impl Engine {
    /// An engine.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        let cache = Cache::new(options.cache);
        Self {
            inner: Arc::new(Inner { options, cache }),
        }
    }

    /// The service whose aggregates it runs.
    #[must_use]
    pub fn service(&self) -> Service {
        self.inner.options.service
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.inner.options.log
    }

    /// The documents.
    #[must_use]
    pub fn documents(&self) -> &Arc<dyn Documents> {
        &self.inner.options.documents
    }

    /// The service's sealing handle.
    #[must_use]
    pub fn sealing(&self) -> &Arc<dyn Sealing> {
        &self.inner.options.sealing
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.options.clock
    }

    /// The service's hasher.
    #[must_use]
    pub fn hasher(&self) -> &Hasher {
        &self.inner.options.hasher
    }

    /// Now, by the engine's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }

    /// The aggregate as the log has it: everything acked before this call is in it when `read` is `Leader`.
    ///
    /// # Errors
    /// When the log does not answer or what it holds cannot be read. An aggregate without a log is no error.
    pub async fn load<A: Aggregate>(
        &self,
        id: impl Into<Uuid>,
        read: Read,
    ) -> Result<Arc<Loaded<A>>, ExecuteError> {
        let id = id.into();
        let mut loaded = match self.cached::<A>(id) {
            Some(cached) => Arc::unwrap_or_clone(cached),
            None if A::STORED == Stored::History => snapshot::load(&**self.documents(), id)
                .await
                .unwrap_or_else(|| Loaded::nothing(id)),
            None => Loaded::nothing(id),
        };
        let known = loaded.position;
        self.catch_up(&mut loaded, read).await?;
        let loaded = Arc::new(loaded);
        if loaded.position != known || self.cached::<A>(id).is_none() {
            self.keep(Arc::clone(&loaded));
        }
        Ok(loaded)
    }

    async fn catch_up<A: Aggregate>(
        &self,
        loaded: &mut Loaded<A>,
        read: Read,
    ) -> Result<(), ExecuteError> {
        let subject = A::subject(loaded.id);
        if A::STORED == Stored::Record {
            // A record's message replaces the one before; and it may have been removed for good.
            match self.log().last(&subject, read).await? {
                Some(message) if Some(message.position) == loaded.position => {}
                Some(message) => {
                    *loaded = Loaded::nothing(loaded.id);
                    loaded.apply(&message)?;
                }
                None => *loaded = Loaded::nothing(loaded.id),
            }
            return Ok(());
        }
        loop {
            let page = self
                .log()
                .load(&subject, loaded.position, PAGE, read)
                .await?;
            let full = page.len() == PAGE;
            for message in &page {
                loaded.apply(message)?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    fn cached<A: Aggregate>(&self, id: Uuid) -> Option<Arc<Loaded<A>>> {
        self.inner.cache.get(&(A::KIND, id))?.downcast().ok()
    }

    pub(crate) fn keep<A: Aggregate>(&self, loaded: Arc<Loaded<A>>) {
        self.inner.cache.insert((A::KIND, loaded.id), loaded);
    }

    pub(crate) fn drop_cached<A: Aggregate>(&self, id: Uuid) {
        self.inner.cache.invalidate(&(A::KIND, id));
    }

    /// Drops every cached aggregate. What was cached is loaded again: for tests and after a lost connection.
    pub fn drop_cache(&self) {
        self.inner.cache.invalidate_all();
    }

    /// Carries out one command. `facts` is asked for what the outside knows each time a decision is taken;
    /// it sees the state and may open its parts.
    ///
    /// The same call twice gives the same outcome once; another request under a used id is refused.
    ///
    /// # Errors
    /// `Refused` with the rejection or the facts' failure; otherwise what went wrong beneath.
    pub async fn execute<A, F>(
        &self,
        call: &Call,
        id: impl Into<Uuid>,
        command: &A::Command,
        facts: F,
    ) -> Result<Outcome<A>, ExecuteError>
    where
        A: Aggregate,
        F: AsyncFn(&A::State) -> Result<A::Facts, Failure>,
    {
        self.run(call, id.into(), command, &Asked(facts)).await
    }

    /// Carries out one command whose facts do not depend on the state. See [`Engine::execute`].
    ///
    /// # Errors
    /// As [`Engine::execute`].
    pub async fn execute_with<A>(
        &self,
        call: &Call,
        id: impl Into<Uuid>,
        command: &A::Command,
        facts: A::Facts,
    ) -> Result<Outcome<A>, ExecuteError>
    where
        A: Aggregate,
        A::Facts: Clone,
    {
        self.run(call, id.into(), command, &Known(facts)).await
    }

    async fn run<A: Aggregate>(
        &self,
        call: &Call,
        id: Uuid,
        command: &A::Command,
        facts: &impl Gather<A>,
    ) -> Result<Outcome<A>, ExecuteError> {
        let mut fresh = false;
        let mut tries = 0;
        loop {
            let loaded = match self.cached::<A>(id) {
                Some(cached) if !fresh => cached,
                _ => {
                    fresh = true;
                    self.load::<A>(id, Read::Leader).await?
                }
            };
            match self.attempt(call, &loaded, command, facts).await {
                // A decision that appends nothing and came from a cache is taken again on a leader read.
                Ok(Step::Nothing(_)) | Err(ExecuteError::Refused(_)) if !fresh => fresh = true,
                Ok(Step::Nothing(outcome) | Step::Appended(outcome)) => return Ok(outcome),
                Ok(Step::Conflict) => {
                    tries += 1;
                    fresh = true;
                    if tries >= TRIES {
                        return Err(StoreError::Conflict.into());
                    }
                    tokio::time::sleep(backoff(tries)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn attempt<A: Aggregate>(
        &self,
        call: &Call,
        loaded: &Arc<Loaded<A>>,
        command: &A::Command,
        facts: &impl Gather<A>,
    ) -> Result<Step<A>, ExecuteError> {
        if loaded.gone {
            return Err(Failure::new(Reason::ERASED).into());
        }
        if let Some(remembered) = loaded.remembers(call.commit) {
            let (position, version) = (loaded.position, remembered.version);
            if remembered.fingerprint.as_ref() != call.fingerprint {
                return Err(Failure::new(Reason::REQUEST_ID_REUSED).into());
            }
            let events = self.events_of::<A>(loaded.id, call.commit).await?;
            return Ok(Step::Nothing(Outcome {
                state: Arc::clone(&loaded.state),
                events,
                commit: call.commit,
                position,
                version,
                repeated: true,
            }));
        }
        if A::is_closed(&loaded.state) {
            return Err(Failure::new(Reason::ERASED).into());
        }
        let facts = facts.gather(&loaded.state).await?;
        let events =
            A::decide(&loaded.state, command, &facts).map_err(|rejection| rejection.into())?;
        if events.is_empty() {
            return Ok(Step::Nothing(Outcome {
                state: Arc::clone(&loaded.state),
                events,
                commit: call.commit,
                position: loaded.position,
                version: loaded.version,
                repeated: false,
            }));
        }
        self.append(call, loaded, events).await
    }

    async fn append<A: Aggregate>(
        &self,
        call: &Call,
        loaded: &Loaded<A>,
        mut events: Vec<A::Event>,
    ) -> Result<Step<A>, ExecuteError> {
        self.seal_parts::<A>(loaded, &mut events).await?;
        let mut next = loaded.clone();
        let now = self.now();
        for event in &events {
            let state = Arc::unwrap_or_clone(std::mem::take(&mut next.state));
            next.state = Arc::new(A::evolve(state, event));
        }
        A::invariant(&next.state).map_err(ExecuteError::Broken)?;
        next.version += 1;
        next.events += u64::try_from(events.len()).unwrap_or(u64::MAX);
        next.remembered.push_back(Remembered {
            commit: Bytes::copy_from_slice(call.commit.as_bytes()),
            fingerprint: Bytes::copy_from_slice(&call.fingerprint),
            version: next.version,
            decided_at: now.micros(),
        });
        forget(&mut next.remembered, A::REMEMBER, now);
        let bytes =
            Bytes::from(commit::<A>(call, loaded, &next, &mut events, now)?.encode_to_vec());
        let Some(position) = self.settle::<A>(call.commit, loaded, &bytes).await? else {
            return Ok(Step::Conflict);
        };
        next.position = Some(position);
        next.link = Some(link(&bytes));
        let next = Arc::new(next);
        self.keep(Arc::clone(&next));
        if A::STORED == Stored::History && next.version.is_multiple_of(snapshot::EVERY) {
            snapshot::save(&**self.documents(), &next).await;
        }
        Ok(Step::Appended(Outcome {
            state: Arc::clone(&next.state),
            events,
            commit: call.commit,
            position: Some(position),
            version: next.version,
            repeated: false,
        }))
    }

    /// Seals what `decide` left clear, each part under the key that its event names.
    async fn seal_parts<A: Aggregate>(
        &self,
        loaded: &Loaded<A>,
        events: &mut [A::Event],
    ) -> Result<(), ExecuteError> {
        for (event_index, event) in events.iter_mut().enumerate() {
            for (part_index, slot) in event.parts().into_iter().enumerate() {
                let Part::Clear(clear) = &*slot.part else {
                    continue;
                };
                let origin = origin::<A>(loaded.id, loaded.version + 1, (event_index, part_index))?;
                let binding = Binding::Event(origin.clone());
                let sealing = self.sealing();
                let sealed = sealing
                    .seal(slot.owner, slot.purpose, &binding, clear.expose())
                    .await?;
                *slot.part = Part::Sealed(Sealed {
                    owner: slot.owner,
                    purpose: slot.purpose,
                    origin,
                    bytes: sealed.as_ref().into(),
                });
            }
        }
        Ok(())
    }

    /// Appends, and finds out what happened when the log cannot say. `None` is a conflict.
    async fn settle<A: Aggregate>(
        &self,
        commit: CommitId,
        loaded: &Loaded<A>,
        bytes: &Bytes,
    ) -> Result<Option<Position>, ExecuteError> {
        let subject = A::subject(loaded.id);
        let expected = Expected::Subject(loaded.position);
        let mut tries = 0;
        loop {
            match self.log().append(&subject, expected, bytes.clone()).await {
                Ok(position) => return Ok(Some(position)),
                Err(StoreError::Conflict) if tries == 0 => return Ok(None),
                Err(error @ (StoreError::Unknown(_) | StoreError::Conflict)) => {
                    let last = self.own_commit::<A>(loaded, commit).await;
                    match last {
                        Ok(Some(position)) => return Ok(Some(position)),
                        // Somebody else's commit stands there: ours is not in, and never will be.
                        Ok(None) if matches!(error, StoreError::Conflict) => return Ok(None),
                        Ok(None) if tries < SETTLE_TRIES => {}
                        Ok(None) => return Err(error.into()),
                        Err(_) if tries < SETTLE_TRIES => {}
                        Err(_) => return Err(StoreError::unknown("not settled").into()),
                    }
                }
                // An earlier try may have been written: this one's certainty does not cover it.
                Err(StoreError::Retryable(_)) if (1..SETTLE_TRIES).contains(&tries) => {}
                Err(_) if tries > 0 => return Err(StoreError::unknown("not settled").into()),
                Err(error) => return Err(error.into()),
            }
            tries += 1;
            tokio::time::sleep(backoff(tries + 2)).await;
        }
    }

    /// The position of our own commit after the loaded position, by a leader read.
    async fn own_commit<A: Aggregate>(
        &self,
        loaded: &Loaded<A>,
        commit: CommitId,
    ) -> Result<Option<Position>, StoreError> {
        let subject = A::subject(loaded.id);
        let after = self
            .log()
            .load(&subject, loaded.position, PAGE, Read::Leader)
            .await?;
        let own = |message: &&Message| {
            Commit::read(&message.bytes).is_ok_and(|read| read.commit_id() == Some(commit))
        };
        Ok(after.iter().find(own).map(|message| message.position))
    }

    /// The events of an earlier commit of an aggregate, when the log still holds it.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub async fn events_of<A: Aggregate>(
        &self,
        id: Uuid,
        commit: CommitId,
    ) -> Result<Vec<A::Event>, ExecuteError> {
        let subject = A::subject(id);
        let mut after = None;
        loop {
            let page = self.log().load(&subject, after, PAGE, Read::Leader).await?;
            for message in &page {
                let read = Commit::read(&message.bytes)?;
                if read.commit_id() == Some(commit) {
                    return Ok(decode_events::<A>(id, &read)?);
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.position),
                _ => return Ok(Vec::new()),
            }
        }
    }
}

/// Where a decision's facts come from.
trait Gather<A: Aggregate> {
    fn gather(&self, state: &A::State) -> impl Future<Output = Result<A::Facts, Failure>>;
}

/// Facts that are asked for when the state is known.
struct Asked<F>(F);

impl<A, F> Gather<A> for Asked<F>
where
    A: Aggregate,
    F: AsyncFn(&A::State) -> Result<A::Facts, Failure>,
{
    async fn gather(&self, state: &A::State) -> Result<A::Facts, Failure> {
        (self.0)(state).await
    }
}

/// Facts that were known before. Apart from [`Asked`], because the compiler cannot tell that the future of
/// an asynchronous closure is `Send` wherever handlers need it to be.
struct Known<T>(T);

impl<A> Gather<A> for Known<A::Facts>
where
    A: Aggregate,
    A::Facts: Clone,
{
    fn gather(&self, _: &A::State) -> impl Future<Output = Result<A::Facts, Failure>> {
        std::future::ready(Ok(self.0.clone()))
    }
}

/// What one attempt came to.
enum Step<A: Aggregate> {
    /// Nothing to append: already so, or already done.
    Nothing(Outcome<A>),
    Appended(Outcome<A>),
    Conflict,
}

/// The commit's stored form.
fn commit<A: Aggregate>(
    call: &Call,
    before: &Loaded<A>,
    after: &Loaded<A>,
    events: &mut [A::Event],
    now: Timestamp,
) -> Result<Commit, ExecuteError> {
    let stored = events
        .iter_mut()
        .map(encode_event::<A>)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Commit {
        id: Bytes::copy_from_slice(call.commit.as_bytes()),
        service: u32::from(A::SERVICE.number()),
        kind: A::KIND.to_owned(),
        aggregate: Bytes::copy_from_slice(before.id.as_bytes()),
        version: after.version,
        base: before.events,
        what: CommitKind::Decision.into(),
        decided_at: now.micros(),
        events: stored,
        state: (A::STORED == Stored::Record).then(|| after.stored_state()),
        actor: Bytes::copy_from_slice(&call.actor.to_bytes()),
        causation: call
            .causation
            .map(|id| Bytes::copy_from_slice(id.as_bytes()))
            .unwrap_or_default(),
        fingerprint: Bytes::copy_from_slice(&call.fingerprint),
        previous: before
            .link
            .map(|hash| Bytes::copy_from_slice(&hash))
            .unwrap_or_default(),
        trace: call.trace.clone(),
    })
}

/// Full jitter (AWS Architecture Blog, 2015): a random wait below a bound that doubles.
fn backoff(tries: u32) -> Duration {
    let bound = BACKOFF_BASE
        .saturating_mul(1 << tries.min(10))
        .min(BACKOFF_MOST);
    Duration::from_micros(random_below(
        u64::try_from(bound.as_micros()).unwrap_or(u64::MAX),
    ))
}
