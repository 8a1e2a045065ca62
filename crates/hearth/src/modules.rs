//! The list of services. One image, one program: a process runs all of them or some.

use hearth_host::Module;

/// Every service that there is so far, in the order in which they start.
pub static MODULES: [&Module; 4] = [
    &hearth_accounts::MODULE,
    &hearth_ingest::MODULE,
    &hearth_notifications::MODULE,
    &hearth_retention::MODULE,
];
