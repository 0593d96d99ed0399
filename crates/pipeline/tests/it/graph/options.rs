//! Options of the Collector that have no effect are told and taken; those that are not there are told with what to do.

use cupola_config::{Node, Problem, Problems, Severity};
use cupola_pipeline::graph::Plan;

use super::bench_components::Bench;

/// What is said of a component in a section.
fn said(section: &str, component: &str) -> Vec<Problem> {
    let mut problems = Problems::new();
    let root = Node::parse("c.yaml", &format!("{section}: {{{component}}}")).unwrap();
    Plan::read(&root, &Bench::default().registry(), &mut problems);
    problems.into_sorted()
}

#[test]
fn what_has_no_effect_is_a_remark_of_one_line() {
    for (section, component, keys) in [
        (
            "receivers",
            "otlp: {protocols: {grpc: {keepalive: {server_parameters: {time: 1s}}, read_buffer_size: 1}, http: {response_headers: {a: b}, idle_timeout: 1s, cors: {allowed_origins: ['*'], exposed_headers: [a]}}}}",
            &[
                "receivers.otlp.protocols.grpc.keepalive",
                "receivers.otlp.protocols.grpc.read_buffer_size",
                "receivers.otlp.protocols.http.cors.exposed_headers",
                "receivers.otlp.protocols.http.idle_timeout",
                "receivers.otlp.protocols.http.response_headers",
            ][..],
        ),
        (
            "exporters",
            "otlp_http/a: {endpoint: 'http://a:1', disable_keep_alives: true, http2_read_idle_timeout: 1s, max_conns_per_host: 3, compression_params: {level: 1}}",
            &[
                "exporters.otlp_http/a.compression_params",
                "exporters.otlp_http/a.disable_keep_alives",
                "exporters.otlp_http/a.http2_read_idle_timeout",
                "exporters.otlp_http/a.max_conns_per_host",
            ][..],
        ),
        (
            "exporters",
            "otlp: {endpoint: 'a:1', balancer_name: x, wait_for_ready: true}",
            &["exporters.otlp.balancer_name", "exporters.otlp.wait_for_ready"][..],
        ),
        (
            "receivers",
            "prometheus: {config: {scrape_configs: [{job_name: a, enable_http2: false, static_configs: [{targets: ['a:1']}]}]}}",
            &["receivers.prometheus.config.scrape_configs[0].enable_http2"][..],
        ),
        (
            "exporters",
            "debug: {output_paths: [stdout]}",
            &["exporters.debug.output_paths"][..],
        ),
    ] {
        let said = said(section, component);
        assert!(
            said.iter().all(|one| one.severity == Severity::Warning),
            "{said:#?}"
        );
        let mut told: Vec<&str> = said.iter().map(|one| one.key.as_str()).collect();
        told.sort_unstable();
        assert_eq!(told, keys);
        for one in said {
            assert!(one.message.starts_with("has no effect here: ") && !one.message.contains('\n'));
        }
    }
}

#[test]
fn what_is_not_there_is_told_with_what_to_do_and_not_with_a_guess() {
    for (section, component, hint) in [
        ("processors", "redaction: {db_sanitizer: {}}", "not cleaned"),
        (
            "processors",
            "resourcedetection: {detectors: [env, ecs]}",
            "nothing asks that service",
        ),
        (
            "receivers",
            "hostmetrics: {scrapers: {process: {resource_attributes: {process.command_args: {enabled: true}}}}}",
            "process.command_line",
        ),
        (
            "exporters",
            "elasticsearch: {endpoint: 'http://a', logs_dynamic_id: {enabled: true}}",
            "the same for all",
        ),
        ("exporters", "elasticsearch: {cloudid: a}", "`endpoint`"),
        (
            "receivers",
            "prometheus: {config: {scrape_config_files: [a]}}",
            "`scrape_configs`",
        ),
        (
            "receivers",
            "prometheus: {config: {scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod}]}]}}",
            "file_sd_configs",
        ),
        (
            "receivers",
            "otlp: {protocols: {grpc: {transport: unix}}}",
            "`tcp` alone",
        ),
        (
            "receivers",
            "otlp: {protocols: {http: {traces_url_path: /x}}}",
            "/v1/traces",
        ),
        ("receivers", "zipkin: {cors: {allowed_origins: ['*']}}", "browser"),
        ("receivers", "loki: {protocols: {http: {cors: {}}}}", "browser"),
        (
            "exporters",
            "prometheus_remote_write: {endpoint: 'http://a', wal: {directory: x}}",
            "sending_queue",
        ),
        (
            "exporters",
            "prometheus: {endpoint: ':1', translation_strategy: NoTranslation}",
            "add_metric_suffixes",
        ),
        (
            "exporters",
            "loki: {endpoint: 'http://a', tenant_id: x}",
            "X-Scope-OrgID",
        ),
        (
            "exporters",
            "otlp_http: {endpoint: 'http://a', proxy_url: 'http://b'}",
            "proxies",
        ),
        (
            "connectors",
            "routing: {match_once: true, table: []}",
            "first condition",
        ),
        (
            "extensions",
            "headers_setter: {additional_auth: x, headers: [{key: a, value: b}]}",
            "one authenticator",
        ),
        // A key of what every exporter has is known as well.
        (
            "exporters",
            "otlp: {endpoint: 'a:1', sending_que: {}}",
            "did you mean `sending_queue`?",
        ),
        (
            "exporters",
            "otlp: {endpoint: 'a:1', something_else: {}}",
            "sending_queue, retry_on_failure, dead_letters, rate_limit, timeout, auth",
        ),
    ] {
        let said = said(section, component);
        let found = said
            .iter()
            .any(|one| one.hint.as_ref().is_some_and(|told| told.contains(hint)));
        assert!(found, "{component}: {said:#?}");
    }
}

/// Every row is about a component that there is, and the page has every option that is without effect.
#[test]
fn the_documentation_lists_what_has_no_effect() {
    let registry = Bench::default().registry();
    let page = include_str!("../../../../../docs/pipelines.md");
    let list = page.split("## Options without effect").nth(1).expect("a section");
    let list = list.split("\n## ").next().unwrap();
    let receivers = registry.receivers.iter().map(|kind| &kind.options);
    let processors = registry.processors.iter().map(|kind| &kind.options);
    let exporters = registry.exporters.iter().map(|kind| &kind.options);
    let extensions = registry.extensions.iter().map(|kind| &kind.options);
    let all = receivers.chain(processors).chain(exporters).chain(extensions);
    let idle: Vec<&str> = all
        .flat_map(|options| options.idle.iter().map(|about| about.path.as_str()))
        .collect();
    assert!(idle.len() > 100);
    for path in idle {
        let key = path.rsplit('.').next().unwrap();
        assert!(
            list.contains(&format!("`{key}`")) || list.contains(&format!(".{key}`")),
            "{path}"
        );
    }
}
