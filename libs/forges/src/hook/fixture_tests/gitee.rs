//! What the real deliveries of Gitee mean.

use super::Row;

pub(super) const ROWS: &[Row] = &[
    (
        "gitee/merge_request.merge.json",
        "timestamp_only",
        "events | kit101/drone-yml-test 9 merged dc8fa2ebe050d63f639c5b834311e96bc2303523 feat-3 -> master fork=false",
    ),
    (
        "gitee/merge_request.open.json",
        "timestamp_only",
        "events | kit101/drone-yml-test 9 opened dc8fa2ebe050d63f639c5b834311e96bc2303523 feat-3 -> master fork=false",
    ),
    (
        "gitee/merge_request.update.json",
        "timestamp_only",
        "events | kit101/drone-yml-test 7 head_updated 6168d9dae737b47f00c59fafca10c913a6850c3a feat-2 -> master fork=false",
    ),
    (
        "gitee/push.branch_delete.json",
        "timestamp_only",
        "events | kit101/drone-yml-test branch feat-3 deleted ? forced=? skip=false",
    ),
    (
        "gitee/push.update.json",
        "timestamp_only",
        "events | kit101/drone-yml-test branch feat-2-1 updated 9921e45e570db8e57e544650baf837932fb2100f forced=? skip=false",
    ),
    (
        "gitee/tag_push.create.json",
        "timestamp_only",
        "events | kit101/drone-yml-test tag 1.3 created aa9d11518a64dcd0d591a2a4eb35dfb4d91d49d5 forced=? skip=false",
    ),
];
