//! `hearth ctl notices`: the inbox, what each person wants to be told, and the rules and arming of a home.

mod rules;

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use hearth_api::notifications::v1 as wire;
use hearth_host::Exit;
use serde_json::json;

use super::connection::{Connection, request_id};
use super::output::{self, Form, Lines, Shown, Table};
use super::readings::may_pass;
use super::{pages, values};
pub(crate) use rules::RulesCommand;

/// How often a stream that breaks off is opened again without anything new in between.
const REOPENED: u32 = 4;
/// The wait before a stream is opened again.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum NoticesCommand {
    /// List your notices, newest first
    List {
        /// Only those that are not read
        #[arg(long)]
        unread: bool,
        /// At most this many
        #[arg(long, default_value = "50")]
        limit: usize,
    },
    /// Show notices as they come, until interrupted
    Watch,
    /// Mark notices as read
    Read {
        /// The notices, from `list`
        #[arg(required = true)]
        notices: Vec<String>,
    },
    #[command(flatten)]
    Rules(RulesCommand),
    /// Show what you want to be told, and where
    Preferences,
    /// Turn a topic on or off on a channel
    Set {
        /// The topic
        #[arg(value_enum)]
        topic: Topic,
        /// The channel
        #[arg(value_enum)]
        channel: Channel,
        /// Whether it is on
        #[arg(value_enum)]
        state: Switch,
    },
    /// Turn everything off but mails that protect the account
    Mute {
        /// For how long: 1m to 366d; until `unmute` unless given
        #[arg(long = "for", value_name = "SPAN", value_parser = values::span)]
        span: Option<Duration>,
    },
    /// Take that back
    Unmute,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Topic {
    Heating,
    Motion,
    Account,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Channel {
    Inbox,
    Email,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    On,
    Off,
}

/// Answers what there is to show; what streams prints itself.
pub(crate) async fn run(
    command: NoticesCommand,
    to: &Connection,
    as_json: bool,
) -> Result<Option<Shown>, Exit> {
    to.signed_in().await?;
    let form = if as_json { Form::Json } else { Form::Text };
    let shown = match command {
        NoticesCommand::List { unread, limit } => list(to, unread, limit).await?,
        NoticesCommand::Watch => return watch(to, form).await.map(|()| None),
        NoticesCommand::Read { notices } => {
            let request = wire::MarkReadRequest {
                request_id: request_id()?,
                notice_ids: notices,
            };
            let answer = to.client.notifications().mark_read(request).await;
            to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
                .await?;
            Shown::Line("the notices are read".to_owned())
        }
        NoticesCommand::Rules(command) => rules::run(command, to).await?,
        NoticesCommand::Preferences => preferences(to).await?,
        NoticesCommand::Set {
            topic,
            channel,
            state,
        } => set(to, topic, channel, state).await?,
        NoticesCommand::Mute { span } => {
            let duration = span.map(values::wire_span);
            let request = wire::MuteAllRequest {
                request_id: request_id()?,
                duration,
            };
            let answer = to.client.notifications().mute_all(request).await;
            to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
                .await?;
            Shown::Line("everything is muted".to_owned())
        }
        NoticesCommand::Unmute => {
            let request = wire::UnmuteAllRequest {
                request_id: request_id()?,
            };
            let answer = to.client.notifications().unmute_all(request).await;
            to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
                .await?;
            Shown::Line("nothing is muted any more".to_owned())
        }
    };
    Ok(Some(shown))
}

async fn list(to: &Connection, unread_only: bool, limit: usize) -> Result<Shown, Exit> {
    let after = to.client.after().await;
    let notices = pages::at_most(limit, |page| {
        let request = wire::ListInboxRequest {
            unread_only,
            after: after.clone(),
            page,
        };
        async move {
            let answer = to
                .client
                .notifications()
                .list_inbox(request)
                .await?
                .into_inner();
            Ok((answer.notices, answer.next))
        }
    });
    let notices = notices.await.map_err(|it| to.refused(&it))?;
    Ok(table(&notices).into())
}

fn table(notices: &[wire::Notice]) -> Table {
    let rows = notices.iter().map(|it| {
        vec![
            values::wire_time(it.made_at),
            json!(it.read),
            values::enum_name(it.topic().as_str_name(), "TOPIC_"),
            json!(it.title),
            json!(it.body),
            values::wire_time(it.began_at),
            values::wire_time(it.ended_at),
            json!(it.home_id),
            json!(it.device_id),
            json!(it.area_id),
            json!(it.notice_id),
        ]
    });
    let columns = &[
        "made_at",
        "read",
        "topic",
        "title",
        "body",
        "began_at",
        "ended_at",
        "home_id",
        "device_id",
        "area_id",
        "notice_id",
    ];
    Table::of(columns, rows)
}

async fn watch(to: &Connection, form: Form) -> Result<(), Exit> {
    let (mut lines, mut tries) = (Lines::new(form), 0);
    let mut request = wire::StreamInboxRequest::default();
    loop {
        let ended = match to
            .client
            .notifications()
            .stream_inbox(request.clone())
            .await
        {
            Ok(answer) => {
                let mut stream = answer.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(message)) => {
                            tries = 0;
                            request.cursor = message.cursor;
                            if let Some(notice) = message.notice {
                                output::print(&lines.next(&table(&[notice])));
                            }
                        }
                        Ok(None) => return Ok(()),
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        if tries >= REOPENED || !may_pass(&ended) {
            return Err(to.refused(&ended));
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn preferences(to: &Connection) -> Result<Shown, Exit> {
    let request = wire::GetPreferencesRequest {
        after: to.client.after().await,
    };
    let answer = to.client.notifications().get_preferences(request).await;
    let answer = answer.map_err(|it| to.refused(&it))?.into_inner();
    let rows = answer.preferences.iter().map(|it| {
        vec![
            values::enum_name(it.topic().as_str_name(), "TOPIC_"),
            values::enum_name(it.channel().as_str_name(), "CHANNEL_"),
            json!(it.on),
        ]
    });
    let rows = Table::of(&["topic", "channel", "on"], rows);
    let mute = Shown::One(vec![
        ("muted", json!(answer.muted)),
        ("muted_until", values::wire_time(answer.muted_until)),
    ]);
    Ok(Shown::Parts(vec![
        ("preferences", rows.into()),
        ("everything", mute),
    ]))
}

async fn set(
    to: &Connection,
    topic: Topic,
    channel: Channel,
    state: Switch,
) -> Result<Shown, Exit> {
    let topic = match topic {
        Topic::Heating => wire::Topic::Heating,
        Topic::Motion => wire::Topic::Motion,
        Topic::Account => wire::Topic::Account,
    };
    let channel = match channel {
        Channel::Inbox => wire::Channel::Inbox,
        Channel::Email => wire::Channel::Email,
    };
    let preference = wire::Preference {
        topic: topic.into(),
        channel: channel.into(),
        on: state == Switch::On,
    };
    let request = wire::SetPreferenceRequest {
        request_id: request_id()?,
        preference: Some(preference),
    };
    let answer = to.client.notifications().set_preference(request).await;
    to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
        .await?;
    Ok(Shown::Line("the preference is set".to_owned()))
}
