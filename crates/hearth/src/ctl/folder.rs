//! The data folder that offline commands work on: one that is there, and that no process has open.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use hearth_backend_sqlite::Stores;
use hearth_host::Exit;
use hearth_ports::SystemClock;

use crate::installation::Folders;

/// Where an installation lies.
#[derive(Args, Clone, Debug)]
pub(crate) struct FolderArgs {
    /// Where the data lies
    #[arg(
        long,
        value_name = "DIR",
        env = "HEARTH_DATA",
        default_value = "hearth-data"
    )]
    data: PathBuf,
    /// Where the epoch keys lie [default: DIR.keys]
    #[arg(long, value_name = "DIR", env = "HEARTH_KEYS")]
    keys: Option<PathBuf>,
    /// Where the second copy of the keys lies [default: DIR.escrow]
    #[arg(long, value_name = "DIR", env = "HEARTH_ESCROW")]
    escrow: Option<PathBuf>,
}

impl FolderArgs {
    /// The three folders.
    pub(crate) fn folders(&self) -> Folders {
        Folders::new(self.data.clone(), self.keys.clone(), self.escrow.clone())
    }

    /// Opens the stores, and keeps every other process out until they are dropped. Makes nothing new.
    ///
    /// # Errors
    /// `Usage`: no installation is there, a process has it open, or it cannot be opened.
    pub(crate) async fn open(&self) -> Result<Stores, Exit> {
        // Opening an empty folder would make a new installation of it.
        if !self.data.join("installation").is_file() {
            let data = self.data.display();
            return Err(Exit::usage(format!(
                "{data}: no installation is here; name its folder with --data DIR"
            )));
        }
        self.folders().open(Arc::new(SystemClock)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(folder: &tempfile::TempDir) -> FolderArgs {
        FolderArgs {
            data: folder.path().join("data"),
            keys: None,
            escrow: None,
        }
    }

    #[tokio::test]
    async fn it_makes_no_installation() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(args(&folder).open().await.unwrap_err().number(), 64);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_folder_that_is_open_is_said_so_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let args = args(&folder);
        let _held = args.folders().open(Arc::new(SystemClock)).await.unwrap();
        let exit = args.open().await.unwrap_err();
        assert_eq!(exit.number(), 64);
        assert!(
            exit.to_string()
                .contains("another process has this data folder open"),
            "{exit}"
        );
        assert_eq!(exit.to_string().lines().count(), 1);
    }
}
