//! How a call ends that ends with an error.

use std::any::Any;
use std::error::Error;

use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tower::load_shed::error::Overloaded;

use super::BoxError;

/// What tonic makes of an error, and what is recorded of it: of one that came too late, tonic says that it was cancelled.
pub(super) fn status_of(error: BoxError) -> (Status, Code) {
    let mut is_late = false;
    let mut cause: Option<&(dyn Error + 'static)> = Some(error.as_ref());
    while let Some(error) = cause {
        is_late |= error.is::<TimeoutExpired>();
        cause = error.source();
    }
    let status = Status::from_error(error);
    let code = if is_late {
        Code::DeadlineExceeded
    } else {
        status.code()
    };
    (status, code)
}

/// The same of an error that goes on to whoever makes a status of it, and a message. Layers have errors of the kinds that can be
/// looked at here; of others nothing is known.
pub(super) fn end_of<E: 'static>(error: &E) -> (Code, String) {
    let error: &dyn Any = error;
    if let Some(status) = error.downcast_ref::<Status>() {
        return (status.code(), status.message().to_owned());
    }
    match error.downcast_ref::<BoxError>() {
        Some(error) => end_in(error.as_ref()),
        None => (Code::Unknown, String::new()),
    }
}

fn end_in(outermost: &(dyn Error + 'static)) -> (Code, String) {
    let mut cause = Some(outermost);
    while let Some(error) = cause {
        if let Some(status) = error.downcast_ref::<Status>() {
            return (status.code(), status.message().to_owned());
        }
        let code = match error {
            _ if error.is::<Overloaded>() => Some(Code::ResourceExhausted),
            _ if error.is::<TimeoutExpired>() => Some(Code::DeadlineExceeded),
            _ if error.is::<ConnectError>() => Some(Code::Unavailable),
            _ => None,
        };
        if let Some(code) = code {
            return (code, error.to_string());
        }
        cause = error.source();
    }
    (Code::Unknown, outermost.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("a layer could not go on")]
    struct Around(#[source] BoxError);

    #[test]
    fn an_error_ends_a_call_as_what_is_within_it_says() {
        let told = |error: BoxError| end_of(&error);
        let status = || Status::not_found("no such thing");
        assert_eq!(end_of(&status()), (Code::NotFound, "no such thing".to_owned()));
        for error in [status().into(), Around(Around(status().into()).into()).into()] {
            assert_eq!(told(error), (Code::NotFound, "no such thing".to_owned()));
        }
        assert_eq!(told(Overloaded::new().into()).0, Code::ResourceExhausted);
        assert_eq!(
            told(Around(Overloaded::new().into()).into()).0,
            Code::ResourceExhausted
        );
        assert_eq!(told(TimeoutExpired(()).into()).0, Code::DeadlineExceeded);
        assert_eq!(told("torn".into()), (Code::Unknown, "torn".to_owned()));
        assert_eq!(end_of(&17), (Code::Unknown, String::new()));
    }
}
