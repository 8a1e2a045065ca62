//! What the compiler and clippy do not see: that files say what they are, stay small and well named, leave
//! nothing for later, log in one style, and that lists which must agree do agree.
//!
//! Every rule is a pure function over text; this module only feeds them the tree.

mod log_style;
mod names;
mod scan;
mod size;

use anyhow::Result;

use crate::workspace::{TextFile, Workspace};
use crate::{inventory, reasons, suites};

pub(crate) use scan::Scan;

/// Everything that is untidy.
///
/// # Errors
/// A file cannot be read, or cargo fails.
pub(crate) fn problems(workspace: &Workspace) -> Result<Vec<String>> {
    let sources = workspace.files("rs")?;
    let mut problems = Vec::new();
    for file in &sources {
        let scan = Scan::new(&file.text);
        problems.extend(opening(file));
        problems.extend(names::problems(&file.path, &scan));
        problems.extend(leftovers(file, &scan));
        problems.extend(log_style::problems(&file.path, &file.text, &scan));
    }
    for extension in ["proto", "toml", "sh"] {
        for file in workspace.files(extension)? {
            problems.extend(postponed(&file));
        }
    }
    let exceptions = workspace.read(size::EXCEPTIONS)?.unwrap_or_default();
    problems.extend(size::problems(&sources, &exceptions)?);
    problems.extend(crates(workspace)?);
    problems.extend(suites::problems(workspace)?);
    problems.extend(reasons::problems(workspace)?);
    problems.extend(inventory::unlabelled(workspace)?);
    Ok(problems)
}

/// Every file opens by saying what it is.
fn opening(file: &TextFile) -> Option<String> {
    let first = file.text.lines().next().unwrap_or_default();
    (!first.starts_with("//! ")).then(|| format!("{}: does not open with `//!`", file.path))
}

/// Nothing is left for later, and no test is switched off.
fn leftovers(file: &TextFile, scan: &Scan) -> Vec<String> {
    let mut problems = postponed(file);
    for (number, line) in scan.code().lines().enumerate() {
        let bare: String = line.chars().filter(|it| !it.is_whitespace()).collect();
        if bare.contains("#[ignore") || bare.contains(",ignore)]") {
            let path = &file.path;
            problems.push(format!("{path}:{}: a test is switched off", number + 1));
        }
    }
    problems
}

/// Words that put something off, wherever they stand as a word of their own.
fn postponed(file: &TextFile) -> Vec<String> {
    const MARKS: [&str; 3] = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("X", "XX"),
    ];
    let mut problems = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let mut words = line.split(|it: char| !it.is_alphanumeric() && it != '_');
        if let Some(mark) = words.find(|word| MARKS.contains(word)) {
            problems.push(format!("{}:{}: {mark} is left", file.path, number + 1));
        }
    }
    problems
}

/// Every crate takes the workspace's lints and stands in ARCHITECTURE.md; every service exports its module.
fn crates(workspace: &Workspace) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let architecture = workspace.read("ARCHITECTURE.md")?;
    if architecture.is_none() {
        problems.push("ARCHITECTURE.md is missing".to_owned());
    }
    for package in workspace.metadata()?.workspace_packages() {
        let manifest = workspace.relative(package.manifest_path.as_std_path());
        let folder = manifest.trim_end_matches("/Cargo.toml");
        let text = workspace.read(&manifest)?.unwrap_or_default();
        if !takes_lints(&text)? {
            problems.push(format!("{manifest}: lacks `[lints] workspace = true`"));
        }
        if let Some(page) = &architecture
            && !mentions(page, folder, &package.name)
        {
            problems.push(format!("ARCHITECTURE.md does not name `{folder}`"));
        }
        let is_service = folder.starts_with("services/") && !folder.ends_with("/domain");
        let source = format!("{folder}/src/lib.rs");
        let library = workspace.read(&source)?.unwrap_or_default();
        if is_service && !has_word(Scan::new(&library).code(), "MODULE") {
            problems.push(format!("{source}: does not export MODULE"));
        }
    }
    Ok(problems)
}

fn takes_lints(manifest: &str) -> Result<bool> {
    let manifest: toml::Table = toml::from_str(manifest)?;
    let lints = manifest.get("lints").and_then(|it| it.get("workspace"));
    Ok(lints.and_then(toml::Value::as_bool) == Some(true))
}

/// Whether a page names a crate: its folder or its package as a word, or its folder's last part in backquotes.
fn mentions(page: &str, folder: &str, package: &str) -> bool {
    let last = folder.rsplit('/').next().unwrap_or(folder);
    let own = !folder.ends_with("/domain");
    has_word(page, folder)
        || has_word(page, package)
        || own && (page.contains(&format!("`{last}`")) || page.contains(&format!("`{last}/`")))
}

/// Whether a text has a word that is not a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let inside = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '/');
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + word.len()..].chars();
        let ends = match after.next() {
            Some('/') => !after.next().is_some_and(char::is_alphanumeric),
            Some(other) => !inside(other),
            None => true,
        };
        ends && !before.is_some_and(inside)
    })
}

#[cfg(test)]
mod tests {
    //! Each rule on strings that keep it and strings that break it.

    use super::*;

    fn file(text: &str) -> TextFile {
        TextFile {
            path: "a.rs".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_file_opens_with_its_doc() {
        assert_eq!(opening(&file("//! What it is.\n")), None);
        for bad in ["", "use a;", "\n//! Late.", "// Not a doc.", "//!"] {
            assert!(opening(&file(bad)).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_put_off_is_found_as_a_word() {
        let bad = format!("fn a() {{}} // {}: later", MARK);
        assert_eq!(
            postponed(&file(&bad)),
            vec![format!("a.rs:1: {MARK} is left")]
        );
        assert!(postponed(&file(&format!("const A{MARK}S: u8 = 1;"))).is_empty());
    }

    const MARK: &str = concat!("TO", "DO");

    #[test]
    fn a_switched_off_test_is_found_in_code_only() {
        let bad = "#[test]\n# [ ignore = \"slow\" ]\nfn a() {}";
        assert_eq!(leftovers(&file(bad), &Scan::new(bad)).len(), 1);
        let good = "// `#[ignore]` is not used here\nconst A: &str = \"#[ignore]\";";
        assert!(leftovers(&file(good), &Scan::new(good)).is_empty());
    }

    #[test]
    fn a_crate_is_named_as_a_word() {
        assert!(mentions("see crates/rpc/ for", "crates/rpc", "hearth-rpc"));
        assert!(mentions("`hearth-rpc`", "crates/rpc", "hearth-rpc"));
        assert!(mentions("- `rpc/`: the stack", "crates/rpc", "hearth-rpc"));
        assert!(!mentions(
            "services/ingest/domain",
            "services/ingest",
            "hearth-ingest"
        ));
        assert!(!mentions(
            "hearth-ingest-domain",
            "services/ingest",
            "hearth-ingest"
        ));
        assert!(!mentions(
            "the `domain` crates",
            "services/ingest/domain",
            "hearth-ingest-domain"
        ));
    }

    #[test]
    fn the_lints_of_the_workspace_are_taken() {
        assert!(takes_lints("[lints]\nworkspace = true").unwrap());
        assert!(!takes_lints("[package]\nname = \"a\"").unwrap());
    }
}
