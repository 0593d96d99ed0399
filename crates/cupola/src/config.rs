//! Settings: what the command line, the environment, the configuration file and the defaults say together. The only
//! place where they meet. Acts on nothing.

mod check;
pub(crate) mod file;
mod flags;
pub(crate) mod load;
pub(crate) mod memory;
mod options;
mod pipelines;
mod query;
mod retention;
mod show;
pub(crate) mod telemetry;
#[cfg(test)]
mod told;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cupola_api::{ApiConfig, HealthConfig};
use cupola_config::units::{ByteSize, MemoryLimit};
use cupola_config::{ComponentId, Endpoint, Node, Problems};
use cupola_pipeline::graph::Plan;
use cupola_store::{RetentionRule, StoreConfig};
use cupola_telemetry::TenantId;
use cupola_telemetry::memory::MemoryBudget;

use crate::components;
use crate::failure::Failure;
use file::File;
pub(crate) use flags::{LogFlags, OptionalEndpoint, ServeFlags};
use memory::MemoryPlan;
use query::QuerySettings;
use telemetry::{LogEncoding, OwnResource};

pub(crate) const OTLP_GRPC_PORT: u16 = 4317;
pub(crate) const OTLP_HTTP_PORT: u16 = 4318;
const ZPAGES_PORT: u16 = 55679;
const PPROF_PORT: u16 = 1777;
pub(crate) const DATA_DIRECTORY: &str = "cupola-data";
/// Below it: queues, dead letters and fall-back files of pipelines.
pub(crate) const PIPELINE_DIRECTORY: &str = "pipeline";
/// Tenant of Cupola's own telemetry: apart from users' data, so that it neither shows among it nor is billed to them.
pub(crate) const OWN_TENANT: &str = "cupola";
/// The `service.name` of it.
pub(crate) const OWN_SERVICE: &str = "cupola";
const LOG_FILTER: &str = "info";
const STORAGE_DIRECTORY: &str = "/var/lib/otelcol/file_storage";
/// Of the environment variables of Amazon S3, Google Cloud Storage and Azure.
const PROVIDER_PREFIXES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// Everything `serve` needs to know, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) directory: PathBuf,
    pub(crate) object_store_url: Option<String>,
    pub(crate) object_store_options: Vec<(String, String)>,
    pub(crate) store: StoreSettings,
    /// The whole configuration as a tree, with the pipelines that hold without a file.
    pub(crate) tree: Node,
    /// The pipelines, read for a check: components of a registry with a store are read again from the tree.
    pub(crate) plan: Arc<Plan>,
    /// Directories of `file_storage` extensions.
    pub(crate) storage: BTreeMap<ComponentId, PathBuf>,
    pub(crate) api: ApiConfig,
    pub(crate) health: Option<HealthConfig>,
    pub(crate) zpages: Option<ZpagesSettings>,
    pub(crate) pprof: Option<PprofSettings>,
    /// Extensions in use, by their names.
    pub(crate) extensions: Vec<String>,
    pub(crate) memory: MemoryPlan,
    pub(crate) query: QuerySettings,
    /// Where Cupola's own telemetry is kept, if it is.
    pub(crate) own_tenant: Option<TenantId>,
    /// What its resource has beside or in place of what it has by itself.
    pub(crate) own_resource: OwnResource,
    /// Where `/metrics` is served besides the API.
    pub(crate) own_metrics: Vec<SocketAddr>,
    /// Whether something is to be kept here: by a pipeline, or because own telemetry was asked for.
    pub(crate) opens_store: bool,
    pub(crate) log: LogSettings,
    /// What is odd about the configuration, though not wrong.
    pub(crate) warnings: Vec<String>,
    /// Whether the command has a flag for each address, which a hint may name.
    pub(crate) has_address_flags: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    pub(crate) filter: String,
    pub(crate) encoding: LogEncoding,
}

#[derive(Clone, Debug)]
pub(crate) struct ZpagesSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) expvar: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct PprofSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) save_to_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct StoreSettings {
    pub(crate) flush_bytes_max: Option<usize>,
    pub(crate) flush_interval: Option<Duration>,
    pub(crate) wal_segment_bytes_max: Option<u64>,
    pub(crate) compaction_interval: Option<Duration>,
    pub(crate) compaction_files_min: Option<usize>,
    pub(crate) segment_bytes_target: Option<u64>,
    pub(crate) compaction_settle: Option<Duration>,
    pub(crate) retention: Vec<RetentionRule>,
    /// The same rules as a file has them, which is how they are shown.
    pub(crate) retention_shown: Vec<file::Retention>,
    pub(crate) retention_interval: Option<Duration>,
}

impl Settings {
    /// Puts together flags (with the environment), file and defaults, in this order of precedence. Whatever is wrong, in
    /// whichever part, is one failure.
    pub(crate) fn resolve(flags: &ServeFlags, log: &LogFlags, file: File) -> Result<Settings, Failure> {
        let mut document = file.document;
        let tree = pipelines::complete(&document.root, flags);
        let mut problems = Problems::new();
        let plan = pipelines::plan(&tree, &mut problems);
        document.add(problems);
        let mut wrong = Wrong::default();
        let limit = wrong.or_else(memory_limit(flags, file.memory.limit), || memory::LIMIT_MIN);
        let telemetry = file.service.telemetry;
        let plan = plan.unwrap_or_default();
        let own_is_asked_for =
            flags.own_telemetry.is_some() || telemetry.enabled.is_some() || telemetry.tenant.is_some();
        let own_tenant = wrong.or_default(own_tenant(flags, telemetry.enabled, telemetry.tenant));
        // Alone, what is kept without being asked for is no reason to have a store.
        let opens_store = has_store(&plan) || (own_is_asked_for && own_tenant.is_some());
        let own_tenant = own_tenant.filter(|_| opens_store);
        let extensions = file.extensions;
        let health = extensions.health_check.unwrap_or_default();
        let settings = Settings {
            directory: flags
                .data_dir
                .clone()
                .or(file.store.directory.clone())
                .unwrap_or_else(|| PathBuf::from(DATA_DIRECTORY)),
            object_store_url: flags
                .object_store_url
                .clone()
                .or(file.store.object_store_url.clone()),
            object_store_options: file.store.object_store_options.clone().into_iter().collect(),
            store: store_settings(
                flags,
                file.store,
                own_tenant
                    .as_ref()
                    .map(|tenant| (tenant, own_service(&file.own_resource))),
                &mut wrong,
            ),
            tree,
            plan: Arc::new(plan),
            storage: storage(extensions.file_storage),
            warnings: document
                .warnings()
                .iter()
                .map(|problem| document.render(problem))
                .collect(),
            health: wrong.or_default(health_config(flags, health, &file.api.allowed_hosts)),
            api: api_settings(flags, file.api),
            zpages: extensions.zpages.map(zpages),
            pprof: extensions.pprof.map(pprof),
            extensions: extensions.names,
            memory: MemoryPlan::new(limit),
            query: wrong.or_default(QuerySettings::resolve(file.query)),
            own_tenant,
            own_resource: file.own_resource,
            own_metrics: telemetry.metrics.listens(),
            opens_store,
            log: LogSettings {
                filter: log
                    .log
                    .clone()
                    .or(telemetry.logs.level)
                    .unwrap_or_else(|| LOG_FILTER.to_owned()),
                encoding: log
                    .log_format
                    .or(telemetry.logs.encoding)
                    .unwrap_or(LogEncoding::Console),
            },
            has_address_flags: true,
        };
        wrong.0.extend(check::check(&settings));
        match (document.problems.errors(), wrong.0.len()) {
            (0, 0) => Ok(settings),
            // Alone it says all there is to say.
            (0, 1) => Err(wrong.0.swap_remove(0)),
            _ => Err(document.failure(wrong.0)),
        }
    }

    /// Whether a pipeline keeps what it takes here.
    pub(crate) fn has_store(&self) -> bool {
        has_store(&self.plan)
    }

    /// The store's configuration, drawing on `memory`.
    pub(crate) fn store_config(&self, memory: MemoryBudget) -> StoreConfig {
        let mut config = StoreConfig::new(&self.directory);
        let given = &self.store;
        config.other_entries = vec![PIPELINE_DIRECTORY.to_owned()];
        config.object_store_url.clone_from(&self.object_store_url);
        // The later ones count: what is written down goes before what the environment says.
        config.object_store_options = provider_options(std::env::vars_os());
        config
            .object_store_options
            .extend(self.object_store_options.iter().cloned());
        // A generation is flushed while the next one fills: several must fit, with the columns made of them.
        let fitting = usize::try_from(self.memory.store / 8).unwrap_or(usize::MAX);
        config.flush_bytes_max = given
            .flush_bytes_max
            .unwrap_or(config.flush_bytes_max)
            .min(fitting);
        set(&mut config.flush_interval, given.flush_interval);
        set(&mut config.wal_segment_bytes_max, given.wal_segment_bytes_max);
        set(&mut config.compaction.interval, given.compaction_interval);
        set(&mut config.compaction.files_min, given.compaction_files_min);
        set(
            &mut config.compaction.segment_bytes_target,
            given.segment_bytes_target,
        );
        set(&mut config.compaction.settle, given.compaction_settle);
        set(&mut config.retention_interval, given.retention_interval);
        config.retention.clone_from(&given.retention);
        config.memory = memory;
        config
    }

    /// These settings as a configuration file.
    pub(crate) fn show(&self) -> String {
        show::yaml(self)
    }
}

/// Whether a pipeline has the exporter `store`: those that none has are not in a plan.
fn has_store(plan: &Plan) -> bool {
    plan.exporters.keys().any(|id| id.kind() == components::STORE)
}

/// Credentials and the like in the variables that a provider's own tools read, as options of the object store.
fn provider_options(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(String, String)> {
    let texts = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts
        .filter(|(name, _)| PROVIDER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect()
}

/// What does not make sense, with a stand-in for it, so that the rest can be judged as well.
#[derive(Default)]
struct Wrong(Vec<Failure>);

impl Wrong {
    fn or_else<T>(&mut self, result: Result<T, Failure>, stand_in: impl FnOnce() -> T) -> T {
        result.unwrap_or_else(|failure| {
            self.0.push(failure);
            stand_in()
        })
    }

    fn or_default<T: Default>(&mut self, result: Result<T, Failure>) -> T {
        self.or_else(result, T::default)
    }
}

fn memory_limit(flags: &ServeFlags, file: Option<MemoryLimit>) -> Result<u64, Failure> {
    let limit = match flags.memory_limit.or(file) {
        Some(given) => memory::resolve(given),
        // A share of a small machine may be too little; nobody has asked for so little.
        None => memory::resolve(memory::SHARE_DEFAULT).max(memory::LIMIT_MIN),
    };
    if limit < memory::LIMIT_MIN {
        let least = format!(
            "give at least {} with --memory-limit",
            ByteSize(memory::LIMIT_MIN)
        );
        let failure = Failure::usage(format!("the memory limit of {} is too small", ByteSize(limit)));
        return Err(failure.hint(least));
    }
    Ok(limit)
}

fn set<T>(target: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *target = given;
    }
}

fn store_settings(
    flags: &ServeFlags,
    file: file::StoreSection,
    own: Option<(&TenantId, Option<String>)>,
    wrong: &mut Wrong,
) -> StoreSettings {
    let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    let retention = retention::with_own(file.retention, own);
    StoreSettings {
        flush_bytes_max: flags.flush_bytes_max.or(file.flush_bytes_max).map(bytes),
        flush_interval: flags.flush_interval.or(file.flush_interval).map(|span| span.0),
        wal_segment_bytes_max: file.wal_segment_bytes_max.map(|size| size.0),
        compaction_interval: file.compaction.interval.map(|span| span.0),
        compaction_files_min: file.compaction.files_min,
        segment_bytes_target: file.compaction.segment_bytes_target.map(|size| size.0),
        compaction_settle: file.compaction.settle.map(|span| span.0),
        retention: retention
            .iter()
            .cloned()
            .filter_map(|rule| wrong.or_default(retention::rule(rule).map(Some)))
            .collect(),
        retention_shown: retention,
        retention_interval: file.retention_interval.map(|span| span.0),
    }
}

/// The `service.name` by which own telemetry can be told from what others send: not one that somebody gave, which a service
/// of theirs may have too.
fn own_service(resource: &OwnResource) -> Option<String> {
    let is_given = resource.iter().any(|(name, _)| name == "service.name");
    (!is_given).then(|| OWN_SERVICE.to_owned())
}

/// As the Collector has it, storage without a directory is in one for all.
fn storage(extensions: BTreeMap<ComponentId, file::FileStorage>) -> BTreeMap<ComponentId, PathBuf> {
    let directory = |storage: file::FileStorage| {
        storage
            .directory
            .unwrap_or_else(|| PathBuf::from(STORAGE_DIRECTORY))
    };
    extensions
        .into_iter()
        .map(|(id, storage)| (id, directory(storage)))
        .collect()
}

fn health_config(
    flags: &ServeFlags,
    file: file::HealthCheck,
    allowed_hosts: &[String],
) -> Result<Option<HealthConfig>, Failure> {
    if let Some(path) = file.path.as_deref().filter(|path| !path.starts_with('/')) {
        return Err(Failure::usage(format!(
            "extensions.health_check.path is `{path}`, which is no path"
        ))
        .hint(format!("write for example /{path}")));
    }
    let listen = optional(flags.health, file.endpoint, file.enabled, cupola_api::HEALTH_PORT);
    Ok(listen.map(|listen| HealthConfig {
        listen,
        path: file.path,
        healthy_body: file.response_body.healthy.filter(|body| !body.is_empty()),
        allowed_hosts: allowed_hosts.to_vec(),
    }))
}

fn zpages(file: file::Zpages) -> ZpagesSettings {
    ZpagesSettings {
        listen: file.endpoint.unwrap_or(Endpoint::loopback(ZPAGES_PORT)).0,
        expvar: file.expvar.enabled,
    }
}

fn pprof(file: file::Pprof) -> PprofSettings {
    PprofSettings {
        listen: file.endpoint.unwrap_or(Endpoint::loopback(PPROF_PORT)).0,
        save_to_file: file.save_to_file,
    }
}

fn api_settings(flags: &ServeFlags, file: file::ApiSection) -> ApiConfig {
    let mut config = ApiConfig::default();
    set(
        &mut config.listen,
        flags.api.or(file.endpoint).map(|endpoint| endpoint.0),
    );
    let listener = |section: Option<file::Listener>| {
        section.map_or((None, None), |listener| (listener.endpoint, listener.enabled))
    };
    let (endpoint, enabled) = listener(file.postgres);
    config.postgres_listen = optional(flags.postgres, endpoint, enabled, cupola_api::POSTGRES_PORT);
    let (endpoint, enabled) = listener(file.flight_sql);
    config.flight_listen = optional(flags.flight_sql, endpoint, enabled, cupola_api::FLIGHT_PORT);
    config.allowed_hosts = file.allowed_hosts;
    config
}

fn optional(
    flag: Option<OptionalEndpoint>,
    file: Option<Endpoint>,
    enabled: Option<bool>,
    port: u16,
) -> Option<SocketAddr> {
    match flag {
        Some(OptionalEndpoint::Off) => None,
        Some(OptionalEndpoint::On(address)) => Some(address),
        None if enabled == Some(false) => None,
        None => Some(file.unwrap_or(Endpoint::loopback(port)).0),
    }
}

fn own_tenant(
    flags: &ServeFlags,
    enabled: Option<bool>,
    file: Option<String>,
) -> Result<Option<TenantId>, Failure> {
    let name = match &flags.own_telemetry {
        Some(flag) if flag == "off" => return Ok(None),
        Some(flag) => flag.clone(),
        None if enabled == Some(false) => return Ok(None),
        None => file.unwrap_or_else(|| OWN_TENANT.to_owned()),
    };
    TenantId::parse(&name).map(Some).map_err(|error| {
        Failure::usage(format!("`{name}` cannot be the tenant of Cupola's own telemetry")).caused_by(&error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: ServeFlags, yaml: &str) -> Settings {
        let file = File::parse(yaml).unwrap();
        Settings::resolve(&flags, &LogFlags::default(), file).unwrap()
    }

    fn endpoint(settings: &Settings, protocol: &str) -> Option<String> {
        let node = settings
            .tree
            .at(&["receivers", "otlp", "protocols", protocol, "endpoint"]);
        node.and_then(|node| node.text()).map(str::to_owned)
    }

    #[test]
    fn without_anything_the_defaults_hold() {
        let settings = resolve(ServeFlags::default(), "");
        assert_eq!(endpoint(&settings, "grpc").as_deref(), Some("127.0.0.1:4317"));
        assert_eq!(endpoint(&settings, "http").as_deref(), Some("127.0.0.1:4318"));
        assert_eq!(settings.api.listen, Endpoint::loopback(4300).0);
        assert_eq!(settings.health.unwrap().listen, Endpoint::loopback(13133).0);
        assert_eq!(settings.directory, PathBuf::from("cupola-data"));
        assert_eq!(settings.own_tenant.unwrap().as_str(), "cupola");
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let yaml = "receivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:1}, http: {endpoint: 127.0.0.1:2}}}}\n\
                    api: {postgres: {enabled: false}}\nmemory: {limit: 256MiB}\n";
        let flags = ServeFlags {
            otlp_grpc: Some(Endpoint::loopback(9)),
            ..ServeFlags::default()
        };
        let settings = resolve(flags, yaml);
        assert_eq!(endpoint(&settings, "grpc").as_deref(), Some("127.0.0.1:9"));
        assert_eq!(endpoint(&settings, "http").as_deref(), Some("127.0.0.1:2"));
        assert_eq!(settings.api.postgres_listen, None);
        assert_eq!(settings.memory.limit, 256 << 20);
    }

    #[test]
    fn a_protocol_that_is_not_named_is_off() {
        let settings = resolve(
            ServeFlags::default(),
            "receivers: {otlp: {protocols: {grpc: }}}\n",
        );
        assert!(endpoint(&settings, "grpc").is_some() && endpoint(&settings, "http").is_none());
    }

    #[test]
    fn credentials_are_taken_from_the_variables_of_the_provider() {
        let environment = [
            ("AWS_ACCESS_KEY_ID", "id"),
            ("PATH", "/bin"),
            ("AZURE_CLIENT_ID", "a"),
        ];
        let options = provider_options(environment.map(|(name, value)| (name.into(), value.into())));
        let expected = [("aws_access_key_id", "id"), ("azure_client_id", "a")];
        assert_eq!(
            options,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn the_default_is_enough_on_the_smallest_machine() {
        assert!(resolve(ServeFlags::default(), "").memory.limit >= memory::LIMIT_MIN);
    }

    /// Shown and saved, a rule that has lost a filter would name rows it was never meant for, and they would be removed.
    #[test]
    fn retention_rules_are_shown_with_everything_that_narrows_them() {
        let rules = [
            "{keep: 3d, signal: logs, severity_min: trace, severity_max: debug}",
            "{keep: 1500us, signal: traces, tenant: acme, service: \"a \\\"b\\\" \u{e9}\\t\"}",
            "{keep: 90d, attributes: {http.response.status_code: 500, cache.hit: true, ratio: 0.5, big: 1e300, \
             text: \"500\", \"a: b\": \"x # y\"}}",
            "{keep: 2w, signal: metrics, resource_attributes: {k8s.namespace.name: \"true\", n: -1, f: 1.0}}",
            "{keep: 1d}",
        ];
        let text = format!("store: {{retention: [{}]}}\n", rules.join(", "));
        let settings = resolve(ServeFlags::default(), &text);
        assert_eq!(settings.store.retention.len(), rules.len());
        let again = resolve(ServeFlags::default(), &settings.show());
        assert_eq!(
            again.store.retention,
            settings.store.retention,
            "{}",
            settings.show()
        );
        let lone = resolve(
            ServeFlags::default(),
            "store: {retention: [{keep: 1h, service: a}]}\n",
        );
        assert!(lone.store.retention[0].filter.is_some());
        assert_eq!(
            resolve(ServeFlags::default(), &lone.show()).store.retention,
            lone.store.retention
        );
    }

    #[test]
    fn what_is_shown_means_the_same_when_read_again() {
        let settings = resolve(
            ServeFlags {
                health: Some(OptionalEndpoint::Off),
                ..ServeFlags::default()
            },
            "memory: {limit: 512MiB}\nstore: {flush_interval: 7s, retention: [{keep: 3d, signal: logs}]}\n",
        );
        let again = resolve(ServeFlags::default(), &settings.show());
        assert_eq!(again.show(), settings.show());
    }
}
