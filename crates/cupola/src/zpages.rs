//! The extension `zpages`: pages that show what the process is doing, at the addresses and in the shape that the Collector
//! gives them. HTML that needs no script; everything on them is escaped, and settings are masked as `config show` masks
//! them. Looks only: nothing here changes anything.

mod features;
mod html;
mod pipelines;
mod service;
mod spans;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cupola_config::Node;
use cupola_pipeline::graph::Pipelines;

use crate::own::{SpanSamples, Vitals};

/// What the pages are made from.
pub(crate) struct Sources {
    pub(crate) samples: Arc<SpanSamples>,
    pub(crate) vitals: Arc<Vitals>,
    /// The whole configuration as it was at the start, without its secrets.
    pub(crate) masked: Node,
    /// Extensions that have been started, by their names.
    pub(crate) extensions: Vec<String>,
    /// There once the pipelines have been started, which is after the pages.
    pub(crate) pipelines: Arc<OnceLock<Arc<Pipelines>>>,
    /// Whether `/debug/expvarz` is there.
    pub(crate) expvar: bool,
}

/// The pages by their addresses.
pub(crate) fn router(sources: Sources) -> Router {
    let mut router = Router::new()
        .route("/", get(service::index))
        .route("/debug", get(service::index))
        .route("/debug/", get(service::index))
        .route("/debug/servicez", get(service::page))
        .route("/debug/pipelinez", get(pipelines::page))
        .route("/debug/extensionz", get(service::extensions))
        .route("/debug/featurez", get(features::page))
        .route("/debug/tracez", get(spans::page))
        .route("/debug/style.css", get(style));
    if sources.expvar {
        router = router.route("/debug/expvarz", get(variables));
    }
    router.with_state(Arc::new(sources))
}

async fn style() -> Response {
    (
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/css; charset=utf-8"),
        )],
        html::STYLE,
    )
        .into_response()
}

/// Cupola's own metrics, where the Collector has the variables of its Go runtime.
async fn variables(State(sources): State<Arc<Sources>>) -> Response {
    let families = sources.vitals.measure().into_iter().map(|family| {
        let series = family.values.into_iter().map(|(labels, value)| {
            let labels: serde_json::Map<String, serde_json::Value> = labels
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.into()))
                .collect();
            serde_json::json!({ "labels": labels, "value": value })
        });
        (family.name, series.collect::<serde_json::Value>())
    });
    axum::Json(families.collect::<serde_json::Map<_, _>>()).into_response()
}
