//! The names of topics on the wire. Other processes, older and newer ones too, read them: they only grow.

use slipway_domain::attempt::AttemptRef;

use crate::{Topic, WakeKind};

impl Topic {
    /// The name, without the installation's prefix.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Log(attempt) => format!("log/{}/{}", attempt.job, attempt.epoch),
            Self::Wake(kind) => format!("wake/{}", kind.word()),
            Self::Build(build) => format!("build/{build}"),
            Self::Session(session) => format!("session/{session}"),
        }
    }

    /// The topic of a name; `None` for one that this release does not know.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('/')?;
        match kind {
            "log" => {
                let (job, epoch) = rest.split_once('/')?;
                Some(Self::Log(AttemptRef { job: job.parse().ok()?, epoch: epoch.parse().ok()? }))
            }
            "wake" => WakeKind::from_word(rest).map(Self::Wake),
            "build" => rest.parse().ok().map(Self::Build),
            "session" => rest.parse().ok().map(Self::Session),
            _ => None,
        }
    }
}

impl WakeKind {
    fn word(self) -> &'static str {
        match self {
            Self::Deliveries => "deliveries",
            Self::Jobs => "jobs",
            Self::Ready => "ready",
            Self::Finished => "finished",
            Self::Statuses => "statuses",
            Self::Cancels => "cancels",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "deliveries" => Some(Self::Deliveries),
            "jobs" => Some(Self::Jobs),
            "ready" => Some(Self::Ready),
            "finished" => Some(Self::Finished),
            "statuses" => Some(Self::Statuses),
            "cancels" => Some(Self::Cancels),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use slipway_domain::ids::{BuildId, JobId, SessionId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn names_stay_and_are_read_back() {
        let id = Uuid::from_u128(7);
        let wakes = [
            (WakeKind::Deliveries, "wake/deliveries"),
            (WakeKind::Jobs, "wake/jobs"),
            (WakeKind::Ready, "wake/ready"),
            (WakeKind::Finished, "wake/finished"),
            (WakeKind::Statuses, "wake/statuses"),
            (WakeKind::Cancels, "wake/cancels"),
        ];
        let mut cases: Vec<(Topic, String)> =
            wakes.into_iter().map(|(kind, name)| (Topic::Wake(kind), name.to_owned())).collect();
        cases.push((Topic::Log(AttemptRef { job: JobId::from(id), epoch: 12 }), format!("log/{id}/12")));
        cases.push((Topic::Build(BuildId::from(id)), format!("build/{id}")));
        cases.push((Topic::Session(SessionId::from(id)), format!("session/{id}")));
        for (topic, name) in cases {
            assert_eq!(topic.name(), name);
            assert_eq!(Topic::from_name(&name), Some(topic));
        }
    }

    #[test]
    fn unknown_names_are_no_topic() {
        for name in ["", "wake", "wake/", "wake/later", "log/x/1", "log/00000000-0000-0000-0000-000000000007", "all/x"]
        {
            assert_eq!(Topic::from_name(name), None, "{name}");
        }
    }
}
