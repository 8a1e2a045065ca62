//! Ports that were free a moment ago.
//!
//! Most of these servers cannot listen on port 0 and say which one they got, so a port is taken, noted and given
//! back. Between that and the server's start another process may take it: then the server does not become ready,
//! and its starter tries again with other ports.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// A port of loopback that is free.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> io::Result<u16> {
    Ok(free_ports::<1>()?[0])
}

/// Ports of loopback that are free, each another.
///
/// # Errors
/// When the system has not so many.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    // All are held until all are known: else the same one could come twice.
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
