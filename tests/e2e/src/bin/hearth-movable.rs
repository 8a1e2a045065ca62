//! An installation to be killed: embedded, in a process of its own, on a clock that its parent moves.
//!
//! It differs from `hearth up` in its clock and in where mails go: one line each on stdout. The parent
//! writes `advance SECONDS`, or `uncompacted HOME`, on stdin. Arguments: the data folder, and how far the clock is ahead, in seconds.

#![expect(clippy::print_stdout, reason = "stdout is how it talks to its parent")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth::installation::Folders;
use hearth::{Installation, Ports};
use hearth_host::Config;
use hearth_ports::{AdjustableClock, Clock, Mail, Outbound, OutboundError, Series};
use tokio::io::{AsyncBufReadExt, BufReader};

/// How long a day is over before it is compacted.
const SETTLE: Duration = Duration::from_secs(600);

/// Prints mails: address and text, hexadecimal, so that each is one line.
struct Printed;

#[async_trait]
impl Outbound for Printed {
    async fn mail(&self, mail: &Mail) -> Result<(), OutboundError> {
        println!(
            "mail {} {}",
            hex::encode(mail.to.expose()),
            hex::encode(mail.text.expose())
        );
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
    let mut arguments = std::env::args().skip(1);
    let data = PathBuf::from(arguments.next().ok_or("which data folder?")?);
    let ahead: u64 = arguments.next().ok_or("how far ahead?")?.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(Box::pin(run(data, Duration::from_secs(ahead))))
}

async fn run(data: PathBuf, ahead: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let clock = AdjustableClock::default();
    clock.advance(ahead);
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".to_owned();
    config.server.rate_limits = false;
    hearth_testkit::cheap_passwords(&mut config);
    let folders = Folders::new(data.clone(), None, None);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let stores = Arc::new(folders.open(Arc::clone(&shared)).await?);
    let ports = Ports::embedded(&stores, &folders, Arc::new(Printed), shared);
    let installation = Installation::start(ports, &config, &data).await?;
    installation.ready().await?;
    println!("ready {}", installation.address());
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(seconds) = line.strip_prefix("advance ") {
            clock.advance(Duration::from_secs(seconds.parse()?));
            println!("advanced");
        }
        if let Some(home) = line.strip_prefix("uncompacted ") {
            let days = stores.series.segment_days(home.parse()?, 10_000).await?;
            let now = clock.now();
            let over = days.iter().filter(|day| day.end().plus(SETTLE) <= now);
            println!("uncompacted {}", over.count());
        }
    }
    // The parent is gone.
    Ok(())
}
