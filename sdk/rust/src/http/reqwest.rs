//! Requests of reqwest.

use std::future::Future;

use http::Uri;

use super::client::ClientLayer;

/// Sending a request as a span, with its context in the headers.
pub trait SendTraced {
    fn send_traced(
        self,
        layer: &ClientLayer,
    ) -> impl Future<Output = Result<reqwest::Response, reqwest::Error>> + Send;
}

impl SendTraced for reqwest::RequestBuilder {
    async fn send_traced(self, layer: &ClientLayer) -> Result<reqwest::Response, reqwest::Error> {
        let (client, request) = self.build_split();
        let mut request = request?;
        let method = request.method().clone();
        let uri = Uri::try_from(request.url().as_str()).unwrap_or_default();
        let outgoing = layer.begin(&method, &uri, request.headers_mut());
        let answered = client.execute(request).await;
        match &answered {
            Ok(response) => outgoing.answered(response.status().as_u16()),
            // The address is in an attribute already, without credentials.
            Err(error) => outgoing.failed(kind(error), &innermost(error)),
        }
        answered
    }
}

fn kind(error: &reqwest::Error) -> &'static str {
    match error {
        error if error.is_timeout() => "timeout",
        error if error.is_connect() => "connect",
        error if error.is_redirect() => "redirect",
        error if error.is_body() => "body",
        _ => "_OTHER",
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
