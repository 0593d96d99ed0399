//! `information_schema` as queries see it: tables and columns, and not the settings of the engine, which name paths.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::{CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result};

/// The table with the settings.
const SETTINGS: &str = "df_settings";

#[derive(Debug)]
struct InformationSchema(InformationSchemaProvider);

/// What describes the tables in `catalogs`. It must not be put into these: it would hold itself.
pub fn information_schema(catalogs: Arc<dyn CatalogProviderList>) -> Arc<dyn SchemaProvider> {
    Arc::new(InformationSchema(InformationSchemaProvider::new(catalogs)))
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.0.table_names();
        names.retain(|name| name != SETTINGS);
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if !self.table_exist(name) {
            return Ok(None);
        }
        self.0.table(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        !name.eq_ignore_ascii_case(SETTINGS) && self.0.table_exist(name)
    }
}
