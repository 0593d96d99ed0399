//! Options of the Collector that have no effect here, and those that Cupola does not have, by component. One line each;
//! `docs/pipelines.md` lists the former.

mod absent;
mod idle;

use crate::graph::Registry;
use crate::graph::options::{About, Options};

/// Kinds of a section, the prefixes below which they have a group of options, and the group.
struct Row {
    section: &'static str,
    kinds: &'static [&'static str],
    prefixes: &'static [&'static str],
    options: &'static [(&'static str, &'static str)],
}

const fn row(
    section: &'static str,
    kinds: &'static [&'static str],
    prefixes: &'static [&'static str],
    options: &'static [(&'static str, &'static str)],
) -> Row {
    Row {
        section,
        kinds,
        prefixes,
        options,
    }
}

const R: &str = "receivers";
const P: &str = "processors";
const C: &str = "connectors";
const E: &str = "exporters";
const X: &str = "extensions";
const WHOLE: &[&str] = &[""];
const GRPC: &[&str] = &["protocols.grpc."];

/// Gives each kind what there is to say of its options.
pub(super) fn register(registry: &mut Registry) {
    registry
        .receivers
        .iter_mut()
        .for_each(|kind| kind.options = of(R, kind.name));
    registry
        .processors
        .iter_mut()
        .for_each(|kind| kind.options = of(P, kind.name));
    registry
        .connectors
        .iter_mut()
        .for_each(|one| one.kind.options = of(C, one.kind.name));
    registry
        .exporters
        .iter_mut()
        .for_each(|kind| kind.options = of(E, kind.name));
    registry
        .extensions
        .iter_mut()
        .for_each(|kind| kind.options = of(X, kind.name));
}

fn of(section: &str, kind: &str) -> Options {
    let about = |rows: &[Row]| -> Vec<About> {
        let rows = rows
            .iter()
            .filter(|row| row.section == section && row.kinds.contains(&kind));
        rows.flat_map(|row| {
            row.prefixes.iter().flat_map(|prefix| {
                row.options.iter().map(move |(path, text)| About {
                    path: format!("{prefix}{path}"),
                    text,
                })
            })
        })
        .collect()
    };
    Options {
        idle: about(idle::IDLE),
        absent: about(absent::ABSENT),
    }
}
