//! Pairing hubs with homes. The pairing's record is taken first, so a code works once; then the hub's, so that it has one
//! claim; then the claim is made, and the one before it ended. A repeated request goes on where a crash cut it off.

use bytes::Bytes;
use hearth_engine::{Actor, Call, ConsumeError, ExecuteError, Fire, Outcome, Timer};
use hearth_ingest_domain::claim::{self, Made};
use hearth_ingest_domain::hub::{self, Current};
use hearth_ingest_domain::pairing::{self, Asked, CODE_LENGTH, CODE_PERIOD, Taken};
use hearth_kernel::{
    AccountId, ClaimId, Failure, HomeId, HubId, MembershipId, PairingId, Part, Reason, Timestamp,
};
use hearth_ports::{Position, Read};

use super::{App, Request};
use crate::aggregates::{Claim, Hub, Pairing};
use crate::proof;
use crate::views::{MOST_CLAIMS, claims_of, claims_of_hub};

/// How far the clock of a hub that signs may be off.
const CLOCKS: std::time::Duration = std::time::Duration::from_secs(300);
/// How long the record of a pairing stays.
const RECORD_PERIOD: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// A hub's wish to be paired.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) request: Request,
    pub(crate) public_key: [u8; 32],
    pub(crate) model: String,
    pub(crate) signed_at: Timestamp,
    pub(crate) signature: Bytes,
}

/// A pairing that waits for a person.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) pairing: PairingId,
    pub(crate) hub: HubId,
    pub(crate) code: String,
    pub(crate) expires_at: Timestamp,
}

/// Where a pairing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Waiting,
    Claimed(ClaimId),
    Expired,
    Revoked,
}

/// A hub as a home's list shows it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) made: Made,
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) last_seen_at: Option<Timestamp>,
}

/// A hub whose record names a claim that is not made yet.
#[derive(Debug)]
pub(crate) struct TakenHub {
    call: Call,
    asked: Asked,
    current: Current,
    former: Option<ClaimId>,
    now: Timestamp,
}

/// Who does something in a home.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By {
    pub(crate) account: AccountId,
    pub(crate) membership: MembershipId,
}

impl App {
    /// A hub asks to be paired.
    pub(crate) async fn begin_pairing(&self, wish: &Wish) -> Result<Waiting, Failure> {
        let now = self.core.engine.now();
        near(now, wish.signed_at)?;
        let micros = wish.signed_at.micros().to_be_bytes();
        let parts: [&[u8]; 6] = [
            proof::PAIRING_TAG.as_bytes(),
            self.core.audience.as_bytes(),
            wish.request.request_id.as_bytes(),
            &wish.public_key,
            wish.model.as_bytes(),
            &micros,
        ];
        if !proof::is_signed(&wish.public_key, &parts, &wish.signature) {
            return Err(Reason::HUB_NOT_PROVED.into());
        }
        let hub = proof::hub_of(&wish.public_key);
        let content: [&[u8]; 2] = [&wish.public_key, wish.model.as_bytes()];
        let call = self.call(&wish.request, hub.as_bytes(), Actor::Hub(hub), &content);
        let code = self.code(&call);
        let pairing = self.pairing_of(&code);
        let asked = Asked {
            hub,
            public_key: wish.public_key,
            model: wish.model.clone(),
            expires_at: now.plus(CODE_PERIOD),
        };
        let facts = pairing::Facts { now };
        let command = pairing::Command::Begin(asked.clone());
        let engine = &self.core.engine;
        let outcome = engine
            .execute::<Pairing, _>(&call, pairing, &command, async move |_| Ok(facts))
            .await?;
        let timer = Timer {
            due: now.plus(RECORD_PERIOD),
            id: pairing.into(),
            task: Bytes::from_static(b"pairing"),
        };
        let at = outcome.position.unwrap_or(Position::START);
        let set = self.timers.set(at, &timer).await;
        set.map_err(|error| hearth_engine::store_failure(&error))?;
        let asked = outcome.state.asked.clone().unwrap_or(asked);
        Ok(Waiting {
            pairing,
            hub,
            code,
            expires_at: asked.expires_at,
        })
    }

    /// The code of a request: the same one each time, and nobody's guess.
    fn code(&self, call: &Call) -> String {
        let hash = self
            .core
            .engine
            .hasher()
            .hash("pairing-code", &[call.commit.as_bytes()]);
        let mut random = [0; CODE_LENGTH * 2];
        random.copy_from_slice(&hash[..CODE_LENGTH * 2]);
        pairing::code_from(&random)
    }

    /// A pairing is found by its code, through a keyed hash: the code itself stands nowhere.
    fn pairing_of(&self, code: &str) -> PairingId {
        self.core
            .engine
            .hasher()
            .id("pairing", &[code.as_bytes()])
            .into()
    }

    /// Where a pairing stands, for the hub that began it.
    pub(crate) async fn pairing(
        &self,
        (pairing, text): (PairingId, &str),
        signed_at: Timestamp,
        signature: &[u8],
    ) -> Result<Stand, Failure> {
        let now = self.core.engine.now();
        near(now, signed_at)?;
        let engine = &self.core.engine;
        let loaded = engine
            .load::<Pairing>(pairing, Read::Leader)
            .await
            .map_err(Failure::from)?;
        let absent = || Failure::new(Reason::NOT_FOUND).about("pairing", pairing);
        let asked = loaded.state.asked.as_ref().ok_or_else(absent)?;
        let micros = signed_at.micros().to_be_bytes();
        let parts: [&[u8]; 4] = [
            proof::PAIRING_STATE_TAG.as_bytes(),
            self.core.audience.as_bytes(),
            text.as_bytes(),
            &micros,
        ];
        if !proof::is_signed(&asked.public_key, &parts, signature) {
            return Err(absent());
        }
        let Some(taken) = loaded.state.taken else {
            return Ok(if now < asked.expires_at {
                Stand::Waiting
            } else {
                Stand::Expired
            });
        };
        let claim = engine
            .load::<Claim>(taken.claim, Read::Leader)
            .await
            .map_err(Failure::from)?;
        Ok(match &*claim.state {
            claim::State::Absent if claim.gone => Stand::Revoked,
            claim::State::Absent => Stand::Waiting,
            claim::State::Active(_) => Stand::Claimed(taken.claim),
            claim::State::Ended(_) => Stand::Revoked,
        })
    }

    /// Takes the hub with that code into a home.
    pub(crate) async fn claim_hub(
        &self,
        request: &Request,
        by: By,
        home: HomeId,
        (code, name): (&str, &str),
    ) -> Result<(HubId, Outcome<Claim>), Failure> {
        let taken = self.take_hub(request, by, home, (code, name)).await?;
        self.make_claim(&taken, name).await
    }

    /// The first half: the code and the hub are the claim's, which is not made yet.
    pub(crate) async fn take_hub(
        &self,
        request: &Request,
        by: By,
        home: HomeId,
        (code, name): (&str, &str),
    ) -> Result<TakenHub, Failure> {
        let pairing = self.pairing_of(code);
        let content: [&[u8]; 3] = [home.as_bytes(), pairing.as_bytes(), name.as_bytes()];
        let actor = Actor::Member(by.membership);
        let call = self.call(request, by.account.as_bytes(), actor, &content);
        let claim: ClaimId = self
            .core
            .engine
            .hasher()
            .id("claim", &[call.commit.as_bytes()])
            .into();
        self.check_room(home, claim).await?;
        let now = self.core.engine.now();
        let engine = &self.core.engine;
        let take = pairing::Command::Take(Taken { home, claim });
        let facts = pairing::Facts { now };
        let paired = engine
            .execute::<Pairing, _>(&call, pairing, &take, async move |_| Ok(facts))
            .await?;
        let asked = paired
            .state
            .asked
            .clone()
            .ok_or(Reason::PAIRING_CODE_NOT_VALID)?;
        let current = Current { claim, home };
        let take = hub::Command::Take(current);
        let hub = engine
            .execute::<Hub, _>(
                &self.also(&call, "hub"),
                asked.hub,
                &take,
                async move |_| Ok(()),
            )
            .await?;
        let taken = TakenHub {
            call,
            asked,
            current,
            former: hub.state.former,
            now,
        };
        self.check_current(&taken, &hub.state).await?;
        Ok(taken)
    }

    /// The second half: makes the claim, and ends the one before it.
    pub(crate) async fn make_claim(
        &self,
        taken: &TakenHub,
        name: &str,
    ) -> Result<(HubId, Outcome<Claim>), Failure> {
        let Current { claim, home } = taken.current;
        let (call, asked, now) = (&taken.call, &taken.asked, taken.now);
        let made = Made {
            claim,
            hub: asked.hub,
            home,
            public_key: asked.public_key,
            name: Part::clear(name),
            model: Part::clear(&asked.model),
            claimed_at: now,
        };
        let make = claim::Command::Make(Box::new(made));
        let facts = claim::Facts { now };
        let engine = &self.core.engine;
        let outcome = engine
            .execute::<Claim, _>(&self.also(call, "make"), claim, &make, async move |_| {
                Ok(facts)
            })
            .await?;
        if let Some(former) = taken.former {
            self.end_claim(&self.also(call, "end"), former).await?;
        }
        // A pairing that came in between found no claim to end.
        let hub = engine.load::<Hub>(asked.hub, Read::Leader).await;
        let hub = hub.map_err(Failure::from)?;
        self.check_current(taken, &hub.state).await?;
        Ok((asked.hub, outcome))
    }

    /// Ends and refuses a claim that a later pairing has overtaken, or one that was cut off and is repeated only now.
    async fn check_current(&self, taken: &TakenHub, hub: &hub::State) -> Result<(), Failure> {
        if hub.current == Some(taken.current) {
            return Ok(());
        }
        let call = self.also(&taken.call, "overtaken");
        self.end_claim(&call, taken.current.claim).await?;
        Err(Reason::PAIRING_CODE_NOT_VALID.into())
    }

    async fn check_room(&self, home: HomeId, claim: ClaimId) -> Result<(), Failure> {
        let claims = claims_of(&self.core.claims, home).await;
        let claims = claims.map_err(|error| hearth_engine::store_failure(&error))?;
        if claims.len() >= MOST_CLAIMS && claims.iter().all(|it| it.claim != claim) {
            return Err(
                Failure::new(Reason::QUOTA_EXCEEDED).violation("home_id", "at most 16 hubs")
            );
        }
        Ok(())
    }

    async fn end_claim(
        &self,
        call: &Call,
        claim: ClaimId,
    ) -> Result<Option<Outcome<Claim>>, Failure> {
        let facts = claim::Facts {
            now: self.core.engine.now(),
        };
        let ended = self
            .core
            .engine
            .execute::<Claim, _>(call, claim, &claim::Command::End, async move |_| Ok(facts))
            .await;
        match ended.map_err(Failure::from) {
            Ok(outcome) => Ok(Some(outcome)),
            // It was never made, or is erased: it has ended.
            Err(failure) if matches!(failure.reason, Reason::NOT_FOUND | Reason::ERASED) => {
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Ends the claim of a hub of a home.
    pub(crate) async fn revoke_hub(
        &self,
        request: &Request,
        by: By,
        home: HomeId,
        hub: HubId,
    ) -> Result<Outcome<Claim>, Failure> {
        let content: [&[u8]; 2] = [home.as_bytes(), hub.as_bytes()];
        let call = self.call(
            request,
            by.account.as_bytes(),
            Actor::Member(by.membership),
            &content,
        );
        let engine = &self.core.engine;
        let absent = || Failure::new(Reason::NOT_FOUND).about("hub", hub);
        let record = engine
            .load::<Hub>(hub, Read::Leader)
            .await
            .map_err(Failure::from)?;
        let known = claims_of_hub(&self.core.claims, home, hub).await;
        let known = known.map_err(|error| hearth_engine::store_failure(&error))?;
        // One that was cut off between its making and its end is known to the home alone. Of claims that have ended a
        // repeated request finds the one that remembers it.
        let current = record.state.current.filter(|it| it.home == home);
        let candidates = [
            current.map(|it| it.claim),
            known.standing,
            record.state.former,
            known.ended,
        ];
        let mut named = None;
        for candidate in candidates.into_iter().flatten() {
            if named.is_none() && self.is_of(candidate, home).await? {
                named = Some(candidate);
            }
        }
        let claim = named.ok_or_else(absent)?;
        let outcome = self.end_claim(&call, claim).await?.ok_or_else(absent)?;
        let release = hub::Command::Release(claim);
        engine
            .execute::<Hub, _>(
                &self.also(&call, "release"),
                hub,
                &release,
                async move |_| Ok(()),
            )
            .await?;
        Ok(outcome)
    }

    /// Whether a claim was made, with that home.
    async fn is_of(&self, claim: ClaimId, home: HomeId) -> Result<bool, Failure> {
        let loaded = self.core.engine.load::<Claim>(claim, Read::Leader).await;
        let loaded = loaded.map_err(Failure::from)?;
        Ok(loaded.state.made().is_some_and(|made| made.home == home))
    }

    /// The hubs of a home, oldest claim first.
    pub(crate) async fn hubs(
        &self,
        home: HomeId,
        after: &[hearth_engine::CommitToken],
    ) -> Result<Vec<Listed>, Failure> {
        self.after(after).await?;
        let store = |error: hearth_ports::StoreError| hearth_engine::store_failure(&error);
        let claims = claims_of(&self.core.claims, home).await.map_err(store)?;
        let seen = self.core.seen.of_home(home).await.map_err(store)?;
        let parts: Vec<&Part> = claims
            .iter()
            .flat_map(|made| [&made.name, &made.model])
            .collect();
        let mut texts = self.open(home, &parts).await?.into_iter();
        Ok(claims
            .into_iter()
            .map(|made| Listed {
                name: texts.next().unwrap_or_default(),
                model: texts.next().unwrap_or_default(),
                last_seen_at: seen.get(&made.claim).copied(),
                made,
            })
            .collect())
    }
}

fn near(now: Timestamp, signed_at: Timestamp) -> Result<(), Failure> {
    if now.since(signed_at) > CLOCKS || signed_at.since(now) > CLOCKS {
        return Err(Reason::CLOCK_TOO_FAR_OFF.into());
    }
    Ok(())
}

/// Forgets pairings a day after they began.
#[async_trait::async_trait]
impl Fire for App {
    async fn fire(&self, timer: &Timer) -> Result<(), ConsumeError> {
        let engine = &self.core.engine;
        let loaded = engine.load::<Pairing>(timer.id, Read::Leader).await;
        let loaded = loaded.map_err(ConsumeError::from)?;
        if let Some(position) = loaded.position {
            let removed = engine.remove::<Pairing>(timer.id, position).await;
            removed.map_err(|error: ExecuteError| ConsumeError::from(error))?;
        }
        Ok(())
    }
}
