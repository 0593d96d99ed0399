//! The fleet: services with their pods, operations and encoded resources. Built once from the seed, then read only.

use crate::config::GeneratorConfig;
use crate::plan::Step;
use crate::random::{Random, mix, skewed};
use crate::wire::{Value, Wire};

/// Field numbers of `attributes` in the two messages that operations describe.
const LOG_ATTRIBUTES: u32 = 6;
const SPAN_ATTRIBUTES: u32 = 9;

const SERVICE_NAMES: &[&str] = &[
    "storefront",
    "api-gateway",
    "orders",
    "payments",
    "inventory",
    "catalog",
    "checkout",
    "cart",
    "identity",
    "shipping",
    "pricing",
    "recommendations",
    "search",
    "notifications",
    "email",
    "billing",
    "ledger",
    "fraud",
    "reviews",
    "media",
    "sessions",
    "loyalty",
    "returns",
    "tax",
    "warehouse",
    "analytics",
    "scheduler",
    "webhooks",
    "exports",
    "audit",
];
const RESOURCES: &[&str] = &[
    "orders",
    "users",
    "items",
    "carts",
    "payments",
    "invoices",
    "products",
    "sessions",
    "reviews",
    "shipments",
    "prices",
    "tokens",
    "accounts",
    "messages",
    "reports",
    "coupons",
];
const LANGUAGES: &[(&str, &str, &str)] = &[
    ("java", "1.54.0", "io.opentelemetry.spring-webmvc-6.0"),
    ("python", "1.39.1", "opentelemetry.instrumentation.fastapi"),
    ("nodejs", "2.2.0", "@opentelemetry/instrumentation-http"),
    (
        "go",
        "1.38.0",
        "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
    ),
    ("rust", "0.33.0", "axum-tracing"),
    ("dotnet", "1.13.1", "OpenTelemetry.Instrumentation.AspNetCore"),
];
const REGIONS: &[&str] = &["eu-central-1", "us-east-1", "ap-southeast-2"];
const DATABASE_VERBS: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE"];
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.38.0";

/// `SpanKind` of the OTLP protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// What an operation does; decides its dynamic attributes and the words of its logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Http,
    HttpCall,
    Database,
    Cache,
    Publish,
    Consume,
    Compute,
}

pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) work: Work,
    /// Path prefix of an HTTP operation, an id is appended.
    pub(crate) path: String,
    pub(crate) span_attributes: Vec<u8>,
    pub(crate) log_attributes: Vec<u8>,
}

pub(crate) struct Pod {
    /// Encoded `Resource`.
    pub(crate) resource: Vec<u8>,
}

pub(crate) struct Service {
    pub(crate) name: String,
    /// Encoded `InstrumentationScope`.
    pub(crate) scope: Vec<u8>,
    /// Pods are numbered through the whole fleet; these are this service's.
    pub(crate) first_pod: usize,
    pub(crate) pods: usize,
    pub(crate) operations: Vec<Operation>,
    pub(crate) routes: usize,
}

pub(crate) struct Topology {
    pub(crate) services: Vec<Service>,
    pub(crate) pods: Vec<Pod>,
    /// Service of each pod.
    pub(crate) pod_service: Vec<u32>,
    pub(crate) schema_url: &'static str,
    seed: u64,
}

impl Topology {
    pub(crate) fn operation(&self, step: &Step) -> &Operation {
        &self.services[step.described_by as usize].operations[step.operation as usize]
    }

    pub(crate) fn new(config: &GeneratorConfig) -> Self {
        let mut random = Random::new(mix(config.seed, 0x10));
        let mut topology = Topology {
            services: Vec::with_capacity(config.services),
            pods: Vec::new(),
            pod_service: Vec::new(),
            schema_url: SCHEMA_URL,
            seed: mix(config.seed, 0x11),
        };
        for number in 0..config.services {
            topology.add_service(number, config, &mut random);
        }
        topology
    }

    /// The pod of `service` that serves trace `trace`: the same for its spans, logs and exemplars.
    pub(crate) fn pod_of(&self, service: usize, trace: u64) -> usize {
        let service_entry = &self.services[service];
        let word = mix(self.seed ^ trace, service as u64);
        service_entry.first_pod + skewed(word, service_entry.pods)
    }

    fn add_service(&mut self, number: usize, config: &GeneratorConfig, random: &mut Random) {
        let base = SERVICE_NAMES[number % SERVICE_NAMES.len()];
        let name = match number / SERVICE_NAMES.len() {
            0 => base.to_owned(),
            generation => format!("{base}-{}", generation + 1),
        };
        let language = LANGUAGES[random.below(LANGUAGES.len())];
        // The first services are the busiest and have the most pods.
        let pods = (config.pods / (1 + number / 3)).max(1);
        let first_pod = self.pods.len();
        for pod in 0..pods {
            self.pods.push(Pod {
                resource: resource(&name, pod, language, random),
            });
            self.pod_service.push(number as u32);
        }
        let mut scope = Wire::default();
        scope.string(1, language.2);
        scope.string(2, language.1);
        self.services.push(Service {
            operations: operations(&name, config.routes, random),
            scope: scope.into_bytes(),
            first_pod,
            pods,
            routes: config.routes,
            name,
        });
    }
}

fn resource(service: &str, pod: usize, language: (&str, &str, &str), random: &mut Random) -> Vec<u8> {
    let mut wire = Wire::default();
    let suffix = format!("{:08x}-{:05x}", random.word() as u32, random.word() & 0xf_ffff);
    let node = random.skewed(40);
    let version = format!(
        "{}.{}.{}",
        1 + random.skewed(3),
        random.skewed(12),
        random.skewed(6)
    );
    let region = REGIONS[random.skewed(REGIONS.len())];
    let texts: [(&str, &str); 12] = [
        ("service.name", service),
        ("service.namespace", "shop"),
        ("service.version", &version),
        ("service.instance.id", &format!("{service}-{suffix}")),
        (
            "deployment.environment.name",
            if random.below(10) == 0 {
                "staging"
            } else {
                "production"
            },
        ),
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.name", &format!("{service}-{suffix}-{pod}")),
        ("k8s.node.name", &format!("node-{node:03}")),
        ("host.name", &format!("ip-10-0-{}-{}", node / 16, node)),
        ("cloud.region", region),
        ("telemetry.sdk.language", language.0),
        ("telemetry.sdk.version", language.1),
    ];
    for (key, value) in texts {
        wire.attribute(1, key, Value::Text(value));
    }
    wire.attribute(1, "process.pid", Value::Int(1 + random.below(40_000) as i64));
    wire.into_bytes()
}

/// Routes first, then the operations that routes call.
fn operations(service: &str, routes: usize, random: &mut Random) -> Vec<Operation> {
    let mut operations: Vec<Operation> = (0..routes).map(|number| route(service, number, random)).collect();
    for verb in DATABASE_VERBS {
        operations.push(database(service, verb, random));
    }
    operations.push(cache(service));
    operations.push(queue(service, Work::Publish));
    operations.push(queue(service, Work::Consume));
    for step in ["validate", "price", "render", "authorize"] {
        operations.push(compute(service, step));
    }
    operations
}

fn route(service: &str, number: usize, random: &mut Random) -> Operation {
    let resource = RESOURCES[number % RESOURCES.len()];
    let method = ["GET", "GET", "POST", "PUT", "DELETE"][random.below(5)];
    let version = 1 + number / RESOURCES.len();
    let path = format!("/{service}/v{version}/{resource}/");
    let template = format!("{path}{{id}}");
    let host = format!("{service}.shop.svc.cluster.local");
    build(
        format!("{method} {template}"),
        Kind::Server,
        Work::Http,
        path,
        &[
            ("http.request.method", Value::Text(method)),
            ("http.route", Value::Text(&template)),
            ("url.scheme", Value::Text("https")),
            ("server.address", Value::Text(&host)),
            ("server.port", Value::Int(8443)),
            ("network.protocol.version", Value::Text("1.1")),
        ],
        &format!("{service}.http.{resource}Handler.{}", method.to_lowercase()),
    )
}

fn database(service: &str, verb: &str, random: &mut Random) -> Operation {
    let table = *random.pick(RESOURCES);
    let statement = match verb {
        "SELECT" => format!("SELECT * FROM {table} WHERE id = $1 AND tenant = $2"),
        "INSERT" => format!("INSERT INTO {table} (id, tenant, payload) VALUES ($1, $2, $3)"),
        "UPDATE" => format!("UPDATE {table} SET payload = $3 WHERE id = $1 AND tenant = $2"),
        _ => format!("DELETE FROM {table} WHERE id = $1 AND tenant = $2"),
    };
    build(
        format!("{verb} {service}.{table}"),
        Kind::Client,
        Work::Database,
        String::new(),
        &[
            ("db.system.name", Value::Text("postgresql")),
            ("db.namespace", Value::Text(service)),
            ("db.operation.name", Value::Text(verb)),
            ("db.collection.name", Value::Text(table)),
            ("db.query.text", Value::Text(&statement)),
            ("server.port", Value::Int(5432)),
        ],
        &format!("{service}.repository.{table}.{}", verb.to_lowercase()),
    )
}

fn cache(service: &str) -> Operation {
    build(
        "GET".to_owned(),
        Kind::Client,
        Work::Cache,
        String::new(),
        &[
            ("db.system.name", Value::Text("redis")),
            ("db.operation.name", Value::Text("GET")),
            ("db.namespace", Value::Text("0")),
            (
                "server.address",
                Value::Text("redis-master.shop.svc.cluster.local"),
            ),
            ("server.port", Value::Int(6379)),
        ],
        &format!("{service}.cache.lookup"),
    )
}

fn queue(service: &str, work: Work) -> Operation {
    let (verb, kind) = match work {
        Work::Publish => ("send", Kind::Producer),
        _ => ("process", Kind::Consumer),
    };
    let topic = format!("{service}.events");
    build(
        format!("{verb} {topic}"),
        kind,
        work,
        String::new(),
        &[
            ("messaging.system", Value::Text("kafka")),
            ("messaging.destination.name", Value::Text(&topic)),
            ("messaging.operation.type", Value::Text(verb)),
            ("messaging.client.id", Value::Text(service)),
            ("server.port", Value::Int(9092)),
        ],
        &format!("{service}.events.{verb}"),
    )
}

fn compute(service: &str, step: &str) -> Operation {
    build(
        format!("{step} {service}"),
        Kind::Internal,
        Work::Compute,
        String::new(),
        &[
            ("app.module", Value::Text(step)),
            ("app.component", Value::Text(service)),
            (
                "code.function.name",
                Value::Text(&format!("{service}.core.{step}")),
            ),
            (
                "code.file.path",
                Value::Text(&format!("src/{service}/core/{step}.rs")),
            ),
            ("app.algorithm.version", Value::Int(3)),
        ],
        &format!("{service}.core.{step}"),
    )
}

fn build(
    name: String,
    kind: Kind,
    work: Work,
    path: String,
    attributes: &[(&str, Value<'_>)],
    function: &str,
) -> Operation {
    let mut span = Wire::default();
    let mut log = Wire::default();
    for (key, value) in attributes {
        span.attribute(SPAN_ATTRIBUTES, key, *value);
    }
    // A log repeats the two attributes that tell operations apart, and names the code that wrote it.
    for (key, value) in attributes.iter().take(2) {
        log.attribute(LOG_ATTRIBUTES, key, *value);
    }
    log.attribute(LOG_ATTRIBUTES, "code.function.name", Value::Text(function));
    log.attribute(
        LOG_ATTRIBUTES,
        "logger.name",
        Value::Text(function.split('.').next().unwrap_or(function)),
    );
    Operation {
        name,
        kind,
        work,
        path,
        span_attributes: span.into_bytes(),
        log_attributes: log.into_bytes(),
    }
}
