//! The pipelines of a configuration: what the file says, what flags change of it, and what holds without a file.

use cupola_config::{Endpoint, Node, Place, Problems};
use cupola_pipeline::graph::Plan;
use cupola_telemetry::Signal;

use super::flags::ServeFlags;
use super::{OTLP_GRPC_PORT, OTLP_HTTP_PORT};
use crate::components::{STORE, registry};

const PROTOCOLS: [&str; 3] = ["receivers", "otlp", "protocols"];

/// The tree with what is not said in it, so that it says all that holds.
pub(super) fn complete(root: &Node, flags: &ServeFlags) -> Node {
    let default = || Place::whole("(default)");
    let text = |place: Place, text: String| Node::string(place, text);
    let mut root = root.clone();
    let said = |root: &Node, path: &[&str]| root.at(path).is_some_and(|node| !node.is_null());
    if !said(&root, &["service", "pipelines"]) {
        for signal in Signal::ALL {
            for (key, component) in [("receivers", "otlp"), ("exporters", STORE)] {
                let list = Node::sequence(default(), [text(default(), component.to_owned())]);
                root = root.with(&["service", "pipelines", signal.as_str(), key], list);
            }
        }
        if root.at(&["exporters", STORE]).is_none() {
            root = root.with(&["exporters", STORE], Node::null(default()));
        }
        if root.at(&["receivers", "otlp"]).is_none() {
            root = root.with(&["receivers", "otlp"], Node::null(default()));
        }
    }
    if root.at(&["receivers", "otlp"]).is_none() {
        return root;
    }
    let both = !said(&root, &PROTOCOLS);
    for (protocol, flag, name, port) in [
        ("grpc", flags.otlp_grpc, "--otlp-grpc", OTLP_GRPC_PORT),
        ("http", flags.otlp_http, "--otlp-http", OTLP_HTTP_PORT),
    ] {
        let path = [PROTOCOLS[0], PROTOCOLS[1], PROTOCOLS[2], protocol, "endpoint"];
        let named = root.at(&path[..4]).is_some();
        match flag {
            Some(endpoint) => root = root.with(&path, text(Place::whole(name), endpoint.to_string())),
            None if (both || named) && !said(&root, &path) => {
                root = root.with(&path, text(default(), Endpoint::loopback(port).to_string()));
            }
            None => {}
        }
    }
    root
}

/// Reads the pipelines of a complete tree.
pub(super) fn plan(root: &Node, problems: &mut Problems) -> Option<Plan> {
    Plan::read(root, &registry(None), problems)
}
