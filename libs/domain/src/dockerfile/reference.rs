//! Image references, as distribution/reference reads what people write (`ParseNormalizedNamed`).

/// Longest path below the registry.
const MAX_PATH: usize = 255;

/// False for what no engine takes as an image: `FROM Debian`, `FROM a:b:c`.
pub(super) fn is_image(text: &str) -> bool {
    let is_id = text.len() == 64 && text.chars().all(|c| c.is_ascii_digit() || matches!(c, 'a'..='f'));
    if is_id {
        return false;
    }
    let (named, digest) = text.split_once('@').map_or((text, None), |(named, digest)| (named, Some(digest)));
    let (host, rest) = match named.split_once('/') {
        Some((host, rest)) if is_registry(host) => (Some(host), rest),
        Some(_) | None => (None, named),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    host.is_none_or(is_host)
        && path.split('/').all(is_component)
        && path.len() <= MAX_PATH
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest)
}

/// Whether the part before the first slash is a registry.
fn is_registry(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.to_lowercase() != part
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            let is_address = !address.is_empty() && address.chars().all(|c| c.is_ascii_hexdigit() || c == ':');
            let port = port.strip_prefix(':').or(port.is_empty().then_some("0"));
            return is_address && port.is_some_and(is_number);
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.split('.').all(is_label) && port.is_none_or(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

/// Small letters and digits, parted by `.`, `_`, `__` or any number of `-`.
fn is_component(part: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = part.split(is_inner).filter(|run| !run.is_empty());
    part.starts_with(is_inner)
        && part.ends_with(is_inner)
        && separators.into_iter().all(|run| matches!(run, "." | "_" | "__") || run.chars().all(|c| c == '-'))
}

fn is_tag(tag: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(is_word) && tag.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.chars().all(|c| c.is_ascii_digit() || matches!(c, 'a'..='f'))
}

/// An image name as the engine writes it: with registry, `library/` and tag.
pub(super) fn full_name(image: &str) -> String {
    let (registry, path) = match image.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
        Some(_) => ("docker.io", image.to_owned()),
        None => ("docker.io", format!("library/{image}")),
    };
    let tagged = path.contains('@') || path.rsplit('/').next().is_some_and(|last| last.contains(':'));
    format!("{registry}/{path}{}", if tagged { "" } else { ":latest" })
}
