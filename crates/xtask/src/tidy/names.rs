//! Names of files, folders and modules: no `mod.rs`, and no name that says nothing.

use super::scan::{Scan, line_of};

/// Names that collect what has no place. Singular and plural.
const FORBIDDEN: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "manager", "managers", "misc",
];

/// What is wrong with a file's path and with the modules it declares.
pub(crate) fn problems(path: &str, scan: &Scan) -> Vec<String> {
    let mut problems = Vec::new();
    if path.ends_with("/mod.rs") {
        problems.push(format!("{path}: `foo.rs` beside `foo/`, not `foo/mod.rs`"));
    }
    let stem = path.trim_end_matches(".rs");
    for part in stem.split('/').filter(|part| is_forbidden(part)) {
        problems.push(format!(
            "{path}: `{part}` says nothing; name it after what it does"
        ));
    }
    for (at, _) in scan.code().match_indices("mod ") {
        let before = scan.code()[..at].chars().next_back();
        let name: String = scan.code()[at + 4..]
            .trim_start()
            .chars()
            .take_while(|it| it.is_alphanumeric() || *it == '_')
            .collect();
        if !before.is_some_and(|it| it.is_alphanumeric() || it == '_') && is_forbidden(&name) {
            let line = line_of(scan.code(), at);
            problems.push(format!("{path}:{line}: module `{name}` says nothing"));
        }
    }
    problems
}

fn is_forbidden(name: &str) -> bool {
    name.split(['-', '_']).any(|word| FORBIDDEN.contains(&word))
}

#[cfg(test)]
mod tests {
    //! Paths and declarations that are refused, and their harmless neighbours.

    use super::*;

    fn count(path: &str, source: &str) -> usize {
        problems(path, &Scan::new(source)).len()
    }

    #[test]
    fn paths() {
        assert_eq!(count("crates/a/src/b.rs", ""), 0);
        assert_eq!(count("crates/a/src/b/mod.rs", ""), 1);
        assert_eq!(count("crates/a/src/string_utils.rs", ""), 1);
        assert_eq!(count("crates/hearth-common/src/lib.rs", ""), 1);
        assert_eq!(count("crates/a/src/commonality.rs", ""), 0);
    }

    #[test]
    fn modules() {
        assert_eq!(count("a.rs", "pub(crate) mod helpers { }"), 1);
        assert_eq!(count("a.rs", "// mod helpers\nmod decide;"), 0);
    }
}
