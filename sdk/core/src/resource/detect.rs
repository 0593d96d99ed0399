//! The detectors: which there are, and those of the service, the process, the host and the operating system.

use super::{Machine, Merged, ResourceSettings, cloud, container, instance_id};
use crate::scrub::Scrubber;

/// The schema of the names that detectors give.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

/// Most arguments of the process, and longest one in characters: a command line may have two megabytes.
const ARGUMENTS_MAX: usize = 64;
const ARGUMENT_CHARACTERS_MAX: usize = 512;

/// Something that can be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detector {
    /// `service.instance.id`.
    Service,
    /// `process.*`.
    Process,
    /// `host.*`.
    Host,
    /// `os.*`.
    Os,
    /// `container.id`.
    Container,
    /// `k8s.*`.
    Kubernetes,
    /// `cloud.*`, `faas.*`, and what is particular to a cloud: what its variables tell. No metadata server is asked, as that may
    /// take seconds where there is none; a collector on the way knows what it says.
    Cloud,
}

impl Detector {
    pub const ALL: [Detector; 7] = [
        Detector::Service,
        Detector::Process,
        Detector::Host,
        Detector::Os,
        Detector::Container,
        Detector::Kubernetes,
        Detector::Cloud,
    ];

    /// What it is called in settings.
    pub fn name(self) -> &'static str {
        match self {
            Detector::Service => "service",
            Detector::Process => "process",
            Detector::Host => "host",
            Detector::Os => "os",
            Detector::Container => "container",
            Detector::Kubernetes => "k8s",
            Detector::Cloud => "cloud",
        }
    }

    pub fn from_name(name: &str) -> Option<Detector> {
        Detector::ALL.into_iter().find(|detector| detector.name() == name)
    }

    pub(super) fn detect(
        self,
        machine: &Machine,
        settings: &ResourceSettings,
        scrubber: &Scrubber,
        found: &mut Merged,
    ) {
        match self {
            Detector::Service => found.set("service.instance.id", instance_id()),
            Detector::Process => process(machine, settings, scrubber, found),
            Detector::Host => host(machine, found),
            Detector::Os => os(machine, found),
            Detector::Container => found.set_known("container.id", container::id(machine)),
            Detector::Kubernetes => container::kubernetes(machine, found),
            Detector::Cloud => cloud::detect(machine, found),
        }
    }
}

/// <https://opentelemetry.io/docs/specs/semconv/resource/process/>
fn process(machine: &Machine, settings: &ResourceSettings, scrubber: &Scrubber, found: &mut Merged) {
    let process = &machine.process;
    found.set("process.pid", i64::from(process.id));
    if let Some(parent) = process.parent_id {
        found.set("process.parent_pid", i64::from(parent));
    }
    found.set_known("process.executable.name", process.executable_name());
    let path = process.executable.as_ref().map(|path| path.to_string_lossy());
    found.set_known("process.executable.path", path);
    found.set_known("process.owner", owner(machine));
    let first = process.arguments.len().min(ARGUMENTS_MAX);
    let arguments = scrubber.scrub_arguments(&process.arguments[..first]);
    let short = |argument: &String| argument.chars().take(ARGUMENT_CHARACTERS_MAX).collect::<String>();
    let arguments: Vec<String> = arguments.iter().map(short).collect();
    if let Some(command) = arguments.first() {
        found.set("process.command", command.as_str());
        found.set("process.command_args", arguments.clone());
    }
    if let Some(runtime) = &settings.runtime {
        found.set_known("process.runtime.name", Some(&runtime.name));
        found.set_known("process.runtime.version", Some(&runtime.version));
        found.set_known("process.runtime.description", runtime.description.as_ref());
    }
}

/// From the table of users that is a file: others may be asked over the network.
fn owner(machine: &Machine) -> Option<String> {
    let user = machine.process.user_id?.to_string();
    let users = machine.file("etc/passwd");
    let name = users.as_ref().and_then(|users| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == user).then_some(name)
        })
    });
    let name = name.or_else(|| machine.any_variable(&["USER", "LOGNAME"]))?;
    Some(name.to_owned())
}

/// <https://opentelemetry.io/docs/specs/semconv/resource/host/>
fn host(machine: &Machine, found: &mut Merged) {
    let name = machine
        .file("proc/sys/kernel/hostname")
        .or_else(|| machine.file("etc/hostname"))
        .or_else(|| machine.variable("HOSTNAME").map(str::to_owned));
    found.set_known("host.name", name);
    let id = machine
        .file("etc/machine-id")
        .or_else(|| machine.file("var/lib/dbus/machine-id"));
    // Images have an empty one, or say so.
    found.set_known("host.id", id.filter(|id| id != "uninitialized"));
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc" => "ppc32",
        "powerpc64" => "ppc64",
        arch => arch,
    };
    found.set("host.arch", arch);
}

/// <https://opentelemetry.io/docs/specs/semconv/resource/os/>
fn os(machine: &Machine, found: &mut Merged) {
    let kind = match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    };
    found.set("os.type", kind);
    let release = machine
        .file("etc/os-release")
        .or_else(|| machine.file("usr/lib/os-release"))
        .unwrap_or_default();
    for (key, variable) in [
        ("os.description", "PRETTY_NAME"),
        ("os.name", "NAME"),
        ("os.version", "VERSION_ID"),
        ("os.build_id", "BUILD_ID"),
    ] {
        let value = release
            .lines()
            .filter_map(|line| line.trim().split_once('='))
            .find(|(name, _)| *name == variable);
        found.set_known(key, value.map(|(_, value)| unquoted(value)));
    }
}

/// A value of a file that a shell could read, without its quotes. None of those that are asked for has more to undo.
fn unquoted(value: &str) -> String {
    let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    quoted('"')
        .or_else(|| quoted('\''))
        .unwrap_or(value)
        .replace('\\', "")
}
