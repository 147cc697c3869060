//! What the real deliveries of GitLab mean.

use super::Row;

pub(super) const ROWS: &[Row] = &[
    (
        "gitlab/merge_request.close.json",
        "shared_token",
        "events | gitlab-org/hello-world 1 closed c4c79227ed610f1151f05bbc5be33b4f340d39c8 feature -> master fork=false",
    ),
    (
        "gitlab/merge_request.merge.json",
        "shared_token",
        "events | gitlab-org/hello-world 1 merged c4c79227ed610f1151f05bbc5be33b4f340d39c8 feature -> master fork=false",
    ),
    (
        "gitlab/merge_request.open.from_fork.json",
        "shared_token",
        "events | mmusterman/awesome_project 7 opened e46ee239f3d6d41ade4d1e610669dd71ed86ec80 ms-viewport -> master fork=true",
    ),
    (
        "gitlab/merge_request.open.json",
        "shared_token",
        "events | gitlab-org/hello-world 1 opened c4c79227ed610f1151f05bbc5be33b4f340d39c8 feature -> master fork=false",
    ),
    (
        "gitlab/merge_request.reopen.json",
        "shared_token",
        "events | gitlab-org/hello-world 1 reopened c4c79227ed610f1151f05bbc5be33b4f340d39c8 feature -> master fork=false",
    ),
    (
        "gitlab/merge_request.unsupported_action.json",
        "shared_token",
        "events | demoaccount2-commits-group/test_ci_tmp 1 other 36b5813240a9d2daa29b05046d56a53e18f39a3e 6543-patch-1 -> main fork=false",
    ),
    (
        "gitlab/merge_request.update.new_commits.json",
        "shared_token",
        "events | anbraten/woodpecker 3 head_updated c136499ec574e1034b24c5d306de9acda3005367 anbraten-main-patch-05373 -> main fork=false",
    ),
    (
        "gitlab/merge_request.update.no_changes.json",
        "shared_token",
        "events | anbraten/woodpecker 3 metadata c136499ec574e1034b24c5d306de9acda3005367 anbraten-main-patch-05373 -> main fork=false",
    ),
    (
        "gitlab/push.branch_create.json",
        "shared_token",
        "events | gitlab-org/hello-world branch feature created c4c79227ed610f1151f05bbc5be33b4f340d39c8 forced=? skip=false",
    ),
    (
        "gitlab/push.branch_delete.json",
        "shared_token",
        "events | gitlab-org/hello-world branch feature deleted ? forced=? skip=false",
    ),
    (
        "gitlab/push.docs_truncated_commits.json",
        "standard_webhooks_v1",
        "events | mike/diaspora branch master updated da1560886d4f094c3e6c9ef40349f7d38b5d27d7 forced=? skip=false",
    ),
    (
        "gitlab/push.merge.json",
        "shared_token",
        "events | gitlab-org/hello-world branch master updated 78a76ee6b4992a6baf64c59fc4c44c7323d60438 forced=? skip=false",
    ),
    (
        "gitlab/push.multi_commit.json",
        "standard_webhooks_v1",
        "events | jsmith/some-test-project branch master updated 9a052a0b2fbe01d4a1a88638dd9fe31c1c56ef53 forced=? skip=false",
    ),
    (
        "gitlab/push.update.json",
        "shared_token",
        "events | gitlab-org/hello-world branch master updated 2adc9465c4edfc33834e173fe89436a7cb899a1d forced=? skip=false",
    ),
    ("gitlab/release.create.json", "shared_token", "events | anbratens-test/ci release 0.0.2"),
    (
        "gitlab/system_hook.merge_request.json",
        "shared_token",
        "events | jsmith/example 1 other ba3e0d8ff79c80d5b0bbb4f3e2e343e0aaa662b7 ms-viewport -> master fork=false",
    ),
    ("gitlab/system_hook.project_create.json", "shared_token", "lifecycle | project create"),
    ("gitlab/system_hook.project_destroy.json", "shared_token", "lifecycle | project destroy"),
    (
        "gitlab/system_hook.push.json",
        "shared_token",
        "events | mike/diaspora branch master updated da1560886d4f094c3e6c9ef40349f7d38b5d27d7 forced=? skip=false",
    ),
    (
        "gitlab/system_hook.tag_push.json",
        "shared_token",
        "events | jsmith/example tag v1.0.0 created 5937ac0a7beb003549fc5fd26fc247adbce4a52e forced=? skip=false",
    ),
    (
        "gitlab/tag_push.create.json",
        "shared_token",
        "events | gitlab-org/hello-world tag v1.0.0 created 2adc9465c4edfc33834e173fe89436a7cb899a1d forced=? skip=false",
    ),
    (
        "gitlab/tag_push.create.v22.json",
        "shared_token",
        "events | test/woodpecker tag v22 created 16862e368d8ab812e48833b741dad720d6e2cb7f forced=? skip=false",
    ),
    (
        "gitlab/tag_push.delete.json",
        "shared_token",
        "events | gitlab-org/hello-world tag v1.0.0 deleted ? forced=? skip=false",
    ),
    ("gitlab/unknown_kind.json", "shared_token", "ignored | someother is not an event that starts builds"),
];
