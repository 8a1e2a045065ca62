//! The reasons of errors and their pages: every reason has a page that says what it means and what to do,
//! and no page speaks of a reason that does not exist.
//!
//! The list is read as text from the kernel's source, so that it is checked even when nothing compiles.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use crate::terminal;
use crate::tidy::Scan;
use crate::workspace::Workspace;

const LIST: &str = "crates/kernel/src/reason.rs";
const PAGES: &str = "docs/reasons";
/// The page about the pages.
const INDEX: &str = "README";
const HEADINGS: [&str; 3] = ["## Meaning", "## Cause", "## What to do"];

/// A kind of failure: its name in the kernel, its gRPC code, and what is generally true of it.
struct Kind {
    name: &'static str,
    code: &'static str,
    cause: &'static str,
    advice: &'static str,
}

/// Reasons for which gRPC itself prescribes a code, `UNIMPLEMENTED`: the same as in the mapping of `hearth-rpc`.
const OF_GRPC: [&str; 2] = ["UNKNOWN_RPC", "UNSUPPORTED_ENCODING"];

const KINDS: &[Kind] = &[
    Kind {
        name: "Invalid",
        code: "INVALID_ARGUMENT",
        cause: "The request itself is wrong, whatever the state of the server. Every violation is listed in `google.rpc.BadRequest`.",
        advice: "Correct the fields that are listed and send the request again. Do not retry it unchanged.",
    },
    Kind {
        name: "Rejected",
        code: "FAILED_PRECONDITION",
        cause: "The request is well formed, but the present state does not permit it.",
        advice: "Change the state first, or give the request up. Do not retry it unchanged.",
    },
    Kind {
        name: "NotFound",
        code: "NOT_FOUND",
        cause: "There is no such object, or you may not know of it: both are answered alike.",
        advice: "Check the id, and that the account is a member of the home that the object belongs to.",
    },
    Kind {
        name: "Exists",
        code: "ALREADY_EXISTS",
        cause: "Something else already has what must be unique.",
        advice: "Use what exists, or choose another value.",
    },
    Kind {
        name: "Conflict",
        code: "ABORTED",
        cause: "Others changed the same object at the same time, more often than the server tries again.",
        advice: "Read the object, decide again, and send a new request after the delay in `google.rpc.RetryInfo`.",
    },
    Kind {
        name: "Unauthenticated",
        code: "UNAUTHENTICATED",
        cause: "It is not proved who is calling, or not recently enough.",
        advice: "Refresh the session or sign in, then repeat the request.",
    },
    Kind {
        name: "Forbidden",
        code: "PERMISSION_DENIED",
        cause: "The caller is known, and may not do this.",
        advice: "Ask an owner or admin of the home. Do not retry.",
    },
    Kind {
        name: "Limited",
        code: "RESOURCE_EXHAUSTED",
        cause: "A limit on rate, count or size is reached.",
        advice: "Wait for the delay in `google.rpc.RetryInfo` if there is one; else send less or free something first.",
    },
    Kind {
        name: "Unavailable",
        code: "UNAVAILABLE",
        cause: "The server cannot answer at the moment. Nothing was written.",
        advice: "Repeat the same request after the delay in `google.rpc.RetryInfo`, with backoff.",
    },
    Kind {
        name: "Deadline",
        code: "DEADLINE_EXCEEDED",
        cause: "The call took longer than its deadline, so its outcome is not known to the caller.",
        advice: "Repeat it with the same `request_id`: what was done is not done twice.",
    },
    Kind {
        name: "Unknown",
        code: "UNKNOWN",
        cause: "A write was sent and not confirmed: it may have happened.",
        advice: "Repeat it with the same `request_id`: what was done is not done twice.",
    },
    Kind {
        name: "Bug",
        code: "INTERNAL",
        cause: "A defect of the server. Details are in its log, not in the answer.",
        advice: "Report it with the request id of the answer.",
    },
    Kind {
        name: "Corrupt",
        code: "DATA_LOSS",
        cause: "Stored bytes are not what was written.",
        advice: "Tell the operator, who runs `hearth ctl verify` and restores what is damaged.",
    },
];

/// One reason as the kernel lists it.
#[derive(Debug, PartialEq, Eq)]
struct Reason {
    name: String,
    kind: String,
    /// Its sentences: the message, and hints if there are any.
    sentences: Vec<String>,
}

/// Where the list and the pages do not agree.
///
/// # Errors
/// The list or a page cannot be read.
pub(crate) fn problems(workspace: &Workspace) -> Result<Vec<String>> {
    let reasons = list(workspace)?;
    let mut problems = Vec::new();
    if reasons.is_empty() {
        problems.push(format!("{LIST}: no reasons found"));
    }
    for reason in &reasons {
        let path = page_path(&reason.name);
        match workspace.read(&path)? {
            None => problems.push(format!("{path} is missing; `cargo xtask reasons --write`")),
            Some(page) => problems.extend(page_problems(reason, &path, &page)),
        }
    }
    let names: BTreeSet<&str> = reasons.iter().map(|it| it.name.as_str()).collect();
    for name in pages(workspace)?.iter().filter(|it| *it != INDEX) {
        if !names.contains(name.as_str()) {
            problems.push(format!("{}: there is no such reason", page_path(name)));
        }
    }
    Ok(problems)
}

/// Creates the pages that are missing, and touches no other.
///
/// # Errors
/// The list cannot be read, a kind is not known here, or a page cannot be written.
pub(crate) fn write_missing(workspace: &Workspace) -> Result<()> {
    let there: BTreeSet<String> = pages(workspace)?.into_iter().collect();
    for reason in list(workspace)?
        .iter()
        .filter(|it| !there.contains(&it.name))
    {
        let path = page_path(&reason.name);
        workspace.write(&path, render(reason)?)?;
        terminal::say(&format!("wrote {path}"));
    }
    Ok(())
}

fn list(workspace: &Workspace) -> Result<Vec<Reason>> {
    let source = workspace
        .read(LIST)?
        .with_context(|| format!("{LIST} is missing"))?;
    Ok(parse(&source))
}

fn page_path(name: &str) -> String {
    format!("{PAGES}/{name}.md")
}

/// The names of the pages that exist.
fn pages(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.path(PAGES);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        names.extend(
            name.to_string_lossy()
                .strip_suffix(".md")
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

/// Finds `NAME => Kind, "sentence"` at the beginnings of lines, in code.
fn parse(source: &str) -> Vec<Reason> {
    let scan = Scan::new(source);
    let mut starts = Vec::new();
    let mut at = 0;
    for line in scan.code().split_inclusive('\n') {
        if let Some(name) = entry(line) {
            starts.push((at, name));
        }
        at += line.len();
    }
    let ends: Vec<usize> = starts.iter().skip(1).map(|it| it.0).chain([at]).collect();
    starts
        .into_iter()
        .zip(ends)
        .map(|((start, name), end)| {
            // The entry ends at its own `;`, so that the last one does not take the rest of the file.
            let end = scan.code()[start..end]
                .find(';')
                .map_or(end, |it| start + it);
            let after = scan.code()[start..end]
                .split_once("=>")
                .map_or("", |it| it.1);
            let kind = after
                .trim_start()
                .chars()
                .take_while(|it| it.is_alphanumeric())
                .collect();
            let inside = |range: &std::ops::Range<usize>| range.start > start && range.end <= end;
            let sentences = scan
                .strings()
                .iter()
                .filter(|it| inside(&it.range))
                .map(|it| source[it.range.clone()].to_owned())
                .collect();
            Reason {
                name,
                kind,
                sentences,
            }
        })
        .collect()
}

/// The name that an entry of the list opens with, if the line opens one.
fn entry(line: &str) -> Option<String> {
    let (name, _) = line.split_once("=>")?;
    let name = name.trim();
    let upper = |it: char| it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_';
    let named = name.len() > 1 && name.starts_with(|it: char| it.is_ascii_uppercase());
    (named && name.chars().all(upper)).then(|| name.to_owned())
}

fn kind_of(reason: &Reason) -> Option<&'static Kind> {
    KINDS.iter().find(|it| it.name == reason.kind)
}

/// The gRPC code of a reason: that of its kind, unless gRPC has one of its own for it.
fn code(reason: &Reason, kind: &Kind) -> &'static str {
    if OF_GRPC.contains(&reason.name.as_str()) {
        "UNIMPLEMENTED"
    } else {
        kind.code
    }
}

fn page_problems(reason: &Reason, path: &str, page: &str) -> Vec<String> {
    let mut problems = Vec::new();
    match kind_of(reason) {
        None => problems.push(format!(
            "{path}: kind `{}` is not known to xtask",
            reason.kind
        )),
        Some(kind) if !page.contains(&format!("`{}`", code(reason, kind))) => {
            problems.push(format!(
                "{path}: does not name its gRPC code `{}`",
                code(reason, kind)
            ));
        }
        Some(_) => {}
    }
    if !page.starts_with(&format!("# {}\n", reason.name)) {
        problems.push(format!("{path}: does not open with `# {}`", reason.name));
    }
    for heading in HEADINGS {
        let mut lines = page.lines().skip_while(|line| *line != heading).skip(1);
        let body = lines.find(|line| !line.trim().is_empty());
        if body.is_none_or(|line| line.starts_with('#')) {
            problems.push(format!("{path}: `{heading}` is missing or empty"));
        }
    }
    problems
}

fn render(reason: &Reason) -> Result<String> {
    let kind = kind_of(reason).with_context(|| {
        format!(
            "{}: kind `{}` is not known to xtask",
            reason.name, reason.kind
        )
    })?;
    let mut sentences = reason.sentences.iter().map(|it| sentence(it));
    let message = sentences.next().unwrap_or_default();
    let hints: String = sentences.map(|it| format!("\n{it}\n")).collect();
    let [meaning, cause, advice] = HEADINGS;
    Ok(format!(
        "# {}\n\ngRPC code `{}`.\n\n{meaning}\n\n{message}\n\n{cause}\n\n{}\n\n{advice}\n\n{}\n{hints}",
        reason.name,
        code(reason, kind),
        kind.cause,
        kind.advice
    ))
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let Some(first) = characters.next() else {
        return String::new();
    };
    format!(
        "{}{}.",
        first.to_uppercase(),
        characters.as_str().trim_end_matches('.')
    )
}

#[cfg(test)]
mod tests {
    //! The list read from a made-up source, and pages that are whole and broken.

    use super::*;

    const SOURCE: &str = r#"
macro_rules! reasons { ($($name:ident => $kind:ident, $message:literal;)+) => {}; }
reasons! {
    // OLD_ONE => Gone, "in a comment";
    EMAIL_TAKEN => Exists, "this address is taken";
    NOT_FOUND =>
        NotFound, "there is none; or you may not see it";
}
const AFTER: &str = "no part of it";
"#;

    #[test]
    fn the_list_is_read_from_code() {
        let reasons = parse(SOURCE);
        let names: Vec<_> = reasons.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["EMAIL_TAKEN", "NOT_FOUND"]);
        assert_eq!(reasons[0].kind, "Exists");
        assert_eq!(reasons[0].sentences, ["this address is taken"]);
        assert_eq!(reasons[1].kind, "NotFound");
        assert_eq!(
            reasons[1].sentences,
            ["there is none; or you may not see it"]
        );
    }

    #[test]
    fn a_written_page_passes() {
        let reason = &parse(SOURCE)[0];
        let page = render(reason).unwrap();
        assert_eq!(page_problems(reason, "a.md", &page), Vec::<String>::new());
        assert!(page.contains("This address is taken.\n"));
    }

    #[test]
    fn a_broken_page_is_named() {
        let reason = &parse(SOURCE)[0];
        let page = render(reason).unwrap();
        let empty = page.replace("Something else already has what must be unique.", "");
        assert_eq!(page_problems(reason, "a.md", &empty).len(), 1);
        let other = page.replace("ALREADY_EXISTS", "ABORTED");
        assert_eq!(page_problems(reason, "a.md", &other).len(), 1);
        assert_eq!(page_problems(reason, "a.md", "").len(), 5);
    }
}
