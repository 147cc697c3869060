//! Why a build waits, in words.

use slipway_store::queues::WaitReason;

use crate::texts::Texts;

/// In one sentence. What a builder says of itself stays as it is.
pub fn waiting_words(reason: &WaitReason, texts: Texts) -> String {
    let of_pool = |key, pool: &slipway_domain::placement::Pool| texts.t(key).with("pool", pool.to_string());
    match reason {
        WaitReason::Approval => texts.t("waiting-approval"),
        WaitReason::NextTry(at) => texts.t("waiting-next-try").with("time", at.format("%H:%M:%S UTC").to_string()),
        WaitReason::Plan => texts.t("waiting-plan"),
        WaitReason::NoBuilder(pool) => of_pool("waiting-no-builder", pool),
        WaitReason::OtherTenant(pool) => of_pool("waiting-other-tenant", pool),
        WaitReason::Nobody(pool) => of_pool("waiting-nobody", pool),
        WaitReason::Busy(pool) => of_pool("waiting-busy", pool),
        WaitReason::NotTaking { builder, why } => {
            texts.t("waiting-not-taking").with("builder", builder).with("why", why)
        }
        WaitReason::Soon => texts.t("waiting-soon"),
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use slipway_domain::placement::Pool;

    use super::*;
    use crate::texts::ENGLISH;

    #[test]
    fn pages_say_what_the_api_says() {
        let pool = || Pool::try_from("default/standard/linux-amd64".to_owned()).expect("a pool");
        for reason in [
            WaitReason::Approval,
            WaitReason::NextTry(DateTime::UNIX_EPOCH),
            WaitReason::Plan,
            WaitReason::NoBuilder(pool()),
            WaitReason::OtherTenant(pool()),
            WaitReason::Nobody(pool()),
            WaitReason::Busy(pool()),
            WaitReason::NotTaking { builder: "b1".to_owned(), why: "its disk is full".to_owned() },
            WaitReason::Soon,
        ] {
            assert_eq!(waiting_words(&reason, ENGLISH), reason.to_string());
        }
    }
}
