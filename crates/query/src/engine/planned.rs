//! Plans on their way between a protocol and the engine.

use std::any::Any;
use std::fmt;

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use tokio::runtime::Handle;

use crate::error::QueryError;

/// A plan with the session it was made on. It can be held anywhere: it is dropped on the engine's threads.
///
/// What it holds is erased, so that whoever holds it need not prove of every node of a plan that it may be sent.
pub struct PlannedQuery {
    parts: Option<Box<dyn Any + Send>>,
    runtime: Handle,
}

pub(super) type Parts = (SessionState, LogicalPlan);

impl PlannedQuery {
    pub(super) fn new(session: SessionState, plan: LogicalPlan, runtime: Handle) -> PlannedQuery {
        let parts: Parts = (session, plan);
        PlannedQuery {
            parts: Some(Box::new(parts)),
            runtime,
        }
    }

    /// The plan, on a thread of the engine.
    pub(super) fn into_parts(mut self) -> Result<Box<Parts>, QueryError> {
        let parts = self.parts.take().and_then(|parts| parts.downcast().ok());
        parts.ok_or_else(|| QueryError::Internal {
            cause: "a plan is missing".to_owned(),
        })
    }
}

impl Drop for PlannedQuery {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            self.runtime.spawn(async move { drop(parts) });
        }
    }
}

impl fmt::Debug for PlannedQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedQuery").finish_non_exhaustive()
    }
}
