//! `/debug/featurez`: what this binary was built with. Cupola has no feature gates: what there is, is on.

use super::html::{Cell, Page};

/// A part that is not in every build.
const FEATURES: &[(&str, bool, &str)] = &[(
    "kafka",
    cfg!(feature = "kafka"),
    "The receiver and the exporter of Apache Kafka; left out with --no-default-features.",
)];

pub(super) async fn page() -> Page {
    let mut page = Page::new("Feature Gates");
    let rows = FEATURES.iter().map(|(name, enabled, description)| {
        vec![
            Cell::Text((*name).to_owned()),
            Cell::Text(enabled.to_string()),
            Cell::Text((*description).to_owned()),
            Cell::Text("Stable".to_owned()),
        ]
    });
    page.table(&["ID", "Enabled", "Description", "Stage"], rows);
    page
}
