//! An installation to run retention in: on memory, or on real files; it can be killed and started again.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hearth_access::Access;
use hearth_backend_memory::Memory;
use hearth_backend_sqlite::{DataFolder, Stores};
use hearth_engine::Watermarks;
use hearth_host::{Context, Erasing, Metrics};
use hearth_kernel::{Service, Timestamp};
use hearth_ports::{
    Clock, Documents, Family, Holding, KeyCustody, Log, ManualClock, Position, StoreError,
    StoredFile, StoredFiles, Stream, Tasks,
};
use hearth_vault::Vault;
use tempfile::TempDir;

use super::fake::Fake;
use super::fuse::{Fuse, Fused};
use crate::app::{App, Knowledge};
use crate::module::{self, Options};

pub(super) const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// What survives a crash.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) clock: ManualClock,
    pub(super) memory: Memory,
    pub(super) log: Arc<dyn Log>,
    pub(super) documents: Arc<dyn Documents>,
    pub(super) custody: Arc<dyn KeyCustody>,
    pub(super) files: Arc<dyn StoredFiles>,
    scrubs: Arc<AtomicU64>,
}

impl Disk {
    pub(super) fn in_memory() -> Self {
        let clock = ManualClock::new(START);
        let memory = Memory::new(Arc::new(clock.clone()));
        Self {
            log: Arc::clone(&memory.log) as _,
            documents: Arc::clone(&memory.documents) as _,
            custody: Arc::clone(&memory.custody) as _,
            files: Arc::new(Messages(Arc::clone(&memory.log) as _)),
            scrubs: Arc::default(),
            clock,
            memory,
        }
    }

    pub(super) async fn in_files() -> (Self, TempDir) {
        let clock = ManualClock::new(START);
        let memory = Memory::new(Arc::new(clock.clone()));
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (data, keys, escrow) = (at("data"), at("keys"), at("escrow"));
        let stores = DataFolder::open(&data, &keys, &escrow, Arc::new(clock.clone()))
            .await
            .unwrap();
        let scrubs = Arc::new(AtomicU64::new(0));
        let disk = Self {
            scrubs: Arc::clone(&scrubs),
            log: Arc::clone(&stores.log) as _,
            documents: Arc::clone(&stores.documents) as _,
            custody: Arc::clone(&stores.custody) as _,
            files: Arc::new(Folders {
                root: folder.path().to_owned(),
                stores,
                scrubs,
            }),
            clock,
            memory,
        };
        (disk, folder)
    }

    /// How many searches after a purge have begun; of real files only.
    pub(super) fn passes(&self) -> u64 {
        self.scrubs.load(Ordering::SeqCst)
    }

    /// The same, through a fuse.
    pub(super) fn behind(&self, fuse: &Fuse) -> Self {
        let log: Arc<dyn Log> = Arc::new(Fused {
            fuse: fuse.clone(),
            inner: Arc::clone(&self.log),
        });
        let documents: Arc<dyn Documents> = Arc::new(Fused {
            fuse: fuse.clone(),
            inner: Arc::clone(&self.documents),
        });
        Self {
            log,
            documents,
            ..self.clone()
        }
    }

    /// Every message of a service's history and records that an id stands in.
    pub(super) async fn messages_of(&self, id: uuid::Uuid) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for service in [Service::Accounts, Service::Notifications] {
            let stream = Stream::new(Family::Evt, service);
            let page = self
                .log
                .page(stream, Position::START, 10_000)
                .await
                .unwrap();
            let of = page.into_iter().filter(|it| it.subject.id() == Some(id));
            found.extend(of.map(|it| it.bytes.to_vec()));
        }
        found
    }
}

/// The files of a data folder, as the binary gives them.
struct Folders {
    root: PathBuf,
    stores: Stores,
    scrubs: Arc<AtomicU64>,
}

#[async_trait]
impl StoredFiles for Folders {
    async fn scrub(&self, now: Timestamp) -> Result<(), StoreError> {
        self.scrubs.fetch_add(1, Ordering::SeqCst);
        self.stores.expire(now).await?;
        self.stores.scrub().await
    }

    fn files(&self) -> io::Result<Vec<StoredFile>> {
        let file = |path: PathBuf| {
            let name = path.strip_prefix(&self.root).unwrap_or(&path);
            let name = name.to_string_lossy().into_owned();
            let holds = match name.split('/').collect::<Vec<_>>()[..] {
                ["keys" | "escrow", ..] => Holding::Keys,
                ["data", "telemetry", ..] => Holding::Frames,
                ["data", "blobs", ..] => Holding::Blobs,
                ["data", it] if it.starts_with("log.db") => Holding::Log,
                ["data", it] if it.starts_with("documents.db") => Holding::Documents,
                ["data", it] if it.starts_with("series.db") => Holding::Series,
                _ => Holding::Other,
            };
            StoredFile { name, holds }
        };
        Ok(self.stores.files()?.into_iter().map(file).collect())
    }

    fn open(&self, file: &StoredFile) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(File::open(self.root.join(&file.name))?))
    }
}

/// The messages of a log in memory, as if each stream were a file.
struct Messages(Arc<dyn Log>);

#[async_trait]
impl StoredFiles for Messages {
    async fn scrub(&self, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    fn files(&self) -> io::Result<Vec<StoredFile>> {
        let families = [Family::Evt, Family::Rec, Family::Int, Family::State];
        let streams = Service::ALL
            .into_iter()
            .flat_map(|service| families.map(|family| Stream::new(family, service)));
        let file = |stream: Stream| StoredFile {
            name: stream.name(),
            holds: Holding::Log,
        };
        Ok(streams.map(file).collect())
    }

    fn open(&self, file: &StoredFile) -> io::Result<Box<dyn io::Read + Send>> {
        let (family, service) = file.name.split_once('_').ok_or(io::ErrorKind::NotFound)?;
        let family = match family {
            "EVT" => Family::Evt,
            "REC" => Family::Rec,
            "INT" => Family::Int,
            _ => Family::State,
        };
        let service = service.to_lowercase().parse();
        let stream = Stream::new(family, service.map_err(|_| io::ErrorKind::NotFound)?);
        let page = self.0.page(stream, Position::START, 10_000);
        let page = tokio::runtime::Handle::current().block_on(page);
        let mut bytes = Vec::new();
        for message in page.map_err(io::Error::other)? {
            bytes.extend_from_slice(message.subject.tokens().as_bytes());
            bytes.extend_from_slice(&message.bytes);
        }
        Ok(Box::new(io::Cursor::new(bytes)))
    }
}

/// An installation that runs. Dropping what it holds is not a stop: use [`World::kill`].
pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) vault: Vault,
    tasks: Tasks,
    access: Arc<Access>,
    watermarks: Watermarks,
}

/// What runs in it.
pub(super) struct Life {
    pub(super) world: World,
    pub(super) accounts: Fake<1>,
    pub(super) notifications: Fake<4>,
    pub(super) app: App,
    pub(super) knowledge: Arc<Knowledge>,
}

impl World {
    pub(super) async fn new(disk: &Disk) -> Self {
        let tasks = Tasks::new();
        let clock: Arc<dyn Clock> = Arc::new(disk.clock.clone());
        let (log, custody) = (Arc::clone(&disk.log), Arc::clone(&disk.custody));
        let vault = Vault::start(Arc::clone(&log), custody, Arc::clone(&clock), &tasks)
            .await
            .unwrap();
        let watermarks = Watermarks::new(Arc::clone(&log));
        let listening = watermarks.clone();
        tasks.supervise("watermarks", move || {
            let listening = listening.clone();
            async move { listening.listen(Service::Accounts).await }
        });
        let access = Access::start(log, clock, watermarks.clone(), &tasks);
        Self {
            disk: disk.clone(),
            vault,
            tasks,
            access,
            watermarks,
        }
    }

    pub(super) fn context(&self, service: Service) -> Context {
        let memory = &self.disk.memory;
        Context {
            service,
            log: Arc::clone(&self.disk.log),
            documents: Arc::clone(&self.disk.documents),
            series: Arc::clone(&memory.series) as _,
            blobs: Arc::clone(&memory.blobs) as _,
            leases: Arc::clone(&memory.leases) as _,
            clock: Arc::new(self.disk.clock.clone()),
            outbound: Arc::clone(&memory.outbound) as _,
            sealing: self.vault.handle(service),
            access: Arc::clone(&self.access),
            erasing: Some(Erasing {
                vault: Arc::new(self.vault.clone()),
                files: Arc::clone(&self.disk.files),
            }),
            watermarks: self.watermarks.clone(),
            tasks: self.tasks.clone(),
            metrics: Metrics::new(),
            config: Arc::default(),
        }
    }
}

impl Life {
    pub(super) async fn begin(disk: &Disk) -> Self {
        let world = World::new(disk).await;
        let accounts = Fake::start(&world).await;
        let notifications = Fake::start(&world).await;
        let options = Options {
            answers_from: vec!["accounts".into(), "notifications".into()],
            ..Options::default()
        };
        let (app, knowledge) = module::serve(&world.context(Service::Retention), &options)
            .await
            .unwrap();
        Self {
            world,
            accounts,
            notifications,
            app,
            knowledge,
        }
    }

    /// Every task ends where it stands.
    pub(super) async fn kill(self) {
        assert!(self.world.tasks.stop(Duration::from_secs(20)).await);
    }
}
