use proptest::prelude::*;

use super::*;

fn allow(text: &str) -> FetchAllow {
    text.parse().expect("a good list")
}

/// The verdict on a URL whose host name, if it has one, resolves to `addrs`.
fn verdict(list: &str, url: &str, addrs: &[&str]) -> Result<(), EgressError> {
    let url = Url::parse(url).map_err(|_| EgressError::NoHost)?;
    let (host, port) = target(&url)?;
    let addrs: Vec<SocketAddr> = match &host {
        Host::Ipv4(ip) => vec![SocketAddr::new(IpAddr::V4(*ip), port)],
        Host::Ipv6(ip) => vec![SocketAddr::new(IpAddr::V6(*ip), port)],
        Host::Domain(_) => addrs.iter().map(|ip| SocketAddr::new(ip.parse().expect("an address"), port)).collect(),
    };
    judge(&allow(list), &url, &host, &addrs)
}

#[test]
fn public_hosts_over_https_and_ssh_are_open() {
    for (url, addr) in [
        ("https://git.example/x", "1.1.1.1"),
        ("https://git.example:8443/x", "2606:4700::1111"),
        ("ssh://git@git.example/x", "1.1.1.1"),
        ("https://8.8.8.8/x", ""),
        ("https://git.example/x", "64:ff9b::8.8.8.8"),
    ] {
        assert_eq!(verdict("", url, &[addr]), Ok(()), "{url} at {addr}");
    }
}

#[test]
fn closed_addresses_are_refused_however_they_are_written() {
    for url in [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://0/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::127.0.0.1]/",
        "https://[2002:7f00:1::]/",
        "https://[fd00:ec2::254]/",
        "https://[fe80::1]/",
        "https://[ff02::1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://168.63.129.16/",
        "https://100.100.100.200/",
        "https://10.0.0.1/",
        "https://172.31.255.255/",
        "https://192.168.1.1/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "ssh://git@0x7f000001/x",
        "ssh://git@2130706433/x",
        "ssh://git@[::ffff:10.0.0.1]/x",
        "https://①②⑦.0.0.1/",
    ] {
        assert!(
            matches!(verdict("", url, &[]), Err(EgressError::Forbidden { .. })),
            "{url}: {:?}",
            verdict("", url, &[])
        );
    }
}

#[test]
fn one_closed_address_closes_the_name() {
    for addr in ["127.0.0.1", "::1", "10.1.2.3", "::ffff:169.254.169.254", "100.64.0.1", "fc00::1", "2001:db8::1"] {
        let refused = verdict("", "https://git.example/", &["1.1.1.1", addr]);
        assert!(matches!(refused, Err(EgressError::Forbidden { .. })), "{addr}");
    }
}

#[test]
fn schemes_and_user_info_are_checked_first() {
    assert!(matches!(verdict("", "http://git.example/", &["1.1.1.1"]), Err(EgressError::PlainHttp { .. })));
    for url in ["ftp://git.example/", "git://git.example/", "ext://git.example/", "file://git.example/etc/passwd"] {
        assert!(matches!(verdict("git.example", url, &["1.1.1.1"]), Err(EgressError::Scheme { .. })), "{url}");
    }
    for url in ["file:///etc/passwd", "data:text/plain,x", "unix:/var/run/docker.sock"] {
        assert_eq!(verdict("0.0.0.0/0", url, &[]), Err(EgressError::NoHost), "{url}");
    }
    for url in [
        "https://good.example@127.0.0.1/",
        "https://user:password@git.example/",
        "https://token@git.example/",
        "ssh://git:password@git.example/",
    ] {
        assert!(matches!(verdict("", url, &["1.1.1.1"]), Err(EgressError::UserInfo { .. })), "{url}");
    }
    let message = verdict("", "https://user:hunter2@git.example/", &["1.1.1.1"]).expect_err("refused").to_string();
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn the_list_opens_what_it_names_and_nothing_else() {
    let open = |list: &str, url: &str, addrs: &[&str]| verdict(list, url, addrs).is_ok();
    assert!(open("127.0.0.0/8", "http://127.0.0.1:3000/", &[]));
    assert!(open("127.0.0.1", "http://localhost:3000/", &["127.0.0.1"]));
    assert!(!open("127.0.0.1", "http://localhost:3000/", &["127.0.0.1", "::1"]));
    assert!(open("127.0.0.1, ::1", "http://localhost:3000/", &["127.0.0.1", "::1"]));
    assert!(open("10.0.0.0/8", "https://[::ffff:10.1.1.1]/", &[]));
    assert!(open("git.corp", "https://git.corp/", &["10.0.0.1"]));
    assert!(open("Git.Corp", "https://GIT.corp./", &["10.0.0.1"]));
    assert!(open("git.corp", "ssh://git@Git.corp/", &["10.0.0.1"]));
    assert!(!open("git.corp", "https://evil.git.corp/", &["10.0.0.1"]));
    assert!(!open("git.corp", "https://10.0.0.1/", &[]));
    assert!(open("git.corp:5000", "http://git.corp:5000/", &["10.0.0.1"]));
    assert!(!open("git.corp:5000", "http://git.corp:5001/", &["10.0.0.1"]));
    assert!(open("127.0.0.1:5000", "http://127.0.0.1:5000/", &[]));
    assert!(!open("127.0.0.1:5000", "http://127.0.0.1:5001/", &[]));
    assert!(open("[::1]:5000", "http://[::1]:5000/", &[]));
    assert!(open("git.example", "http://git.example/", &["1.1.1.1"]));
    assert!(!open("10.0.0.0/8", "http://git.example/", &["1.1.1.1"]));
}

#[test]
fn a_wrong_list_is_named() {
    for bad in ["http://x", "a b", "git.corp:http", "10.0.0.0/33", "a/b", "*.corp"] {
        assert!(bad.parse::<FetchAllow>().is_err(), "{bad}");
    }
    assert_eq!(allow(""), FetchAllow::default());
    assert_eq!(allow(" , "), FetchAllow::default());
}

#[tokio::test]
async fn a_checked_host_is_pinned_and_its_client_follows_no_redirect() {
    use axum::response::Redirect;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let app = axum::Router::new().route("/", axum::routing::get(|| async { Redirect::to("http://169.254.169.254/") }));
    let life = crate::lifecycle::Life::new();
    let _server = life.task("server", async move { axum::serve(listener, app).await });

    let url = Url::parse(&format!("http://localhost:{port}/")).expect("a URL");
    let refused = Egress::new(FetchAllow::default()).check(&url).await.expect_err("loopback is closed");
    assert!(refused.is_refusal(), "{refused}");

    let egress = Egress::new(allow("localhost"));
    let mut checked = egress.check(&url).await.expect("allowed by name");
    assert!(checked.addrs.iter().all(|addr| addr.port() == port));
    checked.addrs = vec![SocketAddr::from(([127, 0, 0, 1], port))];
    let client = egress.client(&checked).expect("a client");
    let answer = client.get(url.clone()).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 303);

    // The pin, not the resolver, decides where the client connects.
    checked.url = Url::parse(&format!("http://nowhere.invalid:{port}/")).expect("a URL");
    let client = egress.client(&checked).expect("a client");
    let answer = client.get(checked.url.clone()).send().await.expect("the pinned address answers");
    assert!(read_at_most(answer, 0).await.is_ok());
}

proptest! {
    #[test]
    fn mapping_an_address_into_ipv6_never_opens_it(bits: u32) {
        let ip = Ipv4Addr::from(bits);
        let public = is_public(IpAddr::V4(ip));
        prop_assert_eq!(is_public(IpAddr::V6(ip.to_ipv6_mapped())), public);
        prop_assert!(!public || !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast()
            || ip.is_broadcast() || ip.is_documentation() || ip.is_unspecified()));
    }

    #[test]
    fn lists_never_panic(text in ".{0,60}") {
        let _ = text.parse::<FetchAllow>();
    }
}
