//! The acts of the story, in order; each is a list of named, checked steps.
//!
//! What happens stands here; how it is done and checked stands in the modules beside.

mod cast;
mod leaving;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use hearth_api::notifications::v1::Topic;
use hearth_api::types::v1::Capability;
use hearth_kernel::{Capability as Kind, Day, RetentionClass};
use hearth_ports::{Clock, Tasks};

use super::data::{self, Gadget, Sample};
use super::home::{Home, share};
use super::people::{Line, MAIL, Person};
use super::readings::{self, Measure, Span};
use super::replay::{Replayed, Session};
use super::rules::{self, Inbox};
use super::screen::{Screen, Story, check, thousands};
use super::search::sizes;
use super::smtp_sink::SmtpSink;
use super::stage::{AUDIENCE, Stage};
use cast::{ANNA, ANNAS_HOME, BOJAN, BOJANS_HOME};

/// How long a step may take, unless it says otherwise.
const STEP: Duration = Duration::from_secs(60);
/// How long a year may take to send on a slow machine, or an erasure to be waited for.
const LONG: Duration = Duration::from_secs(300);
/// How long to look for something that must not come.
const NOTHING_COMES: Duration = Duration::from_millis(1500);

/// Everybody and everything that takes part.
pub(super) struct Play {
    folder: PathBuf,
    stage: Stage,
    sink: SmtpSink,
    line: Line,
    /// The midnight (UTC) at which the data ends.
    midnight: Day,
    anna: Person,
    bojan: Person,
    annas: Home,
    bojans: Home,
    /// What each home has sent.
    annas_data: Vec<Sample>,
    bojans_data: Vec<Sample>,
}

impl Play {
    /// Starts Hearth, and has two people register and furnish their homes.
    pub(super) async fn begin(story: &mut Story, folder: &Path, tasks: &Tasks) -> Result<Self> {
        let screen = story.screen().clone();
        screen.title("Start");
        let sink = story.step(
            "a mail server that keeps what it gets",
            STEP,
            SmtpSink::start(tasks),
        );
        let sink = sink.await?;
        let starting = Stage::start(folder, sink.address());
        let stage = story.step("Hearth on a new folder", STEP, starting).await?;
        let line = stage.line()?;
        screen.line(&format!(
            "    listens on {}",
            stage.installation()?.address()
        ));
        let midnight = stage.clock.now().day();

        screen.title("People and homes");
        let anna = story
            .step("Anna registers", STEP, Person::register(&line, &sink, ANNA))
            .await?;
        let bojan = story
            .step(
                "Bojan registers",
                STEP,
                Person::register(&line, &sink, BOJAN),
            )
            .await?;
        let signing = async {
            anna.sign_in().await?;
            bojan.sign_in().await
        };
        story.step("both sign in", STEP, signing).await?;
        let making = Home::make(&anna, &ANNAS_HOME);
        let rooms = story
            .step("Anna makes a home with four areas", STEP, making)
            .await?;
        let home = rooms.0;
        let sharing = share(&anna, &bojan, home, &sink);
        story
            .step("Anna invites Bojan, who accepts", STEP, sharing)
            .await?;
        let furnishing = Home::furnish(&anna, &line, AUDIENCE, rooms, &ANNAS_HOME);
        let annas = story.step(
            "a hub is paired, seven devices registered",
            STEP,
            furnishing,
        );
        let annas = annas.await?;
        let making = async {
            let rooms = Home::make(&bojan, &BOJANS_HOME).await?;
            Home::furnish(&bojan, &line, AUDIENCE, rooms, &BOJANS_HOME).await
        };
        let bojans = story.step(
            "Bojan has a home of his own, with two devices",
            STEP,
            making,
        );
        let bojans = bojans.await?;
        Ok(Self {
            folder: folder.to_owned(),
            stage,
            sink,
            line,
            midnight,
            anna,
            bojan,
            annas,
            bojans,
            annas_data: data::of_household(midnight)?,
            bojans_data: data::of_other(midnight)?,
        })
    }

    /// The devices of both homes send what they saw.
    pub(super) async fn send_a_year(&mut self, story: &mut Story) -> Result<()> {
        let screen = story.screen().clone();
        screen.title("A year of readings, as live devices send them");
        let sending = replay(&self.line, &self.annas, &self.annas_data, &screen);
        let sent = story
            .step("Anna's hub sends 395 days", LONG, sending)
            .await?;
        tell_replay(&screen, sent);
        let sending = replay(&self.line, &self.bojans, &self.bojans_data, &screen);
        let sent = story
            .step("Bojan's hub sends 60 days", LONG, sending)
            .await?;
        tell_replay(&screen, sent);
        let shrinking = self.compact(&screen);
        story
            .step("days that are over are compacted", LONG, shrinking)
            .await?;
        let measuring = self.measure_bytes(&screen);
        story.step("what that takes on disk", STEP, measuring).await
    }

    /// Bytes of the sealed chunks, and of the files that hold them.
    async fn measure_bytes(&self, screen: &Screen) -> Result<()> {
        let readings = u64::try_from(self.annas_data.len() + self.bojans_data.len())?;
        let annas = self.chunk_bytes(&self.annas, &self.annas_data).await?;
        let chunks = annas + self.chunk_bytes(&self.bojans, &self.bojans_data).await?;
        let each = ratio(chunks, readings);
        screen.say(format!(
            "{} bytes of sealed chunks for {} readings: {each:.1} bytes each",
            thousands(chunks),
            thousands(readings)
        ));
        for (name, bytes) in sizes(&self.stage.files()?)? {
            if bytes > 100_000 {
                screen.say(format!("{name}: {} bytes as a file", thousands(bytes)));
            }
        }
        check(
            chunks > 0 && each < 4.0,
            "less than 4 bytes a reading",
            each,
        )
    }

    async fn chunk_bytes(&self, home: &Home, samples: &[Sample]) -> Result<u64> {
        let series = &self.stage.installation()?.ports().series;
        let (days, now) = ((Day::from_number(0), self.midnight), self.stage.clock.now());
        let mut bytes = 0;
        for device in home.devices.values() {
            // A device's sparse measures share one chunk, which is of no single capability.
            let mut capabilities = vec![Kind::MANY];
            for measure in measures(samples) {
                if home.device(measure.gadget)? == *device {
                    let number = u16::try_from(i32::from(measure.capability))?;
                    capabilities.push(Kind::from_stored(number));
                }
            }
            for capability in capabilities {
                let class = RetentionClass::Days400;
                let chunks = series.chunks(home.id, *device, capability, class, 0, days, now);
                for chunk in chunks.await? {
                    bytes += u64::try_from(chunk.sealed.len())?;
                }
            }
        }
        Ok(bytes)
    }

    /// Lets hours pass until no day that is over has segments any more.
    async fn compact(&self, screen: &Screen) -> Result<()> {
        let series = &self.stage.installation()?.ports().series;
        loop {
            let mut days = 0;
            for home in [self.annas.id, self.bojans.id] {
                days += series.segment_days(home, 1000).await?.len();
            }
            if days == 0 {
                break;
            }
            screen.progress(&format!("{days} days to go"));
            self.hours_pass().await?;
        }
        // What was replaced stays for an hour, for queries that have begun.
        for _ in 0..3 {
            self.hours_pass().await?;
        }
        self.stage.maintain().await
    }

    /// Half an hour passes, and a moment for what waits for it.
    async fn hours_pass(&self) -> Result<()> {
        self.stage.pass(Duration::from_secs(1800)).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    /// Members query what was sent, and it is that, bit by bit.
    pub(super) async fn look_at_it(&mut self, story: &mut Story) -> Result<()> {
        let screen = story.screen().clone();
        screen.title("Looking at it");
        let (annas, sent, midnight) = (&self.annas, &self.annas_data, self.midnight);
        let month = Span {
            from: midnight.plus(-30),
            to: midnight,
        };
        let comparing = async {
            let mut compared = 0;
            for measure in cast::ANNAS_MEASURES {
                compared +=
                    readings::same_as_sent(&self.bojan, annas, sent, measure, month).await?;
            }
            Ok(compared)
        };
        let name = "Bojan reads the last 30 days of Anna's home, each bit as it was sent";
        let compared = story.step(name, STEP, comparing).await?;
        screen.line(&format!("    {compared} readings compared"));
        let latest = story.step("the newest of each measure", STEP, async {
            let seen = readings::latest(&self.anna, annas).await?;
            let sent = cast::ANNAS_MEASURES.len();
            check(seen == sent, format_args!("{sent} measures"), seen)?;
            Ok(seen)
        });
        latest.await?;
        let day = midnight.plus(-1);
        let drawing = readings::draw_day(&self.anna, annas, sent, day, &screen);
        story.step("yesterday, by the hour", STEP, drawing).await?;
        let drawing = readings::draw_year(&self.anna, annas, sent, midnight, &screen);
        story.step("the last year, by the day", STEP, drawing).await
    }

    /// Rules make notices and mails, until somebody wants none.
    pub(super) async fn be_told(&mut self, story: &mut Story) -> Result<()> {
        let screen = story.screen().clone();
        screen.title("Rules and notices");
        let (annas, line) = (&self.annas, &self.line);
        let setting = async {
            rules::want_mails(&self.anna).await?;
            rules::want_mails(&self.bojan).await?;
            rules::put_rules(&self.anna, annas).await
        };
        let name = "Anna sets two rules and arms the living room; both want mails";
        story.step(name, STEP, setting).await?;
        let session = Session::open(line, annas)?;
        let heating = self.heating_left_on(&session, &screen);
        story
            .step(
                "the heating stays on for an hour with nobody there",
                STEP,
                heating,
            )
            .await?;
        let motion = self.motion(&session, &screen);
        story
            .step("something moves in the living room", STEP, motion)
            .await?;
        let muted = self.muted(&session, &screen);
        story
            .step(
                "Anna mutes everything; the next motion mails Bojan alone",
                STEP,
                muted,
            )
            .await
    }

    async fn heating_left_on(&self, session: &Session, screen: &Screen) -> Result<()> {
        let mut inbox = Inbox::open(&self.anna).await?;
        let flags = [
            (Gadget::Presence, Capability::Presence, false),
            (Gadget::Boiler, Capability::HeatingOn, true),
        ];
        rules::observe(session, (&self.line, screen), &flags).await?;
        self.stage
            .pass(rules::LEFT_ON + Duration::from_secs(60))
            .await?;
        let notice = inbox.next(Topic::Heating).await?;
        rules::check_notice(&notice, &self.annas, "heating-left-on")?;
        let mail = self.sink.next_to(ANNA.email, "heating", 0, MAIL).await?;
        screen.say(format!("notice: {} — {}", notice.title, notice.body));
        screen.say(format!("mail to Anna: {:?}", mail.subject));
        Ok(())
    }

    async fn motion(&self, session: &Session, screen: &Screen) -> Result<()> {
        let mut inbox = Inbox::open(&self.anna).await?;
        rules::observe(
            session,
            (&self.line, screen),
            &[(Gadget::Motion, Capability::Motion, true)],
        )
        .await?;
        let notice = inbox.next(Topic::Motion).await?;
        rules::check_notice(&notice, &self.annas, "motion-while-armed")?;
        for who in [ANNA, BOJAN] {
            let mail = self.sink.next_to(who.email, "Motion", 0, MAIL).await?;
            screen.say(format!("mail to {}: {:?}", who.name, mail.subject));
        }
        screen.say(format!("notice: {} — {}", notice.title, notice.body));
        Ok(())
    }

    async fn muted(&self, session: &Session, screen: &Screen) -> Result<()> {
        rules::mute(&self.anna, true).await?;
        let before = self.sink.mails_to(ANNA.email).len();
        let still = [(Gadget::Motion, Capability::Motion, false)];
        rules::observe(session, (&self.line, screen), &still).await?;
        self.stage.pass(rules::COOLDOWN * 12).await?;
        let moves = [(Gadget::Motion, Capability::Motion, true)];
        rules::observe(session, (&self.line, screen), &moves).await?;
        // Bojan's second mail shows that this motion was handled; hers would be there as well.
        self.sink.next_to(BOJAN.email, "Motion", 1, MAIL).await?;
        tokio::time::sleep(NOTHING_COMES).await;
        let after = self.sink.mails_to(ANNA.email).len();
        check(
            after == before,
            format_args!("{before} mails to Anna"),
            after,
        )?;
        screen.say(format!(
            "mails to Anna: {after}, as before; Bojan has one more"
        ));
        rules::mute(&self.anna, false).await
    }

    /// Ends Hearth in order.
    pub(super) async fn end(mut self) -> Result<()> {
        self.stage.stop().await
    }

    /// Lines for another terminal, with a token that is good for five minutes. Of Bojan: Anna is gone.
    pub(super) async fn lines_to_try(&self) -> Result<Vec<String>> {
        let address = self.stage.installation()?.address();
        let token = self.bojan.access_token().await?;
        let (home, meter) = (self.bojans.id, self.bojans.device(Gadget::Meter)?);
        let call = |method: &str, body: &str| {
            let bearer = "-H \"authorization: Bearer $TOKEN\"";
            format!("grpcurl -plaintext {bearer} -d '{body}' {address} hearth.{method}")
        };
        let day = readings::date(self.midnight.plus(-1).start());
        let next = readings::date(self.midnight.start());
        let of_home = format!("{{\"home_id\":\"{home}\"}}");
        let query = format!(
            "{{\"home_id\":\"{home}\",\"device_id\":\"{meter}\",\
             \"capability\":\"CAPABILITY_PLUG_POWER\",\"resolution\":\"RESOLUTION_HOUR\",\
             \"interval\":{{\"start\":\"{day}T00:00:00Z\",\"end\":\"{next}T00:00:00Z\"}}}}"
        );
        Ok(vec![
            format!("grpcurl -plaintext {address} list"),
            format!("TOKEN={token}"),
            "# It is good for five minutes. Another one, with the password:".to_owned(),
            self.bojan.line_to_sign_in(address)?,
            call("accounts.v1.HomesService/GetHome", &of_home),
            call("ingest.v1.DevicesService/ListDevices", &of_home),
            call("ingest.v1.ReadingsService/QueryReadings", &query),
            call("notifications.v1.NotificationsService/ListInbox", "{}"),
        ])
    }
}

async fn replay(line: &Line, home: &Home, samples: &[Sample], screen: &Screen) -> Result<Replayed> {
    let session = Session::open(line, home)?;
    session.replay(samples, screen).await
}

fn tell_replay(screen: &Screen, sent: Replayed) {
    screen.line(&format!(
        "    {} readings in {} batches, all durable: {} a second",
        thousands(sent.readings),
        thousands(sent.batches),
        thousands(sent.per_second())
    ));
}

/// A quotient of counts, for people.
fn ratio(part: u64, whole: u64) -> f64 {
    let number = |count: u64| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    number(part) / number(whole.max(1))
}

/// The measures of a home that has sent something.
fn measures(samples: &[Sample]) -> Vec<Measure> {
    let mut all: Vec<Measure> = Vec::new();
    for sample in samples {
        let measure = Measure {
            gadget: sample.gadget,
            capability: sample.capability,
        };
        if !all.contains(&measure) {
            all.push(measure);
        }
    }
    all
}
