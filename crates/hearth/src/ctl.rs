//! `hearth ctl`: Hearth at a terminal, for people and for operators.
//!
//! What is a person's is read as that person, signed in, through the same API as any app. What an operator does
//! offline (`doctor`, `verify`, `rebuild`) takes the data folder for itself and shows counts, ids and states.

mod account;
mod attested;
mod chain;
mod connection;
mod devices;
mod doctor;
mod erasure;
mod folder;
mod home;
mod notices;
mod output;
mod pages;
mod parked;
mod password;
mod readings;
mod rebuild;
mod receipt;
mod resolve;
mod session;
mod values;
mod verify;

use clap::{Args, Subcommand};
use hearth_host::Exit;

use connection::ConnectionArgs;
use output::Shown;

/// What `hearth ctl` is told.
#[derive(Args, Clone, Debug)]
pub struct CtlArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Answer in JSON; what streams is one object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Register, sign in and out, sessions, closing
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Homes, areas and members
    #[command(subcommand)]
    Home(home::HomeCommand),
    /// Hubs and devices
    #[command(subcommand)]
    Devices(devices::DevicesCommand),
    /// What devices have seen
    #[command(subcommand)]
    Readings(readings::ReadingsCommand),
    /// The inbox, preferences, rules and arming
    #[command(subcommand)]
    Notices(notices::NoticesCommand),
    /// How far an erasure is, and its proof
    #[command(subcommand)]
    Erasure(erasure::ErasureCommand),
    /// Examine a data folder, and say what to do (offline)
    Doctor(folder::FolderArgs),
    /// Walk the hash chains of a data folder, and check its signed checkpoints (offline)
    Verify(verify::VerifyArgs),
    /// What consumers set aside, and its release (asks the admin port)
    Parked(parked::ParkedArgs),
    /// Make a view anew from the log (offline)
    Rebuild(rebuild::RebuildArgs),
}

/// Runs one command.
///
/// # Errors
/// `Usage` for what was asked wrongly, `Refused` for what a server refused, `Failed` for the rest.
pub async fn run(args: CtlArgs) -> Result<(), Exit> {
    let connection = &args.connection;
    let shown = match args.command {
        Command::Account(command) => Some(account::run(command, &connection.connect()?).await?),
        Command::Home(command) => Some(home::run(command, &connection.connect()?).await?),
        Command::Devices(command) => Some(devices::run(command, &connection.connect()?).await?),
        Command::Readings(command) => {
            readings::run(command, &connection.connect()?, args.json).await?
        }
        Command::Notices(command) => {
            notices::run(command, &connection.connect()?, args.json).await?
        }
        Command::Erasure(command) => Some(erasure::run(command, connection).await?),
        Command::Doctor(folder) => Some(doctor::run(&folder).await?),
        Command::Verify(verify) => {
            let (shown, end) = verify::run(&verify).await?;
            show(&shown, args.json);
            return end.map_or(Ok(()), Err);
        }
        Command::Parked(parked) => Some(parked::run(&parked).await?),
        Command::Rebuild(rebuild) => Some(Box::pin(rebuild::run(&rebuild)).await?),
    };
    if let Some(shown) = shown {
        show(&shown, args.json);
    }
    Ok(())
}

fn show(shown: &Shown, as_json: bool) {
    if as_json {
        say(&format!("{:#}", shown.json()));
    } else {
        say(&shown.text());
    }
}

/// Prints a text and a line break to stdout.
pub fn say(text: &str) {
    output::print(text);
}
