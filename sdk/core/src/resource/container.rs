//! The container that a process is in, and its pod: what control groups, mounts, the files of a service account and the
//! variables of manifests tell. The server's resource detection reads the same tables; it is apart from this, as it waits for
//! metadata servers too.

use super::{Machine, Merged};

const CGROUP: &str = "proc/self/cgroup";
const MOUNTS: &str = "proc/self/mountinfo";
const NAMESPACE: &str = "var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Variables that manifests commonly fill from the downward API, by the attribute.
const VARIABLES: [(&str, &[&str]); 9] = [
    ("k8s.pod.name", &["K8S_POD_NAME", "POD_NAME", "KUBE_POD_NAME"]),
    ("k8s.pod.uid", &["K8S_POD_UID", "POD_UID"]),
    ("k8s.pod.ip", &["K8S_POD_IP", "POD_IP"]),
    (
        "k8s.namespace.name",
        &[
            "K8S_NAMESPACE_NAME",
            "K8S_NAMESPACE",
            "POD_NAMESPACE",
            "KUBE_NAMESPACE",
        ],
    ),
    ("k8s.node.name", &["K8S_NODE_NAME", "NODE_NAME", "KUBE_NODE_NAME"]),
    ("k8s.container.name", &["K8S_CONTAINER_NAME", "CONTAINER_NAME"]),
    ("k8s.deployment.name", &["K8S_DEPLOYMENT_NAME", "DEPLOYMENT_NAME"]),
    ("k8s.cluster.name", &["K8S_CLUSTER_NAME", "CLUSTER_NAME"]),
    ("k8s.replicaset.name", &["K8S_REPLICASET_NAME"]),
];

/// From the control group, or where the process sees none but its own, from where its files come.
pub(super) fn id(machine: &Machine) -> Option<String> {
    let groups = machine.file(CGROUP).and_then(|lines| id_in(&lines));
    groups.or_else(|| {
        let mounts = machine.file(MOUNTS)?;
        // Mounts name layers and volumes too: those of the files that a runtime makes for a container are its own.
        let own = ["/hostname", "/resolv.conf", "/hosts"];
        let mut lines = mounts.lines();
        lines.find_map(|line| own.iter().any(|name| line.contains(name)).then(|| id_in(line))?)
    })
}

/// 64 hexadecimal digits that stand by themselves; 32 with a number behind them on Fargate.
fn id_in(lines: &str) -> Option<String> {
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = lines.split(['/', '-', '.', ':', ' ', '_', '\n']);
    let plain = parts.find(|part| part.len() == 64 && is_hex(part));
    let of_task = || {
        let last = |line: &str| line.rsplit('/').next().map(str::to_owned);
        lines.lines().filter_map(last).find(|part| {
            let halves = part.split_once('-');
            halves.is_some_and(|(id, number)| {
                id.len() == 32
                    && is_hex(id)
                    && number.len() >= 6
                    && number.bytes().all(|byte| byte.is_ascii_digit())
            })
        })
    };
    plain.map(str::to_ascii_lowercase).or_else(of_task)
}

/// <https://opentelemetry.io/docs/specs/semconv/resource/k8s/>
pub(super) fn kubernetes(machine: &Machine, found: &mut Merged) {
    // Variables such as `NODE_NAME` mean other things elsewhere.
    let namespace = machine.file(NAMESPACE);
    let pod_uid = pod_uid(machine);
    let is_inside =
        machine.variable("KUBERNETES_SERVICE_HOST").is_some() || namespace.is_some() || pod_uid.is_some();
    if is_inside {
        // The host of a pod is named after the pod.
        found.set_known("k8s.pod.name", machine.variable("HOSTNAME"));
        found.set_known("k8s.pod.uid", pod_uid);
        found.set_known("k8s.namespace.name", namespace);
    }
    for (key, names) in VARIABLES {
        let plain = names.iter().filter(|name| is_inside || name.starts_with("K8S_"));
        found.set_known(key, plain.copied().find_map(|name| machine.variable(name)));
    }
}

/// As in `/kubepods/burstable/pod<uid>/`, `kubepods-pod<uid>.slice`, where the hyphens are underscores, and `/kubelet/pods/<uid>/`.
fn pod_uid(machine: &Machine) -> Option<String> {
    let of_group = machine.file(CGROUP).and_then(|lines| {
        let kube = lines.lines().filter(|line| line.contains("kubepods"));
        kube.filter_map(|line| uid_behind(line, "pod")).next()
    });
    of_group.or_else(|| {
        machine
            .file(MOUNTS)?
            .lines()
            .find_map(|line| uid_behind(line, "/pods/"))
    })
}

/// The first UID that stands behind these letters.
fn uid_behind(line: &str, before: &str) -> Option<String> {
    const UID_BYTES: usize = 36;
    let uids = line.match_indices(before).filter_map(|(at, _)| {
        let rest = &line[at + before.len()..];
        let uid = rest.get(..UID_BYTES)?.replace('_', "-");
        let groups: Vec<usize> = uid.split('-').map(str::len).collect();
        let is_hex = uid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        (groups == [8, 4, 4, 4, 12] && is_hex).then_some(uid)
    });
    let mut uids = uids;
    uids.next()
}
