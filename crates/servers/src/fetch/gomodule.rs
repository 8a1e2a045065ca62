//! Servers that are built from the Go module proxy, under a `go.sum` of this crate.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::run;
use crate::error::ServerError;

const MODULE: &str = include_str!("../../pins/toxiproxy/go.mod.pin");
const SUMS: &str = include_str!("../../pins/toxiproxy/go.sum.pin");
const PACKAGE: &str = "github.com/Shopify/toxiproxy/v2/cmd/server";

pub(super) fn fetch(scratch: &Path, filled: &Path) -> Result<(), ServerError> {
    for (name, text) in [("go.mod", MODULE), ("go.sum", SUMS)] {
        let path = scratch.join(name);
        fs::write(&path, text).map_err(ServerError::io("cannot write", &path))?;
    }
    run(Command::new("go")
        .current_dir(scratch)
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .args(["build", "-mod=readonly", "-trimpath", "-o"])
        .arg(filled.join("toxiproxy-server"))
        .arg(PACKAGE))
}
