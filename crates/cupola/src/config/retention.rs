//! Retention rules of the file as rules of the store, and the one for Cupola's own telemetry.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_store::schema::AttributeSet;
use cupola_store::segment::{Comparison, Literal, RowFilter};
use cupola_store::{RetainedSignal, RetentionRule};
use cupola_telemetry::TenantId;

use super::OWN_TENANT;
use super::file::{Retention, Scalar, Severity, SignalName};
use crate::failure::Failure;
use cupola_config::units::TimeSpan;

/// How long Cupola's own telemetry is kept if the file does not say.
const OWN_KEEP: Duration = Duration::from_secs(7 * 86_400);

/// The rules of the file, and after them the one for Cupola's own telemetry, unless one of them names all of that.
/// That is of a tenant, and of a service where that alone is Cupola's.
pub(super) fn with_own(
    mut rules: Vec<Retention>,
    own: Option<(&TenantId, Option<String>)>,
) -> Vec<Retention> {
    let Some((tenant, service)) = own else {
        return rules;
    };
    let alone = tenant.as_str() == OWN_TENANT;
    // Without a name, nothing tells it from what others have sent.
    if !alone && service.is_none() {
        return rules;
    }
    let own = Retention {
        keep: TimeSpan(OWN_KEEP),
        signal: None,
        tenant: Some(tenant.as_str().to_owned()),
        // A tenant that somebody chose may have telemetry of theirs, which is not ours to remove.
        service: service.filter(|_| !alone),
        severity_min: None,
        severity_max: None,
        attributes: BTreeMap::new(),
        resource_attributes: BTreeMap::new(),
    };
    if !rules.iter().any(|rule| names_all(rule, &own)) {
        rules.push(own);
    }
    rules
}

/// Whether a rule names every row that one with nothing but a tenant and a service does.
fn names_all(rule: &Retention, other: &Retention) -> bool {
    let covers = |named: &Option<String>, other: &Option<String>| named.is_none() || named == other;
    let severity = rule.severity_min.is_some() || rule.severity_max.is_some();
    let attributes = !rule.attributes.is_empty() || !rule.resource_attributes.is_empty();
    rule.signal.is_none()
        && !severity
        && !attributes
        && covers(&rule.tenant, &other.tenant)
        && covers(&rule.service, &other.service)
}

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

#[cfg(test)]
mod tests {
    use crate::config::{LogFlags, ServeFlags, Settings};

    fn rules(text: &str, own_telemetry: &str) -> String {
        let flags = ServeFlags {
            own_telemetry: Some(own_telemetry.to_owned()),
            ..ServeFlags::default()
        };
        let resolve = |text: &str| {
            let file = crate::config::file::File::parse(text).unwrap();
            Settings::resolve(&flags, &LogFlags::default(), file).unwrap()
        };
        let shown = resolve(text).show();
        assert_eq!(resolve(&shown).show(), shown, "what is shown means the same");
        let rules = shown.split_once("  retention:\n").map_or("", |(_, rest)| rest);
        rules.split_once("api:").map_or("", |(rules, _)| rules).to_owned()
    }

    #[test]
    fn a_service_that_somebody_named_is_not_removed_among_theirs() {
        let named = "service: {telemetry: {resource: {service.name: shop}}}";
        assert_eq!(rules(named, "acme"), "");
        assert!(rules("", "acme").contains("service: \"cupola\""));
        assert!(rules(named, "cupola").contains("tenant: \"cupola\""));
    }

    #[test]
    fn own_telemetry_is_kept_a_week_unless_a_rule_names_it() {
        let built_in = "    - keep: 7d\n      tenant: \"cupola\"\n";
        assert_eq!(rules("", "cupola"), built_in);
        let logs = "store: {retention: [{keep: 3d, signal: logs}]}";
        assert_eq!(
            rules(logs, "cupola"),
            format!("    - keep: 3d\n      signal: logs\n{built_in}"),
            "the rest of it is kept a week"
        );
        for own in ["{keep: 90d}", "{keep: 90d, tenant: cupola}"] {
            let shown = rules(&format!("store: {{retention: [{own}]}}"), "cupola");
            assert!(!shown.contains("7d"), "{shown}");
        }
        assert_eq!(rules("", "off"), "", "there is none");
    }

    #[test]
    fn in_a_tenant_that_was_chosen_only_own_telemetry_goes() {
        assert_eq!(
            rules("", "default"),
            "    - keep: 7d\n      tenant: \"default\"\n      service: \"cupola\"\n"
        );
        let service = "store: {retention: [{keep: 1d, service: cupola}]}";
        assert_eq!(
            rules(service, "default"),
            "    - keep: 1d\n      service: \"cupola\"\n"
        );
    }
}
