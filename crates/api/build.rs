//! Compiles every `.proto` under `proto/` to Rust, without protoc.
//!
//! It finds the files itself, so a new message, stored form or service needs no edit here or in `lib.rs`.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use protox::Compiler;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    // A directory is watched with all that is in it: a new file is seen too.
    println!("cargo::rerun-if-changed={}", root.display());

    let mut files = Vec::new();
    discover(&root, &mut files)?;
    files.sort();

    // Comments become the documentation of the generated code ...
    let mut documented = Compiler::new([&root])?;
    documented
        .include_source_info(true)
        .include_imports(true)
        .open_files(&files)?;
    // ... and stay out of what the server answers to reflection. The bytes are protox's own: they keep the options that
    // are extensions, which `prost_types::FileDescriptorSet` would drop.
    let mut plain = Compiler::new([&root])?;
    plain
        .include_source_info(false)
        .include_imports(true)
        .open_files(&files)?;
    fs::write(
        out.join("descriptors.binpb"),
        plain.encode_file_descriptor_set(),
    )?;

    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .bytes(".")
        .include_file("hearth.rs")
        .emit_rerun_if_changed(false)
        .compile_fds(documented.file_descriptor_set())?;
    Ok(())
}

/// Collects every `.proto` below `folder`.
fn discover(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            discover(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    Ok(())
}
