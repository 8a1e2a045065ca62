//! Small contracts for tests, compiled from text.

use std::collections::BTreeMap;
use std::path::Path;

use prost_reflect::DescriptorPool;
use protox::Error;
use protox::file::{File, FileResolver};

struct Memory(BTreeMap<String, String>);

impl FileResolver for Memory {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        let source = self
            .0
            .get(name)
            .ok_or_else(|| Error::file_not_found(name))?;
        File::from_source(name, source)
    }

    fn resolve_path(&self, _path: &Path) -> Option<String> {
        None
    }
}

/// The real options, as text.
const OPTIONS: &str = include_str!("../../../../proto/hearth/options/v1/options.proto");

/// Compiles one file, `hearth/demo/v1/demo.proto`, which may import the real options.
pub(crate) fn contract(body: &str) -> DescriptorPool {
    named("hearth/demo/v1/demo.proto", body)
}

/// Compiles one file under a name, with a header for `hearth.demo.v1`.
pub(crate) fn named(name: &str, body: &str) -> DescriptorPool {
    let options = "hearth/options/v1/options.proto";
    let header = format!("syntax = \"proto3\";\npackage hearth.demo.v1;\nimport \"{options}\";\n");
    let files = BTreeMap::from([
        (name.to_owned(), format!("{header}{body}")),
        (options.to_owned(), OPTIONS.to_owned()),
    ]);
    super::compile(Memory(files), &[name.to_owned()], true).unwrap()
}
