//! `oauth2client`: a token of an authorization server for the client's own credentials, kept until shortly before it
//! expires. <https://www.rfc-editor.org/rfc/rfc6749#section-4.4>
//!
//! One request for a token is under way at a time, and all who need one wait for it. After a refusal of the destination the
//! token is asked for anew, once: whoever was refused with one that has been replaced meanwhile gets the new one. What the
//! authorization server says of a failure is told, the secret never is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::Secret;
use cupola_config::units::TimeSpan;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{ClientAuth, NoCredentials, Sender, sensitive};
use crate::Sample;
use crate::otlp::chain;
use crate::otlp::http::read_limited;
use crate::reloading::Reloading;
use crate::tls::{ClientTls, TlsSettings};

/// As much of what the authorization server says is told.
const REASON_CHARACTERS_MAX: usize = 200;
/// Longest wait for a token unless `timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A server that refuses is left alone for this long, so that a wrong secret does not become a flood.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// A destination that refuses new tokens too does not lead to more of them within this time.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(10);

/// Settings of the extension.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OAuth2Settings {
    pub client_id: String,
    /// Goes before the text; looked at again.
    pub client_id_file: Option<PathBuf>,
    pub client_secret: Secret,
    pub client_secret_file: Option<PathBuf>,
    /// Only `client_credentials` is there.
    pub grant_type: GrantType,
    pub token_url: String,
    pub scopes: Vec<String>,
    pub endpoint_params: BTreeMap<String, Values>,
    /// Of the connection to the authorization server.
    pub tls: TlsSettings,
    /// Of one request for a token.
    pub timeout: TimeSpan,
    /// A token is renewed so long before it expires.
    pub expiry_buffer: TimeSpan,
}

/// How a token is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    #[default]
    ClientCredentials,
}

/// One text or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(pub Vec<Secret>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Secret>::deserialize(deserializer).map(Values)
    }
}

impl Default for OAuth2Settings {
    fn default() -> Self {
        Self {
            client_id: String::new(),
            client_id_file: None,
            client_secret: Secret::default(),
            client_secret_file: None,
            grant_type: GrantType::default(),
            token_url: String::new(),
            scopes: Vec::new(),
            endpoint_params: BTreeMap::new(),
            tls: TlsSettings::default(),
            timeout: TimeSpan(Duration::ZERO),
            expiry_buffer: TimeSpan(Duration::from_secs(300)),
        }
    }
}

impl OAuth2Settings {
    /// What is wrong, with its key.
    pub fn validate(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, problem: &str| Err((key.to_owned(), problem.to_owned()));
        if self.client_id.is_empty() && self.client_id_file.is_none() {
            return wrong("client_id", "is missing; set `client_id` or `client_id_file`");
        }
        if self.client_secret.is_empty() && self.client_secret_file.is_none() {
            return wrong(
                "client_secret",
                "is missing; set `client_secret` or `client_secret_file`",
            );
        }
        let url = url::Url::parse(&self.token_url);
        if !url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return wrong("token_url", "must be an http:// or https:// URL");
        }
        self.tls
            .validate()
            .map_err(|error| (format!("tls.{}", error.key), error.problem))
    }
}

/// Who we are to the authorization server.
struct Who {
    id: String,
    secret: Secret,
}

/// A token as it is sent.
#[derive(Clone)]
struct Token {
    value: HeaderValue,
    /// From then on it is renewed before it is used; never, if the server does not say when it expires.
    renewed_from: Option<Instant>,
}

#[derive(Default)]
struct Kept {
    token: Option<Token>,
    failed: Option<(Instant, NoCredentials)>,
    /// When a token was last given up because the destination refused it.
    given_up: Option<Instant>,
}

/// Gets tokens and keeps them.
pub struct OAuth2Client(Arc<Inside>);

struct Inside {
    settings: OAuth2Settings,
    http: reqwest::Client,
    tls: ClientTls,
    who: Reloading<Who>,
    /// Held while a token is asked for.
    kept: Mutex<Kept>,
    /// Whether the server wants the credentials among the parameters, not as a header.
    in_body: AtomicBool,
    fetched: AtomicU64,
    failures: AtomicU64,
}

impl std::fmt::Debug for OAuth2Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuth2Client")
            .field("token_url", &self.0.settings.token_url)
            .finish_non_exhaustive()
    }
}

/// What an authorization server answers.
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    token_type: Option<String>,
    /// Seconds; some servers write a text.
    expires_in: Option<serde_json::Value>,
    error: Option<String>,
    error_description: Option<String>,
}

impl OAuth2Client {
    /// Reads the files, which are looked at every `every`; must be called on a tokio runtime.
    pub fn new(settings: &OAuth2Settings, every: Duration) -> Result<OAuth2Client, String> {
        settings
            .validate()
            .map_err(|(key, problem)| format!("`{key}` {problem}"))?;
        let tls = ClientTls::new(&settings.tls).map_err(|error| error.to_string())?;
        let timeout = match settings.timeout.0 {
            timeout if timeout.is_zero() => TIMEOUT,
            timeout => timeout,
        };
        let http = reqwest::Client::builder()
            .user_agent(concat!("cupola/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(timeout)
            .use_preconfigured_tls(tls.config())
            .build()
            .map_err(|error| chain(&error))?;
        let of = settings.clone();
        let paths = [&of.client_id_file, &of.client_secret_file];
        let paths = paths.into_iter().flatten().cloned().collect();
        let who = Reloading::new("passwords", paths, every, move |files| {
            Ok(Who {
                id: match &of.client_id_file {
                    Some(file) => files.text(file)?.to_owned(),
                    None => of.client_id.clone(),
                },
                secret: match &of.client_secret_file {
                    Some(file) => Secret::new(files.text(file)?),
                    None => of.client_secret.clone(),
                },
            })
        })?;
        Ok(OAuth2Client(Arc::new(Inside {
            settings: settings.clone(),
            http,
            tls,
            who,
            kept: Mutex::default(),
            in_body: AtomicBool::new(false),
            fetched: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })))
    }

    /// The token that is there, or a new one. A task of its own asks for it: whoever waits may give up before a slow
    /// server answers, and the next one finds the token.
    async fn token(&self) -> Result<HeaderValue, NoCredentials> {
        if let Ok(kept) = self.0.kept.try_lock()
            && let Some(value) = kept.fresh(Instant::now())
        {
            return Ok(value);
        }
        let inside = self.0.clone();
        let renewed = tokio::spawn(async move { inside.token().await }).await;
        renewed.unwrap_or_else(|error| {
            Err(NoCredentials::now(format!(
                "asking for a token was cut short: {error}"
            )))
        })
    }
}

impl Kept {
    fn fresh(&self, now: Instant) -> Option<HeaderValue> {
        let token = self.token.as_ref()?;
        let is_fresh = token.renewed_from.is_none_or(|moment| now < moment);
        is_fresh.then(|| token.value.clone())
    }
}

impl Inside {
    async fn token(&self) -> Result<HeaderValue, NoCredentials> {
        let mut kept = self.kept.lock().await;
        let now = Instant::now();
        if let Some(value) = kept.fresh(now) {
            return Ok(value);
        }
        if let Some((moment, problem)) = &kept.failed
            && now < *moment + PAUSE_AFTER_FAILURE
        {
            return Err(problem.clone());
        }
        match self.fetch().await {
            Ok(token) => {
                self.fetched.fetch_add(1, Ordering::Relaxed);
                let value = token.value.clone();
                kept.token = Some(token);
                kept.failed = None;
                Ok(value)
            }
            Err(problem) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                kept.token = None;
                kept.failed = Some((Instant::now(), problem.clone()));
                Err(problem)
            }
        }
    }

    /// The credentials go as a header, which every server must know; one that refuses it gets them as parameters.
    async fn fetch(&self) -> Result<Token, NoCredentials> {
        let who = self.who.current();
        if self.in_body.load(Ordering::Relaxed) {
            return self.ask(&who, true).await.map_err(|(problem, _)| problem);
        }
        match self.ask(&who, false).await {
            Err((_, Some(StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED))) => {
                let token = self.ask(&who, true).await.map_err(|(problem, _)| problem)?;
                self.in_body.store(true, Ordering::Relaxed);
                Ok(token)
            }
            asked => asked.map_err(|(problem, _)| problem),
        }
    }

    async fn ask(&self, who: &Who, in_body: bool) -> Result<Token, (NoCredentials, Option<StatusCode>)> {
        let mut request = self.http.post(&self.settings.token_url);
        if !in_body {
            // Both are written as in a form first: section 2.3.1.
            let encoded =
                |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            request = request.basic_auth(encoded(&who.id), Some(encoded(who.secret.expose())));
        }
        let asked = Instant::now();
        let failed = |problem: String| {
            let url = cupola_config::mask::urls(&self.settings.token_url);
            let url = url.as_ref().unwrap_or(&self.settings.token_url);
            NoCredentials::now(format!("{url} gave no token: {problem}"))
        };
        let answer = request
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(http::header::ACCEPT, "application/json")
            .body(self.form(in_body.then_some(who)))
            .send()
            .await
            .map_err(|error| (failed(chain(&error.without_url())), None))?;
        let status = answer.status();
        let body = read_limited(answer).await;
        let read: Option<Answer> = serde_json::from_slice(&body).ok();
        if !status.is_success() {
            let said = read.map(|read| [read.error, read.error_description]);
            let said: Vec<String> = said.into_iter().flatten().flatten().collect();
            let said: String = said.join(": ").chars().take(REASON_CHARACTERS_MAX).collect();
            return Err((failed(format!("{status} {said}")), Some(status)));
        }
        self.read(read, asked).map_err(|problem| (failed(problem), None))
    }

    /// The parameters of a request, with the credentials among them if they go there.
    fn form(&self, who: Option<&Who>) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.settings.scopes.is_empty() {
            form.append_pair("scope", &self.settings.scopes.join(" "));
        }
        for (name, values) in &self.settings.endpoint_params {
            for value in &values.0 {
                form.append_pair(name, value.expose());
            }
        }
        if let Some(who) = who {
            form.append_pair("client_id", &who.id);
            form.append_pair("client_secret", who.secret.expose());
        }
        form.finish()
    }

    fn read(&self, answer: Option<Answer>, asked: Instant) -> Result<Token, String> {
        let answer = answer.ok_or("the answer is no JSON with a token")?;
        let token = answer.access_token.filter(|token| !token.is_empty());
        let token = token.ok_or("the answer has no `access_token`")?;
        let kind = match answer.token_type.as_deref() {
            None | Some("") => "Bearer",
            // As RFC 6750 writes it, whatever the server does.
            Some(kind) if kind.eq_ignore_ascii_case("bearer") => "Bearer",
            Some(kind) => kind,
        };
        let value = sensitive(&format!("{kind} {token}")).map_err(|problem| problem.to_string())?;
        let seconds = answer.expires_in.and_then(|seconds| match seconds {
            serde_json::Value::String(text) => text.parse::<f64>().ok(),
            seconds => seconds.as_f64(),
        });
        let lifetime = seconds.filter(|seconds| *seconds > 0.0);
        let lifetime = lifetime.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let renewed_from = lifetime.and_then(|lifetime| {
            // A token that lives shorter than the buffer would otherwise be asked for with each request.
            let early = self.settings.expiry_buffer.0.min(lifetime / 2);
            asked.checked_add(lifetime - early)
        });
        Ok(Token { value, renewed_from })
    }
}

#[async_trait]
impl ClientAuth for OAuth2Client {
    async fn authorize(&self, _: Sender<'_>, headers: &mut HeaderMap) -> Result<(), NoCredentials> {
        headers.insert(AUTHORIZATION, self.token().await?);
        Ok(())
    }

    async fn refused(&self, headers: &HeaderMap) -> bool {
        let mut kept = self.0.kept.lock().await;
        let sent = headers.get(AUTHORIZATION);
        if kept.token.as_ref().map(|token| &token.value) != sent {
            // Another request was refused as well, and has asked for a new one already.
            return true;
        }
        let now = Instant::now();
        if kept
            .given_up
            .is_some_and(|moment| now < moment + PAUSE_AFTER_REFUSAL)
        {
            return false;
        }
        kept.token = None;
        kept.given_up = Some(now);
        true
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        samples.push(Sample::count(
            "cupola_oauth2_tokens_total",
            "Tokens that an authorization server gave.",
            count(&self.0.fetched),
        ));
        samples.push(Sample::count(
            "cupola_oauth2_token_failures_total",
            "Requests for a token that came to nothing.",
            count(&self.0.failures),
        ));
        self.0.who.collect(samples);
        self.0.tls.collect(samples);
    }
}
