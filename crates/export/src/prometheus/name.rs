//! Names of metrics and labels.

use std::borrow::Cow;

use super::Kind;

/// Units that Prometheus writes out.
const UNITS: &[(&str, &str)] = &[
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

/// Units behind a slash.
const PER_UNITS: &[(&str, &str)] = &[
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// The name of a metric, and the unit in it. Without `suffixes`, letters that Prometheus does not allow are replaced and
/// nothing is added. Empty if nothing of the name is left.
pub fn metric_name(name: &str, unit: &str, kind: Kind, namespace: &str, suffixes: bool) -> (String, String) {
    if !suffixes {
        let prefix = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}_")
        };
        let name: String = name
            .chars()
            .map(|letter| if allowed(letter) { letter } else { '_' })
            .collect();
        if name.is_empty() {
            return (String::new(), String::new());
        }
        return (not_digit_first(prefix + &name), String::new());
    }
    let mut tokens: Vec<Cow<'_, str>> = tokens(name).map(Cow::Borrowed).collect();
    if tokens.is_empty() {
        return (String::new(), String::new());
    }
    let (main, per) = unit_names(unit);
    let mut unit_text = String::new();
    if !main.is_empty() {
        unit_text.push_str(&main);
        if !tokens.iter().any(|token| *token == main) {
            tokens.push(main.into());
        }
    }
    if !per.is_empty() {
        let joint = if unit_text.is_empty() { "per_" } else { "_per_" };
        unit_text.push_str(joint);
        unit_text.push_str(&per);
        if !tokens.iter().any(|token| *token == per) {
            tokens.push("per".into());
            tokens.push(per.into());
        }
    }
    let last = match kind {
        Kind::Counter => Some("total"),
        Kind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    };
    if let Some(last) = last {
        tokens.retain(|token| *token != last);
        tokens.push(last.into());
    }
    if !namespace.is_empty() {
        tokens.insert(0, namespace.into());
    }
    let name = not_digit_first(tokens.join("_"));
    // A unit that stands elsewhere in the name is none that OpenMetrics would accept.
    let stem = name.strip_suffix("_total").unwrap_or(&name);
    if !stem.ends_with(&unit_text) {
        unit_text.clear();
    }
    (name, unit_text)
}

/// The name of a label.
pub fn label_name(key: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let name: String = key
        .chars()
        .map(|letter| if allowed(letter) { letter } else { '_' })
        .collect();
    match name.as_bytes() {
        [b'0'..=b'9', ..] => format!("key_{name}"),
        [b'_', b'_', ..] => name,
        [b'_', ..] => format!("key{name}"),
        _ => name,
    }
}

fn allowed(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'
}

fn tokens(name: &str) -> impl Iterator<Item = &str> {
    name.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == ':'))
        .filter(|token| !token.is_empty())
}

fn not_digit_first(name: String) -> String {
    if name.starts_with(|letter: char| letter.is_ascii_digit()) {
        format!("_{name}")
    } else {
        name
    }
}

/// What stands before and behind the slash. Annotations in braces are no units.
fn unit_names(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    (unit_name(main, UNITS), unit_name(per, PER_UNITS))
}

fn unit_name(unit: &str, known: &[(&str, &str)]) -> String {
    let unit = unit.trim();
    if unit.contains(['{', '}']) {
        return String::new();
    }
    match known.iter().find(|(short, _)| *short == unit) {
        Some((_, long)) => (*long).to_owned(),
        None => tokens(unit).collect::<Vec<_>>().join("_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_suffixes_that_the_collector_gives_them() {
        let name = |name, unit, kind| metric_name(name, unit, kind, "", true).0;
        assert_eq!(
            name("http.server.request.duration", "s", Kind::Histogram),
            "http_server_request_duration_seconds"
        );
        assert_eq!(
            name("system.cpu.utilization", "1", Kind::Gauge),
            "system_cpu_utilization_ratio"
        );
        assert_eq!(name("requests", "1", Kind::Counter), "requests_total");
        assert_eq!(
            name("requests.total.failed", "{request}", Kind::Counter),
            "requests_failed_total"
        );
        assert_eq!(
            name("system.network.io", "By", Kind::Counter),
            "system_network_io_bytes_total"
        );
        assert_eq!(name("speed", "m/s", Kind::Gauge), "speed_meters_per_second");
        assert_eq!(name("hits", "{hit}/s", Kind::Gauge), "hits_per_second");
        assert_eq!(name("disk.used.bytes", "By", Kind::Gauge), "disk_used_bytes");
        assert_eq!(name("load", "%", Kind::Gauge), "load_percent");
        assert_eq!(name("2xx..odd--ü", "", Kind::Gauge), "_2xx_odd");
        assert_eq!(name("level:rule", "", Kind::Gauge), "level:rule");
        assert_eq!(name("üü", "s", Kind::Gauge), "");
        assert_eq!(
            metric_name("a.b", "s", Kind::Counter, "ns", true).0,
            "ns_a_b_seconds_total"
        );
        assert_eq!(metric_name("a..b", "s", Kind::Counter, "ns", false).0, "ns_a__b");
        assert_eq!(metric_name("a", "s", Kind::Counter, "", true).1, "seconds");
        assert_eq!(metric_name("seconds.a", "s", Kind::Counter, "", true).1, "");
    }

    #[test]
    fn labels_have_letters_that_are_allowed() {
        for (key, label) in [
            ("http.method", "http_method"),
            ("1st", "key_1st"),
            ("_x", "key_x"),
            ("__x", "__x"),
            ("ü", "key_"),
        ] {
            assert_eq!(label_name(key), label);
        }
    }
}
