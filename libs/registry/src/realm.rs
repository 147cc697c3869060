//! Whose token service it is. Registries are often not their own: Docker Hub's stands at `auth.docker.io`, GitLab's
//! beside the registry. What all of them share is the domain that somebody registered.

use url::{Host, Url};

/// True if a registry's login may go to this address: it is the registry's own host, whatever the port, or, by https,
/// another of the same registered domain by the public suffix list (<https://publicsuffix.org>).
pub fn is_of(registry: &str, realm: &Url) -> bool {
    let Ok(registry) = Url::parse(&format!("https://{registry}/")) else { return false };
    // Schemes other than http and https leave the host as it was written.
    let realm_host = realm.host_str().and_then(|host| Host::parse(host).ok());
    match (registry.host().map(|host| host.to_owned()), realm_host, realm.scheme()) {
        (Some(registry), Some(realm), "http" | "https") if registry == realm => true,
        (Some(Host::Domain(registry)), Some(Host::Domain(realm)), "https") => same_domain(&registry, &realm),
        _ => false,
    }
}

fn same_domain(one: &str, other: &str) -> bool {
    let domain = |name: &str| psl::domain_str(name.trim_end_matches('.')).map(str::to_ascii_lowercase);
    domain(one).is_some_and(|one| domain(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_service_is_of_the_registrys_domain() {
        for (registry, realm, wanted) in [
            ("registry-1.docker.io", "https://auth.docker.io/token", true),
            ("registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("ghcr.io", "https://ghcr.io/token", true),
            ("registry.cn-hangzhou.aliyuncs.com", "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", true),
            ("x-registry.cn-hangzhou.cr.aliyuncs.com", "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", true),
            ("registry.example.co.uk:5000", "https://auth.example.co.uk:5001/token", true),
            ("127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("[::1]:5000", "http://[::1]:5000/token", true),
            ("registry", "http://registry:5001/token", true),
            ("registry.example.com", "http://registry.example.com/token", true),
            // Somebody else's.
            ("registry.example.com", "https://registry.example.com.evil.net/token", false),
            ("registry.example.com", "https://evil-example.com/token", false),
            ("registry.example.com", "http://auth.example.com/token", false),
            ("registry.example.com", "ftp://registry.example.com/token", false),
            ("one.co.uk", "https://evil.co.uk/token", false),
            ("one.github.io", "https://evil.github.io/token", false),
            ("registry", "https://other/token", false),
            ("10.0.0.1:5000", "https://10.0.0.2/token", false),
            ("127.0.0.1:5000", "http://169.254.169.254/token", false),
            ("127.0.0.1:5000", "http://localhost:5000/token", false),
            ("registry.example.com", "https://user@evil.net/registry.example.com", false),
            ("a b", "https://a/", false),
        ] {
            let realm = Url::parse(realm).expect("an address");
            assert_eq!(is_of(registry, &realm), wanted, "{registry} {realm}");
        }
    }
}
