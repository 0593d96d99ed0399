//! What a resource is made of, seen as a reader of OTLP finds it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use cupola_sdk_core::resource::{
    Detector, Language, ListError, Machine, OwnResource, OwnedValue, Process, ResourceSettings, Runtime,
    SCHEMA_URL, instance_id, parse_list,
};
use cupola_sdk_core::scrub::{ScrubSettings, Scrubber};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Decoded;
use opentelemetry_proto::tonic::resource::v1::Resource as DecodedResource;
use prost::Message;
use tempfile::TempDir;

use crate::forked::in_child;

/// A file system of its own.
fn files(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (path, contents) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }
    root
}

fn machine(root: &TempDir, variables: &[(&str, &str)]) -> Machine {
    let text = |text: &&str| (*text).to_owned();
    Machine {
        root: root.path().to_owned(),
        variables: variables
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        process: Process {
            id: 42,
            parent_id: Some(1),
            executable: Some(PathBuf::from("/opt/shop/bin/cart")),
            arguments: ["cart", "--token", "abc", "--port=80"]
                .map(str::to_owned)
                .to_vec(),
            user_id: Some(1000),
        },
    }
}

/// Attributes by name, each as text, and the schema.
fn resource(settings: &ResourceSettings, machine: &Machine) -> (BTreeMap<String, String>, String) {
    let scrubber = Scrubber::new(&ScrubSettings::default()).unwrap();
    let resource = settings.resource(machine, &scrubber);
    let decoded = DecodedResource::decode(&resource.message[..]).unwrap();
    let pairs = decoded.attributes.into_iter().map(|pair| {
        let value = pair.value.and_then(|value| value.value).unwrap();
        (pair.key, shown(&value))
    });
    (pairs.collect(), resource.schema_url)
}

fn shown(value: &Decoded) -> String {
    match value {
        Decoded::StringValue(text) => text.clone(),
        Decoded::IntValue(value) => format!("{value}i"),
        Decoded::BoolValue(value) => value.to_string(),
        Decoded::DoubleValue(value) => format!("{value}f"),
        Decoded::ArrayValue(array) => {
            let values = array.values.iter().filter_map(|value| value.value.as_ref());
            format!("[{}]", values.map(shown).collect::<Vec<_>>().join(","))
        }
        other => format!("{other:?}"),
    }
}

/// What a detector finds, beside what every resource has.
fn found(detector: Detector, machine: &Machine) -> Vec<(String, String)> {
    let settings = ResourceSettings {
        detectors: vec![detector],
        ..ResourceSettings::default()
    };
    let (attributes, _) = resource(&settings, machine);
    let is_found = |key: &str| !key.starts_with("telemetry.sdk.");
    let name = |value: &str| value.starts_with("unknown_service");
    attributes
        .into_iter()
        .filter(|(key, value)| is_found(key) && !(key == "service.name" && name(value)))
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let text = |text: &&str| (*text).to_owned();
    pairs
        .iter()
        .map(|(key, value)| (text(key), text(value)))
        .collect()
}

fn text(key: &str, value: &str) -> (String, OwnedValue) {
    (key.to_owned(), OwnedValue::from(value))
}

#[test]
fn without_anything_there_is_a_name_and_what_made_it() {
    let root = files(&[]);
    let mut settings = ResourceSettings {
        detectors: Vec::new(),
        language: Language::Python,
        ..ResourceSettings::default()
    };
    let (attributes, schema_url) = resource(&settings, &machine(&root, &[]));
    assert_eq!(
        attributes.into_iter().collect::<Vec<_>>(),
        pairs(&[
            ("service.name", "unknown_service:cart"),
            ("telemetry.sdk.language", "python"),
            ("telemetry.sdk.name", "cupola"),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ])
    );
    assert_eq!(schema_url, "");
    assert!(!settings.names_service());
    let (attributes, _) = resource(&settings, &Machine::default());
    assert_eq!(attributes["service.name"], "unknown_service");
    settings.service_name = Some("cart".to_owned());
    assert!(settings.names_service());
}

#[test]
fn what_is_set_by_hand_counts_more_than_variables_and_these_more_than_what_is_found() {
    let root = files(&[("etc/machine-id", "abc\n")]);
    let machine = machine(
        &root,
        &[("WEBSITE_SITE_NAME", "site"), ("WEBSITE_SLOT_NAME", "slot")],
    );
    let mut settings = ResourceSettings::default();
    let name = |settings: &ResourceSettings| resource(settings, &machine).0["service.name"].clone();
    assert_eq!(name(&settings), "site");
    settings.environment = vec![
        text("service.name", "listed"),
        text("host.id", "listed"),
        text("a", "listed"),
    ];
    assert_eq!(name(&settings), "listed");
    settings.service_name = Some(String::new());
    assert_eq!(name(&settings), "listed");
    settings.service_name = Some("named".to_owned());
    assert_eq!(name(&settings), "named");
    settings.attributes = vec![
        text("service.name", "by hand"),
        text("a", ""),
        ("n".to_owned(), OwnedValue::from(5)),
        ("ports".to_owned(), OwnedValue::from(vec![80, 443])),
        ("ratio".to_owned(), OwnedValue::from(0.5)),
        ("canary".to_owned(), OwnedValue::from(true)),
    ];
    let (attributes, _) = resource(&settings, &machine);
    for (key, value) in [
        ("service.name", "by hand"),
        ("host.id", "listed"),
        ("deployment.environment.name", "slot"),
        ("a", ""),
        ("n", "5i"),
        ("ports", "[80i,443i]"),
        ("ratio", "0.5f"),
        ("canary", "true"),
    ] {
        assert_eq!(attributes[key], value, "{key}");
    }
}

#[test]
fn two_schemas_that_differ_are_none() {
    let root = files(&[]);
    let schema = |by_hand: &str, detectors: &[Detector]| {
        let settings = ResourceSettings {
            schema_url: by_hand.to_owned(),
            detectors: detectors.to_vec(),
            ..ResourceSettings::default()
        };
        resource(&settings, &machine(&root, &[])).1
    };
    let os = [Detector::Os];
    assert_eq!(schema("", &os), SCHEMA_URL);
    assert_eq!(schema(SCHEMA_URL, &os), SCHEMA_URL);
    assert_eq!(schema("https://example.com/1", &os), "");
    assert_eq!(schema("https://example.com/1", &[]), "https://example.com/1");
    assert_eq!(schema("", &[]), "");
}

#[test]
fn of_what_is_found_patterns_let_in_and_leave_out() {
    let root = files(&[]);
    let keys = |included: &[&str], excluded: &[&str]| {
        let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let settings = ResourceSettings {
            detectors: vec![Detector::Process],
            included: owned(included),
            excluded: owned(excluded),
            attributes: vec![text("process.command", "by hand")],
            ..ResourceSettings::default()
        };
        let (attributes, _) = resource(&settings, &machine(&root, &[]));
        let keys = attributes.into_keys().filter(|key| key.starts_with("process."));
        keys.collect::<Vec<_>>()
    };
    assert_eq!(
        keys(&["process.executable.*", "process.p?d"], &["*.path"]),
        ["process.command", "process.executable.name", "process.pid"]
    );
    assert_eq!(keys(&[], &["*"]), ["process.command"]);
    assert!(keys(&[], &[]).len() > 4);
}

#[test]
fn a_process_is_described_without_its_secrets() {
    let root = files(&[(
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\nshop:x:1000:1000::/:/bin/sh\n",
    )]);
    let settings = ResourceSettings {
        detectors: vec![Detector::Process],
        runtime: Some(Runtime {
            name: "cpython".to_owned(),
            version: "3.14.0".to_owned(),
            description: None,
        }),
        ..ResourceSettings::default()
    };
    let mut machine = machine(&root, &[]);
    let (attributes, _) = resource(&settings, &machine);
    let of_process = attributes
        .into_iter()
        .filter(|(key, _)| key.starts_with("process."));
    assert_eq!(
        of_process.collect::<Vec<_>>(),
        pairs(&[
            ("process.command", "cart"),
            ("process.command_args", "[cart,--token,[REDACTED],--port=80]"),
            ("process.executable.name", "cart"),
            ("process.executable.path", "/opt/shop/bin/cart"),
            ("process.owner", "shop"),
            ("process.parent_pid", "1i"),
            ("process.pid", "42i"),
            ("process.runtime.name", "cpython"),
            ("process.runtime.version", "3.14.0"),
        ])
    );
    machine.process.arguments = vec!["x".repeat(100_000); 1000];
    let (attributes, _) = resource(&settings, &machine);
    assert!(attributes["process.command_args"].len() < 64 * 520);
}

#[test]
fn host_and_system_are_read_from_files() {
    let root = files(&[
        ("proc/sys/kernel/hostname", "node-7\n"),
        ("etc/machine-id", "0123456789abcdef\n"),
        (
            "etc/os-release",
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME='Debian GNU/Linux'\n# comment\nVERSION_ID=12\n",
        ),
    ]);
    let machine = machine(&root, &[]);
    let host = found(Detector::Host, &machine);
    assert_eq!(
        (host[1].1.as_str(), host[2].1.as_str()),
        ("0123456789abcdef", "node-7")
    );
    assert_eq!(host[0].0, "host.arch");
    let os = found(Detector::Os, &machine);
    assert_eq!(
        os[..3],
        pairs(&[
            ("os.description", "Debian GNU/Linux 12 (bookworm)"),
            ("os.name", "Debian GNU/Linux"),
            ("os.type", std::env::consts::OS),
        ])
    );
    assert_eq!(os[3..], pairs(&[("os.version", "12")]));
    let nothing = files(&[("etc/machine-id", "")]);
    let keys: Vec<_> = found(Detector::Host, &self::machine(&nothing, &[]))
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, ["host.arch"]);
}

#[test]
fn the_container_is_found_in_control_groups_and_mounts() {
    let id = "0123456789abcdef".repeat(4);
    let task = format!("{}-1234567890", "ab".repeat(16));
    for (file, line, wanted) in [
        ("cgroup", format!("12:pids:/docker/{id}\n"), Some(&id)),
        ("cgroup", format!("0::/system.slice/docker-{id}.scope"), Some(&id)),
        (
            "cgroup",
            format!("1:name=systemd:/ecs/{}/{task}", "ab".repeat(16)),
            Some(&task),
        ),
        (
            "mountinfo",
            format!(
                "1 2 0:1 / / rw - overlay overlay lowerdir=/l/{}/diff\n7 6 0:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda rw",
                "c".repeat(64)
            ),
            Some(&id),
        ),
        (
            "mountinfo",
            format!("1 2 0:1 / / rw - overlay overlay lowerdir=/l/{id}/diff"),
            None,
        ),
        ("cgroup", "0::/".to_owned(), None),
    ] {
        let root = files(&[(&format!("proc/self/{file}"), &line)]);
        let wanted = wanted
            .map(|id| pairs(&[("container.id", id)]))
            .unwrap_or_default();
        assert_eq!(found(Detector::Container, &machine(&root, &[])), wanted, "{line}");
    }
}

#[test]
fn a_pod_is_known_by_variables_files_and_its_control_group() {
    let uid = "7d444840-9dc0-11d1-b245-5ffdce74fad2";
    let slice = format!(
        "0::/kubepods.slice/kubepods-pod{}.slice/cri-x.scope",
        uid.replace('-', "_")
    );
    for (file, line) in [
        ("cgroup", format!("1:cpu:/kubepods/burstable/pod{uid}/abc")),
        ("cgroup", slice),
        (
            "mountinfo",
            format!("7 6 0:1 /var/lib/kubelet/pods/{uid}/etc-hosts /etc/hosts rw - ext4 /dev/sda rw"),
        ),
    ] {
        let root = files(&[
            (&format!("proc/self/{file}"), &line),
            ("var/run/secrets/kubernetes.io/serviceaccount/namespace", "shop\n"),
        ]);
        let variables = [
            ("HOSTNAME", "cart-5d4"),
            ("NODE_NAME", "node-7"),
            ("K8S_CLUSTER_NAME", ""),
        ];
        assert_eq!(
            found(Detector::Kubernetes, &machine(&root, &variables)),
            pairs(&[
                ("k8s.namespace.name", "shop"),
                ("k8s.node.name", "node-7"),
                ("k8s.pod.name", "cart-5d4"),
                ("k8s.pod.uid", uid),
            ]),
            "{line}"
        );
    }
    let root = files(&[]);
    let inside = [
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        ("HOSTNAME", "host"),
        ("POD_NAME", "cart-1"),
        ("POD_NAMESPACE", "shop"),
    ];
    assert_eq!(
        found(Detector::Kubernetes, &machine(&root, &inside)),
        pairs(&[("k8s.namespace.name", "shop"), ("k8s.pod.name", "cart-1")])
    );
    assert!(
        found(Detector::Kubernetes, &machine(&root, &inside[1..])).is_empty(),
        "not in a cluster"
    );
}

#[test]
fn clouds_are_known_by_their_variables() {
    let root = files(&[]);
    let cloud = |variables: &[(&str, &str)]| found(Detector::Cloud, &machine(&root, variables));
    assert_eq!(
        cloud(&[
            ("AWS_LAMBDA_FUNCTION_NAME", "price"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "7"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/price"),
            ("AWS_REGION", "eu-central-1"),
        ]),
        pairs(&[
            ("aws.log.group.names", "[/aws/lambda/price]"),
            ("cloud.platform", "aws_lambda"),
            ("cloud.provider", "aws"),
            ("cloud.region", "eu-central-1"),
            ("faas.max_memory", "536870912i"),
            ("faas.name", "price"),
            ("faas.version", "7"),
        ])
    );
    assert_eq!(
        cloud(&[
            ("ECS_CONTAINER_METADATA_URI_V4", "http://x"),
            ("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE")
        ]),
        pairs(&[
            ("aws.ecs.launchtype", "fargate"),
            ("cloud.platform", "aws_ecs"),
            ("cloud.provider", "aws"),
        ])
    );
    let run = [
        ("K_SERVICE", "price"),
        ("K_REVISION", "price-1"),
        ("GOOGLE_CLOUD_PROJECT", "shop"),
    ];
    assert_eq!(
        cloud(&run),
        pairs(&[
            ("cloud.account.id", "shop"),
            ("cloud.platform", "gcp_cloud_run"),
            ("cloud.provider", "gcp"),
            ("faas.name", "price"),
            ("faas.version", "price-1"),
        ])
    );
    let knative = [run[0], run[1], ("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    assert_eq!(
        cloud(&knative),
        pairs(&[("faas.name", "price"), ("faas.version", "price-1")])
    );
    assert_eq!(
        cloud(&[
            ("WEBSITE_SITE_NAME", "price"),
            ("WEBSITE_OWNER_NAME", "1234+group-westeuropewebspace"),
            ("WEBSITE_RESOURCE_GROUP", "group"),
            ("FUNCTIONS_EXTENSION_VERSION", "~4"),
        ]),
        pairs(&[
            ("cloud.account.id", "1234"),
            ("cloud.platform", "azure.functions"),
            ("cloud.provider", "azure"),
            (
                "cloud.resource_id",
                "/subscriptions/1234/resourceGroups/group/providers/Microsoft.Web/sites/price",
            ),
            ("faas.name", "price"),
            ("faas.version", "~4"),
        ])
    );
    assert_eq!(
        cloud(&[("HEROKU_APP_ID", "1"), ("HEROKU_APP_NAME", "price")]),
        pairs(&[
            ("cloud.provider", "heroku"),
            ("heroku.app.id", "1"),
            ("service.name", "price")
        ])
    );
    assert!(cloud(&[("AWS_REGION", "eu-central-1"), ("HOME", "/")]).is_empty());
}

#[test]
fn a_list_of_attributes_is_read_whole_or_not_at_all() {
    assert_eq!(
        parse_list(" service.name=cart , a%2Cb = c%20d%3D%C3%BC ,e=f=g,,empty="),
        Ok(vec![
            text("service.name", "cart"),
            text("a,b", "c d=ü"),
            text("e", "f=g"),
            text("empty", ""),
        ])
    );
    assert_eq!(parse_list(""), Ok(Vec::new()));
    assert_eq!(parse_list("a=1,b"), Err(ListError::NoPair("b".to_owned())));
    assert_eq!(parse_list("=1"), Err(ListError::NoKey("=1".to_owned())));
    for wrong in ["a=100%", "a=%zz", "a=%e4", "a=%4"] {
        assert_eq!(parse_list(wrong), Err(ListError::Encoding(wrong.to_owned())));
    }
}

#[test]
fn a_process_keeps_its_instance_and_a_child_has_another() {
    let id = instance_id();
    let parts: Vec<&str> = id.split('-').collect();
    assert_eq!(
        parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
        [8, 4, 4, 4, 12]
    );
    assert!(
        parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']),
        "{id}"
    );
    assert_eq!(instance_id(), id);

    let scrubber = Scrubber::new(&ScrubSettings::default()).unwrap();
    let own = OwnResource::new(ResourceSettings::default());
    let described = |own: &OwnResource| {
        let resource = DecodedResource::decode(&own.get(&scrubber).message[..]).unwrap();
        let values: HashMap<String, String> = resource
            .attributes
            .into_iter()
            .filter_map(|pair| Some((pair.key, shown(&pair.value?.value?))))
            .collect();
        format!("{} {}", values["service.instance.id"], values["process.pid"])
    };
    let parent = described(&own);
    assert_eq!(parent, format!("{id} {}i", std::process::id()));
    let child = in_child(|| format!("{};{}", described(&own), described(&own)));
    let (first, second) = child.split_once(';').unwrap();
    assert_eq!(first, second);
    let (child_id, child_pid) = first.split_once(' ').unwrap();
    assert_ne!(child_id, id);
    assert_ne!(child_pid, format!("{}i", std::process::id()));
    assert_eq!(described(&own), parent);
}
