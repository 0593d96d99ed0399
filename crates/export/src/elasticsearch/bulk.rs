//! Bulk requests: documents cut by size, and the answer document by document.
//! <https://www.elastic.co/guide/en/elasticsearch/reference/current/docs-bulk.html>

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;

use super::document::Documents;
use crate::otlp::http::said;

/// Longest reason that is told.
const REASON_BYTES_MAX: usize = 500;
/// A document of that id is there: it was sent before.
const CONFLICT: u16 = 409;
/// Worth another round, whatever the settings say.
pub(super) const RETRYABLE: [u16; 5] = [429, 500, 502, 503, 504];

/// What became of one document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Taken,
    /// May be taken later.
    Later(String),
    Refused(String),
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    items: Vec<BTreeMap<String, Outcome>>,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    error: Option<serde_json::Value>,
}

/// The fates of the documents of a request, in order; `None` if the answer is not one.
pub(super) fn fates(answer: &[u8], documents: usize, also_retryable: &[u16]) -> Option<Vec<Fate>> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    if answer.items.len() != documents {
        return None;
    }
    let fates = answer.items.into_iter().map(|item| {
        let outcome = item.into_values().next()?;
        Some(match outcome.status {
            200..=299 | CONFLICT => Fate::Taken,
            status if RETRYABLE.contains(&status) || also_retryable.contains(&status) => {
                Fate::Later(reason(status, outcome.error.as_ref()))
            }
            status => judge(status, outcome.error.as_ref()),
        })
    });
    fates.collect()
}

/// The fate of a document whose request was refused as a whole.
pub(super) fn alone(status: u16, answer: &[u8]) -> Fate {
    judge(status, error_of(answer).as_ref())
}

/// The error that an answer names; whatever stands before a server answers in its own words.
pub(super) fn error_of(answer: &[u8]) -> Option<serde_json::Value> {
    match serde_json::from_slice::<serde_json::Value>(answer) {
        Ok(answer) => answer.get("error").cloned(),
        Err(_) => Some(said(answer)).filter(|text| !text.is_empty()).map(Into::into),
    }
}

/// A document is refused for what it holds. That an index is missing, closed, read-only for want of disk, or not ours to
/// write to is for an operator to mend, and so is a pipeline that does not exist.
fn judge(status: u16, error: Option<&serde_json::Value>) -> Fate {
    let text = |key| {
        error
            .and_then(|error| error.get(key)?.as_str())
            .unwrap_or_default()
    };
    let is_mendable = matches!(status, 401 | 403 | 404)
        || text("type") == "index_closed_exception"
        || text("reason").starts_with("pipeline with id [");
    match is_mendable {
        true => Fate::Later(reason(status, error)),
        false => Fate::Refused(reason(status, error)),
    }
}

/// An error with its innermost cause, which says what was wrong.
pub(super) fn reason(status: u16, error: Option<&serde_json::Value>) -> String {
    let mut text = format!("status {status}");
    let mut next = error;
    while let Some(error) = next {
        let part = match error {
            serde_json::Value::String(part) => part.as_str(),
            error => error
                .get("reason")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default(),
        };
        if !part.is_empty() && !text.contains(part) {
            text.push_str(": ");
            text.push_str(part);
        }
        next = error.get("caused_by");
    }
    text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
    text
}

/// Cuts documents into requests of at most `bytes_max`; one that is larger is a request of its own.
pub(super) fn requests(documents: &Documents, pending: &[usize], bytes_max: usize) -> Vec<Vec<usize>> {
    let mut requests: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for index in pending {
        let length = documents
            .all
            .get(*index)
            .map_or(0, |document| document.lines.len());
        match requests.last_mut() {
            Some(request) if bytes + length <= bytes_max => {
                request.push(*index);
                bytes += length;
            }
            _ => {
                requests.push(vec![*index]);
                bytes = length;
            }
        }
    }
    requests
}

pub(super) fn body(documents: &Documents, request: &[usize]) -> Bytes {
    let lines = request
        .iter()
        .filter_map(|index| documents.lines.get(documents.all.get(*index)?.lines.clone()));
    Bytes::from(lines.collect::<Vec<_>>().concat())
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::*;

    #[test]
    fn a_refusal_in_plain_text_is_passed_on() {
        let refused = Fate::Refused("status 400: too many fields".to_owned());
        assert_eq!(alone(400, b"too many\nfields\n"), refused);
        let known = br#"{"error": {"reason": "too many fields"}}"#;
        assert_eq!(alone(400, known), refused);
        assert_eq!(alone(400, b""), Fate::Refused("status 400".to_owned()));
    }

    #[test]
    fn an_answer_is_read_document_by_document() {
        let answer =
            br#"{"items":[{"create":{"status":201}},{"create":{"status":409,"error":{"reason":"exists"}}},
            {"create":{"status":429,"error":{"reason":"busy"}}},{"create":{"status":400,"error":{"type":"t",
            "reason":"failed to parse","caused_by":{"reason":"not a number"}}}},{"index":{"status":418}}]}"#;
        assert_eq!(
            fates(answer, 5, &[418]).unwrap(),
            [
                Fate::Taken,
                Fate::Taken,
                Fate::Later("status 429: busy".to_owned()),
                Fate::Refused("status 400: failed to parse: not a number".to_owned()),
                Fate::Later("status 418".to_owned()),
            ]
        );
        assert_eq!(fates(answer, 4, &[]), None);
        assert_eq!(fates(b"<html>", 1, &[]), None);
    }

    #[test]
    fn a_document_is_not_blamed_for_the_state_of_its_index() {
        for (status, kind, reason) in [
            (
                403,
                "cluster_block_exception",
                "disk usage exceeded flood-stage watermark",
            ),
            (403, "security_exception", "unauthorized"),
            (404, "index_not_found_exception", "no such index"),
            (400, "index_closed_exception", "closed"),
            (
                400,
                "illegal_argument_exception",
                "pipeline with id [x] does not exist",
            ),
        ] {
            let answer = serde_json::json!({"error": {"type": kind, "reason": reason}, "status": status});
            let fate = alone(status, answer.to_string().as_bytes());
            assert!(matches!(fate, Fate::Later(_)), "{fate:?}");
        }
        let answer = br#"{"error":{"type":"mapper_parsing_exception","reason":"failed to parse"}}"#;
        assert!(matches!(alone(400, answer), Fate::Refused(_)));
    }

    #[test]
    fn requests_are_cut_by_size_and_keep_the_order() {
        let mut documents = Documents::default();
        for (item, length) in [10, 10, 30, 5, 5].into_iter().enumerate() {
            let start = documents.lines.len();
            documents.lines.extend(vec![b'0' + item as u8; length]);
            documents.all.push(Document {
                item,
                lines: start..start + length,
            });
        }
        assert_eq!(
            requests(&documents, &[0, 1, 2, 3, 4], 20),
            [vec![0, 1], vec![2], vec![3, 4]]
        );
        assert_eq!(requests(&documents, &[], 20), Vec::<Vec<usize>>::new());
        assert_eq!(body(&documents, &[3, 4]), &b"3333344444"[..]);
    }
}
