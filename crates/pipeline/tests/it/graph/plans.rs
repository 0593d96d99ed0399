//! Everything that is wrong with pipelines is told at once, each with its place and what to do.

use cupola_config::{Node, Problems, Severity};
use cupola_pipeline::graph::Plan;

use super::bench_components::Bench;

/// The problems of a configuration as `line: key: message (hint)`.
fn problems(text: &str) -> Vec<String> {
    let mut problems = Problems::new();
    let root = Node::parse("c.yaml", text).unwrap();
    let plan = Plan::read(&root, &Bench::default().registry(), &mut problems);
    assert_eq!(plan.is_none(), problems.errors() > 0);
    let told = problems.into_sorted().into_iter().map(|problem| {
        let hint = problem.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        let warning = if problem.severity == Severity::Warning {
            "warning: "
        } else {
            ""
        };
        format!(
            "{warning}{}: {}: {}{hint}",
            problem.place.line, problem.key, problem.message
        )
    });
    told.collect()
}

#[test]
fn a_good_configuration_has_no_problems() {
    let text = "\
receivers:
  push:
processors:
  batch:
exporters:
  keep:
  keep/2: {label: b}
service:
  pipelines:
    logs: {receivers: [push], processors: [batch], exporters: [keep, keep/2]}
    traces/slow: {receivers: [push], exporters: [keep]}
";
    assert_eq!(problems(text), [""; 0]);
}

#[test]
fn every_problem_is_told_with_its_line_and_the_nearest_name() {
    let text = "\
receivers:
  pusch:
  push/a: {lable: x, broken: perhaps}
processors:
  filter: {logs: {log_record: ['boddy == \"a\"']}}
  batch: {timeout: soon, send_batch_size: 10, send_batch_max_size: 5}
exporters:
  keep:
  logging:
service:
  pipelines:
    logs: {receivers: [push/b], processors: [batsh], exporters: [keep, keep], exporter: []}
    trace: {receivers: [push/a], exporters: [keep]}
    traces: {receivers: [push/a]}
";
    let told = problems(text);
    let expected = [
        (
            "2: receivers.pusch: Cupola has no receiver `pusch`",
            "did you mean `push`?",
        ),
        ("3: receivers.push/a.lable: unknown key", "`label`"),
        ("3: receivers.push/a.broken:", ""),
        ("5: processors.filter.logs.log_record", "did you mean `body`?"),
        ("6: processors.batch.timeout:", ""),
        (
            "9: exporters.logging: Cupola has no exporter `logging`",
            "`debug`",
        ),
        (
            "12: service.pipelines.logs.receivers: there is no receiver `push/b`",
            "did you mean `push/a`?",
        ),
        (
            "12: service.pipelines.logs.processors: there is no processor `batsh`",
            "did you mean `batch`?",
        ),
        ("12: service.pipelines.logs.exporters: `keep` is named twice", ""),
        (
            "12: service.pipelines.logs.exporter: unknown key",
            "did you mean `exporters`?",
        ),
        ("13: service.pipelines.trace: `trace` is no signal", ""),
        (
            "14: service.pipelines.traces.exporters: the pipeline has no exporters",
            "",
        ),
    ];
    for (start, hint) in expected {
        let found = told.iter().find(|one| one.starts_with(start));
        let found = found.unwrap_or_else(|| panic!("{start} is not in\n{}", told.join("\n")));
        assert!(found.contains(hint), "{hint} is not in {found}");
    }
}

#[test]
fn connectors_stand_at_both_ends_and_never_in_a_circle() {
    let base = "receivers: {push: }\nexporters: {keep: }\nconnectors: {join: }\nservice:\n  pipelines:\n";
    let with = |pipelines: &str| problems(&format!("{base}{pipelines}"));
    let fine = "    logs: {receivers: [push], exporters: [join]}\n    logs/2: {receivers: [join], exporters: [keep]}\n";
    assert_eq!(with(fine), [""; 0]);
    let half = "    logs: {receivers: [push], exporters: [join, keep]}\n";
    assert_eq!(
        with(half),
        ["3: connectors.join: a connector joins pipelines, and this one is among the receivers of none"]
    );
    let circle = "    logs: {receivers: [push, join], exporters: [join, keep]}\n";
    assert!(with(circle)[0].contains("circle"), "{:?}", with(circle));
    let signal = "    metrics: {receivers: [push], exporters: [join]}\n    metrics/2: {receivers: [join], exporters: [keep]}\n";
    assert!(
        with(signal)
            .iter()
            .any(|one| one.contains("it makes nothing of metrics")),
        "{:?}",
        with(signal)
    );
    let makes = "    logs: {receivers: [push], exporters: [join]}\n    traces: {receivers: [join], exporters: [keep]}\n";
    assert!(
        with(makes)
            .iter()
            .any(|one| one.contains("it makes nothing of logs")),
        "{:?}",
        with(makes)
    );
}

#[test]
fn what_no_pipeline_has_is_read_and_not_started() {
    let text = "receivers: {push: }\nexporters: {keep: , keep/x: }\nservice: {pipelines: {logs: {receivers: push, exporters: keep}}}\n";
    assert_eq!(
        problems(text),
        ["warning: 2: exporters.keep/x: no pipeline has this exporter, so that it is not started"]
    );
}

#[test]
fn a_statement_is_told_where_it_is_written_and_with_what_to_write_instead() {
    let text = "\
processors:
  transform:
    log_statements:
      - context: log
        conditions: ['body == \"a\"']
        statements:
          - set(body, \"x\")
          - set(bodi, \"x\")
      - set(log.body, 'x')
      - statements:
          - set(log.body, \"x\") where log.body = \"y\"
    trace_statements:
      - set(log.body, \"x\")
      - context: span
        statements: ['set(log.body, \"x\")']
  filter:
    logs:
      log_record:
        - body == \"a\"
        - body == \"a\" && body != \"b\"
";
    let told = problems(text);
    for (start, hint) in [
        (
            "8: processors.transform.log_statements[0].statements[1]: ",
            "did you mean `body`?",
        ),
        (
            "9: processors.transform.log_statements[1]: ",
            "texts stand between double quotes",
        ),
        ("11: processors.transform.log_statements[2]", "`==` compares"),
        (
            "13: processors.transform.trace_statements[0]: there is no `log` in traces",
            "`span`",
        ),
        (
            "15: processors.transform.trace_statements[1].statements[0]: there is no `log` in traces",
            "`span`",
        ),
        ("20: processors.filter.logs.log_record[1]: ", "joined by `and`"),
    ] {
        let found = told.iter().find(|one| one.starts_with(start));
        let found = found.unwrap_or_else(|| panic!("{start} is not in\n{}", told.join("\n")));
        assert!(found.contains(hint), "{hint} is not in {found}");
    }
}

/// The Collector renamed components in 2026; the id as it is written stays the one that everything names.
#[test]
fn components_are_known_by_their_older_and_their_newer_names() {
    let newer = "\
receivers:
  file_log/a: {include: [/var/log/*.log]}
  host_metrics: {scrapers: {load: }}
  prometheus_remote_write:
  otlp: {protocols: {grpc: }}
processors:
  cumulative_to_delta:
  delta_to_cumulative/x:
  group_by_attrs: {keys: [host.name]}
  k8s_attributes:
  resource_detection: {detectors: [env]}
connectors:
  span_metrics:
  service_graph:
exporters:
  otlp_grpc/a: {endpoint: 'a:4317', auth: {authenticator: basic_auth/c}}
  otlp_http: {endpoint: 'http://a:4318', auth: {authenticator: oauth2_client}}
  prometheus_remote_write: {endpoint: 'http://a/write', auth: {authenticator: bearer_token_auth}}
extensions:
  basic_auth/c: {client_auth: {username: a, password: b}}
  bearer_token_auth: {token: a}
  oauth2_client: {client_id: a, client_secret: b, token_url: 'http://a/token'}
service:
  pipelines:
    logs: {receivers: [file_log/a], processors: [group_by_attrs, resource_detection], exporters: [otlp_grpc/a]}
    traces: {receivers: [otlp], processors: [k8s_attributes], exporters: [span_metrics, service_graph, otlp_http]}
    metrics:
      receivers: [host_metrics, prometheus_remote_write, span_metrics, service_graph]
      processors: [cumulative_to_delta, delta_to_cumulative/x]
      exporters: [prometheus_remote_write]
";
    assert_eq!(problems(newer), [""; 0]);
    let plan = Bench::default().plan(newer);
    let exporters: Vec<String> = plan.exporters.keys().map(ToString::to_string).collect();
    assert_eq!(exporters, ["otlp_grpc/a", "otlp_http", "prometheus_remote_write"]);
    let mut older = newer.to_owned();
    for (new, old) in [
        ("file_log", "filelog"),
        ("host_metrics", "hostmetrics"),
        ("prometheus_remote_write", "prometheusremotewrite"),
        ("cumulative_to_delta", "cumulativetodelta"),
        ("delta_to_cumulative", "deltatocumulative"),
        ("group_by_attrs", "groupbyattrs"),
        ("k8s_attributes", "k8sattributes"),
        ("resource_detection", "resourcedetection"),
        ("span_metrics", "spanmetrics"),
        ("service_graph", "servicegraph"),
        ("otlp_grpc", "otlp"),
        ("otlp_http", "otlphttp"),
        ("basic_auth", "basicauth"),
        ("bearer_token_auth", "bearertokenauth"),
        ("oauth2_client", "oauth2client"),
    ] {
        older = older.replace(new, old);
    }
    assert_eq!(problems(&older), [""; 0]);
}
