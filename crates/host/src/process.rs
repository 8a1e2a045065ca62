//! Process hygiene: memory that holds keys is not written to disk by the kernel, nor read by a debugger of the same user; and one crypto provider.

use std::io;

/// Forbids core dumps and attaching. For the start of `main`, before any secret is in memory.
///
/// # Errors
/// When the kernel refuses; a process with keys should then not start.
pub fn harden() -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        setrlimit(
            Resource::Core,
            Rlimit {
                current: Some(0),
                maximum: Some(0),
            },
        )?;
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}

/// Installs ring as the crypto provider of the process, for libraries that ask for a default. Once is enough; again is
/// harmless.
pub fn install_crypto() {
    // It fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn afterwards_there_are_no_dumps() {
        use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
        super::harden().expect("the kernel allows it");
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        assert_eq!(
            dumpable_behavior().expect("known"),
            DumpableBehavior::NotDumpable
        );
    }
}
