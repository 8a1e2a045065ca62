//! The port on a bucket.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_ports::{BlobKey, Blobs, StoreError};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential, S3ConditionalPut};
use object_store::client::HttpClient;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::{
    BackoffConfig, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
    RetryConfig, StaticCredentialProvider,
};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::bucket::{Bucket, Deadlines, OpenError};
use crate::failure::{self, Fate};
use crate::keeping::{Keeping, Verdict};
use crate::names::Names;
use crate::probe;
use crate::wire::{self, Asker, Connector};

/// The greatest object. A greater one is `Terminal`.
pub const MAX_BLOB_BYTES: usize = 64 << 20;
/// Requests at once; with it at most so many times 64 MiB are held.
const AT_ONCE: usize = 32;
/// How often a request that may be repeated is sent.
const TRIES: u32 = 4;
/// The wait before the second try, doubled before each later one, and shortened by chance to as little as half.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// How long the proof at the start may take: some thirty small requests, the first of them on cold folders.
const PROOF_WITHIN: Duration = Duration::from_secs(60);
/// Keys that are asked for at once.
const PAGE: usize = 1000;

/// Blobs in a bucket of an S3 service.
#[derive(Debug)]
pub struct S3Blobs {
    store: AmazonS3,
    names: Names,
    permits: Semaphore,
    within: Deadlines,
}

impl S3Blobs {
    /// Opens a bucket, after proof that it does what the port promises: see the crate's documentation.
    ///
    /// # Errors
    /// When the settings do not work, the bucket keeps what is deleted, or that cannot be told, the store does not
    /// keep to create-only writes, or it does not answer.
    pub async fn open(bucket: Bucket) -> Result<Self, OpenError> {
        let connection = wire::connection(&bucket)?;
        Self::open_on(bucket, connection).await
    }

    /// The same on a connection that is there.
    pub(crate) async fn open_on(bucket: Bucket, connection: HttpClient) -> Result<Self, OpenError> {
        let names = Names::below(&bucket.prefix).ok_or(OpenError::Settings(
            "the prefix is not of the form of a key of at most 128 bytes",
        ))?;
        let endpoint = bucket.endpoint.trim_end_matches('/').to_owned();
        if !(endpoint.starts_with("https://") || bucket.plain && endpoint.starts_with("http://")) {
            return Err(OpenError::Settings("the endpoint is not https"));
        }
        let plain_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if bucket.name.is_empty() || !bucket.name.bytes().all(plain_name) {
            return Err(OpenError::Settings("the bucket's name is none"));
        }
        let client = wire::refusing(connection);
        let credentials = Arc::new(StaticCredentialProvider::new(credential(&bucket)));
        let asker = Asker {
            client: client.clone(),
            credential: credential(&bucket),
            region: bucket.region.clone(),
            url: format!("{endpoint}/{}", bucket.name),
        };
        let store = AmazonS3Builder::new()
            .with_http_connector(Connector(client))
            .with_credentials(credentials)
            .with_endpoint(endpoint)
            .with_region(bucket.region)
            .with_bucket_name(bucket.name)
            .with_allow_http(bucket.plain)
            .with_virtual_hosted_style_request(false)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // One request for each deletion: the one for many answers with a list of outcomes.
            .with_disable_bulk_delete(true)
            // What is repeated is decided here.
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: 0,
                retry_timeout: Duration::ZERO,
            })
            .build()
            .map_err(|error| OpenError::Client(Box::new(error)))?;
        let blobs = Self {
            store,
            names,
            permits: Semaphore::new(AT_ONCE),
            within: bucket.deadlines,
        };
        let allowed = |keeping| bucket.allowed.contains(&keeping);
        for keeping in Keeping::ALL.into_iter().filter(|it| !allowed(*it)) {
            blobs.refuse(keeping, &asker).await?;
        }
        let proof = blobs.proof();
        let late = |_| OpenError::Unavailable(too_late());
        let versions = timeout(PROOF_WITHIN, proof).await.map_err(late)??;
        if versions && !allowed(Keeping::Versioning) {
            return Err(OpenError::Keeps(Keeping::Versioning));
        }
        Ok(blobs)
    }

    /// Later calls fail; those under way end by themselves.
    pub fn close(&self) {
        self.permits.close();
    }

    /// The proof, begun anew a few times when the store fails in it, as one does that has just started.
    async fn proof(&self) -> Result<bool, OpenError> {
        let mut tried = 0;
        loop {
            let proved = probe::prove(&self.store, &self.names).await;
            tried += 1;
            let passing = matches!(
                proved,
                Err(OpenError::Unavailable(
                    StoreError::Retryable(_) | StoreError::Unknown(_)
                ))
            );
            if !passing || tried == TRIES {
                return proved;
            }
            tokio::time::sleep(wait_before(tried)).await;
        }
    }

    /// Refuses the bucket if it has something that keeps what is deleted.
    async fn refuse(&self, keeping: Keeping, asker: &Asker) -> Result<(), OpenError> {
        let answer = self
            .repeated(self.within.short, || async {
                match asker.ask(keeping.query()).await {
                    Ok(body) => Ok(Ok(body)),
                    Err(error) => match Fate::of(&*error) {
                        Fate::Refused(refusal) if refusal.status < 500 || refusal.status == 501 => {
                            Ok(Err(refusal))
                        }
                        _ => Err(StoreError::Retryable(error.into())),
                    },
                }
            })
            .await
            .map_err(OpenError::Unavailable)?;
        if matches!(&answer, Err(refusal) if refusal.code == "NoSuchBucket") {
            return Err(OpenError::NoBucket);
        }
        match keeping.verdict(answer.as_deref()) {
            Verdict::Off => Ok(()),
            Verdict::NotOffered => {
                tracing::info!(keeping = keeping.name(), "the store does not offer this");
                Ok(())
            }
            Verdict::On => Err(OpenError::Keeps(keeping)),
            Verdict::Unclear(why) => Err(OpenError::Unclear { keeping, why }),
        }
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let closed = |_| StoreError::retryable("the store is closed");
        self.permits.acquire().await.map_err(closed)
    }

    /// Asks again while the answer is `Retryable`, a few times, and no longer than the deadline.
    async fn repeated<T, F, Fut>(&self, within: Duration, ask: F) -> Result<T, StoreError>
    where
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, StoreError>> + Send,
    {
        let tries = async {
            let _permit = self.permit().await?;
            let mut tried = 0;
            loop {
                let answer = ask().await;
                tried += 1;
                if !matches!(answer, Err(StoreError::Retryable(_))) || tried == TRIES {
                    return answer;
                }
                tokio::time::sleep(wait_before(tried)).await;
            }
        };
        timeout(within, tries).await.map_err(|_| too_late())?
    }

    async fn length_once(&self, key: &BlobKey) -> Result<u64, StoreError> {
        let found = self.store.head(&self.names.of(key)).await;
        found.map(|it| it.size).map_err(failure::repeatable)
    }

    async fn read_once(&self, key: &BlobKey, range: &Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            // S3 has no way to ask for nothing, but what is not there is still not found.
            return self.length_once(key).await.map(|_| Bytes::new());
        }
        // Some stores read these numbers as signed ones.
        let wanted = if range.end > i64::MAX.unsigned_abs() {
            GetRange::Offset(range.start)
        } else {
            GetRange::Bounded(range.clone())
        };
        let options = GetOptions::new().with_range(Some(wanted));
        let found = match self.store.get_opts(&self.names.of(key), options).await {
            // An empty object has no range at all.
            Err(error) if failure::is_beyond_the_end(&error) => {
                let length = self.length_once(key).await?;
                return if range.start >= length {
                    Ok(Bytes::new())
                } else {
                    Err(failure::repeatable(error))
                };
            }
            found => found.map_err(failure::repeatable)?,
        };
        let expected = found.range.end.saturating_sub(found.range.start);
        if usize::try_from(expected).map_or(true, |it| it > MAX_BLOB_BYTES) {
            return Err(StoreError::terminal("the range is greater than any object"));
        }
        let bytes = found.bytes().await.map_err(failure::repeatable)?;
        if u64::try_from(bytes.len()).is_ok_and(|it| it == expected) {
            Ok(bytes)
        } else {
            Err(StoreError::retryable(
                "the answer has another length than it says",
            ))
        }
    }

    async fn list_once(
        &self,
        prefix: &str,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<BlobKey>, StoreError> {
        let mut keys: Vec<BlobKey> = Vec::new();
        let mut page_token = None;
        loop {
            let options = PaginatedListOptions {
                offset: after
                    .filter(|_| page_token.is_none())
                    .map(|key| self.names.text(key)),
                max_keys: Some((limit - keys.len()).min(PAGE)),
                page_token: page_token.take(),
                ..PaginatedListOptions::default()
            };
            let page = self.store.list_paginated(Some(prefix), options).await;
            let page = page.map_err(failure::repeatable)?;
            for object in page.result.objects {
                // Objects of no key are not ours to name: what a crash left of a proof, a folder's marker.
                let Some(key) = self.names.key(object.location.as_ref()) else {
                    continue;
                };
                if keys.last().or(after).is_some_and(|last| *last >= key) {
                    return Err(StoreError::terminal("the store lists out of order"));
                }
                keys.push(key);
            }
            page_token = page.page_token;
            if keys.len() >= limit || page_token.is_none() {
                keys.truncate(limit);
                return Ok(keys);
            }
        }
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    /// A request that has no answer within its deadline is given up, and `Unknown`. It may still be on its way then,
    /// and come true after a reading that found nothing: create the same bytes again, or leave the key for ever.
    async fn create(&self, key: &BlobKey, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.len() > MAX_BLOB_BYTES {
            return Err(StoreError::terminal("an object is at most 64 MiB"));
        }
        let name = self.names.of(key);
        let waiting = timeout(self.within.transfer, self.permit()).await;
        let _permit = waiting.map_err(|_| too_late())??;
        let payload = PutPayload::from(bytes);
        let put = self.store.put_opts(&name, payload, PutMode::Create.into());
        match timeout(self.within.transfer, put).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failure::creation(error)),
            Err(_) => Err(StoreError::unknown("no answer within the deadline")),
        }
    }

    async fn length(&self, key: &BlobKey) -> Result<u64, StoreError> {
        self.repeated(self.within.short, || self.length_once(key))
            .await
    }

    async fn read(&self, key: &BlobKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.repeated(self.within.transfer, || self.read_once(key, &range))
            .await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
        let name = self.names.of(key);
        let deleted = self.repeated(self.within.short, || async {
            let deleted = self.store.delete(&name).await;
            deleted.map_err(failure::repeatable)
        });
        match deleted.await {
            Err(StoreError::NotFound) => Ok(()),
            other => other,
        }
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<BlobKey>, StoreError> {
        let Some(names) = self.names.prefix(prefix).filter(|_| limit > 0) else {
            return Ok(Vec::new());
        };
        // A key outside of the prefix is before all of it or behind all of it.
        let (inside, outside): (Option<&BlobKey>, Option<&BlobKey>) = match after {
            Some(key) if key.as_str().starts_with(prefix) => (Some(key), None),
            other => (None, other),
        };
        if outside.is_some_and(|key| key.as_str() > prefix) {
            return Ok(Vec::new());
        }
        self.repeated(self.within.short, || self.list_once(&names, inside, limit))
            .await
    }
}

fn too_late() -> StoreError {
    StoreError::retryable("the store did not answer within its deadline")
}

fn credential(bucket: &Bucket) -> AwsCredential {
    AwsCredential {
        key_id: bucket.credentials.access_key.clone(),
        secret_key: bucket.credentials.secret.as_str().to_owned(),
        token: None,
    }
}

/// Some time before the next try: many callers that failed at once do not come back at once.
fn wait_before(tried: u32) -> Duration {
    let whole = FIRST_WAIT.saturating_mul(1 << (tried - 1).min(5));
    let mut random = [0];
    // Without chance it is the whole wait, which is as right.
    let _ = SystemRandom::new().fill(&mut random);
    whole - whole / 2 * u32::from(random[0]) / 255
}
