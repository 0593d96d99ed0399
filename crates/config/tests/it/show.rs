//! A tree is shown as YAML that people recognise, and without its secrets.

use cupola_config::{Masking, Node, Problems, Sources, expand, show};

struct Given;

impl Sources for Given {
    fn env(&self, name: &str) -> Option<String> {
        (name != "UNSET").then(|| format!("from-{}", name.to_lowercase()))
    }

    fn file(&self, path: &str) -> std::io::Result<String> {
        Ok(match path.ends_with(".yaml") {
            true => "size: 1\npassword: in-a-file\n".to_owned(),
            false => "in-a-secret-file\n".to_owned(),
        })
    }
}

fn shown(text: &str) -> String {
    let mut problems = Problems::new();
    let node = expand(&Node::parse("f", text).unwrap(), &Given, &mut problems);
    show(&node, &Masking::new())
}

#[test]
fn what_is_not_secret_is_shown_as_it_is_usually_written() {
    let text = "\
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:4317
      http:
processors:
  batch:
    timeout: 10s
    sizes:
      - 1
      - 0x10
      - 1.50
  transform:
    statements:
      - 'set(attributes[\"a\"], ''x'')'
exporters:
  debug: {}
  list: []
  nested:
    - - a
      - b
    - name: x
      'on': 'yes'
service:
  key_file: /etc/key.pem
  empty:
";
    assert_eq!(shown(text), text);
    assert_eq!(shown("# nothing"), "null\n");
    assert_eq!(shown("'a: b'"), "'a: b'\n");
    assert_eq!(shown("a: \"x\\ny\""), "a: \"x\\ny\"\n");
}

#[test]
fn secrets_are_masked_by_name_by_origin_and_in_urls() {
    let masked = |text: &str| shown(text).replace("'[REDACTED]'", "#");
    for (text, expected) in [
        ("password: x", "password: #"),
        ("password_file: x", "password_file: x"),
        ("token: ", "token:"),
        ("insecure_skip_token: true", "insecure_skip_token: true"),
        (
            "headers: {X-Team: x, Content-Type: z}",
            "headers:\n  X-Team: #\n  Content-Type: z",
        ),
        ("tokens: [a, b]", "tokens: #"),
        ("endpoint: ${env:HOST}", "endpoint: from-host"),
        ("value: ${env:API_TOKEN}", "value: #"),
        ("value: x ${env:API_TOKEN}", "value: #"),
        ("value: ${file:/run/x}", "value: #"),
        ("value: a ${file:/run/x} b", "value: #"),
        ("value: ${file:x.yaml}", "value:\n  size: 1\n  password: #"),
        (
            "url: postgres://me:pw@host/db",
            "url: 'postgres://me:[REDACTED]@host/db'",
        ),
        (
            "password: hunter2\nargs: [--pw=hunter2]",
            "password: #\nargs:\n  - '--pw=[REDACTED]'",
        ),
    ] {
        assert_eq!(masked(text).trim_end(), expected, "{text}");
    }
}

#[test]
fn paths_and_predicates_mask_too() {
    let node = Node::parse("f", "a: {x: {id: 1}, z: {id: 2}}\nb: {id: 3}\nc: 4\n").unwrap();
    let masking = Masking::new()
        .below(&["a"], [vec!["*".to_owned(), "id".to_owned()]])
        .and(|path, node| path == ["c"] && node.as_int() == Some(4));
    let expected = "a:\n  x:\n    id: #\n  z:\n    id: #\nb:\n  id: 3\nc: #\n";
    assert_eq!(show(&node, &masking).replace("'[REDACTED]'", "#"), expected);
}
