//! What the real deliveries of Bitbucket Cloud mean.

use super::Row;

pub(super) const ROWS: &[Row] = &[
    (
        "bitbucket/pullrequest_created.from_fork.json",
        "hmac_sha256",
        "events | cloudbeers/temp 3 opened 1c48041a96db main -> main fork=true",
    ),
    (
        "bitbucket/pullrequest_created.json",
        "hmac_sha256",
        "events | amuniz/test-repos 735 opened d31df3425c5b feature/test -> master fork=false",
    ),
    (
        "bitbucket/pullrequest_fulfilled.json",
        "hmac_sha256",
        "events | cloudbeers/temp 2 merged a72355f35fde foo -> main fork=false",
    ),
    (
        "bitbucket/pullrequest_rejected.json",
        "hmac_sha256",
        "events | amuniz/test-repos 735 closed d31df3425c5b feature/test -> master fork=false",
    ),
    (
        "bitbucket/pullrequest_updated.json",
        "hmac_sha256",
        "events | nfalco79/test-repos 1 head_updated f945c96c71d0 release/release-1 -> master fork=false",
    ),
    (
        "bitbucket/repo_push.branch_create.upstream_signed.json",
        "hmac_sha256",
        "events | nfalco79/test-repos branch feature/webhook created d7f300a32270053bdfd97a6d64113f58202c33e7 forced=false skip=false",
    ),
    (
        "bitbucket/repo_push.branch_delete.json",
        "hmac_sha256",
        "events | amuniz/test-repos branch feature/test deleted ? forced=false skip=false",
    ),
    (
        "bitbucket/repo_push.forced_truncated.json",
        "hmac_sha256",
        "events | amuniz/test-repos branch feature/issue-819 updated 5ecffa3874e96920f24a2b3c0d0038e47d5cd1a4 forced=true skip=false",
    ),
    (
        "bitbucket/repo_push.multiple_changes.json",
        "hmac_sha256",
        "events | cloudbeers/temp branch main updated 325d37697849f4b1fe42cb19c20134af08e03a82 forced=false skip=false | cloudbeers/temp branch manchu created e22fcb49645b4586a845938afac5eb3ac1950586 forced=false skip=false | cloudbeers/temp tag v0.1 created 1986c228494671574242f99b62d1a00a4bfb69a5 forced=false skip=false",
    ),
    (
        "bitbucket/repo_push.tag_create.annotated.json",
        "hmac_sha256",
        "events | amuniz/test-repos tag test-tag created 7ef5981d59145c3ed300b1ab77b93907d33abe59 forced=false skip=false",
    ),
    (
        "bitbucket/repo_push.tag_create.customer.json",
        "hmac_sha256",
        "events | somecoollabs/svc-identity tag 0.1.2 created a0ec139843b2bb281ab21a433266ddc498e605dc forced=false skip=true",
    ),
    (
        "bitbucket/repo_push.update.json",
        "hmac_sha256",
        "events | brydzewski/foo branch master updated 141977fedf5cf35aa290ac87d4b5177ac4cd9de1 forced=false skip=false",
    ),
];
