//! What is taken for a secret, and what is not: names and texts.

use cupola_sdk_core::scrub::{REDACTED, ScrubSettings, Scrubber};

use crate::scrubbing::{attribute, scrubber, settings, string};

#[test]
fn values_with_a_name_of_a_secret_are_replaced() {
    let scrubber = scrubber();
    for key in [
        "password",
        "Password",
        "db.password",
        "DB_PASSWORD",
        "userPassword",
        "dbpassword",
        "passwd",
        "passphrase",
        "new_password_2",
        "password.hash",
        "secret",
        "client_secret",
        "clientSecret",
        "AWS_SECRET_ACCESS_KEY",
        "token",
        "access_token",
        "refreshToken",
        "csrftoken",
        "x-amz-security-token",
        "apikey",
        "api_key",
        "apiKey",
        "API-KEY",
        "x-api-key",
        "openai.api.key",
        "private_key",
        "privateKey",
        "ssh_key",
        "encryption_key",
        "authorization",
        "Authorization",
        "proxy-authorization",
        "http.request.header.authorization",
        "http.request.header.cookie",
        "http.response.header.set-cookie",
        "rpc.grpc.request.metadata.authorization",
        "cookie",
        "session_id",
        "sessionId",
        "JSESSIONID",
        "PHPSESSID",
        "credentials",
        "credit_card",
        "creditCardNumber",
        "card_number",
        "cvv",
        "ssn",
        "user.ssn",
        "otp",
        "jwt",
        "secret_id",
        "AccountKey",
        "SharedAccessKey",
    ] {
        assert!(scrubber.is_secret_key(key), "{key}");
        assert_eq!(attribute(&scrubber, key, string("s3")), string(REDACTED), "{key}");
    }
}

#[test]
fn names_that_are_none_of_secrets_are_left_alone() {
    let scrubber = scrubber();
    let conventions = include_str!("attribute_names.txt").lines();
    let others = [
        "tokens_used",
        "token_count",
        "token.type",
        "gen_ai.usage.total_tokens",
        "llm.token_limit",
        "max_token",
        "next_page_token",
        "tokenizer",
        "cache.key",
        "key",
        "keys",
        "primary_key",
        "foreign_key",
        "keyboard",
        "partition_key",
        "monkey",
        "author",
        "authority",
        "authenticated",
        "authorized",
        "authentication.method",
        "compass",
        "passed",
        "passenger",
        "bypass",
        "pass",
        "password_reset_url",
        "password.expires_at",
        "secret.name",
        "secretary",
        "secretsmanager.region",
        "cookie.consent",
        "session.duration",
        "session",
        "discard",
        "card.count",
        "dashboard",
        "zip_code",
        "description",
        "user.id",
        "user.email",
        "request_id",
        "correlation_id",
        "tenant.id",
        "code.function.name",
        "http.request.header.x-request-id",
        "signature",
        "hash",
        "",
    ];
    for key in conventions.chain(others) {
        assert!(!scrubber.is_secret_key(key), "{key}");
        let values = [string("plain text of no interest"), string("200")];
        for value in values {
            assert_eq!(attribute(&scrubber, key, value.clone()), value, "{key}");
        }
    }
}

#[test]
fn parts_of_texts_that_look_like_secrets_are_replaced_where_they_stand() {
    let scrubber = scrubber();
    let alphanumeric = "a1B2c3D4e5F6g7H8i9J0".repeat(4);
    let (thirty, jwt) = (
        &alphanumeric[..36],
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    );
    for (text, wanted) in [
        ("got Bearer abc.def-123 from", "got Bearer [REDACTED] from"),
        ("auth: Basic dXNlcjpwYXNz", "auth: Basic [REDACTED]"),
        (&format!("<{jwt}>"), "<[REDACTED]>"),
        ("card 4111 1111 1111 1111, thanks", "card [REDACTED], thanks"),
        ("id AKIAIOSFODNN7EXAMPLE", "id [REDACTED]"),
        (&format!("ghp_{thirty} pushed"), "[REDACTED] pushed"),
        (&format!("github_pat_{thirty}"), REDACTED),
        ("xoxb-123456789012-abcdef", REDACTED),
        (&format!("sk_live_{thirty}"), REDACTED),
        (&format!("sk-proj-{thirty}"), REDACTED),
        (
            &format!("key is AIza{}", &alphanumeric[..35]),
            "key is [REDACTED]",
        ),
        (
            "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b",
            "a [REDACTED] b",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMIIE and no end", REDACTED),
        (
            "postgres://app:p@ss@db:5432/shop?x=1",
            "postgres://app:[REDACTED]@db:5432/shop?x=1",
        ),
        ("redis://:hunter2@cache", "redis://:[REDACTED]@cache"),
        (
            "host=db password=hunter2 port=1",
            "host=db password=[REDACTED] port=1",
        ),
        (
            "Server=db;User Id=sa;Password=x!y;Timeout=5",
            "Server=db;User Id=sa;Password=[REDACTED];Timeout=5",
        ),
        ("DRIVER={x};UID=sa;PWD=abc", "DRIVER={x};UID=sa;PWD=[REDACTED]"),
        (
            "/login?user=a&token=abc&x=1#top",
            "/login?user=a&token=[REDACTED]&x=1#top",
        ),
        ("/blob?sv=1&sig=a%2Fb&x=1", "/blob?sv=1&sig=[REDACTED]&x=1"),
        ("sig=abc&x=1", "sig=[REDACTED]&x=1"),
        (
            r#"{"user":"a","password":"b\"c","n":1}"#,
            r#"{"user":"a","password":"[REDACTED]","n":1}"#,
        ),
        (
            r#""{\"api_key\":\"abc\",\"n\":1}""#,
            r#""{\"api_key\":\"[REDACTED]\",\"n\":1}""#,
        ),
        ("{'password': 'x', 'n': 1}", "{'password': '[REDACTED]', 'n': 1}"),
        (
            r#"Config { password: Some("x"), token: "y", n: 1 }"#,
            r#"Config { password: [REDACTED], token: "[REDACTED]", n: 1 }"#,
        ),
        ("password=b'x' n=1", "password=b'[REDACTED]' n=1"),
        ("secrets=[1, [2]] n=1", "secrets=[REDACTED] n=1"),
        ("API key: abc", "API key: [REDACTED]"),
        ("password: hunter2", "password: [REDACTED]"),
        (
            "curl -H 'Authorization: Token abc' http://a",
            "curl -H 'Authorization: [REDACTED]' http://a",
        ),
        ("Cookie: a=b; c=d\r\nHost: x", "Cookie: [REDACTED]\r\nHost: x"),
        (
            "größe=3 schlüssel_token=ä5ß, x",
            "größe=3 schlüssel_token=[REDACTED], x",
        ),
    ] {
        assert_eq!(scrubber.scrub_text(text), wanted, "{text}");
        assert_eq!(scrubber.scrub_text(wanted), wanted, "once is enough: {text}");
        assert_eq!(
            attribute(&scrubber, "message", string(text)),
            string(wanted),
            "{text}"
        );
    }
}

#[test]
fn texts_that_have_no_secret_are_left_alone() {
    let scrubber = scrubber();
    for text in [
        "GET /cart/{id} HTTP/1.1",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "https://example.com:8080/a?b=c&page=2#d",
        "ssh://git@example.com/repository.git",
        "mailto:alice@example.com",
        "10.1.2.3:4317 took=5ms bytes=120 status: 200",
        "at std::token::parse (src/token.rs:12:30)",
        "Basic authentication is required, Bearer authentication failed",
        "no token given, password expired, wrong secret",
        "tokens: 57, cache key: a-b, sort_key=name",
        "password=null token=None cookies: {}",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "7d444840-9dc0-11d1-b245-5ffdce74fad2",
        "2026-01-01T12:30:45.123456789Z 1767225600000000000",
        "SELECT * FROM users WHERE id = $1 AND name = ?",
        "risk-based task_live_view desk-1234",
        "eyJustAWord, -----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
        "",
    ] {
        assert_eq!(scrubber.scrub_text(text), text);
    }
}

#[test]
fn users_add_names_and_forms_and_exempt_names() {
    let own = settings(|settings| {
        settings.keys = vec!["^acme\\.".to_owned(), "favou?rite".to_owned()];
        settings.exempt_keys = vec!["Acme.*.name".to_owned(), "session_id".to_owned()];
        settings.values = vec!["ACME-[0-9]+".to_owned(), "order (\\d+)".to_owned()];
    });
    for (key, is_secret) in [
        ("acme.plan", true),
        ("ACME.user.id", true),
        ("acme.user.name", false),
        ("the_favorite", true),
        ("session_id", false),
        ("password", true),
    ] {
        assert_eq!(own.is_secret_key(key), is_secret, "{key}");
    }
    assert_eq!(
        own.scrub_text("ACME-12 has order 5, Bearer abcdefgh1 my_favorite=tea"),
        "[REDACTED] has order [REDACTED], Bearer [REDACTED] my_favorite=[REDACTED]"
    );
    let alone = settings(|settings| {
        settings.keys = vec!["acme".to_owned()];
        settings.default_keys = false;
        settings.default_values = false;
    });
    assert!(alone.is_secret_key("acme") && !alone.is_secret_key("password"));
    let text = "Bearer abcdefgh1 password=x";
    assert_eq!(alone.scrub_text(text), text);
    let off = settings(|settings| settings.is_enabled = false);
    assert!(!off.is_secret_key("password"));
    assert_eq!(attribute(&off, "password", string("x")), string("x"));

    let wrong = ScrubSettings {
        values: vec!["a(".to_owned()],
        ..ScrubSettings::default()
    };
    let error = Scrubber::new(&wrong).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`scrub.values` has `a(`, which is no regular expression"
    );
}

#[test]
fn arguments_are_scrubbed_by_the_option_before_them() {
    let scrubber = scrubber();
    let arguments = [
        "app",
        "--password",
        "x",
        "--api-key=y",
        "--token",
        "--verbose",
        "-n",
        "5",
    ];
    let arguments = arguments.map(str::to_owned);
    assert_eq!(
        scrubber.scrub_arguments(&arguments),
        [
            "app",
            "--password",
            REDACTED,
            "--api-key=[REDACTED]",
            "--token",
            "--verbose",
            "-n",
            "5"
        ]
    );
    assert_eq!(scrubber.scrub_pair("api_key", "x"), REDACTED);
    assert_eq!(
        scrubber.scrub_pair("url", "http://a:b@c"),
        "http://a:[REDACTED]@c"
    );
}
