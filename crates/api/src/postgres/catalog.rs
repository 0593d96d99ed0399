//! `pg_catalog` as clients of PostgreSQL expect it: the tenant is the database, Cupola's tables are in `public`.
//!
//! The static tables are read once for all connections; object ids are kept for the life of a connection, because clients
//! take the id of a table from one statement and use it in the next. Nothing else outlives a statement: a connection that
//! held the tables of its last one would keep all rows that were in memory then.

use std::fmt;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use cupola_query::datafusion::arrow::datatypes::SchemaRef;
use cupola_query::datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
};
use cupola_query::datafusion::datasource::TableType;
use cupola_query::datafusion::error::{DataFusionError, Result};
use cupola_query::datafusion::execution::session_state::SessionStateBuilder;
use cupola_query::datafusion::prelude::SessionContext;
use cupola_query::information_schema;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{
    self as pg, PgCatalogSchemaProvider, PgCatalogStaticTables, array_bounds_udf, format_type,
    generate_series_arg_coercion, has_privilege_udf, oid_type_planner, pg_get_expr_udf, quote_ident_udf,
};
use parking_lot::RwLock;

pub(super) const PUBLIC: &str = "public";
const PG_CATALOG: &str = "pg_catalog";
const INFORMATION_SCHEMA: &str = "information_schema";

/// The parts of `pg_catalog` that never change.
pub(super) struct StaticCatalog(Arc<PgCatalogStaticTables>);

impl StaticCatalog {
    pub(super) fn load() -> Result<Self> {
        PgCatalogStaticTables::try_new().map(|tables| Self(Arc::new(tables)))
    }
}

/// The catalog of one connection.
pub(super) struct ConnectionCatalog {
    statics: Arc<PgCatalogStaticTables>,
    objects: Objects,
    provider: Arc<PgCatalogSchemaProvider<Objects, EmptyContextProvider>>,
}

impl ConnectionCatalog {
    pub(super) fn new(statics: &StaticCatalog, database: &str) -> Result<Self> {
        let objects = Objects {
            database: database.into(),
            public: Arc::default(),
        };
        let provider =
            PgCatalogSchemaProvider::try_new(objects.clone(), statics.0.clone(), EmptyContextProvider)?;
        Ok(Self {
            statics: statics.0.clone(),
            objects,
            provider: Arc::new(provider),
        })
    }

    /// The session with the tenant's tables under the name of the database, beside `pg_catalog` and its functions.
    pub(super) fn attach(&self, session: &SessionContext) -> Result<SessionContext> {
        let state = session.state();
        let names = &state.config_options().catalog;
        let public = session
            .catalog(&names.default_catalog)
            .and_then(|catalog| catalog.schema(&names.default_schema))
            .ok_or_else(|| DataFusionError::Internal("the session has no default schema".to_owned()))?;
        *self.objects.public.write() = Some(Arc::downgrade(&public));

        let described = information_schema(self.catalogs(&public, None)?);
        let config = state
            .config()
            .clone()
            .with_default_catalog_and_schema(self.objects.database.to_string(), PUBLIC);
        let state = SessionStateBuilder::new_from_existing(state)
            .with_config(config)
            .with_catalog_list(self.catalogs(&public, Some(described))?)
            .with_type_planner(Arc::new(oid_type_planner::PgOidTypePlanner))
            .build();
        let session = SessionContext::new_with_state(state);
        self.register_functions(&session);
        Ok(session)
    }

    fn catalogs(
        &self,
        public: &Arc<dyn SchemaProvider>,
        described: Option<Arc<dyn SchemaProvider>>,
    ) -> Result<Arc<dyn CatalogProviderList>> {
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(PUBLIC, public.clone())?;
        catalog.register_schema(PG_CATALOG, self.provider.clone())?;
        if let Some(described) = described {
            catalog.register_schema(INFORMATION_SCHEMA, described)?;
        }
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(self.objects.database.to_string(), Arc::new(catalog));
        Ok(Arc::new(catalogs))
    }

    fn register_functions(&self, session: &SessionContext) {
        for function in [
            pg::create_current_database_udf(&self.objects.database),
            pg::create_current_schema_udf(),
            pg::create_current_schemas_udf(),
            pg::create_pg_get_userbyid_udf(),
            has_privilege_udf::create_has_privilege_udf("has_table_privilege"),
            has_privilege_udf::create_has_privilege_udf("has_schema_privilege"),
            has_privilege_udf::create_has_privilege_udf("has_database_privilege"),
            has_privilege_udf::create_has_privilege_udf("has_any_column_privilege"),
            pg::create_pg_table_is_visible(),
            format_type::create_format_type_udf(),
            pg::create_session_user_udf(),
            pg_get_expr_udf::create_pg_get_expr_udf(),
            pg::create_pg_get_partkeydef_udf(),
            pg::create_pg_relation_is_publishable_udf(),
            pg::create_pg_get_statisticsobjdef_columns_udf(),
            pg::create_pg_encoding_to_char_udf(),
            pg::create_pg_backend_pid_udf(),
            pg::create_pg_relation_size_udf(),
            pg::create_pg_total_relation_size_udf(),
            pg::create_pg_stat_get_numscans(),
            pg::create_pg_get_constraintdef(),
            pg::create_pg_get_partition_ancestors_udf(),
            quote_ident_udf::create_quote_ident_udf(),
            quote_ident_udf::create_parse_ident_udf(),
            array_bounds_udf::create_array_upper_udf(),
            array_bounds_udf::create_array_lower_udf(),
        ] {
            session.register_udf(function);
        }
        session.register_udtf("pg_get_keywords", self.statics.pg_get_keywords.clone());
        generate_series_arg_coercion::CoerceIntArgsToBigInt::widen(session);
    }
}

/// What `pg_class` and its kin list: one database, the tables of the statement under way in `public`.
#[derive(Clone)]
struct Objects {
    database: Arc<str>,
    public: Arc<RwLock<Option<Weak<dyn SchemaProvider>>>>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({})", self.database)
    }
}

impl Objects {
    fn schema(&self, catalog: &str, schema: &str) -> Option<Arc<dyn SchemaProvider>> {
        if *catalog != *self.database || schema != PUBLIC {
            return None;
        }
        self.public.read().as_ref()?.upgrade()
    }
}

#[async_trait]
impl CatalogInfo for Objects {
    async fn catalog_names(&self) -> Result<Vec<String>> {
        Ok(vec![self.database.to_string()])
    }

    async fn schema_names(&self, catalog: &str) -> Result<Option<Vec<String>>> {
        let known = *catalog == *self.database;
        Ok(known.then(|| {
            [PUBLIC, PG_CATALOG, INFORMATION_SCHEMA]
                .map(str::to_owned)
                .to_vec()
        }))
    }

    async fn table_names(&self, catalog: &str, schema: &str) -> Result<Option<Vec<String>>> {
        Ok(self.schema(catalog, schema).map(|schema| schema.table_names()))
    }

    async fn table_schema(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<SchemaRef>> {
        match self.schema(catalog, schema) {
            Some(schema) => Ok(schema.table(table).await?.map(|table| table.schema())),
            None => Ok(None),
        }
    }

    async fn table_type(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<TableType>> {
        match self.schema(catalog, schema) {
            Some(schema) => schema.table_type(table).await,
            None => Ok(None),
        }
    }
}
