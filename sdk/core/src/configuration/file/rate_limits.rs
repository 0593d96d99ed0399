//! `rate_limits`: rules for how many log records may be recorded. Refuses those that limit nothing.

use cupola_config::Node;
use cupola_config::units::ByteSize;
use serde::Deserialize;

use crate::configuration::levels::Level;
use crate::configuration::text::File;
use crate::rate_limit::{RateLimitRule, TenantRule};
use crate::settings::Settings;

/// `rate_limits`: how many log records may be recorded.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RateLimits {
    /// A record is recorded if all that fit it admit it.
    rules: Vec<Rule>,
    /// Most tenants that a rule tells apart.
    tenants_max: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rule {
    name: Option<String>,
    /// Of records of this level alone.
    level: Option<Level>,
    /// Of loggers whose name fits; `*` stands for any characters.
    logger: Option<String>,
    /// Of this tenant alone.
    tenant: Option<String>,
    /// For each tenant by itself.
    per_tenant: bool,
    /// Records.
    per_second: Option<f64>,
    burst: Option<u32>,
    bytes_per_day: Option<ByteSize>,
}

impl RateLimits {
    pub(super) fn apply(&self, file: &mut File<'_>, root: &Node, settings: &mut Settings) {
        let limits = &mut settings.logs.rate_limits;
        limits.tenants_max = self.tenants_max.unwrap_or(limits.tenants_max).max(1);
        let nodes = root
            .at(&["rate_limits", "rules"])
            .map(Node::items)
            .unwrap_or_default();
        for (index, (rule, node)) in self.rules.iter().zip(nodes).enumerate() {
            let key = format!("rate_limits.rules[{index}]");
            if rule.per_second.is_none() && rule.bytes_per_day.is_none() {
                let hint = "add `per_second` or `bytes_per_day`";
                file.error(node.place(), &key, "limits nothing", Some(hint));
            }
            if rule
                .per_second
                .is_some_and(|rate| !(rate >= 0.0 && rate.is_finite()))
            {
                let at = node.get("per_second").unwrap_or(node);
                file.error(
                    at.place(),
                    &format!("{key}.per_second"),
                    "must be 0 or more",
                    None,
                );
            }
            if rule.per_tenant && rule.tenant.is_some() {
                let at = node.get("tenant").unwrap_or(node);
                file.error(
                    at.place(),
                    &format!("{key}.tenant"),
                    "cannot stand beside per_tenant",
                    Some("leave one out"),
                );
            }
            let name = rule.name.clone().unwrap_or_else(|| format!("rule {}", index + 1));
            limits.rules.push(RateLimitRule {
                level: rule.level.map(|level| level.0),
                logger: rule.logger.clone(),
                tenant: match &rule.tenant {
                    Some(tenant) => TenantRule::Only(tenant.clone()),
                    None if rule.per_tenant => TenantRule::Each,
                    None => TenantRule::Any,
                },
                per_second: rule.per_second,
                burst: rule.burst,
                bytes_per_day: rule.bytes_per_day.map(|bytes| bytes.0),
                ..RateLimitRule::new(name)
            });
        }
    }
}
