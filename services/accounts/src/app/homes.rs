//! Homes and areas.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_accounts_domain::account::Command as AccountCommand;
use hearth_accounts_domain::home::{Command, DataFamily, Facts, HomeKind, Member, State, Status};
use hearth_accounts_domain::membership::Command as MembershipCommand;
use hearth_engine::{Actor, Call, Outcome};
use hearth_kernel::{
    AccountId, AreaId, Failure, HomeId, Kind, MembershipId, Part, Reason, RetentionClass, Role,
    Timestamp,
};

use super::caller::Request;
use super::{App, Token};
use crate::aggregates::{Account, Home, Membership};

/// How often names that others changed meanwhile are opened again.
const TRIES: u32 = 8;

/// A home that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewHome {
    pub(crate) name: String,
    pub(crate) kind: HomeKind,
    pub(crate) time_zone: String,
}

/// What is to be changed about a home.
#[derive(Clone, Debug)]
pub(crate) struct HomeChange {
    pub(crate) home: HomeId,
    pub(crate) name: Option<String>,
    pub(crate) time_zone: Option<String>,
    pub(crate) retention: BTreeMap<DataFamily, RetentionClass>,
}

/// What is to be done about an area.
#[derive(Clone, Debug)]
pub(crate) enum AreaChange {
    /// One more.
    Add(String),
    /// Another name.
    Rename(AreaId, String),
    /// One less.
    Remove(AreaId),
}

/// A home as a member sees it.
#[derive(Clone, Debug)]
pub(crate) struct HomeView {
    pub(crate) home: HomeId,
    pub(crate) name: String,
    pub(crate) kind: HomeKind,
    pub(crate) time_zone: String,
    pub(crate) areas: Vec<(AreaId, String)>,
    pub(crate) retention: Vec<(DataFamily, RetentionClass)>,
    pub(crate) membership: MembershipId,
    pub(crate) username: String,
    pub(crate) member: Member,
    pub(crate) created_at: Timestamp,
}

/// A home in a list.
#[derive(Clone, Debug)]
pub(crate) struct HomeRow {
    pub(crate) home: HomeId,
    pub(crate) name: String,
    pub(crate) kind: HomeKind,
    pub(crate) role: Role,
    pub(crate) membership: MembershipId,
}

/// A membership that a request made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined {
    pub(crate) home: HomeId,
    pub(crate) membership: MembershipId,
    pub(crate) token: Token,
}

/// To whom it is no member of, a home does not exist.
pub(crate) fn no_home(home: HomeId) -> Failure {
    Failure::new(Reason::NOT_FOUND).about("home", home)
}

impl App {
    pub(crate) fn home_facts(&self, home: HomeId) -> Facts {
        Facts {
            home,
            now: self.now(),
            names: BTreeMap::new(),
        }
    }

    /// The caller's membership in a home, as her account notes it. The home itself has the last word.
    pub(crate) async fn membership_in(
        &self,
        account: AccountId,
        home: HomeId,
    ) -> Result<MembershipId, Failure> {
        let loaded = self.active(account).await?;
        let access = loaded.state.homes.get(&home);
        Ok(access.ok_or_else(|| no_home(home))?.membership)
    }

    /// A home and the caller's place in it, for reading.
    pub(crate) async fn seen_by(
        &self,
        account: AccountId,
        home: HomeId,
    ) -> Result<(Arc<State>, MembershipId, Member), Failure> {
        let loaded = self.load::<Account>(account).await?;
        let access = loaded.state.homes.get(&home).ok_or_else(|| no_home(home))?;
        let state = Arc::clone(&self.load::<Home>(home).await?.state);
        let member = state.member(access.membership, self.now());
        let member = member.filter(|_| state.status == Status::Active);
        let member = member.ok_or_else(|| no_home(home))?.clone();
        Ok((state, access.membership, member))
    }

    /// Notes in the account that it joins a home, and whose the membership is, before the home is asked. Answers whether
    /// that membership is over already: the request is repeated after a refusal, or after she left.
    pub(crate) async fn begin_join(
        &self,
        call: &Call,
        account: AccountId,
        home: HomeId,
        membership: MembershipId,
    ) -> Result<bool, Failure> {
        let join = AccountCommand::Join { home, membership };
        let facts = self.account_facts(account);
        let step = self.also(call, "join", Actor::Account(account));
        let began = self
            .engine
            .execute::<Account, _>(&step, account, &join, async move |_| Ok(facts))
            .await?;
        if began.repeated && began.state.left.contains(&membership) {
            return Ok(true);
        }
        let take = MembershipCommand::Take { account, home };
        let step = self.fresh_call();
        self.engine
            .execute::<Membership, _>(&step, membership, &take, async move |_| Ok(()))
            .await?;
        Ok(false)
    }

    /// Makes a home with the caller as its owner.
    pub(crate) async fn create_home(
        &self,
        request: &Request,
        account: AccountId,
        new: NewHome,
    ) -> Result<Joined, Failure> {
        self.active(account).await?;
        let kind: &[u8] = match new.kind {
            HomeKind::Household => b"household",
            HomeKind::Office => b"office",
        };
        let content = [new.name.as_bytes(), kind, new.time_zone.as_bytes()];
        let hasher = self.engine.hasher();
        let call = self.call(request, account.as_bytes(), Actor::Nobody, &content);
        let home: HomeId = hasher.id("home", &[call.commit.as_bytes()]).into();
        let membership: MembershipId = hasher.id("membership", &[call.commit.as_bytes()]).into();
        self.begin_join(&call, account, home, membership).await?;
        let command = Command::Create {
            name: Part::clear(&new.name),
            kind: new.kind,
            time_zone: new.time_zone,
            owner: membership,
        };
        let call = Call {
            actor: Actor::Member(membership),
            ..call
        };
        let outcome = self.of_home(&call, home, &command).await?;
        let step = self.also(&call, "note", Actor::Member(membership));
        let token = self.mirror(&step, home, &outcome.state, membership).await?;
        Ok(Joined {
            home,
            membership,
            token,
        })
    }

    /// A command whose facts need no opened names.
    pub(crate) async fn of_home(
        &self,
        call: &Call,
        home: HomeId,
        command: &Command,
    ) -> Result<Outcome<Home>, Failure> {
        let facts = self.home_facts(home);
        Ok(self
            .engine
            .execute::<Home, _>(call, home, command, async move |_| Ok(facts.clone()))
            .await?)
    }

    /// Changes a home.
    pub(crate) async fn update_home(
        &self,
        request: &Request,
        account: AccountId,
        change: HomeChange,
    ) -> Result<Token, Failure> {
        let home = change.home;
        let by = self.membership_in(account, home).await?;
        let chosen: Vec<u8> = change
            .retention
            .iter()
            .flat_map(|(family, class)| [u8::from(*family == DataFamily::Water), class.number()])
            .collect();
        let content: [&[u8]; 4] = [
            home.as_bytes(),
            change.name.as_deref().unwrap_or_default().as_bytes(),
            change.time_zone.as_deref().unwrap_or_default().as_bytes(),
            &chosen,
        ];
        let call = self.call(request, account.as_bytes(), Actor::Member(by), &content);
        let command = Command::Update {
            by,
            name: change.name.as_deref().map(Part::clear),
            time_zone: change.time_zone,
            retention: change.retention,
        };
        Ok(self.of_home(&call, home, &command).await?.position)
    }

    /// Changes the areas of a home. Answers the area.
    pub(crate) async fn change_area(
        &self,
        request: &Request,
        account: AccountId,
        home: HomeId,
        change: AreaChange,
    ) -> Result<(AreaId, Token), Failure> {
        let by = self.membership_in(account, home).await?;
        let (area, name) = match &change {
            AreaChange::Add(name) => (AreaId::default(), name.as_str()),
            AreaChange::Rename(area, name) => (*area, name.as_str()),
            AreaChange::Remove(area) => (*area, ""),
        };
        let content: [&[u8]; 3] = [home.as_bytes(), area.as_bytes(), name.as_bytes()];
        let call = self.call(request, account.as_bytes(), Actor::Member(by), &content);
        let new = || {
            self.engine
                .hasher()
                .id("area", &[call.commit.as_bytes()])
                .into()
        };
        let area = if area.is_nil() { new() } else { area };
        let command = match change {
            AreaChange::Add(name) => Command::AddArea { by, area, name },
            AreaChange::Rename(area, name) => Command::RenameArea { by, area, name },
            AreaChange::Remove(area) => Command::RemoveArea { by, area },
        };
        for _ in 0..TRIES {
            let loaded = self.load::<Home>(home).await?;
            let revision = loaded.state.revision;
            let facts = Facts {
                names: self.area_names(&loaded.state).await?,
                ..self.home_facts(home)
            };
            // The names are opened before; a home that was changed meanwhile is looked at again.
            let same = async move |state: &State| match state.revision == revision {
                true => Ok(facts.clone()),
                false => Err(Failure::new(Reason::TOO_MANY_CONFLICTS)),
            };
            let outcome = self
                .engine
                .execute::<Home, _>(&call, home, &command, same)
                .await;
            match outcome.map_err(Failure::from) {
                Ok(outcome) => return Ok((area, outcome.position)),
                Err(failure) if failure.kind() == Kind::Conflict => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(Reason::TOO_MANY_CONFLICTS.into())
    }

    async fn area_names(&self, state: &State) -> Result<BTreeMap<AreaId, String>, Failure> {
        let mut names = BTreeMap::new();
        for (area, name) in &state.areas {
            names.insert(*area, self.open_text(name).await?);
        }
        Ok(names)
    }

    /// A home with those of its areas that the caller may see.
    pub(crate) async fn home(&self, account: AccountId, home: HomeId) -> Result<HomeView, Failure> {
        let (state, membership, member) = self.seen_by(account, home).await?;
        let mut areas = Vec::new();
        for (area, name) in &state.areas {
            if member.scope.areas.is_empty() || member.scope.areas.contains(area) {
                areas.push((*area, self.open_text(name).await?));
            }
        }
        areas.sort_by_cached_key(|(area, name)| (name.to_lowercase(), *area));
        Ok(HomeView {
            home,
            name: self.home_name(&state).await?,
            kind: state.kind,
            time_zone: state.time_zone.clone(),
            areas,
            retention: DataFamily::ALL.map(|it| (it, state.class(it))).to_vec(),
            membership,
            username: self.username(account).await?,
            member,
            created_at: state.created_at,
        })
    }

    pub(crate) async fn home_name(&self, state: &State) -> Result<String, Failure> {
        match &state.name {
            Some(name) => self.open_text(name).await,
            None => Ok(String::new()),
        }
    }

    /// The homes of the caller, oldest membership first.
    pub(crate) async fn list_homes(&self, account: AccountId) -> Result<Vec<HomeRow>, Failure> {
        let loaded = self.load::<Account>(account).await?;
        let mut rows = Vec::new();
        for home in loaded.state.homes.keys() {
            match self.seen_by(account, *home).await {
                Ok((state, membership, member)) => {
                    let row = HomeRow {
                        home: *home,
                        name: self.home_name(&state).await?,
                        kind: state.kind,
                        role: member.scope.role,
                        membership,
                    };
                    rows.push((member.joined_at, row));
                }
                // Removed, or expired, and not noted yet.
                Err(failure) if failure.reason == Reason::NOT_FOUND => {}
                Err(failure) => return Err(failure),
            }
        }
        rows.sort_by_key(|(joined_at, row)| (*joined_at, row.home));
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }
}
