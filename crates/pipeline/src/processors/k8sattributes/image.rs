//! References to images: `registry:5000/team/name:tag@sha256:…`.
//! <https://github.com/distribution/reference>

use std::sync::LazyLock;

use regex::Regex;

static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    let host = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?";
    let part = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
    let digest = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
    Regex::new(&format!(
        r"^(?<name>(?:{host}/)?{part}(?:/{part})*)(?::(?<tag>\w[\w.-]{{0,127}}))?(?:@(?<digest>{digest}))?$"
    ))
    .expect("a pattern of our own")
});

/// A reference in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Image<'a> {
    pub(super) name: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Image<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Image<'a>> {
        let parts = REFERENCE.captures(text)?;
        let part = |name: &str| parts.name(name).map(|part| part.as_str());
        Some(Image {
            name: part("name")?,
            tag: part("tag"),
            digest: part("digest"),
        })
    }

    pub(super) fn tag(&self) -> &'a str {
        self.tag.unwrap_or("latest")
    }

    /// What the service in it is called by.
    pub(super) fn version(&self) -> Option<String> {
        match (self.tag, self.digest) {
            (Some(tag), Some(digest)) => Some(format!("{tag}@{digest}")),
            (tag, digest) => digest.or(tag).map(str::to_owned),
        }
    }
}

/// The full name of what a runtime has pulled, if it says a digest.
pub(super) fn canonical(text: &str) -> Option<String> {
    let image = Image::parse(text)?;
    let digest = image.digest?;
    let tag = image.tag.map(|tag| format!(":{tag}")).unwrap_or_default();
    let (first, rest) = image.name.split_once('/').unwrap_or(("", image.name));
    let has_host = first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first;
    let name = match (has_host, first) {
        (true, "index.docker.io") => format!("docker.io/{rest}"),
        (true, _) => image.name.to_owned(),
        (false, "") => format!("docker.io/library/{rest}"),
        (false, _) => format!("docker.io/{}", image.name),
    };
    Some(format!("{name}{tag}@{digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:4a1c4b21597c1b4415bdbecb28a3296c6b5e23ca4f9feeb599860a1dac6a0108";

    #[test]
    fn references_come_apart() {
        let image = Image::parse("registry.test:5000/team/shop:1.2.3").unwrap();
        assert_eq!(
            (image.name, image.tag()),
            ("registry.test:5000/team/shop", "1.2.3")
        );
        assert_eq!(image.version().as_deref(), Some("1.2.3"));
        let image = Image::parse("nginx").unwrap();
        assert_eq!(
            (image.name, image.tag(), image.version()),
            ("nginx", "latest", None)
        );
        let text = format!("nginx:1@{DIGEST}");
        assert_eq!(
            Image::parse(&text).unwrap().version(),
            Some(format!("1@{DIGEST}"))
        );
        for odd in ["", "Nginx", "a//b", "nginx:", "nginx@sha256:12", "https://nginx"] {
            assert_eq!(Image::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn pulled_images_have_their_full_name() {
        let full = |text: &str| canonical(&format!("{text}@{DIGEST}"));
        assert_eq!(full("nginx"), Some(format!("docker.io/library/nginx@{DIGEST}")));
        assert_eq!(full("team/shop"), Some(format!("docker.io/team/shop@{DIGEST}")));
        assert_eq!(full("ghcr.io/a/b:v1"), Some(format!("ghcr.io/a/b:v1@{DIGEST}")));
        assert_eq!(full("localhost/b"), Some(format!("localhost/b@{DIGEST}")));
        assert_eq!(canonical(DIGEST), None);
        assert_eq!(canonical("nginx:1"), None);
        assert_eq!(full("docker-pullable://nginx"), None);
    }
}
