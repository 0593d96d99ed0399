//! Converters give what their documentation says.

use super::evaluate;

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (expression, expected) in cases {
        assert_eq!(evaluate(expression).as_deref(), Ok(*expected), "{expression}");
    }
}

#[track_caller]
fn fails(expressions: &[&str]) {
    for expression in expressions {
        assert!(
            evaluate(expression).is_err(),
            "{expression} came to {:?}",
            evaluate(expression)
        );
    }
}

#[test]
fn types_are_asked_for_and_converted() {
    check(&[
        ("IsString(body)", "true"),
        ("IsString(attributes[\"count\"])", "false"),
        ("IsInt(42)", "true"),
        ("IsDouble(attributes[\"ratio\"])", "true"),
        ("IsBool(false)", "true"),
        ("IsMap(attributes[\"nested\"])", "true"),
        ("IsMap(attributes)", "true"),
        ("IsList(attributes[\"tags\"])", "true"),
        ("IsList([])", "true"),
        ("IsEmpty(attributes[\"none\"])", "true"),
        ("IsEmpty(\"\")", "true"),
        ("IsEmpty(attributes)", "false"),
        ("Int(2.9)", "2"),
        ("Int(\"12\")", "12"),
        ("Int(true)", "1"),
        ("Double(\"2.5\")", "2.5"),
        ("Double(3)", "3.0"),
        ("Double(false)", "0.0"),
        ("Bool(\"true\")", "true"),
        ("Bool(0)", "false"),
        ("String(1)", r#""1""#),
        ("String(1.5)", r#""1.5""#),
        ("String([1,2,3])", r#""[1,2,3]""#),
        ("String(span_id)", r#""cdcdcdcdcdcdcdcd""#),
        ("String(nil)", "nil"),
        ("Len(\"hello\")", "5"),
        ("Len(attributes[\"tags\"])", "2"),
        ("Len({\"a\": 1})", "1"),
        ("Coalesce([attributes[\"none\"], nil, \"x\"])", r#""x""#),
        ("Log(1)", "0.0"),
    ]);
    fails(&[
        "Len(1)",
        "Log(0)",
        "Log(nil)",
        "Int(\"2.0\")",
        "Int(\"x\")",
        "Bool(\"maybe\")",
    ]);
}

#[test]
fn text_is_taken_apart_and_put_together() {
    check(&[
        ("HasPrefix(\"ingest_service\", \"ingest_\")", "true"),
        ("HasSuffix(\"ingest_service\", \"_service\")", "true"),
        ("IsMatch(\"string\", \".*ring\")", "true"),
        ("IsMatch(body, \"^world\")", "false"),
        ("IsMatch(attributes[\"count\"], \"^3$\")", "true"),
        ("IsMatch(attributes[\"none\"], \".*\")", "false"),
        (
            "Concat([\"a\", 1, true, 1.5, nil, span_id], \"-\")",
            r#""a-1-true-1.5-<nil>-cdcdcdcdcdcdcdcd""#,
        ),
        ("Concat([], \"-\")", r#""""#),
        ("Split(\"A|B|C\", \"|\")", r#"["A", "B", "C"]"#),
        ("Split(\"A|B|C\", \"|\")[1]", r#""B""#),
        ("Split(\"abc\", \"\")", r#"["a", "b", "c"]"#),
        ("Substring(\"123456789\", 0, 3)", r#""123""#),
        ("Substring(\"一二三\", 0, 4, true)", r#""一""#),
        ("Substring(\"一二三\", 1, 5, utf8_safe = true)", r#""二""#),
        ("Trim(\" this is a test \")", r#""this is a test""#),
        ("Trim(\"!!this is a test!!\", \"!!\")", r#""this is a test""#),
        ("TrimPrefix(\"ingest_service\", \"ingest_\")", r#""service""#),
        ("TrimSuffix(\"ingest_service\", \"_service\")", r#""ingest""#),
        ("TrimSuffix(\"ingest\", \"_service\")", r#""ingest""#),
        ("ToLowerCase(\"MyMetricName\")", r#""mymetricname""#),
        ("ToUpperCase(\"MyMetricName\")", r#""MYMETRICNAME""#),
        ("ToSnakeCase(\"MyMetricName\")", r#""my_metric_name""#),
        ("ToCamelCase(\"my_metric_name\")", r#""MyMetricName""#),
        ("ConvertCase(\"MY_METRIC\", \"lower\")", r#""my_metric""#),
        ("ConvertCase(\"myMetric\", \"snake\")", r#""my_metric""#),
        ("Format(\"%04d-%02d\", [2023, 5])", r#""2023-05""#),
        ("Format(\"%s/%v\", [body, 1.5])", r#""hello world/1.5""#),
        (
            "ExtractPatterns(body, \"^(?P<first>\\\\w+) (?P<second>\\\\w+)$\")",
            r#"{first: "hello", second: "world"}"#,
        ),
        ("ExtractPatterns(\"x\", \"(?P<digits>\\\\d+)\")", "{}"),
        ("Base64Decode(\"aGVsbG8gd29ybGQ=\")", r#""hello world""#),
        ("Base64Encode(\"test string\")", r#""dGVzdCBzdHJpbmc=""#),
        ("Base64Encode(\"a\", \"base64-raw\")", r#""YQ""#),
        ("Decode(\"aGVsbG8gd29ybGQ=\", \"base64\")", r#""hello world""#),
        ("Decode(\"plain\", \"us-ascii\")", r#""plain""#),
        ("Hex(1.1)", r#""3ff199999999999a""#),
        ("Hex(\"1\")", r#""31""#),
        ("Hex(true)", r#""01""#),
        ("Hex(12)", r#""000000000000000c""#),
        ("Hex(0x02)", r#""02""#),
    ]);
    fails(&[
        "HasPrefix(1, \"a\")",
        "IsMatch(body, \"(\")",
        "Substring(\"abc\", 2, 5)",
        "Substring(\"一\", 0, 1)",
        "Substring(\"abc\", -1, 2)",
        "Split(nil, \",\")",
        "ConvertCase(body, \"title\")",
        "ExtractPatterns(body, \"(a)\")",
        "Decode(\"é\", \"us-ascii\")",
        "Decode(\"a\", \"klingon\")",
        "ToLowerCase(attributes[\"none\"])",
    ]);
}

#[test]
fn lists_and_maps_are_looked_into() {
    check(&[
        ("ContainsValue(attributes[\"tags\"], \"b\")", "true"),
        ("ContainsValue([1, 2, 3], 3.0)", "true"),
        ("ContainsValue([\"GET\"], \"PUT\")", "false"),
        ("Keys({\"k1\": \"v1\", \"k2\": \"v2\"})", r#"["k1", "k2"]"#),
        ("Values({\"k1\": \"v1\", \"k2\": 5})", r#"["v1", 5]"#),
        ("Index(\"hello world\", \"world\")", "6"),
        ("Index(attributes[\"tags\"], \"b\")", "1"),
        ("Index([1], 2)", "-1"),
        ("Sort([3, 1, 2])", "[1, 2, 3]"),
        ("Sort([3, 1.5, 2], \"desc\")", "[3, 2, 1.5]"),
        ("Sort([\"b\", \"a\"])", r#"["a", "b"]"#),
        ("Sort([true, false])", "[false, true]"),
        ("Sort([1, \"a\", false])", r#"[1, "a", false]"#),
        (
            "SliceToMap([{\"name\": \"foo\", \"value\": 2}, {\"name\": \"bar\", \"value\": 5}], [\"name\"], [\"value\"])",
            "{foo: 2, bar: 5}",
        ),
        ("SliceToMap([{\"a\": 1}])", "{0: {a: 1}}"),
        (
            "ToKeyValueString({\"k2\": \"v2\", \"k1\": 1}, sort_output = true)",
            r#""k1=1 k2=v2""#,
        ),
        (
            r#"ToKeyValueString({"k1": "v1", "k2": "v=2"})"#,
            r#""k1=v1 k2=\"v=2\"""#,
        ),
        (
            "ToKeyValueString({\"a\": 1, \"b\": [2]}, \":\", \",\")",
            r#""a:1,b:[2]""#,
        ),
    ]);
    fails(&[
        "Keys([])",
        "ContainsValue(1, 1)",
        "Sort([{}])",
        "Sort([1], \"up\")",
        "Index(1, 1)",
    ]);
}

#[test]
fn structure_is_read_out_of_text() {
    check(&[
        (
            "ParseJSON(\"{\\\"a\\\":true,\\\"b\\\":[1,null],\\\"a\\\":2}\")",
            "{a: 2.0, b: [1.0, nil]}",
        ),
        (
            "ParseJSON(\"[\\\"attr1\\\",\\\"attr2\\\"]\")",
            r#"["attr1", "attr2"]"#,
        ),
        (
            "ParseKeyValue(\"k1=v1 k2=v2 k3=v3\")",
            r#"{k1: "v1", k2: "v2", k3: "v3"}"#,
        ),
        (
            "ParseKeyValue(\"k1!v1_k2!v2\", \"!\", \"_\")",
            r#"{k1: "v1", k2: "v2"}"#,
        ),
        ("ParseKeyValue(\"a='x y' b=\\\"=\\\"\")", r#"{a: "x y", b: "="}"#),
        (
            "ParseCSV(\"999-999-9999,Joe Smith,joe.smith@example.com\", \"phone,name,email\")",
            r#"{phone: "999-999-9999", name: "Joe Smith", email: "joe.smith@example.com"}"#,
        ),
        (
            "ParseCSV(\"1|2\", \"a|b\", delimiter=\"|\")",
            r#"{a: "1", b: "2"}"#,
        ),
        (
            "ParseCSV(\"1|2\", \"a,b\", delimiter=\"|\", headerDelimiter=\",\")",
            r#"{a: "1", b: "2"}"#,
        ),
        (r#"ParseCSV("\"a,\"\"b\",c", "x,y")"#, r#"{x: "a,\"b", y: "c"}"#),
        (
            r#"ParseCSV("\"555-555-5556,Joe Smith\",joe.smith@example.com", "phone,name,email", mode="ignoreQuotes")"#,
            r#"{phone: "\"555-555-5556", name: "Joe Smith\"", email: "joe.smith@example.com"}"#,
        ),
        ("ParseInt(\"0b1111_0000\", 0)", "240"),
        ("ParseInt(\"-0xFF\", 0)", "-255"),
        ("ParseInt(\"-0o123\", 0)", "-83"),
        ("ParseInt(\"AA\", 16)", "170"),
        ("ParseInt(\"-20\", 8)", "-16"),
        (
            "URL(\"http://www.example.com\")",
            r#"{url.original: "http://www.example.com", url.domain: "www.example.com", url.scheme: "http", url.path: ""}"#,
        ),
        (
            "URL(\"http://u:p@www.example.com:80/foo.gif?k=v#f\")[\"url.port\"]",
            "80",
        ),
        (
            "URL(\"http://u:p@www.example.com:80/foo.gif?k=v#f\")[\"url.user_info\"]",
            r#""u:p""#,
        ),
        (
            "URL(\"http://u:p@www.example.com:80/foo.gif?k=v#f\")[\"url.extension\"]",
            r#""gif""#,
        ),
        (
            "IsInCIDR(\"192.168.4.1\", [\"10.0.0.0/8\", \"192.168.0.0/16\"])",
            "true",
        ),
        ("IsInCIDR(\"2001:db8::1\", [\"2001:db8::/32\"])", "true"),
        ("IsInCIDR(\"1.2.3.4\", [\"0.0.0.0/0\"])", "true"),
        ("IsInCIDR(\"11.0.0.1\", [\"10.0.0.0/8\"])", "false"),
        ("IsValidLuhn(\"17893729974\")", "true"),
        ("IsValidLuhn(17893729975)", "false"),
    ]);
    fails(&[
        "ParseJSON(\"{\")",
        "ParseJSON(\"1\")",
        "ParseJSON(nil)",
        "ParseKeyValue(\"\")",
        "ParseKeyValue(\"a\")",
        "ParseCSV(\"1,2\", \"a\")",
        "ParseCSV(\"\\\"a\", \"a\")",
        "ParseInt(\"z\", 10)",
        "ParseInt(\"1\", 1)",
        "ParseInt(\"99999999999999999999\", 10)",
        "URL(\"::\")",
        "IsInCIDR(\"1.1.1.1\", [\"10.0.0.0\"])",
        "IsValidLuhn(\"a\")",
    ]);
}

#[test]
fn deep_json_is_refused_and_does_no_harm() {
    let json = format!("{}{}", "[".repeat(100), "]".repeat(100));
    fails(&[&format!("ParseJSON(\"{json}\")")]);
    // Deep, but within what a payload may have.
    let json = format!("{}{}", "[".repeat(30), "]".repeat(30));
    assert!(evaluate(&format!("ParseJSON(\"{json}\")")).is_ok());
}

#[test]
fn hashes_are_those_of_their_algorithms() {
    check(&[
        ("MD5(\"name\")", r#""b068931cc450442b63f5b3d276ea4297""#),
        ("SHA1(\"name\")", r#""6ae999552a0d2dca14d62e2bc8b764d377b1dd6c""#),
        (
            "SHA256(\"name\")",
            r#""82a3537ff0dbce7eec35d69edc3a189ee6f17d82f353a553f9aa96cb0be3ce89""#,
        ),
        ("Len(SHA512(\"name\"))", "128"),
        ("FNV(\"\")", "-3750763034362895579"),
        ("XXH3(\"\")", r#""2d06800538d394c2""#),
        ("XXH128(\"\")", r#""99aa06d3014798d86001c324468d497f""#),
    ]);
    fails(&["SHA256(1)", "FNV(nil)"]);
}

#[test]
fn times_and_durations_are_calculated_with() {
    check(&[
        ("UnixNano(Now())", "1685104496789000000"),
        ("UnixMicro(Now())", "1685104496789000"),
        ("UnixMilli(Now())", "1685104496789"),
        ("UnixSeconds(Now())", "1685104496"),
        ("UnixSeconds(Time(\"02/04/2023\", \"%m/%d/%Y\"))", "1675468800"),
        (
            "UnixSeconds(Time(\"2012-11-01T22:08:41+0200\", \"%Y-%m-%dT%H:%M:%S%z\"))",
            "1351800521",
        ),
        (
            "FormatTime(Time(\"02/04/2023\", \"%m/%d/%Y\"), \"%A %h %d %Y\")",
            r#""Saturday Feb 04 2023""#,
        ),
        (
            "FormatTime(Now(), \"%Y-%m-%d %H:%M:%S.%L\")",
            r#""2023-05-26 12:34:56.789""#,
        ),
        (
            "[Year(Now()), Month(Now()), Day(Now()), Hour(Now()), Minute(Now()), Second(Now())]",
            "[2023, 5, 26, 12, 34, 56]",
        ),
        ("Nanosecond(Now())", "789000000"),
        ("Weekday(Now())", "5"),
        ("UnixNano(Unix(1, 2))", "1000000002"),
        ("UnixSeconds(TruncateTime(Now(), Duration(\"1h\")))", "1685102400"),
        ("Nanoseconds(Duration(\"1h\"))", "3600000000000"),
        ("Microseconds(Duration(\"1ms\"))", "1000"),
        ("Milliseconds(Duration(\"3s\"))", "3000"),
        ("Seconds(Duration(\"333ms\"))", "0.333"),
        ("Minutes(Duration(\"90s\"))", "1.5"),
        ("Hours(Duration(\"1000000h\"))", "1000000.0"),
        ("Seconds(Now() - Unix(1685104496))", "0.789"),
        ("UnixSeconds(Now() + Duration(\"1m\"))", "1685104556"),
        ("Seconds(Duration(\"1m\") - Duration(\"30s\"))", "30.0"),
        ("String(Duration(\"90s\"))", r#""90000000000""#),
    ]);
    fails(&[
        "Time(\"x\", \"%Y\")",
        "Time(\"2023\", \"%Q\")",
        "Duration(\"1\")",
        "Year(1)",
        "Now()",
        "UnixNano(Now() + 1)",
        "Time(\"2023\", \"%Y\", \"Mars/Olympus\")",
    ]);
}

#[test]
fn ids_are_made() {
    check(&[
        (
            "TraceID(0x00112233445566778899aabbccddeeff)",
            "0x00112233445566778899aabbccddeeff",
        ),
        (
            "TraceID(\"a389023abaa839283293ed323892389d\")",
            "0xa389023abaa839283293ed323892389d",
        ),
        ("SpanID(\"0102030405060708\")", "0x0102030405060708"),
        ("UUID()", r#""01234567-89ab-4def-8123-456789abcdef""#),
    ]);
    fails(&["TraceID(0x00)", "SpanID(\"zz\")", "SpanID(1)"]);
    let uuid = evaluate("UUIDv7()").unwrap();
    assert_eq!(uuid.get(..16), Some("\"0188580e-1095-7"), "{uuid}");
}
