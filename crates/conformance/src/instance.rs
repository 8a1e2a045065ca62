//! A fresh store for one case, with what must outlive it and what a case may do to it from outside.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

/// The longest that a case waits for one thing. A bound, not a measure: passing does not depend on it.
const PATIENCE: Duration = Duration::from_secs(30);

type Reopen<P> = Box<dyn Fn() -> BoxFuture<'static, Arc<P>> + Send + Sync>;
type Pass = Box<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// A fresh store: nobody else uses it, and nothing is in it.
pub struct Instance<P: ?Sized> {
    store: Option<Arc<P>>,
    reopen: Option<Reopen<P>>,
    pass: Option<Pass>,
    held: Vec<Box<dyn Any + Send + Sync>>,
}

impl<P: ?Sized> fmt::Debug for Instance<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instance")
    }
}

impl<P: ?Sized + Send + Sync + 'static> Instance<P> {
    /// An instance that is this store.
    #[must_use]
    pub fn new(store: Arc<P>) -> Self {
        Self {
            store: Some(store),
            reopen: None,
            pass: None,
            held: Vec::new(),
        }
    }

    /// Keeps something (a temporary directory, a server) until the case is over.
    #[must_use]
    pub fn holding(mut self, thing: impl Any + Send + Sync) -> Self {
        self.held.push(Box::new(thing));
        self
    }

    /// How to open the same data again. It is called after the store was dropped, and waits until whatever
    /// the store left behind lets go.
    #[must_use]
    pub fn reopened_by<Fut>(mut self, reopen: impl Fn() -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Arc<P>> + Send + 'static,
    {
        self.reopen = Some(Box::new(move || reopen().boxed()));
        self
    }

    /// How to let time pass for the store: moves its clock, or waits where the clock is a server's.
    #[must_use]
    pub fn passing_time_by<Fut>(
        mut self,
        pass: impl Fn(Duration) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.pass = Some(Box::new(move |period| pass(period).boxed()));
        self
    }

    /// The same instance with its store wrapped, now and after each reopening.
    #[must_use]
    pub fn wrapped(
        mut self,
        wrap: impl Fn(Arc<P>) -> Arc<P> + Clone + Send + Sync + 'static,
    ) -> Self {
        self.store = self.store.map(&wrap);
        self.reopen = self.reopen.map(|reopen| -> Reopen<P> {
            Box::new(move || {
                let wrap = wrap.clone();
                reopen().map(wrap).boxed()
            })
        });
        self
    }

    /// The store.
    ///
    /// # Panics
    /// Never: the store is away only while it is reopened.
    #[must_use]
    pub fn store(&self) -> Arc<P> {
        Arc::clone(self.store.as_ref().expect("an open store"))
    }

    /// Closes the store and opens the same data again. Every clone of the store must have been dropped.
    ///
    /// # Panics
    /// When the instance was made without a way to do it.
    pub async fn reopen(&mut self) {
        let reopen = self.reopen.as_ref().expect("a store that can be reopened");
        self.store = None;
        self.store = Some(within(reopen()).await);
    }

    /// Lets time pass for the store.
    ///
    /// # Panics
    /// When the instance was made without a way to do it.
    pub async fn pass(&self, period: Duration) {
        let pass = self.pass.as_ref().expect("a store whose time can pass");
        within(pass(period)).await;
    }
}

/// Waits for something, but not for ever.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("an answer before the patience ends")
}
