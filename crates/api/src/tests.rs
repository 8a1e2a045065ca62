//! What the whole contract must hold, read from its descriptors.
