//! What the real deliveries of GitHub mean.

use super::Row;

pub(super) const ROWS: &[Row] = &[
    (
        "github/check_run.requested_action.json",
        "hmac_sha256",
        "ignored | check_run requested_action: only a request to run again counts",
    ),
    (
        "github/check_run.rerequested.json",
        "hmac_sha256",
        "events | github/hello-world rerun d6fde92930d4715a2b49857d24b940956b26d2d3",
    ),
    (
        "github/check_suite.rerequested.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World rerun ec26c3e57ca3a959ca5aad62de7213c562f8c821",
    ),
    ("github/create.branch.json", "hmac_sha256", "ignored | create: the push event tells the same"),
    ("github/create.tag.json", "hmac_sha256", "ignored | create: the push event tells the same"),
    ("github/delete.branch.json", "hmac_sha256", "ignored | delete: the push event tells the same"),
    ("github/delete.tag.json", "hmac_sha256", "ignored | delete: the push event tells the same"),
    ("github/installation.created.json", "hmac_sha256", "lifecycle | installation created"),
    ("github/installation.deleted.json", "hmac_sha256", "lifecycle | installation deleted"),
    ("github/installation_repositories.added.json", "hmac_sha256", "lifecycle | installation_repositories added"),
    (
        "github/merge_group.checks_requested.json",
        "hmac_sha256",
        "ignored | merge_group: the push of the queue's branch tells the same",
    ),
    (
        "github/merge_group.destroyed.json",
        "hmac_sha256",
        "ignored | merge_group: the push of the queue's branch tells the same",
    ),
    ("github/ping.app.json", "hmac_sha256", "ping"),
    ("github/ping.json", "hmac_sha256", "ping"),
    ("github/ping.minimal.json", "hmac_sha256", "ping"),
    (
        "github/pull_request.closed.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 closed ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request.closed.merged.json",
        "hmac_sha256",
        "events | anbraten/test-ready-release-go 62 merged c88b9ee719285134957cbc698c9b7ef9b78007bf anbraten-patch-3 -> main fork=false",
    ),
    (
        "github/pull_request.converted_to_draft.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 metadata ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request.edited.json",
        "hmac_sha256",
        "events | anbraten/test-ready-release-go 62 metadata c88b9ee719285134957cbc698c9b7ef9b78007bf anbraten-patch-3 -> main fork=false",
    ),
    (
        "github/pull_request.labeled.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 metadata ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request.opened.from_fork.derived.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 opened ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=true",
    ),
    (
        "github/pull_request.opened.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 opened ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request.ready_for_review.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 ready_for_review ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request.reopened.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 reopened ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request.synchronize.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 head_updated ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request_review.from_fork.json",
        "hmac_sha256",
        "ignored | pull_request_review is not an event that starts builds",
    ),
    (
        "github/push.branch_create.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World branch master created 6113728f27ae82c7b1a177c8d03f9e96e0adf246 forced=false skip=false",
    ),
    (
        "github/push.branch_delete.json",
        "hmac_sha256",
        "events | bradrydzewski/drone-test-go branch feature-branch deleted ? forced=false skip=false",
    ),
    (
        "github/push.ci_skip.json",
        "hmac_sha256",
        "events | defunkt/github branch master updated de8251ff97ee194a289832576287d6f8ad74e3d0 forced=? skip=true",
    ),
    (
        "github/push.forced.json",
        "hmac_sha256",
        "events | 6543/oxiduct branch main updated f7220f1f753260bf6f1c533357c70213e9fd4abe forced=true skip=false",
    ),
    (
        "github/push.form.body",
        "hmac_sha256",
        "events | Codertocat/Hello-World branch master created 6113728f27ae82c7b1a177c8d03f9e96e0adf246 forced=false skip=false",
    ),
    (
        "github/push.legacy_tag_two_commits.json",
        "hmac_sha256",
        "events | defunkt/github tag v1.0.0 updated de8251ff97ee194a289832576287d6f8ad74e3d0 forced=? skip=false",
    ),
    (
        "github/push.slash_branch.json",
        "hmac_sha256",
        "events | jsmith/anothertest branch slash/branch updated 410f4cdf8ff09b87f245b13845e8497f90b90a4c forced=false skip=false",
    ),
    (
        "github/push.tag_create.json",
        "hmac_sha256",
        "events | bradrydzewski/drone-test-go tag v0.0.1 created d2b75aa7797ec26b088fa2dd527e9d2c052fcedd forced=false skip=false",
    ),
    (
        "github/push.tag_delete.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World tag simple-tag deleted ? forced=false skip=false",
    ),
    (
        "github/push.two_commits.json",
        "hmac_sha256",
        "events | jsmith/somerepo branch master updated 456806b662cb903a0febbaed8344f3ed42f27bab forced=false skip=false",
    ),
    (
        "github/push.update.upstream_signed.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World branch master updated 199eddf46df50de8d02e99bf1c5fdb4101338224 forced=false skip=false",
    ),
    ("github/release.created.json", "hmac_sha256", "ignored | release created: only published releases count"),
    ("github/release.published.json", "hmac_sha256", "events | Codertocat/Hello-World release 0.0.1"),
    ("github/release.released.v2.json", "hmac_sha256", "ignored | release released: only published releases count"),
    ("github/repository.renamed.json", "hmac_sha256", "lifecycle | repository renamed"),
    ("github/repository.transferred.json", "hmac_sha256", "lifecycle | repository transferred"),
    ("github/vector.hello_world.body", "hmac_sha256", "malformed | header X-GitHub-Event is missing"),
];
