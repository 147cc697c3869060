//! What the real deliveries of Gitea mean.

use super::Row;

pub(super) const ROWS: &[Row] = &[
    ("gitea/create.branch.json", "hmac_sha256", "ignored | create: the push event tells the same"),
    ("gitea/create.tag.json", "hmac_sha256", "ignored | create: the push event tells the same"),
    (
        "gitea/delete.branch.json",
        "hmac_sha256",
        "events | gogits/hello-world branch feature deleted ? forced=? skip=false",
    ),
    (
        "gitea/pull_request.closed.json",
        "hmac_sha256",
        "events | jcitizen/my-repo 1 closed 2eba238e33607c1fa49253182e9fff42baafa1eb feature -> master fork=false",
    ),
    (
        "gitea/pull_request.closed.merged.json",
        "hmac_sha256",
        "events | jcitizen/my-repo 1 merged 2eba238e33607c1fa49253182e9fff42baafa1eb feature -> master fork=false",
    ),
    (
        "gitea/pull_request.edited.upstream_signed.json",
        "hmac_sha256",
        "events | jcitizen/my-repo 1 metadata 2eba238e33607c1fa49253182e9fff42baafa1eb feature -> master fork=false",
    ),
    (
        "gitea/pull_request.opened.from_fork.upstream_signed.json",
        "hmac_sha256",
        "events | example/example 2 opened 48e773f892a831faa47c0a160d1b7f0cd369ae2a master -> master fork=true",
    ),
    (
        "gitea/pull_request.opened.json",
        "hmac_sha256",
        "events | jcitizen/my-repo 1 opened 2eba238e33607c1fa49253182e9fff42baafa1eb feature -> master fork=false",
    ),
    (
        "gitea/pull_request.reopened.json",
        "hmac_sha256",
        "events | jcitizen/my-repo 1 reopened 2eba238e33607c1fa49253182e9fff42baafa1eb feature -> master fork=false",
    ),
    (
        "gitea/pull_request.synchronized.json",
        "hmac_sha256",
        "events | jcitizen/my-repo 1 head_updated 2eba238e33607c1fa49253182e9fff42baafa1eb feature -> master fork=false",
    ),
    (
        "gitea/push.branch_create.json",
        "hmac_sha256",
        "events | meisam/woodpecktester branch fdsafdsa created 28c3613ae62640216bea5e7dc71aa65356e4298b forced=? skip=false",
    ),
    (
        "gitea/push.initial.upstream_signed.json",
        "hmac_sha256",
        "events | example/example branch master created 67b56589a45103f891bdee7c0546e5d40bc02001 forced=? skip=false",
    ),
    (
        "gitea/push.multi.json",
        "hmac_sha256",
        "events | Test-CI/multi-line-secrets branch main updated 29be01c073851cf0db0c6a466e396b725a670453 forced=? skip=false",
    ),
    (
        "gitea/push.update.json",
        "hmac_sha256",
        "events | gogits/hello-world branch master updated 4522cbcefc20728a5b72b3a86af35e608622c514 forced=? skip=false",
    ),
    ("gitea/release.published.json", "hmac_sha256", "events | anbraten/demo release 0.0.5"),
];
