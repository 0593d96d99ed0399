//! What the path of a container's log in Kubernetes tells: `…/NAMESPACE_POD_UID/CONTAINER/RESTARTS.log`.

/// Attributes of the resource by their names.
pub(super) fn parse(path: &str) -> Option<[(&'static str, &str); 5]> {
    let mut parts = without_suffix(path)?.rsplitn(4, ['/', '\\']);
    let (restarts, container, pod_directory) = (parts.next()?, parts.next()?, parts.next()?);
    // There is always a directory above.
    parts.next()?;
    let mut names = pod_directory.rsplitn(3, '_');
    let (uid, pod, namespace) = (names.next()?, names.next()?, names.next()?);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'f' | b'0'..=b'9' | b'-'))
    };
    let valid = digits(restarts)
        && hex(uid)
        && !container.is_empty()
        && !container.contains(['.', '_'])
        && !pod.is_empty()
        && !namespace.is_empty()
        && !namespace.contains('_');
    valid.then_some([
        ("k8s.namespace.name", namespace),
        ("k8s.pod.name", pod),
        ("k8s.pod.uid", uid),
        ("k8s.container.name", container),
        ("k8s.container.restart_count", restarts),
    ])
}

/// Without `.log`, or `.log.20060102-150405` of a file that was rotated.
fn without_suffix(path: &str) -> Option<&str> {
    let at = path.rfind(".log")?;
    let rotated = &path.as_bytes()[at + ".log".len()..];
    let valid = match rotated {
        [] => true,
        [b'.', date @ .., b'-', _, _, _, _, _, _] => {
            let time = &rotated[rotated.len() - 6..];
            date.len() == 8 && date.iter().chain(time).all(u8::is_ascii_digit)
        }
        _ => false,
    };
    valid.then(|| &path[..at])
}
