//! `hearth`: one program for operators, users at a terminal, and whoever wants to see it work.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hearth::{ctl, demo, up};
use hearth_host::Exit;

/// The open-source backend of a smart home and office.
#[derive(Parser)]
#[command(name = "hearth", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in one process on embedded stores
    Up(up::UpArgs),
    /// Show the whole story on a year of real data, checked step by step
    Demo(demo::DemoArgs),
    /// Use and operate an installation
    Ctl(ctl::CtlArgs),
}

fn main() -> ExitCode {
    // Clap's own code for a bad command line is 2; ours is 64, as for every other bad option.
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(64)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return Exit::failed("no threads", &error).report(),
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Up(args) => Box::pin(up::run(args)).await,
            Command::Demo(args) => Box::pin(demo::run(args)).await,
            Command::Ctl(args) => Box::pin(ctl::run(args)).await,
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}
