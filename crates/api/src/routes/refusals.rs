//! What operations can answer beside success, as the OpenAPI document says it: said once here, so that no operation leaves
//! out what it shares with others.

use utoipa::IntoResponses;
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, Ref, RefOr, Response, ResponseBuilder};

use crate::error::ErrorBody;

/// Of whatever runs statements.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers")]
pub(super) enum QueryRefusals {
    /// The request is malformed, or its statement cannot be run
    #[response(status = 400)]
    Malformed(ErrorBody),
    /// It was cancelled, as by `DELETE /api/v1/queries/{id}`, or its `X-Query-Id` is taken
    #[response(status = 409)]
    Cancelled(ErrorBody),
    /// A limit of the server, or of the request, was exceeded
    #[response(status = 422)]
    LimitExceeded(ErrorBody),
    /// Too many statements are waiting, or memory is short: the same may pass after `Retry-After` seconds
    #[response(status = 503)]
    Overloaded(ErrorBody),
    /// The time limit was exceeded
    #[response(status = 504)]
    TimedOut(ErrorBody),
}

/// Adds what any request can be answered with.
pub(super) fn describe_everywhere(document: &mut OpenApi) {
    for path in document.paths.paths.values_mut() {
        for (method, operation) in operations(path) {
            add(
                operation,
                "421",
                "The host name is not served: see `api.allowed_hosts`",
            );
            add(operation, "500", "A failure of the server; its log has the cause");
            if method != HttpMethod::Get {
                add(operation, "403", "Sent by a page of another origin");
            }
        }
    }
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let known = [
        (HttpMethod::Get, path.get.as_mut()),
        (HttpMethod::Post, path.post.as_mut()),
        (HttpMethod::Delete, path.delete.as_mut()),
    ];
    known
        .into_iter()
        .filter_map(|(method, operation)| Some((method, operation?)))
}

fn add(operation: &mut Operation, status: &str, description: &str) {
    let responses = &mut operation.responses.responses;
    responses
        .entry(status.to_owned())
        .or_insert_with(|| RefOr::T(refusal(description)));
}

fn refusal(description: &str) -> Response {
    let schema = Ref::from_schema_name("ErrorBody");
    ResponseBuilder::new()
        .description(description)
        .content(
            "application/json",
            ContentBuilder::new().schema(Some(schema)).build(),
        )
        .build()
}
