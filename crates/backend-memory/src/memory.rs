//! All ports of one installation together, and the copy of it that an attacker or a backup would hold.

use std::sync::Arc;

use hearth_kernel::InstallationId;
use hearth_ports::Clock;

use crate::{
    MemoryBlobs, MemoryCustody, MemoryDocuments, MemoryLeases, MemoryLog, MemoryOutbound,
    MemorySeries,
};

/// The ports of one installation. Cloning shares them; [`Memory::fork`] copies what they hold.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The clock that all of them ask.
    pub clock: Arc<dyn Clock>,
    /// The log.
    pub log: Arc<MemoryLog>,
    /// The documents.
    pub documents: Arc<MemoryDocuments>,
    /// The series.
    pub series: Arc<MemorySeries>,
    /// The blobs.
    pub blobs: Arc<MemoryBlobs>,
    /// The epoch keys and their escrow.
    pub custody: Arc<MemoryCustody>,
    /// The leases.
    pub leases: Arc<MemoryLeases>,
    /// The channels out.
    pub outbound: Arc<MemoryOutbound>,
}

impl Memory {
    /// An empty installation on that clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            log: Arc::new(MemoryLog::new(Arc::clone(&clock))),
            documents: Arc::default(),
            series: Arc::default(),
            blobs: Arc::default(),
            custody: Arc::new(MemoryCustody::new(InstallationId::from_bytes([1; 16]))),
            leases: Arc::new(MemoryLeases::new(Arc::clone(&clock))),
            outbound: Arc::default(),
            clock,
        }
    }

    /// A full and independent copy of everything that is stored now, keys and escrow included, on the same
    /// clock. For "a copy of the data taken before, without custody", put another `custody` into the copy.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            clock: Arc::clone(&self.clock),
            log: Arc::new(self.log.fork()),
            documents: Arc::new(self.documents.fork()),
            series: Arc::new(self.series.fork()),
            blobs: Arc::new(self.blobs.fork()),
            custody: Arc::new(self.custody.fork()),
            leases: Arc::new(self.leases.fork()),
            outbound: Arc::new(self.outbound.fork()),
        }
    }
}
