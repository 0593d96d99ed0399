//! Retention rules of the file as rules of the store.

use std::collections::BTreeMap;

use cupola_store::schema::AttributeSet;
use cupola_store::segment::{Comparison, Literal, RowFilter};
use cupola_store::{RetainedSignal, RetentionRule};
use cupola_telemetry::TenantId;

use super::file::{Retention, Scalar, Severity, SignalName};
use crate::failure::Failure;

pub(crate) fn rule(from: Retention) -> Result<RetentionRule, Failure> {
    if let Some(tenant) = &from.tenant {
        TenantId::parse(tenant).map_err(|error| {
            Failure::usage(format!("a retention rule names the tenant `{tenant}`")).caused_by(&error)
        })?;
    }
    let severity = from.severity_min.is_some() || from.severity_max.is_some();
    if severity && !matches!(from.signal, Some(SignalName::Logs)) {
        return Err(
            Failure::usage("a retention rule names a severity, which only logs have")
                .hint("add `signal: logs` to the rule"),
        );
    }
    let mut filters = Vec::new();
    if let Some(service) = from.service {
        filters.push(column("service_name", Comparison::Equal, Literal::Text(service)));
    }
    // A record without a severity has the number 0, which is no level: it is neither above one nor below one.
    let least = from.severity_min.or(from.severity_max.map(|_| Severity::Trace));
    if let Some(least) = least {
        filters.push(column(
            "severity_number",
            Comparison::GreaterOrEqual,
            Literal::Int(least.number()),
        ));
    }
    if let Some(most) = from.severity_max {
        // A name covers four numbers: debug is 5 to 8.
        filters.push(column(
            "severity_number",
            Comparison::LessOrEqual,
            Literal::Int(most.number() + 3),
        ));
    }
    attributes(&mut filters, AttributeSet::Item, from.attributes);
    attributes(&mut filters, AttributeSet::Resource, from.resource_attributes);
    Ok(RetentionRule {
        signal: from.signal.map(|signal| match signal {
            SignalName::Logs => RetainedSignal::Logs,
            SignalName::Metrics => RetainedSignal::Metrics,
            SignalName::Traces => RetainedSignal::Traces,
        }),
        tenant: from.tenant,
        filter: (!filters.is_empty()).then_some(RowFilter::And(filters)),
        keep: from.keep.0,
    })
}

fn attributes(filters: &mut Vec<RowFilter>, set: AttributeSet, wanted: BTreeMap<String, Scalar>) {
    filters.extend(wanted.into_iter().map(|(key, value)| RowFilter::Attribute {
        set,
        key,
        comparison: Comparison::Equal,
        value: match value {
            Scalar::Bool(flag) => Literal::Bool(flag),
            Scalar::Int(number) => Literal::Int(number),
            Scalar::Double(number) => Literal::Double(number),
            Scalar::Text(text) => Literal::Text(text),
        },
    }));
}

fn column(name: &str, comparison: Comparison, value: Literal) -> RowFilter {
    RowFilter::Column {
        name: name.to_owned(),
        comparison,
        value,
    }
}
