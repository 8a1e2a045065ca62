//! Every check and chore of the repository as a command: `cargo xtask <command>`.
//!
//! It knows the shape of the tree and nothing of what the crates do, so it depends on none of them: a tree
//! that does not compile can still be checked. A check never repairs anything by itself; the commands that
//! write (`reasons --write`, `inventory`, `proto --freeze`) are asked for by name.

mod bench;
mod check;
mod ci;
mod deny;
mod inventory;
mod layers;
mod proto;
mod reasons;
mod servers;
mod suites;
mod terminal;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::builder::FalseyValueParser;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Checks and chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Formatting, clippy, layers, dependencies, tidy, protobuf contract, generated files: runs all, reports each.
    Check,
    /// Which crate may depend on which, and what must not be reachable at all.
    Layers,
    /// What the compiler does not see: docs, sizes, names, log style, lists that must agree.
    Tidy,
    /// What may enter the dependency tree: banned crates, licences, sources and wildcards, by `deny.toml`.
    Deny,
    /// Compares the error reasons with their pages in `docs/reasons/`.
    Reasons {
        /// Creates the pages that are missing; leaves the others as they are.
        #[arg(long)]
        write: bool,
    },
    /// Lints `proto/`, and compares it with the frozen descriptor images in `proto/frozen/`.
    Proto {
        /// Writes the image of this version after the checks have passed.
        #[arg(long)]
        freeze: bool,
    },
    /// Writes `docs/data-inventory.md` from the labels in `proto/`.
    Inventory {
        /// Writes nothing; fails when the file is stale or a field has no label.
        #[arg(long)]
        check: bool,
    },
    /// The real servers that some tests need.
    Servers {
        /// What to do with them.
        #[command(subcommand)]
        action: servers::Action,
    },
    /// Runs every test, on real servers where they can be had, and names the suites it skipped.
    Test {
        /// A skipped suite that CI must run is a failure.
        #[arg(long, env = "CI", value_parser = FalseyValueParser::new())]
        strict: bool,
        /// Passed on to `cargo test`, for example `-- --test-threads 1`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs the benches, in release mode.
    Bench {
        /// Passed on to the benches.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// check, then test: what CI runs, with the time of each.
    Ci {
        /// A skipped suite that CI must run is a failure.
        #[arg(long, env = "CI", value_parser = FalseyValueParser::new())]
        strict: bool,
    },
}

fn run(command: Command, workspace: &Workspace) -> Result<bool> {
    Ok(match command {
        Command::Check => check::run(workspace)?,
        Command::Layers => terminal::report("layers", layers::problems(workspace)),
        Command::Tidy => terminal::report("tidy", tidy::problems(workspace)),
        Command::Deny => terminal::report("deny", deny::problems(workspace)),
        Command::Reasons { write } => {
            if write {
                reasons::write_missing(workspace)?;
            }
            terminal::report("reasons", reasons::problems(workspace))
        }
        Command::Proto { freeze } => {
            let sound = terminal::report("proto", proto::problems(workspace));
            if sound && freeze {
                proto::freeze(workspace)?;
            }
            sound
        }
        Command::Inventory { check: true } => {
            terminal::report("inventory", inventory::problems(workspace))
        }
        Command::Inventory { check: false } => {
            inventory::write(workspace)?;
            terminal::report("inventory", inventory::problems(workspace))
        }
        Command::Servers { action } => servers::run(&action)?,
        Command::Test { strict, arguments } => suites::run(workspace, strict, &arguments)?,
        Command::Bench { arguments } => bench::run(workspace, &arguments)?,
        Command::Ci { strict } => ci::run(workspace, strict)?,
    })
}

fn main() -> ExitCode {
    match run(Arguments::parse().command, &Workspace::here()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            terminal::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
