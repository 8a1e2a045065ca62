//! The service on the in-memory backend and a real vault: what is acked is there, once, whatever hubs and crashes do.

mod catalogue;
mod client;
mod erasing;
mod history;
mod hostile;
mod kit;
mod people;
mod stream;
mod tables;
