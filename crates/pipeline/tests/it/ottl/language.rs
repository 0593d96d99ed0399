//! Precedence, comparisons and arithmetic, by the tables of the language.

use cupola_pipeline::ottl::{Conditions, Context, ErrorMode, Statements};

use super::{Still, apply, evaluate, holds, log_batch};

#[test]
fn operators_bind_as_they_should() {
    let cases = [
        ("true or false and false", true),
        ("(true or false) and false", false),
        ("not false and true", true),
        ("not (false and true)", true),
        ("not body == \"x\"", true),
        ("not not true", true),
        ("1 + 2 * 3 == 7", true),
        ("(1 + 2) * 3 == 9", true),
        ("10 - 2 - 3 == 5", true),
        ("-1 + 1 == 0", true),
        ("7 / 2 == 3 and -7 / 2 == -3", true),
        ("1.5 * 2.0 == 3", true),
        (
            "IsMatch(body, \"hello\") and severity_number >= SEVERITY_NUMBER_INFO",
            true,
        ),
        (
            "IsMatch(body, \"bye\") or severity_number < SEVERITY_NUMBER_WARN",
            true,
        ),
        (
            "attributes[\"count\"] == 3 and (attributes[\"ok\"] == true or 1 == 2)",
            true,
        ),
    ];
    for (condition, expected) in cases {
        assert_eq!(holds(condition), expected, "{condition}");
    }
}

#[test]
fn values_compare_by_the_table() {
    let cases = [
        ("1 == 1.0", true),
        ("1 < 1.5", true),
        ("1 == \"1\"", false),
        ("1 != \"1\"", true),
        ("1 < \"2\"", false),
        ("\"a\" < \"b\"", true),
        ("true > false", true),
        ("true == 1", false),
        ("nil == nil", true),
        ("attributes[\"none\"] == nil", true),
        ("attributes[\"empty\"] == nil", true),
        ("attributes[\"none\"] != nil", false),
        ("attributes[\"none\"] < 1", false),
        ("body != nil", true),
        ("attributes[\"raw\"] == 0x0102", true),
        ("0x01 < 0x02", true),
        ("trace_id == TraceID(\"abababababababababababababababab\")", true),
        ("span_id != SpanID(0x0000000000000000)", true),
        ("attributes[\"tags\"] == [\"a\", \"b\"]", true),
        ("attributes[\"tags\"] == [\"b\", \"a\"]", false),
        (
            "attributes[\"nested\"] == {\"deep\": {\"y\": \"z\"}, \"x\": 1}",
            true,
        ),
        ("Now() > Unix(0)", true),
        ("Duration(\"1m\") == Duration(\"60s\")", true),
        ("Now() == 1", false),
    ];
    for (condition, expected) in cases {
        assert_eq!(holds(condition), expected, "{condition}");
    }
}

#[test]
fn arithmetic_that_has_no_result_is_an_error() {
    for expression in ["1 / 0", "1.0 / 0.0", "\"a\" + \"b\"", "nil + 1", "1 + true"] {
        assert!(evaluate(expression).is_err(), "{expression}");
    }
    assert_eq!(
        evaluate("9223372036854775807 + 1").as_deref(),
        Ok("-9223372036854775808")
    );
    assert_eq!(
        evaluate("-9223372036854775808 / -1").as_deref(),
        Ok("-9223372036854775808")
    );
}

#[test]
fn literals_and_names_are_read() {
    let cases = [
        ("-9223372036854775808", "-9223372036854775808"),
        ("+5", "5"),
        ("-.5", "-0.5"),
        ("\"a \\\"b\\\" \\\\ \\n\"", r#""a \"b\" \\ \n""#),
        ("0xff", "0xff"),
        ("[]", "[]"),
        ("{}", "{}"),
        ("{\"foo\": {\"a\": attributes[\"count\"]}}", "{foo: {a: 3}}"),
        ("SPAN_KIND_SERVER", "2"),
        ("STATUS_CODE_ERROR", "2"),
        ("METRIC_DATA_TYPE_SUMMARY", "5"),
        ("AGGREGATION_TEMPORALITY_CUMULATIVE", "2"),
        ("SEVERITY_NUMBER_FATAL4", "24"),
    ];
    for (expression, expected) in cases {
        assert_eq!(evaluate(expression).as_deref(), Ok(expected), "{expression}");
    }
}

#[test]
fn a_failing_statement_does_not_stop_the_next_one() {
    let statements = ["set(severity_text, 1)", "set(attributes[\"after\"], true)"];
    let outcome = apply(&log_batch(), Context::Log, &statements);
    assert_eq!(outcome.errors, 1);
    let error = outcome.first_error.unwrap();
    assert_eq!(error.statement, "set(severity_text, 1)");
    assert_eq!(error.source.to_string(), "expected a string, found an int");
    assert_eq!(
        super::log_attribute(&outcome.batch.unwrap(), "after").as_deref(),
        Some("true")
    );

    let texts = statements.map(str::to_owned);
    let silent = Statements::compile(Context::Log, &texts)
        .unwrap()
        .with_error_mode(ErrorMode::Silent);
    let outcome = silent.apply(&log_batch(), &Still).unwrap();
    assert_eq!((outcome.errors, outcome.first_error), (1, None));

    let strict = Statements::compile(Context::Log, &texts)
        .unwrap()
        .with_error_mode(ErrorMode::Propagate);
    assert!(strict.apply(&log_batch(), &Still).is_err());
}

#[test]
fn a_failing_condition_is_passed_over_or_ends_the_batch() {
    let texts = ["Len(1) == 1", "body == \"hello world\""].map(str::to_owned);
    let ignoring = Conditions::compile(Context::Log, &texts)
        .unwrap()
        .with_error_mode(ErrorMode::Ignore);
    let outcome = ignoring.drop_matching(&log_batch(), &Still).unwrap();
    assert_eq!((outcome.errors, outcome.batch), (1, None));
    let strict = Conditions::compile(Context::Log, &texts).unwrap();
    assert_eq!(
        strict.drop_matching(&log_batch(), &Still).unwrap_err().statement,
        texts[0]
    );
}

#[test]
fn one_of_several_conditions_is_enough() {
    let statements = |conditions: &[&str]| {
        let texts: Vec<String> = conditions.iter().map(|text| (*text).to_owned()).collect();
        let conditions = Conditions::compile(Context::Log, &texts).unwrap();
        let statements =
            super::compile(Context::Log, &["set(attributes[\"hit\"], 1)"]).with_conditions(conditions);
        statements.apply(&log_batch(), &Still).unwrap().batch.unwrap()
    };
    let hit = statements(&["body == \"no\"", "severity_number == 9"]);
    assert_eq!(super::log_attribute(&hit, "hit").as_deref(), Some("1"));
    let batch = statements(&["body == \"no\"", "severity_number == 10"]);
    assert_eq!(batch, log_batch());
}

#[test]
fn statements_for_another_signal_leave_a_batch_alone() {
    let outcome = apply(&log_batch(), Context::Span, &["set(name, \"x\")"]);
    assert_eq!(outcome.batch.unwrap(), log_batch());
}
