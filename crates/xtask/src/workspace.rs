//! Where the tree is, which files are in it, and how cargo is asked about it.
//!
//! Paths are relative to the root and written with `/` everywhere, so that messages and lists are the same
//! on every machine. Build output, hidden folders and fuzzing corpora are not part of the tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Metadata, MetadataCommand};

/// The repository that this binary was built from.
pub(crate) struct Workspace {
    root: PathBuf,
}

/// A text file of the tree.
pub(crate) struct TextFile {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

const NOT_OURS: [&str; 4] = ["target", "corpus", "artifacts", "node_modules"];

impl Workspace {
    /// The tree around this crate's own manifest.
    pub(crate) fn here() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.ancestors().nth(2).unwrap_or(manifest);
        Self {
            root: root.to_path_buf(),
        }
    }

    /// The absolute path of something in the tree.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A command that runs in the root.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// What cargo knows: packages and the resolved graph, features of all members together.
    ///
    /// # Errors
    /// cargo fails, for one when `Cargo.lock` is not up to date.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
        MetadataCommand::new()
            .current_dir(&self.root)
            .other_options(vec!["--locked".to_owned()])
            .exec()
            .context("cargo metadata failed")
    }

    /// A path relative to the root, with `/`.
    pub(crate) fn relative(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }

    /// All files with that extension, sorted by path.
    ///
    /// # Errors
    /// A folder cannot be read, or a file is not UTF-8.
    pub(crate) fn files(&self, extension: &str) -> Result<Vec<TextFile>> {
        let mut found = Vec::new();
        collect(&self.root, extension, &mut found)?;
        found.sort();
        found
            .into_iter()
            .map(|path| {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Ok(TextFile {
                    path: self.relative(&path),
                    text,
                })
            })
            .collect()
    }

    /// The text of one file, or `None` when there is no such file.
    ///
    /// # Errors
    /// It exists, and cannot be read.
    pub(crate) fn read(&self, relative: &str) -> Result<Option<String>> {
        match fs::read_to_string(self.path(relative)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {relative}")),
        }
    }

    /// Writes one file, and the folders above it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(relative);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {relative}"))
    }

    /// What a command writes on standard output.
    ///
    /// # Errors
    /// It cannot be started, or fails.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        ensure!(
            output.status.success(),
            "{program} {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if !name.starts_with('.') && !NOT_OURS.contains(&name.as_ref()) {
                collect(&entry.path(), extension, found)?;
            }
        } else if kind.is_file() && entry.path().extension().is_some_and(|it| it == extension) {
            found.push(entry.path());
        }
    }
    Ok(())
}
