//! How the components of the process are, for `/health`: what runs, put into the shape of the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cupola_api::{ComponentHealth, HealthSource, HealthStatus};
use cupola_export::{Condition, Trouble};
use cupola_pipeline::graph::{Pipelines, RunningPart, RunningPipeline};
use cupola_telemetry::time::to_rfc3339;

/// A component that waiting may help counts as healthy for this long, as in the Collector.
const RECOVERY: Duration = Duration::from_secs(60);

/// Looks at what runs whenever it is asked.
pub(crate) struct PipelineHealth {
    pub(crate) pipelines: Arc<Pipelines>,
    /// Names of the extensions in use, which have been started or the process would not run.
    pub(crate) extensions: Vec<String>,
}

impl HealthSource for PipelineHealth {
    fn health(&self) -> ComponentHealth {
        let extensions = self.extensions.iter();
        let extensions = extensions.map(|name| (format!("extension:{name}"), ComponentHealth::ok()));
        let mut all = BTreeMap::from([("extensions".to_owned(), ComponentHealth::of(extensions.collect()))]);
        for pipeline in self.pipelines.describe() {
            all.insert(format!("pipeline:{}", pipeline.id), of_pipeline(&pipeline));
        }
        ComponentHealth::of(all)
    }
}

fn of_pipeline(pipeline: &RunningPipeline) -> ComponentHealth {
    let named = |part: &RunningPart| (format!("{}:{}", part.role.as_str(), part.id), of_part(part));
    ComponentHealth::of(pipeline.parts().map(named).collect())
}

fn of_part(part: &RunningPart) -> ComponentHealth {
    if part.missing {
        return ComponentHealth {
            healthy: false,
            status: HealthStatus::Permanent,
            error: Some("it could not be started again after a change of the configuration".to_owned()),
            ..ComponentHealth::ok()
        };
    }
    let Condition {
        failing,
        recovered,
        last_error,
    } = &part.condition;
    let (status, healthy) = match failing {
        None => (HealthStatus::Ok, true),
        Some(trouble) if trouble.recoverable => (HealthStatus::Recoverable, may_recover(trouble)),
        Some(_) => (HealthStatus::Permanent, false),
    };
    let since = failing.as_ref().map_or(*recovered, |failing| failing.since);
    ComponentHealth {
        healthy,
        status,
        error: failing.as_ref().map(reason),
        status_time: since.map(time_of),
        last_error: last_error.as_ref().map(reason),
        last_error_time: last_error.as_ref().and_then(|error| error.since).map(time_of),
        recovered_time: recovered.map(time_of),
        components: BTreeMap::new(),
    }
}

/// What a component said, without what is secret in the addresses that it names.
pub(crate) fn reason(trouble: &Trouble) -> String {
    cupola_config::mask::urls(&trouble.reason).unwrap_or_else(|| trouble.reason.clone())
}

fn may_recover(trouble: &Trouble) -> bool {
    let lasted = trouble.since.and_then(|since| since.elapsed().ok());
    lasted.is_none_or(|lasted| lasted <= RECOVERY)
}

pub(crate) fn time_of(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    to_rfc3339(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use cupola_pipeline::graph::{Counts, Role};

    use super::*;

    fn part(failing: Option<(Duration, bool)>) -> ComponentHealth {
        let trouble = failing.map(|(ago, recoverable)| Trouble {
            reason: "http://user:hunter22@far refused".to_owned(),
            since: SystemTime::now().checked_sub(ago),
            recoverable,
        });
        of_part(&RunningPart {
            id: "otlp".parse().unwrap(),
            role: Role::Exporter,
            counts: Counts::default(),
            outgoing: None,
            condition: Condition {
                failing: trouble.clone(),
                recovered: None,
                last_error: trouble,
            },
            addresses: Vec::new(),
            missing: false,
        })
    }

    #[test]
    fn what_may_recover_is_healthy_for_a_while_and_the_worst_of_all_is_told() {
        let (good, new) = (part(None), part(Some((Duration::ZERO, true))));
        let (old, bad) = (
            part(Some((2 * RECOVERY, true))),
            part(Some((Duration::ZERO, false))),
        );
        let told = |one: &ComponentHealth| (one.healthy, one.status);
        assert_eq!(told(&good), (true, HealthStatus::Ok));
        assert_eq!(told(&new), (true, HealthStatus::Recoverable));
        assert_eq!(told(&old), (false, HealthStatus::Recoverable));
        assert_eq!(told(&bad), (false, HealthStatus::Permanent));
        let all = [("a", good), ("b", bad), ("c", new)].map(|(name, of)| (name.to_owned(), of));
        let all = ComponentHealth::of(BTreeMap::from(all));
        assert_eq!(told(&all), (false, HealthStatus::Permanent));
        let error = all.error.unwrap();
        assert!(
            error.contains("@far refused") && !error.contains("hunter22"),
            "{error}"
        );
    }
}
