//! Options of the Collector's extensions and of its own telemetry that have no effect here, and those that are not there.
//! Those of pipelines are with the pipelines.

use cupola_config::{Node, Problems};
use cupola_pipeline::graph::options::{About, Options};

const NO_TLS: &str = "it speaks plain HTTP: leave it on 127.0.0.1, or put a proxy with TLS in front of it";
const NO_AUTH: &str = "it asks nobody who they are: leave it on 127.0.0.1, or put a proxy in front of it";
const STDERR: &str = "log lines go to standard error as `logs.level` and `logs.encoding` say";

/// What there is to say of the options of an extension.
pub(super) fn of(kind: &str) -> Options {
    let idle: &[(&str, &str)] = match kind {
        "health_check" => &[
            (
                "check_collector_pipeline",
                "how each exporter is, is at `/health`",
            ),
            ("response_body.unhealthy", "a process that answers lives"),
        ],
        "pprof" => &[
            ("block_profile_fraction", "it is of the Go runtime"),
            ("mutex_profile_fraction", "it is of the Go runtime"),
        ],
        "file_storage" => &[
            ("create_directory", "directories are made in any case"),
            ("timeout", "nobody else is waited for"),
            ("fsync", "what is kept is synced in any case"),
            ("compaction", "files that are read are removed as a whole"),
        ],
        _ => &[],
    };
    let absent: &[(&str, &str)] = match kind {
        "health_check" | "zpages" => &[("tls", NO_TLS), ("auth", NO_AUTH)],
        _ => &[],
    };
    Options {
        idle: about(idle),
        absent: about(absent),
    }
}

fn about(list: &[(&str, &'static str)]) -> Vec<About> {
    let about = |(path, text): &(&str, &'static str)| About {
        path: (*path).to_owned(),
        text,
    };
    list.iter().map(about).collect()
}

/// The tree without what has no effect in `service.telemetry`, each with a remark.
pub(super) fn telemetry(root: &Node, problems: &mut Problems) -> Node {
    let path = ["service", "telemetry"];
    let Some(node) = root.at(&path) else {
        return root.clone();
    };
    let options = Options {
        idle: about(&[
            ("logs.development", STDERR),
            ("logs.sampling", STDERR),
            ("logs.output_paths", STDERR),
            ("logs.error_output_paths", STDERR),
            ("logs.disable_caller", STDERR),
            ("logs.disable_stacktrace", STDERR),
            ("logs.initial_fields", STDERR),
        ]),
        absent: Vec::new(),
    };
    let left = options.without_idle(node, "service.telemetry", problems);
    match left == *node {
        true => root.clone(),
        false => root.with(&path, left),
    }
}
