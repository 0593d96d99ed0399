//! Options of the Collector that Cupola reads without effect, or does not have. The former are told in a remark and taken
//! out before settings are read; the latter are refused as any other unknown key is, with what to do instead in the place
//! of a guess. Refuses to know any option: they are in [`crate::components`], and with whoever links this crate.

use cupola_config::{Node, Place, Problem, Problems};
use serde_json::{Value as Json, json};

/// Remarks that one path may lead to, in a list or a mapping with many entries.
const REMARKS_MAX: usize = 20;

/// How a remark on such an option begins.
pub const NO_EFFECT: &str = "has no effect here: ";

/// An option by its path below the settings of a component: keys with dots between them, `*` for any key or item. After
/// the last key, `=word` stands for that value of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub path: String,
    /// Why it has no effect, or what to do instead.
    pub text: &'static str,
}

/// What there is to say of the options of one kind of component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Read without effect.
    pub idle: Vec<About>,
    /// Not there.
    pub absent: Vec<About>,
}

impl Options {
    /// `node`, which stands at the key `at`, without what has no effect, each with a remark.
    pub fn without_idle(&self, node: &Node, at: &str, problems: &mut Problems) -> Node {
        let mut left = node.clone();
        for About { path, text } in &self.idle {
            let steps: Vec<&str> = path.split('.').collect();
            let mut found = Vec::new();
            find(node, &steps, &mut Vec::new(), &mut found);
            for (path, place) in found.into_iter().take(REMARKS_MAX) {
                let message = format!("{NO_EFFECT}{text}");
                problems.push(Problem::warning(place, dotted(at, node, &path), message));
                left = left.without(&path);
            }
        }
        left
    }

    /// What was found wrong with settings at the key `at`, with what is known of options that are not there.
    pub fn explained(&self, at: &str, mut problem: Problem) -> Problem {
        let Some(below) = problem.key.strip_prefix(at).and_then(|key| key.strip_prefix('.')) else {
            return problem;
        };
        let key = problem.message == "unknown key";
        let word = problem
            .message
            .strip_prefix('`')
            .and_then(|rest| rest.strip_suffix("` is none of the known words"));
        let below = below.replace('[', ".");
        let steps: Vec<&str> = below.split('.').collect();
        let about = self.absent.iter().find(|about| {
            let (path, of) = match about.path.split_once('=') {
                Some((path, word)) => (path, Some(word)),
                None => (about.path.as_str(), None),
            };
            let same = if of.is_some() { word == of } else { key };
            same && is_at(path, &steps)
        });
        if let Some(About { text, .. }) = about {
            if key {
                problem.message = "Cupola does not have this option".to_owned();
            }
            problem.hint = Some((*text).to_owned());
        }
        problem
    }

    /// The schema of settings with what has no effect in it.
    pub fn in_schema(&self, mut schema: Json) -> Json {
        for About { path, text } in &self.idle {
            let steps: Vec<&str> = path.split('.').collect();
            let [before @ .., key] = steps.as_slice() else {
                continue;
            };
            let mut within = Some(&mut schema);
            for step in before {
                within = within.and_then(object).and_then(|object| match *step {
                    "*" if object.get("items").is_some() => object.get_mut("items"),
                    "*" => object.get_mut("additionalProperties"),
                    key => object.get_mut("properties")?.get_mut(key),
                });
            }
            let Some(object) = within.and_then(object) else {
                continue;
            };
            if object["properties"].is_object() && object["properties"].get(key).is_none() {
                object["properties"][*key] = json!({"description": format!("Has no effect here: {text}.")});
            }
        }
        schema
    }
}

/// The part of a schema that describes an object or a list.
fn object(schema: &mut Json) -> Option<&mut Json> {
    if schema.get("properties").is_some()
        || schema.get("items").is_some()
        || schema.get("additionalProperties").is_some_and(Json::is_object)
    {
        return Some(schema);
    }
    schema
        .get_mut("anyOf")?
        .as_array_mut()?
        .iter_mut()
        .find_map(object)
}

/// Whether steps of a problem's key, where an item is `3]`, are those of a path.
fn is_at(path: &str, steps: &[&str]) -> bool {
    let pattern: Vec<&str> = path.split('.').collect();
    pattern.len() == steps.len()
        && pattern
            .iter()
            .zip(steps)
            .all(|(one, step)| *one == "*" || one == step)
}

/// Paths in `node` that fit, with the place of each.
fn find(node: &Node, steps: &[&str], path: &mut Vec<String>, found: &mut Vec<(Vec<String>, Place)>) {
    let Some((step, rest)) = steps.split_first() else {
        return;
    };
    let mut go = |name: String, place: &Place, value: &Node| {
        path.push(name);
        match rest.is_empty() {
            true => found.push((path.clone(), place.clone())),
            false => find(value, rest, path, found),
        }
        path.pop();
    };
    for entry in node.entries() {
        if *step == "*" || *step == &*entry.key {
            go(entry.key.to_string(), &entry.place, &entry.value);
        }
    }
    for (index, item) in node.items().iter().enumerate() {
        if *step == "*" {
            go(index.to_string(), item.place(), item);
        }
    }
}

fn dotted(at: &str, node: &Node, path: &[String]) -> String {
    let (mut dotted, mut within) = (at.to_owned(), Some(node));
    for step in path {
        let of_list = within.is_some_and(Node::is_sequence);
        dotted.push_str(&match of_list {
            true => format!("[{step}]"),
            false => format!(".{step}"),
        });
        within = within.and_then(|node| match of_list {
            true => node.items().get(step.parse::<usize>().ok()?),
            false => node.get(step),
        });
    }
    dotted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        let about = |path: &str, text| About {
            path: path.to_owned(),
            text,
        };
        Options {
            idle: vec![about("keepalive", "so"), about("list.*.old", "so")],
            absent: vec![about("list.*.gone", "use `new`"), about("kinds.*=ecs", "use ec2")],
        }
    }

    #[test]
    fn what_has_no_effect_is_told_and_taken_out() {
        let node = Node::parse("f", "{keepalive: {time: 1s}, list: [{a: 1}, {old: x, b: 2}]}").unwrap();
        let mut problems = Problems::new();
        let left = options().without_idle(&node, "exporters.a", &mut problems);
        assert_eq!(left, Node::parse("f", "{list: [{a: 1}, {b: 2}]}").unwrap());
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "f:1:2: warning: exporters.a.keepalive: has no effect here: so",
                "f:1:41: warning: exporters.a.list[1].old: has no effect here: so"
            ]
        );
    }

    #[test]
    fn what_is_not_there_is_explained_and_anything_else_is_not() {
        let explained = |key: &str, message: &str| {
            let problem = Problem::error(Place::whole("f"), key, message).hint("did you mean x?");
            options().explained("a", problem).hint.unwrap()
        };
        assert_eq!(explained("a.list[3].gone", "unknown key"), "use `new`");
        assert_eq!(
            explained("a.kinds[0]", "`ecs` is none of the known words"),
            "use ec2"
        );
        assert_eq!(
            explained("a.kinds[0]", "`ec3` is none of the known words"),
            "did you mean x?"
        );
        assert_eq!(explained("a.list[3].other", "unknown key"), "did you mean x?");
    }

    #[test]
    fn a_schema_has_what_is_read_without_effect() {
        let schema =
            json!({"properties": {"list": {"anyOf": [{"items": {"properties": {}}}, {"type": "null"}]}}});
        let schema = options().in_schema(schema);
        assert!(schema["properties"]["keepalive"]["description"].is_string());
        let items = &schema["properties"]["list"]["anyOf"][0]["items"];
        assert!(items["properties"]["old"]["description"].is_string(), "{schema}");
    }
}
