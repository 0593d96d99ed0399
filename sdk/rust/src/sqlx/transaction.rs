//! Transactions whose statements are traced.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use sqlx::{Connection as _, Database, Either, Error, Execute, Executor, SqlStr, Transaction};

use super::executor;
use crate::database::Client;

/// A transaction whose statements are traced and measured: `&mut transaction` is an executor. Its end is a span if it is asked
/// for; one that is dropped is rolled back later, and nobody sees when.
pub struct TracedTransaction<'c, DB: Database> {
    inner: Transaction<'c, DB>,
    client: Arc<Client>,
    is_savepoint: bool,
}

impl<'c, DB: Database> TracedTransaction<'c, DB> {
    pub(super) fn outermost(inner: Transaction<'c, DB>, client: Arc<Client>) -> TracedTransaction<'c, DB> {
        TracedTransaction {
            inner,
            client,
            is_savepoint: false,
        }
    }

    /// A savepoint within it.
    pub async fn begin(&mut self) -> Result<TracedTransaction<'_, DB>, Error> {
        let begun = executor::simple(&self.client, "SAVEPOINT", self.inner.begin()).await?;
        Ok(TracedTransaction {
            inner: begun,
            client: self.client.clone(),
            is_savepoint: true,
        })
    }

    /// Commits it; a savepoint is released.
    pub async fn commit(self) -> Result<(), Error> {
        let name = if self.is_savepoint { "RELEASE" } else { "COMMIT" };
        executor::simple(&self.client, name, self.inner.commit()).await
    }

    /// Undoes it; of a savepoint, what came after it.
    pub async fn rollback(self) -> Result<(), Error> {
        executor::simple(&self.client, "ROLLBACK", self.inner.rollback()).await
    }
}

/// The transaction itself, whose statements are not traced.
impl<'c, DB: Database> Deref for TracedTransaction<'c, DB> {
    type Target = Transaction<'c, DB>;

    fn deref(&self) -> &Transaction<'c, DB> {
        &self.inner
    }
}

impl<'c, DB: Database> DerefMut for TracedTransaction<'c, DB> {
    fn deref_mut(&mut self) -> &mut Transaction<'c, DB> {
        &mut self.inner
    }
}

impl<DB: Database> fmt::Debug for TracedTransaction<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedTransaction").finish_non_exhaustive()
    }
}

executor::executes!('t, ['c], &'t mut TracedTransaction<'c, DB>, |transaction: &'t mut TracedTransaction<'c, DB>| (
    &transaction.client,
    &mut *transaction.inner,
));
