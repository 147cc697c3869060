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
    use super::*;

    /// A new topic or wake gets its name into the recorded ones.
    fn kind(topic: Topic) -> &'static str {
        match topic {
            Topic::Log(_) => "log",
            Topic::Wake(WakeKind::Deliveries) => "deliveries",
            Topic::Wake(WakeKind::Jobs) => "jobs",
            Topic::Wake(WakeKind::Ready) => "ready",
            Topic::Wake(WakeKind::Finished) => "finished",
            Topic::Wake(WakeKind::Statuses) => "statuses",
            Topic::Wake(WakeKind::Cancels) => "cancels",
            Topic::Build(_) => "build",
            Topic::Session(_) => "session",
        }
    }

    #[test]
    fn recorded_names_are_read_and_written_the_same() {
        let recorded = include_str!("../../domain/recorded/1/topics.json");
        let names: Vec<&str> = recorded.split('"').skip(1).step_by(2).collect();
        let mut kinds = std::collections::BTreeSet::new();
        for name in names {
            let topic = Topic::from_name(name).expect("a recorded name is a topic");
            assert_eq!(topic.name(), name);
            assert!(name.contains(kind(topic)), "{name} became {topic:?}");
            kinds.insert(kind(topic));
        }
        assert_eq!(kinds.len(), 9, "recorded are only {kinds:?}");
    }

    #[test]
    fn unknown_names_are_no_topic() {
        for name in ["", "wake", "wake/", "wake/later", "log/x/1", "log/00000000-0000-0000-0000-000000000007", "all/x"]
        {
            assert_eq!(Topic::from_name(name), None, "{name}");
        }
    }
}
