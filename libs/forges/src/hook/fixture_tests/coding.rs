//! What the real deliveries of CODING mean.

use super::Row;

pub(super) const ROWS: &[Row] = &[
    (
        "coding/GIT_MR_MERGED.service_hook.derived.json",
        "hmac_sha1",
        "events | zhuzi/uc-api/uc-api 1 merged 6a639cb845c7e8828fa0e1004708bc121d757ef8 master-patch-1 -> master fork=false",
    ),
    (
        "coding/GIT_PUSHED.service_hook.derived.json",
        "hmac_sha1",
        "events | zhuzi/uc-api/uc-api branch master updated f2517d28df3ac6b033a4b8521b324ae5454c1a57 forced=? skip=false",
    ),
    (
        "coding/merge_request.v2.merge.json",
        "hmac_sha1",
        "events | zhuzi/uc-api/uc-api 1 merged 6a639cb845c7e8828fa0e1004708bc121d757ef8 master-patch-1 -> master fork=false",
    ),
    ("coding/ping.v2.json", "hmac_sha1", "ping"),
    ("coding/pull_request.v1.from_fork.json", "none", "events | demo1/test2 1 opened ? master -> master fork=true"),
    ("coding/push.v1.branch_delete.json", "none", "events | demo1/test1 branch master deleted ? forced=? skip=false"),
    (
        "coding/push.v1.json",
        "none",
        "events | demo1/test1 branch master updated 5b9912a6ff272e9c93a4c44c278fe9b359ed1ab4 forced=? skip=false",
    ),
    (
        "coding/push.v2.branch_create.docs.json",
        "hmac_sha1",
        "events | my-team/demo/hello-world branch master created 9853d6bd3032c71413bd7914bb0696e186ea9d04 forced=? skip=false",
    ),
    (
        "coding/push.v2.json",
        "hmac_sha1",
        "events | zhuzi/uc-api/uc-api branch master updated f2517d28df3ac6b033a4b8521b324ae5454c1a57 forced=? skip=false",
    ),
    (
        "coding/push.v2.tag_create.derived.json",
        "hmac_sha1",
        "events | zhuzi/uc-api/uc-api tag v1.0.0 created f2517d28df3ac6b033a4b8521b324ae5454c1a57 forced=? skip=false",
    ),
    ("coding/schema.GIT_MR.service_hook.skeleton.json", "hmac_sha1", "malformed | repository.full_name is missing"),
    ("coding/schema.GIT_PUSHED.service_hook.skeleton.json", "hmac_sha1", "malformed | repository.full_name is missing"),
];
