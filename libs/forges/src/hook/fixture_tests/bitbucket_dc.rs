//! What the real deliveries of Bitbucket Data Center mean.

use super::Row;

pub(super) const ROWS: &[Row] = &[
    ("bitbucket_dc/diagnostics_ping.json", "hmac_sha256", "ping"),
    (
        "bitbucket_dc/pr_from_ref_updated.json",
        "hmac_sha256",
        "events | PRJ/my-repo 2 head_updated c00d0f269a9844dd168f72f6a9d78a9cff49a318 feature-2 -> master fork=false",
    ),
    (
        "bitbucket_dc/pr_merged.json",
        "hmac_sha256",
        "events | PRJ/my-repo 3 merged b9eaed50a03c073b20dfa82e5e753d295e7f0e56 develop -> master fork=false",
    ),
    (
        "bitbucket_dc/pr_opened.from_fork.json",
        "hmac_sha256",
        "events | DEV/deployment-automation 114 opened 716e510cecbe203618609cf103c54e040b949739 master -> master fork=true",
    ),
    (
        "bitbucket_dc/pr_opened.json",
        "hmac_sha256",
        "events | PRJ/my-repo 2 opened 208b0a5c05eddadad01f2aed8802fe0c3b3eaf5e develop -> master fork=false",
    ),
    (
        "bitbucket_dc/repo_refs_changed.branch_create.json",
        "hmac_sha256",
        "events | PRJ/my-repo branch develop created 208b0a5c05eddadad01f2aed8802fe0c3b3eaf5e forced=? skip=false",
    ),
    (
        "bitbucket_dc/repo_refs_changed.branch_delete.json",
        "hmac_sha256",
        "events | PRJ/my-repo branch develop deleted ? forced=? skip=false",
    ),
    (
        "bitbucket_dc/repo_refs_changed.tag_create.json",
        "hmac_sha256",
        "events | PRJ/my-repo tag v1.1.0 created ? forced=? skip=false",
    ),
    (
        "bitbucket_dc/repo_refs_changed.update.upstream_signed.json",
        "hmac_sha256",
        "events | PRJ/my-repo branch master updated 823b2230a56056231c9425d63758fa87078a66b4 forced=? skip=false",
    ),
    (
        "bitbucket_dc/repo_refs_changed.v10.json",
        "hmac_sha256",
        "events | AMUNIZ/test-repos branch feature/BB-1 created fb522a6f08c7c7df337312e4e65ec1b57710672e forced=? skip=false",
    ),
];
