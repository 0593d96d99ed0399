//! What is wrong with authenticators and TLS is told before anything starts, each with its place and what to do.

use cupola_config::{Masking, Node, Problems, show};
use cupola_pipeline::graph::Plan;

use crate::graph::bench_components::Bench;

/// The problems of a configuration as `line: key: message (hint)`.
fn problems(text: &str) -> Vec<String> {
    let mut problems = Problems::new();
    let root = Node::parse("c.yaml", text).unwrap();
    Plan::read(&root, &Bench::default().registry(), &mut problems);
    let told = problems.into_sorted().into_iter().map(|problem| {
        let hint = problem.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!(
            "{}: {}: {}{hint}",
            problem.place.line, problem.key, problem.message
        )
    });
    told.collect()
}

#[test]
fn every_problem_is_told_with_its_line_and_what_to_do() {
    let text = "\
receivers:
  otlp:
    protocols:
      grpc: {auth: {authenticator: basicauth/sever}}
      http: {auth: {authenticator: basicauth/client}}
  loki: {protocols: {http: {auth: {authenticator: health_check}}}}
  zipkin: {auth: {authenticator: bearertokenauth}, tls: {key_file: a}}
exporters:
  otlp: {endpoint: a, auth: {authenticator: basicauth/server}}
  loki: {endpoint: 'http://a', auth: {authentikator: bearertokenauth}}
  postgres: {host: a, auth: {authenticator: bearertokenauth}}
  prometheusremotewrite: {endpoint: 'http://a', tls: {min_version: 1.4}}
extensions:
  health_check:
  basicauth/server: {htpasswd: {inline: 'agent:password'}}
  basicauth/client: {client_auth: {username: a, pasword: b}}
  bearertokenauth: {tokens: ['']}
  oauth2client: {client_id: a, client_secret: b, token_url: 'auth:8080'}
  headers_setter: {headers: [{key: a, from_context: user, value: b}]}
";
    let told = problems(text);
    let expected = [
        (
            "4: receivers.otlp.protocols.grpc.auth.authenticator: there is no extension `basicauth/sever`",
            "did you mean `basicauth/server`?",
        ),
        (
            "6: receivers.loki.protocols.http.auth.authenticator: the extension `health_check` is no authenticator",
            "authenticators are basicauth, bearertokenauth",
        ),
        ("7: receivers.zipkin.tls.cert_file: ", "a certificate"),
        (
            "9: exporters.otlp.auth.authenticator: `basicauth/server` tells servers who may send",
            "`client_auth`",
        ),
        (
            "10: exporters.loki.auth.authentikator: unknown key",
            "`authenticator`",
        ),
        ("11: exporters.postgres.auth: unknown key", ""),
        (
            "12: exporters.prometheusremotewrite.tls.min_version: ",
            "did you mean",
        ),
        (
            "16: extensions.basicauth/client.client_auth.pasword: unknown key",
            "`password`",
        ),
        ("17: extensions.bearertokenauth.tokens: ", "empty"),
        ("18: extensions.oauth2client.token_url: ", "https://"),
        ("19: extensions.headers_setter.headers[0].value: ", "only one of"),
    ];
    for (start, hint) in expected {
        let found = told.iter().find(|one| one.starts_with(start));
        let found = found.unwrap_or_else(|| panic!("{start} is not in\n{}", told.join("\n")));
        assert!(found.contains(hint), "{hint} is not in {found}");
    }
}

#[test]
fn tls_of_syslog_is_checked_and_is_for_tcp_alone() {
    let with = |settings: &str| {
        problems(&format!(
            "receivers: {{syslog: {{protocol: rfc5424, {settings}}}}}\nexporters: {{keep: }}\n\
             service: {{pipelines: {{logs: {{receivers: [syslog], exporters: [keep]}}}}}}\n"
        ))
    };
    let tcp = |tls: &str| with(&format!("tcp: {{listen_address: '127.0.0.1:0', tls: {tls}}}"));
    assert_eq!(
        tcp("{cert_file: a, key_file: b, client_ca_file: c, min_version: '1.3', reload_interval: 1h}"),
        [""; 0]
    );
    for (tls, key) in [
        ("{}", "cert_file"),
        ("{cert_file: a}", "key_file"),
        ("{cert_file: a, key_file: b, max_version: '1.1'}", "max_version"),
        ("{cert_file: a, key_file: b, cypher_suites: []}", "cypher_suites"),
    ] {
        let told = tcp(tls);
        let start = format!("1: receivers.syslog.tcp.tls.{key}: ");
        assert!(told.len() == 1 && told[0].starts_with(&start), "{told:?}");
    }
    let udp = with("udp: {listen_address: '127.0.0.1:0', tls: {cert_file: a, key_file: b}}");
    assert!(
        udp[0].starts_with("1: receivers.syslog.udp.tls: unknown key"),
        "{udp:?}"
    );
}

#[test]
fn the_side_of_an_authenticator_is_what_its_settings_make_it() {
    let with = |server: &str, settings: &str| {
        problems(&format!(
            "receivers: {{zipkin: {{auth: {{authenticator: {server}}}}}}}\nexporters: {{keep: }}\n\
             extensions: {{{server}: {settings}}}\n\
             service: {{pipelines: {{traces: {{receivers: [zipkin], exporters: [keep]}}}}}}\n"
        ))
    };
    assert_eq!(with("basicauth", "{htpasswd: {inline: 'a:b'}}"), [""; 0]);
    assert_eq!(with("bearertokenauth", "{token: a}"), [""; 0]);
    for (kind, settings) in [
        ("basicauth", "{client_auth: {username: a}}"),
        ("headers_setter", "{headers: [{key: a, value: b}]}"),
        (
            "oauth2client",
            "{client_id: a, client_secret: b, token_url: 'http://a'}",
        ),
    ] {
        let told = with(kind, settings);
        assert!(told[0].contains("cannot tell who may send here"), "{told:?}");
    }
    let unused = problems(
        "receivers: {zipkin: }\nexporters: {keep: }\nextensions: {bearertokenauth: {token: a}}\n\
         service: {pipelines: {traces: {receivers: [zipkin], exporters: [keep]}}}\n",
    );
    assert!(unused[0].contains("protects nothing"), "{unused:?}");
}

#[test]
fn secrets_of_authenticators_are_masked_and_the_schema_knows_them() {
    let text = "\
basicauth: {htpasswd: {inline: 'agent:hunter2'}, client_auth: {username: a, password: hunter2}}
bearertokenauth: {token: hunter2, tokens: [hunter2]}
headers_setter: {headers: [{key: a, value: hunter2, default_value: hunter2}]}
oauth2client: {client_secret: hunter2, endpoint_params: {assertion: [hunter2]}, tls: {key_pem: hunter2}}
";
    let registry = cupola_pipeline::components::registry();
    let tree = Node::parse("c.yaml", text).unwrap();
    let mut masking = Masking::new();
    for kind in &registry.extensions {
        masking = masking.below(&[kind.name], kind.secrets());
        assert_eq!(kind.schema()["additionalProperties"], false, "{}", kind.name);
    }
    assert_eq!(registry.extensions.len(), 4);
    let shown = show(&tree, &masking);
    assert!(!shown.contains("hunter2"), "{shown}");
    let otlp = registry
        .exporters
        .iter()
        .find(|kind| kind.name == "otlp")
        .unwrap();
    assert!(otlp.schema()["properties"]["auth"]["properties"]["authenticator"].is_object());
}
