//! The steps that look at `deploy/` with the programs it is for. Without them they are skipped. Builds no image: that needs
//! a container engine.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::process::{command, find, output, run};
use crate::report::Outcome;
use crate::{tools, workspace};

/// Where the unit expects the program; on a machine that checks the unit it need not be.
const PROGRAM_MISSING: &str = "Command /usr/local/bin/cupola is not executable";

/// Given by hand: a Helm that was built with Go knows of an old version only.
const KUBERNETES: [&str; 2] = ["--kube-version", "1.30.0"];

/// What of `values.yaml` is set in the tests below.
const VALUES: &str = r#"
config:
  store:
    retention:
      - { keep: 30d, signal: logs }
memoryLimit: 2GiB
extraArgs: [--flush-interval=1m]
extraEnv: [{ name: CUPOLA_LOG, value: debug }]
storage: { size: 1Ti, storageClassName: fast }
service: { type: LoadBalancer, annotations: { a: b } }
serviceAccount: { annotations: { c: d } }
networkPolicy: { enabled: true, from: [{ namespaceSelector: {} }] }
imagePullSecrets: [{ name: registry }]
podAnnotations: { e: f }
podLabels: { g: h }
nodeSelector: { i: j }
tolerations: [{ operator: Exists }]
affinity: { nodeAffinity: {} }
"#;

/// What the chart must have made of them.
const RENDERED: [&str; 18] = [
    "kind: ConfigMap",
    "signal: logs",
    "- --config=/etc/cupola/cupola.yaml",
    "checksum/config: ",
    "- --memory-limit=2GiB",
    "- --flush-interval=1m",
    "name: CUPOLA_LOG",
    "storage: 1Ti",
    "storageClassName: fast",
    "type: LoadBalancer",
    "kind: NetworkPolicy",
    "a: b",
    "c: d",
    "e: f",
    "g: h",
    "i: j",
    "operator: Exists",
    "name: registry",
];

pub(super) fn systemd() -> Result<Outcome> {
    let Some(analyze) = find(&["systemd-analyze"]) else {
        return Ok(Outcome::skipped("systemd: there is no systemd-analyze here"));
    };
    let unit = workspace::root().join("deploy/systemd/cupola.service");
    let mut verify = command(&analyze.to_string_lossy(), &["verify", "--man=no"]);
    let verified = verify
        .arg(&unit)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("could not start systemd-analyze")?;
    // Keys it does not know are told and no failure.
    let said = String::from_utf8_lossy(&verified.stderr);
    Ok(Outcome::from_failures(complaints(&said)))
}

/// What systemd says of our unit, but for the program that is not installed.
fn complaints(said: &str) -> Vec<String> {
    said.lines()
        .filter(|line| line.contains("cupola.service") && !line.contains(PROGRAM_MISSING))
        .map(str::to_owned)
        .collect()
}

pub(super) fn helm() -> Result<Outcome> {
    let helm = match tools::helm() {
        Ok(helm) => helm,
        Err(reason) => return Ok(Outcome::skipped(format!("helm: {reason}"))),
    };
    let chart = workspace::root().join("deploy/helm/cupola");
    run(command(&helm.to_string_lossy(), &["lint", "--strict", "--quiet"])
        .args(KUBERNETES)
        .arg(&chart))?;
    let plain = render(&helm, &chart, None)?;
    let values = workspace::scratch().join("helm-values.yaml");
    std::fs::create_dir_all(workspace::scratch())?;
    std::fs::write(&values, VALUES)?;
    let full = render(&helm, &chart, Some(values.as_path()))?;
    let mut failures: Vec<String> = RENDERED
        .iter()
        .filter(|expected| !full.contains(**expected))
        .map(|expected| format!("helm: `{expected}` is not in what the chart renders"))
        .collect();
    if plain.contains("--config") || plain.contains("kind: ConfigMap") {
        failures.push("helm: the chart gives a configuration that nobody asked for".to_owned());
    }
    // Kubernetes would take an empty list for everybody.
    let refused = template(&helm, &chart)
        .args(["--set", "networkPolicy.enabled=true"])
        .output()
        .context("could not start Helm")?;
    if refused.status.success() || !String::from_utf8_lossy(&refused.stderr).contains("networkPolicy.from") {
        failures.push("helm: a network policy that names nobody is not refused as such".to_owned());
    }
    Ok(Outcome::from_failures(failures))
}

fn render(helm: &Path, chart: &Path, values: Option<&Path>) -> Result<String> {
    let mut template = template(helm, chart);
    if let Some(values) = values {
        template.arg("--values").arg(values);
    }
    output(&mut template)
}

fn template(helm: &Path, chart: &Path) -> Command {
    let mut template = command(&helm.to_string_lossy(), &["template", "cupola"]);
    template.args(KUBERNETES).arg(chart);
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_installed_is_no_complaint() {
        let said = "cupola.service: Command /usr/local/bin/cupola is not executable: No such file or directory\n\
                    a/cupola.service:9: Unknown key 'Frob' in section [Service], ignoring.\n\
                    other.service: is odd\n";
        let found = complaints(said);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("Frob"), "{found:?}");
    }
}
