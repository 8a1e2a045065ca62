//! `hearth demo`: one story on real data, over real sockets, checked step by step.
//!
//! Two people register, a home sends a year of readings, rules send notices, one person closes her account, and
//! nothing of her is left. The story knows Hearth as its clients do; only to let time pass, to count bytes and to search
//! them does it look behind the contract. A step that fails ends it and says what it expected and what it saw.

mod act;
mod chart;
mod data;
mod erasure;
mod home;
mod people;
mod readings;
mod replay;
mod rules;
mod screen;
mod search;
mod smtp_sink;
mod stage;

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Args;
use clap::builder::FalseyValueParser;
use hearth_host::{Exit, told_to_end};
use hearth_ports::Tasks;

use act::Play;
use screen::{Screen, Story};

/// What `hearth demo` is told.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Leave it running at the end, with lines to try
    #[arg(long)]
    pub keep: bool,
    /// Without colours
    #[arg(long, env = "NO_COLOR", value_parser = FalseyValueParser::new())]
    pub no_color: bool,
}

/// Tells the story.
///
/// # Errors
/// `Failed`, with the step, what it expected and what it saw.
pub async fn run(args: DemoArgs) -> Result<(), Exit> {
    hearth_host::process::harden()
        .map_err(|error| Exit::failed("the process cannot be hardened", &error))?;
    let folder = tempfile::Builder::new()
        .prefix("hearth-demo-")
        .tempdir()
        .map_err(|error| Exit::failed("no temporary folder", &error))?;
    let tasks = Tasks::new();
    let outcome = tokio::select! {
        outcome = Box::pin(tell(&args, folder.path(), &tasks)) => outcome,
        // Whoever keeps it running ends it by the same signal, which `keep` waits for.
        _ = told_to_end(), if !args.keep => Err(anyhow::anyhow!("it was told to end")),
    };
    tasks.stop(std::time::Duration::from_secs(5)).await;
    outcome.map_err(|error| Exit::Failed(format!("the demo failed: {error:#}")))
}

async fn tell(args: &DemoArgs, folder: &Path, tasks: &Tasks) -> Result<()> {
    let screen = Screen::stdout(args.no_color);
    screen.line("hearth demo: two people, a year of real data, and an erasure that is proved");
    let mut story = Story::new(screen.clone());
    let mut play = Box::pin(Play::begin(&mut story, folder, tasks)).await?;
    Box::pin(play.send_a_year(&mut story)).await?;
    Box::pin(play.look_at_it(&mut story)).await?;
    Box::pin(play.be_told(&mut story)).await?;
    Box::pin(play.leave(&mut story)).await?;
    let (steps, took) = story.so_far();
    screen.line(&format!(
        "\nall {steps} steps held, in {:.0} s",
        took.as_secs_f64()
    ));
    if args.keep {
        keep(&play, &screen).await?;
    }
    play.end().await
}

/// Leaves it running until it is told to end.
async fn keep(play: &Play, screen: &Screen) -> Result<()> {
    screen.title("Left running; end it with Ctrl-C. To try:");
    for line in play.lines_to_try().await? {
        screen.line(&line);
    }
    told_to_end().await.context("waiting for the end")
}
