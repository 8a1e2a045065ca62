//! The RPCs: who is shown what.
