//! Apache Cassandra from Maven Central: its jars, each compared with the list of sums in this crate.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::run;
use crate::error::ServerError;

const POM: &str = include_str!("../../pins/cassandra/pom.xml");
/// As `sha256sum` writes and checks it.
const SUMS: &str = include_str!("../../pins/cassandra/jars.sha256");
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

pub(super) fn fetch(scratch: &Path, filled: &Path) -> Result<(), ServerError> {
    let pom = scratch.join("pom.xml");
    fs::write(&pom, POM).map_err(ServerError::io("cannot write", &pom))?;
    let lib = filled.join("lib");
    run(Command::new("mvn")
        .current_dir(scratch)
        .args(["-B", "-ntp", "-q", COPY, "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", lib.display())))?;
    let sums = scratch.join("jars.sha256");
    fs::write(&sums, SUMS).map_err(ServerError::io("cannot write", &sums))?;
    run(Command::new("sha256sum")
        .current_dir(&lib)
        .args(["--check", "--strict", "--quiet"])
        .arg(&sums))?;
    // A jar that the list does not name would be on the class path unchecked.
    let jars = fs::read_dir(&lib).map_err(ServerError::io("cannot read", &lib))?;
    let (came, listed) = (jars.count(), SUMS.lines().count());
    if came == listed {
        Ok(())
    } else {
        Err(ServerError::Failed {
            program: "mvn".to_owned(),
            output: format!("{came} jars came, {listed} are listed"),
        })
    }
}
