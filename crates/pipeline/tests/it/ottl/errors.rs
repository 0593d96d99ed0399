//! Mistakes are refused before anything runs, at their place, with what to do about them.

use cupola_pipeline::ottl::{Conditions, Context, OttlError, Statements};

#[track_caller]
fn error_of(context: Context, statement: &str) -> OttlError {
    match Statements::compile(context, &[statement.to_owned()]) {
        Ok(_) => panic!("{statement} was compiled"),
        Err(mut errors) => errors.remove(0),
    }
}

#[test]
fn a_mistake_points_at_itself() {
    let cases = [
        (
            Context::Log,
            "sett(body, 1)",
            "sett",
            "`sett` is no editor",
            Some("did you mean `set`?"),
        ),
        (
            Context::Log,
            "set(bodyy, 1)",
            "bodyy",
            "`bodyy` is no path of the context log",
            Some("did you mean `body`?"),
        ),
        (
            Context::Log,
            "set(log.severty_text, \"x\")",
            "log.severty_text",
            "`log.severty_text` is no path of the context log",
            Some("did you mean `log.severity_text`?"),
        ),
        (
            Context::Log,
            "set(span.name, \"x\")",
            "span.name",
            "there is no `span` in logs",
            Some(
                "there are `resource`, `scope` and `log`; statements of other signals stand in a list of theirs",
            ),
        ),
        (
            Context::Log,
            "set(body, Concatt([], \"\"))",
            "Concatt",
            "`Concatt` is no converter",
            Some("did you mean `Concat`?"),
        ),
        (
            Context::Log,
            "set(body, SEVERITY_NUMBER_WARM)",
            "SEVERITY_NUMBER_WARM",
            "`SEVERITY_NUMBER_WARM` is no enum",
            Some("did you mean `SEVERITY_NUMBER_WARN`?"),
        ),
        (
            Context::Log,
            "set(body)",
            "set(body)",
            "`set` needs its argument `value`",
            None,
        ),
        (
            Context::Log,
            "set(body, 1, 2)",
            "set(body, 1, 2)",
            "`set` takes 2 arguments, and was given 3 arguments",
            None,
        ),
        (
            Context::Log,
            "set(1, 2)",
            "1",
            "the argument `target` of `set` must be a path",
            None,
        ),
        (
            Context::Log,
            "set(target = body, target = 1)",
            "1",
            "the argument `target` is given twice",
            None,
        ),
        (
            Context::Log,
            "set(body, valeu = 1)",
            "valeu",
            "`set` has no argument `valeu`",
            Some("its arguments are target, value"),
        ),
        (
            Context::Log,
            "set(severity_text[\"x\"], 1)",
            "severity_text",
            "`severity_text` cannot be indexed",
            None,
        ),
        (
            Context::Span,
            "set(status, 1)",
            "status",
            "`status` cannot be used as a whole",
            Some("name a field of it, as in `status.…`"),
        ),
        (
            Context::Span,
            "set(events, 1)",
            "events",
            "`events` cannot be changed",
            None,
        ),
        (
            Context::Log,
            "set(body, 1) where body",
            "body",
            "this is neither true nor false",
            Some("compare it, as in `… == true`"),
        ),
        (
            Context::Log,
            "set(body, 1 == 2)",
            "1 == 2",
            "a comparison cannot be used as a value",
            Some("comparisons belong after `where`"),
        ),
        (
            Context::Log,
            "set(body, IsRootSpan())",
            "IsRootSpan",
            "`IsRootSpan` works in the context span only, this is log",
            None,
        ),
        (
            Context::Log,
            "truncate_all(attributes, -1)",
            "-1",
            "the argument `limit` of `truncate_all`: it cannot be negative",
            None,
        ),
        (
            Context::Log,
            "truncate_all(attributes, \"1\")",
            "\"1\"",
            "the argument `limit` of `truncate_all` must be a whole number",
            None,
        ),
        (
            Context::Log,
            "delete_matching_keys(attributes, \"(\")",
            "\"(\"",
            "the argument `pattern` of `delete_matching_keys`: unclosed group",
            None,
        ),
        (
            Context::Log,
            "replace_pattern(body, \"a\", \"b\", Nope)",
            "Nope",
            "the argument `function` of `replace_pattern`: `Nope` is no converter",
            None,
        ),
        (
            Context::Log,
            "merge_maps(attributes, body, \"x\")",
            "\"x\"",
            "the argument `strategy` of `merge_maps`: \"x\" is no strategy; there are insert, update and upsert",
            None,
        ),
        (
            Context::Log,
            "set(body, \"\\d\")",
            "\\d",
            "`\\d` is no escape",
            Some("write `\\\\d` for a backslash and `d`, as regular expressions need it"),
        ),
        (
            Context::Log,
            "set(body, \"a)",
            "\"a)",
            "the text is not closed",
            Some("texts stand between double quotes"),
        ),
        (
            Context::Log,
            "set(body, 1) were true",
            "were",
            "expected `where` or the end of the statement",
            None,
        ),
        (
            Context::Log,
            "Set(body, 1)",
            "Set",
            "expected an editor, whose name starts with a small letter",
            None,
        ),
        (
            Context::Log,
            "set(body, 1)[0]",
            "set(body, 1)[0]",
            "editors cannot be indexed",
            Some("only paths and converters can be"),
        ),
        (
            Context::Log,
            "set(body, IsInCIDR(body, [\"::1/128\", \"10.0.0.0\"]))",
            "[\"::1/128\", \"10.0.0.0\"]",
            "the argument `networks` of `IsInCIDR`: \"10.0.0.0\" is no network, as in `10.0.0.0/8`",
            None,
        ),
        (Context::Log, "set(body, (1 + 2)", "", "expected `,` or `)`", None),
        (Context::Log, "", "", "expected an editor, as in `set(…)`", None),
        (
            Context::Log,
            "set(body, lower(body))",
            "lower",
            "`lower` is no converter, whose name starts with a capital",
            None,
        ),
    ];
    for (context, statement, token, message, hint) in cases {
        let error = error_of(context, statement);
        assert_eq!(error.token(), token, "{statement}");
        assert_eq!(error.problem.to_string(), message, "{statement}");
        assert_eq!(error.problem.hint().as_deref(), hint, "{statement}");
    }
}

#[test]
fn an_error_is_drawn_under_its_statement() {
    let error = error_of(Context::Log, "set(attributes[\"größe\"], Uper(body))");
    assert_eq!(
        error.render(),
        "`Uper` is no converter\n  set(attributes[\"größe\"], Uper(body))\n                           ^^^^"
    );
    let error = error_of(Context::Log, "set(body, 1)\n  where seventy_text == \"x\"");
    assert_eq!(
        error.render(),
        "`seventy_text` is no path of the context log\n    where seventy_text == \"x\"\n          ^^^^^^^^^^^^\n  hint: did you mean `severity_text`?"
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let texts = ["set(a, 1)", "set(body, 1)", "nope()"].map(str::to_owned);
    assert_eq!(Statements::compile(Context::Log, &texts).unwrap_err().len(), 2);
    let texts = ["body", "body == 1", "1 +"].map(str::to_owned);
    assert_eq!(Conditions::compile(Context::Log, &texts).unwrap_err().len(), 2);
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = format!("set(body, {}1{})", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(
        error_of(Context::Log, &deep).problem.to_string(),
        "nested deeper than 64 levels"
    );
    let nots = format!("set(body, 1) where {} true", "not ".repeat(10_000));
    assert_eq!(
        error_of(Context::Log, &nots).problem.to_string(),
        "nested deeper than 64 levels"
    );
    let long = format!("set(body, \"{}\")", "x".repeat(100_000));
    assert_eq!(
        error_of(Context::Log, &long).problem.to_string(),
        "the statement is longer than 65536 bytes"
    );
    // A long sum is not a deep one.
    let sum = format!("set(attributes[\"x\"], {}1)", "1 + ".repeat(10_000));
    Statements::compile(Context::Log, &[sum]).unwrap();
}
