//! The one program: the wiring of modules to backends, and the commands that start, show and operate it.
//!
//! **Invariant:** this is the only crate that names a backend or lists the services. There is one wiring:
//! `up`, `demo`, the tests and the benches all start an [`Installation`].

pub mod ctl;
pub mod demo;
pub mod files;
pub mod installation;
pub mod maintenance;
pub mod modules;
pub mod up;

pub use installation::{Installation, Ports};
pub use modules::MODULES;
