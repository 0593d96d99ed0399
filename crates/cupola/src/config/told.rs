//! What is told of a configuration: everything at once, at its place, and no secret.

use super::file::File;
use super::load::Document;
use super::{LogFlags, ServeFlags, Settings};

/// All that is said of a configuration that is refused.
fn refused(text: &str) -> String {
    let file = match Document::parse(text).map(File::read) {
        Ok(file) => file,
        Err(failure) => return failure.as_detail(),
    };
    match Settings::resolve(&ServeFlags::default(), &LogFlags::default(), file) {
        Ok(_) => panic!("{text} is taken"),
        Err(failure) => failure.as_detail(),
    }
}

fn assert_told(told: &str, expected: &[&str], unexpected: &[&str]) {
    for expected in expected {
        assert!(told.contains(expected), "{expected} is not in\n{told}");
    }
    for unexpected in unexpected {
        assert!(!told.contains(unexpected), "{unexpected} is in\n{told}");
    }
}

#[test]
fn every_stage_tells_what_is_wrong_whatever_the_others_have_found() {
    let told = refused(
        "exporters:\n  otlp: {endpoint: 'x:99999'}\n  otlp/2: {endpont: 'a:1', auth: {authenticator: basicauth/x}}\n\
         extensions:\n  nothing_like_it:\n  basicauth/x: {client_auth: {username: a, password: b}}\n\
         service:\n  telemetry: {logs: {level: inof, lvel: x}}\n  extensions: [zpages]\n  \
         pipelines:\n    traces: {receivers: [otlp], exporters: [otlp, otlp/2]}\n    \
         trace: {receivers: [zipkin], exporters: [debug]}\n\
         receivers: {otlp: , zipkin: {endpoint: '${file:/nowhere/at/all}'}}\n\
         store: {flush_bytes_max: 0, retention_interval: 0s}\nmemory: {limit: 1MiB}\nquery: {rows_max: 0}\n",
    );
    assert_told(
        &told,
        &[
            "exporters.otlp.endpoint: `99999` is no port",
            "exporters.otlp/2.endpont: unknown key",
            "extensions.nothing_like_it",
            "service.telemetry.logs.lvel",
            "`inof`",
            "there is no extension `zpages`",
            "service.pipelines.trace:",
            "/nowhere/at/all",
            "store.flush_bytes_max is zero",
            "store.retention_interval is zero",
            "the memory limit of 1MiB",
            "query.rows_max is zero",
            "12 errors",
        ],
        // These only follow from the others.
        &[
            "no component has this authenticator",
            "no pipeline has this",
            "exporters.otlp/2: ",
            "nothing_like_it: it is not in",
            "is missing",
        ],
    );
}

#[test]
fn what_has_no_effect_is_told_of_a_file_that_is_valid() {
    let file = File::parse(
        "extensions: {health_check: {check_collector_pipeline: {enabled: true}}, file_storage: {fsync: true, directory: /a}}\n\
         service: {telemetry: {logs: {sampling: {enabled: true}, level: warn}}}\n",
    );
    let settings = Settings::resolve(&ServeFlags::default(), &LogFlags::default(), file.unwrap()).unwrap();
    let told = settings.warnings.join("\n");
    for key in [
        "extensions.health_check.check_collector_pipeline",
        "extensions.file_storage.fsync",
        "service.telemetry.logs.sampling",
    ] {
        assert!(
            told.contains(&format!("{key}: has no effect here: ")),
            "{key}: {told}"
        );
    }
    assert_eq!(told.lines().count(), 3, "{told}");
    assert_told(
        &refused("extensions: {zpages: {tls: {}}, health_check: {tls: {}}}"),
        &["does not have this option", "plain HTTP", "2 errors"],
        &["did you mean"],
    );
}

#[test]
fn a_value_that_is_missing_because_of_a_variable_names_the_variable() {
    let told =
        refused("extensions: {bearertokenauth: {token: '${env:CUPOLA_TEST_TOKEN_THAT_IS_NOT_SET}'}}\n");
    assert_told(
        &told,
        &[
            "extensions.bearertokenauth.token: is missing; set `token`, `tokens` or `filename`; the value comes from the \
           environment variable `CUPOLA_TEST_TOKEN_THAT_IS_NOT_SET`",
        ],
        &["[REDACTED]"],
    );
}

#[test]
fn a_kind_of_extension_that_there_is_not_is_told_once() {
    let told = refused(
        "exporters: {otlp: {endpoint: 'a:1', auth: {authenticator: sigv4auth}}}\nextensions: {sigv4auth: }\n\
         receivers: {otlp: }\nservice: {pipelines: {logs: {receivers: [otlp], exporters: [otlp]}}}\n",
    );
    assert_told(
        &told,
        &["Cupola has no extension `sigv4auth`"],
        &["is no authenticator"],
    );
}

#[test]
fn no_secret_is_told_with_what_is_wrong_beside_it() {
    let with = |exporters: &str| {
        format!(
            "receivers: {{otlp: }}\nexporters: {exporters}\nservice: {{pipelines: {{logs: {{receivers: [otlp], exporters: [debug]}}}}}}\n"
        )
    };
    for exporters in [
        "{debug: , otlp: {endpoint: \"x:1\", headers: {x-honeycomb-team: SECRETLIT}, foo: 1}}",
        "{debug: , otlphttp: {endpoint: \"http://user:SECRETLIT@x:9y/api\"}}",
        "{debug: , loki: {endpoint: \"ftp://user:SECRETLIT@x/api\", foo: 1}}",
        "{debug: , postgres: {url: 'postgres://a:SECRETLIT@b/c?x=[', foo: 1}}",
        "{debug: , kafka: {brokers: ['a:1'], record_headers: {a: SECRETLIT}, foo: 1}}",
        "{debug: , elasticsearch: {endpoint: 'http://a', password: SECRETLIT, foo: 1}}",
        // No YAML.
        "{debug: , otlp: {headers: {x-honeycomb-team: SECRETLIT}, foo: 1}}}",
    ] {
        let told = refused(&with(exporters));
        assert_told(&told, &["[REDACTED]", "^"], &["SECRETLIT"]);
    }
    let told = refused("extensions: {headers_setter: {headers: [{key: X, from_context: Y, actn: z}]}}\n");
    assert_told(&told, &["headers: [{key: X, from_context: Y, actn"], &[]);
    let told = refused("exporters:\n  otlp:\n    headers:\n      a: b\n      x-team: [SECRETLIT \"x\"\n");
    assert_told(&told, &["is not YAML"], &["SECRETLIT"]);
    let told = refused(&with(
        "{debug: , otlp: {endpoint: 'x:1', headers: {x: SECRETLIT}, tls: {insecure: maybe}}}",
    ));
    let mut lines = told
        .lines()
        .skip_while(|line| !line.contains("true or false"))
        .skip(2);
    let (line, caret) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(line.contains("tls: {insecure: maybe}"), "{told}");
    assert_eq!(caret.find('^'), line.find("maybe"), "{told}");
}

#[test]
fn no_secret_is_told_of_a_file_that_is_no_yaml_beside_one_that_is() {
    let directory = tempfile::tempdir().unwrap();
    let [good, bad] = ["good.yaml", "bad.yaml"].map(|name| directory.path().join(name));
    std::fs::write(&good, "receivers: {otlp: }\nmemory:\n  limit: 1GiB\n").unwrap();
    let broken = "exporters:\n  elasticsearch:\n    password: my: hunter2\n";
    std::fs::write(&bad, broken).unwrap();
    let told = match super::load::load(&[good, bad]).map(File::read) {
        Ok(file) => match Settings::resolve(&ServeFlags::default(), &LogFlags::default(), file) {
            Ok(_) => panic!("it is taken"),
            Err(failure) => failure.as_detail(),
        },
        Err(failure) => failure.as_detail(),
    };
    assert_told(&told, &["bad.yaml:3"], &["hunter2"]);
}
