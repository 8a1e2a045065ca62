//! What each command makes happen, what that amounts to, and what always holds.

use std::collections::BTreeSet;

use hearth_kernel::{Decider, Owner, Part, Secret, Service, Timestamp};

use super::{
    Closing, Command, Control, Erasure, Event, Pass, Receipt, Rejection, Request, Residual, State,
    Store,
};
use crate::limits;

impl Decider for Erasure {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = Timestamp;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, now: &Timestamp) -> Result<Vec<Event>, Rejection> {
        let now = *now;
        match command {
            Command::Announce(closing) => announce(state, closing),
            Command::Cancel => cancel(state, now),
            Command::Request { .. } => request(state, command, now),
            Command::Control { .. } => control(state, command, now),
            Command::Fence { owner, since } => fence(state, *owner, *since),
            Command::EndLeases => end_leases(state, now),
            Command::Answer { service, stores } => answer(state, *service, stores, now),
            Command::Verify(pass) => verify(state, *pass, now),
            Command::SignKeys(receipt) => sign_keys(state, receipt, now),
            Command::SignBytes(pass, receipt) => sign_bytes(state, *pass, receipt, now),
        }
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match event {
            Event::Announced(closing) => state.closing = Some(*closing),
            Event::Cancelled { at } => state.cancelled_at = Some(*at),
            Event::Requested(request) => state.request = Some(request.clone()),
            Event::Controlled(control) => state.control = Some(control.clone()),
            Event::Fenced { owner, since } => {
                state.fenced.insert(*owner, *since);
            }
            Event::AllFenced { at } => state.fenced_at = Some(*at),
            Event::LeasesEnded { at } => state.leases_ended_at = Some(*at),
            Event::Answered { service, stores } => {
                state.answers.insert(*service, stores.clone());
            }
            Event::Purged { residuals, at } => {
                state.residuals.clone_from(residuals);
                state.purged_at = Some(*at);
            }
            Event::Verified { pass, at } => state.verified = Some((*pass, *at)),
            Event::KeysGone { receipt, at } => state.keys_gone = Some((receipt.clone(), *at)),
            Event::BytesGone { receipt, at } => state.bytes_gone = Some((receipt.clone(), *at)),
        }
        state
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        let owners = state.owners();
        let steps = [
            (
                "a request without a closing",
                state.closing.is_some(),
                state.request.is_some(),
            ),
            (
                "a control without a request",
                state.request.is_some(),
                state.control.is_some(),
            ),
            (
                "a fence before the control",
                state.control.is_some(),
                !state.fenced.is_empty(),
            ),
            (
                "leases ended before every fence",
                state.fenced_at.is_some(),
                state.leases_ended_at.is_some(),
            ),
            (
                "an answer while leases live",
                state.leases_ended_at.is_some(),
                !state.answers.is_empty(),
            ),
            (
                "purged before all have answered",
                missing(state).is_empty(),
                state.purged_at.is_some(),
            ),
            (
                "verified before the purge",
                state.purged_at.is_some(),
                state.verified.is_some(),
            ),
            (
                "a key receipt before the search",
                state.verified.is_some(),
                state.keys_gone.is_some(),
            ),
            (
                "a byte receipt before the key receipt",
                state.keys_gone.is_some(),
                state.bytes_gone.is_some(),
            ),
        ];
        for (broken, before, after) in steps {
            if after && !before {
                return Err(broken);
            }
        }
        if state.cancelled_at.is_some() && state.request.is_some() {
            return Err("an erasure that began cannot be taken back");
        }
        if state.fenced.keys().any(|owner| !owners.contains(owner)) {
            return Err("a fence of somebody else");
        }
        Ok(())
    }
}

/// The services that have not answered yet.
pub(super) fn missing(state: &State) -> BTreeSet<Service> {
    let all = state.request.iter().flat_map(|it| it.services.iter());
    all.copied()
        .filter(|service| !state.answers.contains_key(service))
        .collect()
}

fn announce(state: &State, closing: &Closing) -> Result<Vec<Event>, Rejection> {
    match &state.closing {
        None => Ok(vec![Event::Announced(*closing)]),
        Some(known) if known.receipt == closing.receipt && known.account == closing.account => {
            Ok(Vec::new())
        }
        Some(_) => Err(Rejection::IsAnothers),
    }
}

fn cancel(state: &State, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    // A fact that ended because the erasure began is no reopening.
    if state.closing.is_none() || state.request.is_some() || state.cancelled_at.is_some() {
        return Ok(Vec::new());
    }
    Ok(vec![Event::Cancelled { at: now }])
}

fn request(state: &State, command: &Command, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    let Command::Request {
        closing,
        homes,
        memberships,
        services,
    } = command
    else {
        return Ok(Vec::new());
    };
    if state.cancelled_at.is_some() {
        return Err(Rejection::IsCancelled);
    }
    let mut events = announce(state, closing)?;
    if state.request.is_some() {
        return Ok(Vec::new());
    }
    if now < closing.grace_ends_at {
        return Err(Rejection::TooEarly);
    }
    if homes.len() > limits::HOMES || memberships.len() > limits::MEMBERSHIPS {
        return Err(Rejection::TooMany);
    }
    events.push(Event::Requested(Request {
        account: closing.account,
        homes: homes.clone(),
        memberships: memberships.clone(),
        services: services.clone(),
        policy: limits::POLICY,
        at: now,
    }));
    Ok(events)
}

fn control(state: &State, command: &Command, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    let Command::Control {
        key_ids,
        markers,
        found,
        missing,
    } = command
    else {
        return Ok(Vec::new());
    };
    if state.request.is_none() {
        return Err(Rejection::IsNotThere);
    }
    if state.control.is_some() {
        return Ok(Vec::new());
    }
    if *missing > 0 || *found == 0 {
        return Err(Rejection::ControlFailed);
    }
    Ok(vec![Event::Controlled(Control {
        markers: *markers,
        found: *found,
        key_ids: Part::Clear(Secret::new(key_ids.clone())),
        at: now,
    })])
}

fn fence(state: &State, owner: Owner, since: Timestamp) -> Result<Vec<Event>, Rejection> {
    if state.control.is_none() {
        return Err(Rejection::IsNotThere);
    }
    if !state.owners().contains(&owner) {
        return Err(Rejection::IsAnothers);
    }
    if state.fenced.contains_key(&owner) {
        return Ok(Vec::new());
    }
    let mut events = vec![Event::Fenced { owner, since }];
    let open = |it: &Owner| *it != owner && !state.fenced.contains_key(it);
    if !state.owners().iter().any(open) {
        let at = state.fenced.values().copied().fold(since, Timestamp::max);
        events.push(Event::AllFenced { at });
    }
    Ok(events)
}

fn end_leases(state: &State, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    let fenced_at = state.fenced_at.ok_or(Rejection::IsNotThere)?;
    if state.leases_ended_at.is_some() {
        return Ok(Vec::new());
    }
    if now < fenced_at.plus(limits::LEASES_END) {
        return Err(Rejection::TooEarly);
    }
    Ok(vec![Event::LeasesEnded { at: now }])
}

fn answer(
    state: &State,
    service: Service,
    stores: &[Store],
    now: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    if state.leases_ended_at.is_none() {
        return Err(Rejection::IsNotThere);
    }
    let mut missing = missing(state);
    if !missing.remove(&service) {
        return Ok(Vec::new());
    }
    if stores.len() > limits::STORES {
        return Err(Rejection::TooMany);
    }
    let mut events = vec![Event::Answered {
        service,
        stores: stores.to_vec(),
    }];
    if missing.is_empty() {
        let answered = state.answers.values().flatten().chain(stores);
        events.push(Event::Purged {
            residuals: residuals(state, answered, now),
            at: now,
        });
    }
    Ok(events)
}

/// What every erasure leaves, and what the services reported.
fn residuals<'a>(
    state: &State,
    answered: impl Iterator<Item = &'a Store>,
    now: Timestamp,
) -> BTreeSet<Residual> {
    let line = |what: &str, store: &str, ends_at| Residual {
        what: what.to_owned(),
        store: store.to_owned(),
        ends_at,
    };
    let after = |period| Some(now.plus(period).plus(limits::SLACK));
    let mut list = BTreeSet::from([
        line("tombstones", "log", None),
        line("fences", "vault.fences", None),
        line("ledger", "retention.erasures", None),
        line("int-events", "log", after(limits::EVENTS)),
        line(
            "tombstones",
            "documents",
            after(limits::DOCUMENT_TOMBSTONES),
        ),
    ]);
    if state
        .request
        .as_ref()
        .is_some_and(|it| !it.homes.is_empty())
    {
        list.insert(line("frames", "ingest.frames", after(limits::FRAMES)));
    }
    for store in answered {
        for left in &store.residuals {
            list.insert(line(&left.what, &store.name, left.ends_at));
        }
    }
    list
}

fn verify(state: &State, pass: Pass, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    if state.purged_at.is_none() {
        return Err(Rejection::IsNotThere);
    }
    if state.verified.is_some() {
        return Ok(Vec::new());
    }
    if pass.outside > 0 {
        return Err(Rejection::SomethingLeft);
    }
    Ok(vec![Event::Verified { pass, at: now }])
}

fn sign_keys(state: &State, receipt: &Receipt, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    if state.verified.is_none() {
        return Err(Rejection::IsNotThere);
    }
    if state.keys_gone.is_some() {
        return Ok(Vec::new());
    }
    Ok(vec![Event::KeysGone {
        receipt: receipt.clone(),
        at: now,
    }])
}

fn sign_bytes(
    state: &State,
    pass: Pass,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    let Some(end) = state
        .residuals_end_at()
        .filter(|_| state.keys_gone.is_some())
    else {
        return Err(Rejection::IsNotThere);
    };
    if state.bytes_gone.is_some() {
        return Ok(Vec::new());
    }
    if now < end {
        return Err(Rejection::TooEarly);
    }
    if pass.outside > 0 {
        return Err(Rejection::SomethingLeft);
    }
    Ok(vec![Event::BytesGone {
        receipt: receipt.clone(),
        at: now,
    }])
}
