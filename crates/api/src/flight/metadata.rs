//! Catalogs, schemas, tables and the server's own properties, as drivers ask for them.

use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow_flight::error::Result;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, SqlInfo,
};
use cupola_query::QueryEngine;
use cupola_query::datafusion::datasource::TableType;
use cupola_query::datafusion::prelude::SessionContext;
use cupola_telemetry::TenantId;
use tonic::Status;

/// A fresh snapshot of the tenant.
pub(super) async fn session(
    engine: &QueryEngine,
    tenant: &TenantId,
) -> std::result::Result<SessionContext, Status> {
    engine
        .session(tenant)
        .await
        .map_err(|error| super::status(crate::backend::query_error(&error)))
}

pub(super) fn catalogs(session: &SessionContext, query: CommandGetCatalogs) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    for catalog in session.catalog_names() {
        builder.append(catalog);
    }
    builder.build()
}

pub(super) fn schemas(session: &SessionContext, query: CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    for name in session.catalog_names() {
        let Some(catalog) = session.catalog(&name) else {
            continue;
        };
        for schema in catalog.schema_names() {
            builder.append(&name, schema);
        }
    }
    builder.build()
}

pub(super) async fn tables(
    session: &SessionContext,
    query: CommandGetTables,
) -> std::result::Result<RecordBatch, Status> {
    let mut builder = query.into_builder();
    for catalog_name in session.catalog_names() {
        let Some(catalog) = session.catalog(&catalog_name) else {
            continue;
        };
        for schema_name in catalog.schema_names() {
            let Some(schema) = catalog.schema(&schema_name) else {
                continue;
            };
            for table_name in schema.table_names() {
                let table = schema.table(&table_name).await.map_err(super::internal)?;
                let Some(table) = table else { continue };
                let kind = type_name(table.table_type());
                builder
                    .append(
                        &catalog_name,
                        &schema_name,
                        &table_name,
                        kind,
                        table.schema().as_ref(),
                    )
                    .map_err(super::internal)?;
            }
        }
    }
    builder.build().map_err(super::internal)
}

pub(super) fn table_types(query: CommandGetTableTypes) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    for kind in [TableType::Base, TableType::View] {
        builder.append(type_name(kind));
    }
    builder.build()
}

fn type_name(kind: TableType) -> &'static str {
    match kind {
        TableType::Base => "TABLE",
        TableType::View => "VIEW",
        TableType::Temporary => "LOCAL TEMPORARY",
    }
}

/// What the server says of itself.
pub(super) fn server() -> std::result::Result<&'static SqlInfoData, Status> {
    static SERVER: LazyLock<std::result::Result<SqlInfoData, String>> = LazyLock::new(|| {
        let mut builder = SqlInfoDataBuilder::new();
        builder.append(SqlInfo::FlightSqlServerName, "Cupola");
        builder.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
        builder.append(SqlInfo::FlightSqlServerArrowVersion, "59");
        builder.append(SqlInfo::FlightSqlServerReadOnly, true);
        builder.append(SqlInfo::FlightSqlServerSql, true);
        builder.append(SqlInfo::FlightSqlServerSubstrait, false);
        builder.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
        builder.build().map_err(|error| error.to_string())
    });
    SERVER.as_ref().map_err(super::internal)
}
