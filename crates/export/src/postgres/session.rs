//! One connection while it is worked with, and what the errors of the server mean. Refuses to give a connection back to
//! the pool that is in the middle of something.

use deadpool_postgres::{Object, Pool};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use crate::SendError;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Values are at fault: the same rows would fail again.
    Data,
    /// Table or column are not as they were: to be looked at again before the next attempt.
    Table,
    /// Anything that time or an operator may mend: the server, the network, rights, passwords.
    Mendable,
}

/// An error of the server or of the way to it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) class: Class,
    pub(super) reason: String,
}

impl Failure {
    pub(super) fn mendable(reason: impl Into<String>) -> Failure {
        Failure {
            class: Class::Mendable,
            reason: reason.into(),
        }
    }
}

/// Nothing of a batch is refused for an error that does not name its values.
impl From<Failure> for SendError {
    fn from(failure: Failure) -> SendError {
        SendError::retryable(failure.reason)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        Failure {
            class: error.code().map_or(Class::Mendable, classify),
            reason: crate::otlp::chain(&error),
        }
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn classify(state: &SqlState) -> Class {
    let code = state.code();
    match code.get(..2).unwrap_or_default() {
        // Values out of range or malformed, constraints, limits of a row or an index, views' checks.
        "21" | "22" | "23" | "44" | "54" => Class::Data,
        // Undefined or mistyped objects; a wrong password (28) and a missing right (42501) are not among them.
        "42" if code != "42501" => Class::Table,
        "26" | "0A" | "3F" => Class::Table,
        _ => Class::Mendable,
    }
}

/// A connection of the pool.
pub(super) struct Session {
    object: Option<Object>,
    /// Whether it is outside of a transaction and nothing is under way.
    idle: bool,
}

impl Session {
    pub(super) async fn new(pool: &Pool) -> Result<Session, Failure> {
        let object = pool
            .get()
            .await
            .map_err(|error| Failure::mendable(crate::otlp::chain(&error)))?;
        Ok(Session {
            object: Some(object),
            idle: true,
        })
    }

    pub(super) fn client(&self) -> Result<&Object, Failure> {
        let closed = || Failure::mendable("the connection was given up");
        self.object.as_ref().ok_or_else(closed)
    }

    /// Runs statements that leave the connection as it was; their rows, as text.
    pub(super) async fn query(&mut self, statement: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        Ok(self.run(statement).await?.rows)
    }

    /// Opens a transaction with further statements in one round trip.
    pub(super) async fn begin(&mut self, statements: &str) -> Result<Answer, Failure> {
        self.idle = false;
        self.run(&format!("BEGIN; {statements}")).await
    }

    /// Runs statements in the transaction.
    pub(super) async fn run(&mut self, statements: &str) -> Result<Answer, Failure> {
        let was_idle = std::mem::replace(&mut self.idle, false);
        let messages = self.client()?.simple_query(statements).await?;
        self.idle = was_idle;
        let mut answer = Answer::default();
        for message in messages {
            match message {
                SimpleQueryMessage::Row(row) => {
                    let columns = (0..row.len()).map(|index| row.get(index).map(str::to_owned));
                    answer.rows.push(columns.collect());
                }
                SimpleQueryMessage::CommandComplete(rows) => answer.affected.push(rows),
                _ => {}
            }
        }
        Ok(answer)
    }

    pub(super) async fn commit(&mut self) -> Result<(), Failure> {
        self.run("COMMIT").await?;
        self.idle = true;
        Ok(())
    }

    /// Ends the connection, and with it the transaction.
    pub(super) fn give_up(&mut self) {
        drop(self.object.take().map(Object::take));
    }

    /// Ends the transaction, or the connection if that fails.
    pub(super) async fn roll_back(&mut self) {
        if self.object.is_none() {
            return;
        }
        self.idle = self.run("ROLLBACK").await.is_ok();
    }
}

/// What statements answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<Vec<Option<String>>>,
    /// Rows that each statement touched.
    pub(super) affected: Vec<u64>,
}

/// Also when the future that works with it is dropped halfway: the connection goes with it, and the server rolls back.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(object) = self.object.take()
            && !self.idle
        {
            drop(Object::take(object));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_are_ever_refused() {
        for (state, class) in [
            (SqlState::INVALID_TEXT_REPRESENTATION, Class::Data),
            (SqlState::CHECK_VIOLATION, Class::Data),
            (SqlState::PROGRAM_LIMIT_EXCEEDED, Class::Data),
            (SqlState::UNDEFINED_COLUMN, Class::Table),
            (SqlState::UNDEFINED_TABLE, Class::Table),
            (SqlState::INSUFFICIENT_PRIVILEGE, Class::Mendable),
            (SqlState::INVALID_PASSWORD, Class::Mendable),
            (SqlState::DISK_FULL, Class::Mendable),
            (SqlState::TOO_MANY_CONNECTIONS, Class::Mendable),
            (SqlState::ADMIN_SHUTDOWN, Class::Mendable),
            (SqlState::T_R_SERIALIZATION_FAILURE, Class::Mendable),
            (SqlState::READ_ONLY_SQL_TRANSACTION, Class::Mendable),
        ] {
            assert_eq!(classify(&state), class, "{state:?}");
        }
    }
}
