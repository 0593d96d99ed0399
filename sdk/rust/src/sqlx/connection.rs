//! Connections whose statements are traced.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Database, Either, Error, Execute, Executor, SqlStr};

use super::{TracedTransaction, executor};
use crate::database::Client;

/// A connection of a pool whose statements are traced and measured: `&mut connection` is an executor.
pub struct TracedConnection<DB: Database> {
    inner: PoolConnection<DB>,
    client: Arc<Client>,
}

impl<DB: Database> TracedConnection<DB> {
    pub(super) fn new(inner: PoolConnection<DB>, client: Arc<Client>) -> TracedConnection<DB> {
        TracedConnection { inner, client }
    }

    /// A transaction on it, whose statements are traced too; its beginning and its end are spans.
    pub async fn begin(&mut self) -> Result<TracedTransaction<'_, DB>, Error> {
        let begun = executor::simple(&self.client, "BEGIN", self.inner.begin()).await?;
        Ok(TracedTransaction::outermost(begun, self.client.clone()))
    }
}

/// The connection itself, whose statements are not traced.
impl<DB: Database> Deref for TracedConnection<DB> {
    type Target = PoolConnection<DB>;

    fn deref(&self) -> &PoolConnection<DB> {
        &self.inner
    }
}

impl<DB: Database> DerefMut for TracedConnection<DB> {
    fn deref_mut(&mut self) -> &mut PoolConnection<DB> {
        &mut self.inner
    }
}

impl<DB: Database> fmt::Debug for TracedConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedConnection").finish_non_exhaustive()
    }
}

executor::executes!('c, [], &'c mut TracedConnection<DB>, |connection: &'c mut TracedConnection<DB>| (
    &connection.client,
    &mut *connection.inner,
));
