//! hearth-rpc.
