//! Requests to the API server: lists in pages, and watches line by line. Owns their bounds; refuses to keep anything.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/>

use std::time::Duration;

use bytes::{Buf, BytesMut};
use cupola_export::tls::ClientTls;
use reqwest::header::ACCEPT;
use url::Url;

use super::access::{Access, Credentials, problem};
use super::config::{FieldOp, FilterConfig, Kind, LabelOp};
use super::objects::{Event, Failure, Object};

/// Time to connect, and for one page of a list.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the API server keeps a watch open; past it and some, a connection is dead.
const WATCH_SECONDS: u64 = 290;
const WATCH_TIMEOUT: Duration = Duration::from_secs(WATCH_SECONDS + 20);
/// Objects of one page.
const PAGE_OBJECTS: &str = "500";
/// Largest page, and largest object: a cluster stores none of more than a few megabytes.
const PAGE_BYTES_MAX: usize = 256 * 1024 * 1024;
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Of objects that are no pods only the metadata are asked for.
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("{0}")]
    Request(String),
    /// The version to go on from is no longer there.
    #[error("the API server does not know the version any more")]
    Expired,
    #[error("the API server answered {code}: {message}")]
    Refused { code: u16, message: String },
}

#[derive(Debug)]
pub(super) struct Api {
    http: reqwest::Client,
    server: Url,
    credentials: Credentials,
}

impl Api {
    /// Must be called on a tokio runtime: the files of certificates are looked at again.
    pub(super) fn new(access: Access) -> Result<Api, String> {
        let tls = ClientTls::new(&access.tls).map_err(|error| problem(&error))?;
        let builder = reqwest::Client::builder()
            .no_proxy()
            .user_agent(concat!("cupola/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .use_preconfigured_tls(tls.config());
        Ok(Api {
            http: builder.build().map_err(|error| error.to_string())?,
            server: access.server,
            credentials: access.credentials,
        })
    }

    /// A page of everything of a kind: the first, or the one that begins at `next`.
    pub(super) async fn page(&self, resource: &Resource, next: &str) -> Result<BytesMut, ApiError> {
        let mut url = resource.url(&self.server);
        url.query_pairs_mut().append_pair("limit", PAGE_OBJECTS);
        if !next.is_empty() {
            url.query_pairs_mut().append_pair("continue", next);
        }
        let accept = if resource.kind == Kind::Pod {
            "application/json"
        } else {
            METADATA_LIST
        };
        read_whole(self.get(url, accept, LIST_TIMEOUT).await?).await
    }

    /// The metadata of an object that is of no namespace, by the plural of its kind.
    pub(super) async fn object(&self, plural: &str, name: &str) -> Result<Object, ApiError> {
        let mut url = self.server.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1", plural, name]);
        }
        let object = read_whole(self.get(url, METADATA, LIST_TIMEOUT).await?).await?;
        serde_json::from_slice(&object)
            .map_err(|error| ApiError::Request(format!("an object that cannot be read: {error}")))
    }

    /// What changes after `version`.
    pub(super) async fn watch(&self, resource: &Resource, version: &str) -> Result<Watch, ApiError> {
        let mut url = resource.url(&self.server);
        url.query_pairs_mut()
            .append_pair("watch", "1")
            .append_pair("allowWatchBookmarks", "true")
            .append_pair("timeoutSeconds", &WATCH_SECONDS.to_string())
            .append_pair("resourceVersion", version);
        let accept = if resource.kind == Kind::Pod {
            "application/json"
        } else {
            METADATA
        };
        let answer = self.get(url, accept, WATCH_TIMEOUT).await?;
        Ok(Watch {
            answer,
            buffer: BytesMut::new(),
        })
    }

    async fn get(&self, url: Url, accept: &str, timeout: Duration) -> Result<reqwest::Response, ApiError> {
        let mut request = self.http.get(url).header(ACCEPT, accept).timeout(timeout);
        request = match &self.credentials {
            Credentials::None => request,
            Credentials::Token(token) => request.bearer_auth(token.expose()),
            Credentials::TokenFile(file) => {
                let token = tokio::fs::read_to_string(file).await;
                let token = token
                    .map_err(|error| ApiError::Request(format!("cannot read {}: {error}", file.display())))?;
                request.bearer_auth(token.trim())
            }
            Credentials::Password(name, password) => request.basic_auth(name, Some(password.expose())),
        };
        let answer = request.send().await.map_err(|error| request_error(&error))?;
        let code = answer.status().as_u16();
        match code {
            200 => Ok(answer),
            410 => Err(ApiError::Expired),
            _ => {
                let body = read_whole(answer).await.unwrap_or_default();
                let said: Failure = serde_json::from_slice(&body).unwrap_or_default();
                Err(ApiError::Refused {
                    code,
                    message: said.message,
                })
            }
        }
    }
}

async fn read_whole(mut answer: reqwest::Response) -> Result<BytesMut, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| request_error(&error))? {
        if body.len() + chunk.len() > PAGE_BYTES_MAX {
            return Err(ApiError::Request(
                "a list is larger than any should be".to_owned(),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// With its cause, which says more; the address has nothing secret.
fn request_error(error: &reqwest::Error) -> ApiError {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        message.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    ApiError::Request(message)
}

/// A watch that is open.
#[derive(Debug)]
pub(super) struct Watch {
    answer: reqwest::Response,
    buffer: BytesMut,
}

impl Watch {
    /// The next change; nothing at the end, at which the API server closes it.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(searched + end);
                self.buffer.advance(1);
                searched = 0;
                if line.is_empty() {
                    continue;
                }
                let event = serde_json::from_slice(&line);
                let event = event
                    .map_err(|error| ApiError::Request(format!("a change that cannot be read: {error}")))?;
                return Ok(Some(event));
            }
            searched = self.buffer.len();
            if searched > LINE_BYTES_MAX {
                return Err(ApiError::Request(
                    "an object is larger than any should be".to_owned(),
                ));
            }
            match self.answer.chunk().await.map_err(|error| request_error(&error))? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

/// A kind of objects, and which of them.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    path: String,
    labels: String,
    fields: String,
}

impl Resource {
    /// `node` is the one that pods must be of, if that is said.
    pub(super) fn new(kind: Kind, filter: &FilterConfig, node: &str, is_only_system: bool) -> Resource {
        let (group, plural) = match kind {
            Kind::Pod => ("api/v1", "pods"),
            Kind::Namespace => ("api/v1", "namespaces"),
            Kind::Node => ("api/v1", "nodes"),
            Kind::Deployment => ("apis/apps/v1", "deployments"),
            Kind::ReplicaSet => ("apis/apps/v1", "replicasets"),
            Kind::StatefulSet => ("apis/apps/v1", "statefulsets"),
            Kind::DaemonSet => ("apis/apps/v1", "daemonsets"),
            Kind::Job => ("apis/batch/v1", "jobs"),
            Kind::CronJob => ("apis/batch/v1", "cronjobs"),
        };
        let is_namespaced = !matches!(kind, Kind::Namespace | Kind::Node);
        let path = match is_namespaced && !filter.namespace.is_empty() {
            true => format!("{group}/namespaces/{}/{plural}", filter.namespace),
            false => format!("{group}/{plural}"),
        };
        let (mut labels, mut fields) = (Vec::new(), Vec::new());
        match kind {
            Kind::Pod => {
                labels.extend(filter.labels.iter().map(|one| match one.op {
                    LabelOp::Equals => format!("{}={}", one.key, one.value),
                    LabelOp::NotEquals => format!("{}!={}", one.key, one.value),
                    LabelOp::Exists => one.key.clone(),
                    LabelOp::DoesNotExist => format!("!{}", one.key),
                }));
                fields.extend(filter.fields.iter().map(|one| match one.op {
                    FieldOp::Equals => format!("{}={}", one.key, escaped(&one.value)),
                    FieldOp::NotEquals => format!("{}!={}", one.key, escaped(&one.value)),
                }));
                if !node.is_empty() {
                    fields.push(format!("spec.nodeName={}", escaped(node)));
                }
            }
            Kind::Node if !node.is_empty() => fields.push(format!("metadata.name={}", escaped(node))),
            Kind::Namespace if is_only_system => fields.push("metadata.name=kube-system".to_owned()),
            _ => {}
        }
        Resource {
            kind,
            path,
            labels: labels.join(","),
            fields: fields.join(","),
        }
    }

    fn url(&self, server: &Url) -> Url {
        let mut url = server.clone();
        let base = server.path().trim_end_matches('/');
        url.set_path(&format!("{base}/{}", self.path));
        for (key, selector) in [("labelSelector", &self.labels), ("fieldSelector", &self.fields)] {
            if !selector.is_empty() {
                url.query_pairs_mut().append_pair(key, selector);
            }
        }
        url
    }
}

/// Of a value in a selector of fields.
fn escaped(value: &str) -> String {
    let mut out = String::new();
    for letter in value.chars() {
        if matches!(letter, ',' | '=' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}
