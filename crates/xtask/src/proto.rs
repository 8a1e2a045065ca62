//! The protobuf contract: compiled in process (no protoc, no buf), linted, and compared with what was frozen.

pub(crate) mod breaking;
pub(crate) mod labels;
mod lint;
#[cfg(test)]
pub(crate) mod made_up;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use prost_reflect::DescriptorPool;
use protox::Compiler;
use protox::file::{ChainFileResolver, FileResolver, GoogleFileResolver, IncludeFileResolver};

use crate::terminal;
use crate::workspace::Workspace;

/// The folder of the contract, and the include path of its imports.
const ROOT: &str = "proto";
/// Descriptor images of released contracts, one a minor version.
const FROZEN: &str = "proto/frozen";

/// Everything that breaks the rules of the contract, or the contract itself.
///
/// # Errors
/// The contract does not compile, or an image cannot be read.
pub(crate) fn problems(workspace: &Workspace) -> Result<Vec<String>> {
    let now = contract(workspace)?;
    let mut problems = lint::problems(&now);
    for path in images(workspace)? {
        let name = workspace.relative(&path);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
        let frozen = DescriptorPool::decode(bytes.as_slice())
            .with_context(|| format!("{name} is no descriptor image"))?;
        let broken = breaking::problems(&frozen, &now);
        problems.extend(broken.into_iter().map(|it| format!("breaks {name}: {it}")));
    }
    Ok(problems)
}

/// Writes the image of this minor version. To be called when `problems` found nothing, so that an image that
/// is there already only grows.
///
/// # Errors
/// The contract does not compile, or the image cannot be written.
pub(crate) fn freeze(workspace: &Workspace) -> Result<()> {
    let path = format!(
        "{FROZEN}/v{}.{}.binpb",
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR")
    );
    let resolver = IncludeFileResolver::new(workspace.path(ROOT));
    let pool = compile(resolver, &sources(workspace)?, false)?;
    workspace.write(&path, pool.encode_to_vec())?;
    terminal::say(&format!("wrote {path}"));
    Ok(())
}

/// The contract of the tree, with its comments.
///
/// # Errors
/// There is none, or it does not compile.
pub(crate) fn contract(workspace: &Workspace) -> Result<DescriptorPool> {
    let resolver = IncludeFileResolver::new(workspace.path(ROOT));
    compile(resolver, &sources(workspace)?, true)
}

fn sources(workspace: &Workspace) -> Result<Vec<String>> {
    let prefix = format!("{ROOT}/");
    let files = workspace.files("proto")?;
    let names: Vec<String> = files
        .iter()
        .filter_map(|it| it.path.strip_prefix(&prefix))
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        bail!("{ROOT}/ has no files");
    }
    Ok(names)
}

fn images(workspace: &Workspace) -> Result<Vec<std::path::PathBuf>> {
    let folder = workspace.path(FROZEN);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut images = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        images.extend(
            path.extension()
                .is_some_and(|it| it == "binpb")
                .then_some(path),
        );
    }
    images.sort();
    Ok(images)
}

fn compile(
    resolver: impl FileResolver + 'static,
    names: &[String],
    comments: bool,
) -> Result<DescriptorPool> {
    let mut chain = ChainFileResolver::new();
    chain.add(resolver);
    chain.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(chain);
    compiler.include_imports(true).include_source_info(comments);
    compiler
        .open_files(names.iter().map(Path::new))
        .map_err(|error| anyhow::anyhow!("the contract does not compile: {error:?}"))?;
    // The bytes and not the parsed set: only they keep the options that are extensions.
    Ok(DescriptorPool::decode(
        compiler.encode_file_descriptor_set().as_slice(),
    )?)
}
