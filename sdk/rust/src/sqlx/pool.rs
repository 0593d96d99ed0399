//! Pools whose statements are traced.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use cupola_sdk_core::Sdk;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use sqlx::{Database, Either, Error, Execute, Executor, Pool, SqlStr};

use super::place::place_of;
use super::{TracedConnection, TracedTransaction, executor};
use crate::database::Client;

/// A pool whose statements are traced and measured: `&pool` is an executor. Cheap to clone, as pools are.
pub struct TracedPool<DB: Database> {
    inner: Pool<DB>,
    client: Arc<Client>,
}

impl<DB: Database> TracedPool<DB> {
    /// Tells of the database what the options of the pool do.
    pub fn new(sdk: &Sdk, pool: Pool<DB>) -> TracedPool<DB> {
        let place = place_of::<DB>(&pool.connect_options());
        TracedPool {
            inner: pool,
            client: Arc::new(Client::new(sdk, "cupola-sdk/sqlx", place)),
        }
    }

    /// Says where the database is, if that is not where the pool connects to: behind a proxy, or with a driver of one's own.
    #[must_use]
    pub fn server(mut self, address: &str, port: Option<u16>) -> TracedPool<DB> {
        let place = &mut Arc::make_mut(&mut self.client).place;
        place.address = Some(address.to_owned());
        place.port = port;
        self
    }

    /// Says what the database is called.
    #[must_use]
    pub fn namespace(mut self, name: &str) -> TracedPool<DB> {
        Arc::make_mut(&mut self.client).place.namespace = Some(name.to_owned());
        self
    }

    /// A connection of the pool, whose statements are traced too.
    pub async fn acquire(&self) -> Result<TracedConnection<DB>, Error> {
        let connection = self.inner.acquire().await?;
        Ok(TracedConnection::new(connection, self.client.clone()))
    }

    /// A transaction, whose statements are traced too; its beginning and its end are spans.
    pub async fn begin(&self) -> Result<TracedTransaction<'static, DB>, Error> {
        let begun = executor::simple(&self.client, "BEGIN", self.inner.begin()).await?;
        Ok(TracedTransaction::outermost(begun, self.client.clone()))
    }
}

impl<DB: Database> Clone for TracedPool<DB> {
    fn clone(&self) -> TracedPool<DB> {
        TracedPool {
            inner: self.inner.clone(),
            client: self.client.clone(),
        }
    }
}

/// The pool itself, whose statements are not traced.
impl<DB: Database> Deref for TracedPool<DB> {
    type Target = Pool<DB>;

    fn deref(&self) -> &Pool<DB> {
        &self.inner
    }
}

impl<DB: Database> fmt::Debug for TracedPool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedPool").finish_non_exhaustive()
    }
}

executor::executes!('p, [], &'p TracedPool<DB>, |pool: &'p TracedPool<DB>| (&pool.client, &pool.inner));
