//! An endpoint that is posted to: which paths it has, and what became of a request in the answer. What the receivers of other
//! protocols than OTLP have in common around [`Intake`].

use ::http::{Method, Request, Response, StatusCode};
use cupola_export::Accepted;
use hyper::body::Incoming;

use super::intake::{self, Intake};
use super::refusal::{Refusal, quote};
use super::response::ResponseBody;
use super::stats::count;

/// Takes POSTs.
pub(crate) trait Posts: Send + Sync + 'static {
    const PATHS: &'static [&'static str];
    /// What to use instead of an unknown path.
    const KNOWN: &'static str;

    fn intake(&self) -> &Intake;

    /// Takes a request for one of the paths; the answer once that has been done.
    fn take(
        &self,
        request: &mut Request<Incoming>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Refusal>> + Send;
}

/// Answers a request.
pub(crate) async fn post<P: Posts>(posts: &P, mut request: Request<Incoming>) -> Response<ResponseBody> {
    let intake = posts.intake();
    let path = request.uri().path();
    let taken = if !P::PATHS.contains(&path) {
        Err(Refusal::UnknownPath {
            path: quote(path),
            known: P::KNOWN,
        })
    } else {
        count(&intake.stats.requests, 1);
        match *request.method() == Method::POST {
            true => posts.take(&mut request).await,
            false => Err(Refusal::NotPost(quote(request.method().as_str()))),
        }
    };
    match taken {
        Ok(answer) => answer,
        Err(refusal) => {
            intake.refused(&refusal, request).await;
            intake::refusal(&refusal)
        }
    }
}

/// What of a request could not be converted, while the rest was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) items: u64,
    /// About the first of them, as a line.
    pub(crate) problem: String,
}

impl LeftOut {
    /// Leaves out so many more.
    pub(crate) fn add(&mut self, items: u64, problem: impl FnOnce() -> String) {
        if self.items == 0 {
            self.problem = problem();
        }
        self.items += items;
    }

    /// Counts what was left out, and gives the answer: `success`, or 400 with what was wrong with a part. `what` the items
    /// are called.
    pub(crate) fn answer(
        self,
        intake: &Intake,
        accepted: &Accepted,
        success: StatusCode,
        what: &str,
    ) -> Response<ResponseBody> {
        count(&intake.stats.failed_items, self.items);
        let problem = match (self.items, accepted.rejected) {
            (0, 0) => return intake::empty(success),
            (0, rejected) => format!("{rejected} {what} were refused: {}\n", accepted.message),
            _ => self.problem,
        };
        intake::text(StatusCode::BAD_REQUEST, problem)
    }
}
