//! The engine's own spelling of orders and answers is that of the contract.
