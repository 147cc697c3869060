//! Who breaks things: every few seconds one of them, often healed only some deeds later.

use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;

use super::random::Random;
use super::site::Site;
use crate::fault_proxy::Mode;
use crate::s3_server::{ALL, Fault};

/// Between two deeds.
const PAUSE_MS: std::ops::Range<u64> = 3000..8000;
/// How long what heals later stays broken.
const BROKEN_MS: std::ops::Range<u64> = 2000..15_000;

/// A way that is only slow.
const SLOW: Mode = Mode::Slow { latency: Duration::from_millis(150), bytes_per_sec: None };
/// How wrong a clock is.
const HOUR_SECS: i64 = 3600;

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    KillRole,
    FreezeRole,
    KillBuilder,
    FreezeBuilder,
    CutBuilder,
    KillPostgres,
    KillRabbit,
    FreezeRabbit,
    PurgeRabbit,
    KillRedis,
    FlushRedis,
    FreezeRedis,
    StoreSays503,
    StopRole,
    JumpClock,
    CutDatabase,
    SwallowDatabase,
    SlowDatabase,
    CutBroker,
    SwallowBroker,
}

const DEEDS: &[Deed] = &[
    Deed::KillRole,
    Deed::KillRole,
    Deed::FreezeRole,
    Deed::StopRole,
    Deed::KillBuilder,
    Deed::KillBuilder,
    Deed::FreezeBuilder,
    Deed::CutBuilder,
    Deed::KillPostgres,
    Deed::KillRabbit,
    Deed::FreezeRabbit,
    Deed::PurgeRabbit,
    Deed::KillRedis,
    Deed::FlushRedis,
    Deed::FreezeRedis,
    Deed::StoreSays503,
    Deed::JumpClock,
    Deed::CutDatabase,
    Deed::SwallowDatabase,
    Deed::SlowDatabase,
    Deed::CutBroker,
    Deed::SwallowBroker,
];

/// What has to be undone, and when.
#[derive(Debug, Clone, Copy)]
enum Wound {
    Member(usize),
    FrozenMember(usize),
    Builder(usize),
    FrozenBuilder(usize),
    Cable(usize),
    Postgres,
    Rabbit,
    FrozenRabbit,
    Redis,
    FrozenRedis,
    Store,
    DatabaseWay,
    BrokerWay,
}

/// Breaks and heals a site.
pub struct Nemesis {
    site: Site,
    random: Random,
    wounds: Vec<(Instant, Wound)>,
}

impl Nemesis {
    /// Nothing is broken yet.
    pub const fn new(site: Site, random: Random) -> Self {
        Self { site, random, wounds: Vec::new() }
    }

    /// What it breaks.
    pub const fn site(&self) -> &Site {
        &self.site
    }

    /// The site, to be checked.
    pub fn into_site(self) -> Site {
        self.site
    }

    /// Breaks and heals for so long.
    pub async fn rage(&mut self, lasts: Duration) -> Result<()> {
        let end = Instant::now() + lasts;
        let mut next = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            let due = self.wounds.iter().map(|(at, _)| *at).min().unwrap_or(next).min(next).min(end);
            tokio::time::sleep_until(due.into()).await;
            let now = Instant::now();
            while let Some(at) = self.wounds.iter().position(|(due, _)| *due <= now) {
                let (_, wound) = self.wounds.swap_remove(at);
                self.mend(wound).await?;
            }
            if now >= next {
                self.strike().await?;
                next = Instant::now() + Duration::from_millis(self.random.within(PAUSE_MS));
            }
        }
        Ok(())
    }

    /// Heals everything and waits until every role is ready.
    pub async fn heal(&mut self) -> Result<()> {
        for (_, wound) in std::mem::take(&mut self.wounds) {
            self.mend(wound).await?;
        }
        self.site.told("all is healed");
        for member in &mut self.site.cluster.members {
            member.ready().await?;
        }
        Ok(())
    }

    async fn strike(&mut self) -> Result<()> {
        let deed = *self.random.choose(DEEDS);
        let member = usize::try_from(self.random.within(0..self.site.cluster.members.len() as u64))?;
        let builder = usize::try_from(self.random.within(0..self.site.builders.len() as u64))?;
        let later = Instant::now() + Duration::from_millis(self.random.within(BROKEN_MS));
        let Some(wound) = self.wound(deed, member, builder).await? else { return Ok(()) };
        self.site.told(&format!("{deed:?} (role {member}, builder {builder})"));
        if let Some(wound) = wound {
            self.wounds.push((later, wound));
        }
        Ok(())
    }

    /// Does it. `None` when it is broken already; `Some(None)` when it heals by itself.
    async fn wound(&mut self, deed: Deed, member: usize, builder: usize) -> Result<Option<Option<Wound>>> {
        let wound = match deed {
            Deed::KillRole | Deed::StopRole => Some(Wound::Member(member)),
            Deed::FreezeRole => Some(Wound::FrozenMember(member)),
            Deed::KillBuilder | Deed::JumpClock => Some(Wound::Builder(builder)),
            Deed::FreezeBuilder => Some(Wound::FrozenBuilder(builder)),
            Deed::CutBuilder => Some(Wound::Cable(builder)),
            Deed::KillPostgres => Some(Wound::Postgres),
            Deed::KillRabbit => Some(Wound::Rabbit),
            Deed::FreezeRabbit => Some(Wound::FrozenRabbit),
            Deed::KillRedis => Some(Wound::Redis),
            Deed::FreezeRedis => Some(Wound::FrozenRedis),
            Deed::StoreSays503 => Some(Wound::Store),
            Deed::SwallowDatabase | Deed::SlowDatabase => Some(Wound::DatabaseWay),
            Deed::SwallowBroker => Some(Wound::BrokerWay),
            Deed::PurgeRabbit | Deed::FlushRedis | Deed::CutDatabase | Deed::CutBroker => None,
        };
        if wound.is_some_and(|wound| self.wounds.iter().any(|(_, other)| other.part() == wound.part()))
            || self.is_wounded(deed)
        {
            return Ok(None);
        }
        let site = &mut self.site;
        match deed {
            Deed::KillRole => site.cluster.members[member].kill9(),
            Deed::StopRole => site.cluster.members[member].signal(Signal::TERM)?,
            Deed::FreezeRole => site.cluster.members[member].signal(Signal::STOP)?,
            Deed::KillBuilder => site.builders[builder].kill9(),
            Deed::FreezeBuilder => site.builders[builder].signal(Signal::STOP)?,
            Deed::CutBuilder => match site.builders[builder].host() {
                Some(host) => host.cut()?,
                None => return Ok(None),
            },
            Deed::KillPostgres => site.postgres.kill(),
            Deed::KillRabbit => site.rabbit.kill(),
            Deed::FreezeRabbit => site.rabbit.freeze(true)?,
            Deed::PurgeRabbit => site.purge_queues()?,
            Deed::KillRedis => site.redis.kill(),
            Deed::FreezeRedis => site.redis.signal(Signal::STOP)?,
            Deed::FlushRedis => drop(site.redis.ask("FLUSHALL").await?),
            Deed::StoreSays503 => site.s3.harm(ALL, Fault::Unavailable).await?,
            Deed::JumpClock => {
                let hours = if self.random.percent(50) { HOUR_SECS } else { -HOUR_SECS };
                site.builders[builder].start_again_at(hours)?;
            }
            Deed::CutDatabase => site.database.cut_all(),
            Deed::SwallowDatabase => site.database.set(Mode::HalfOpen),
            Deed::SlowDatabase => site.database.set(SLOW),
            Deed::CutBroker => site.broker.cut_all(),
            Deed::SwallowBroker => site.broker.set(Mode::HalfOpen),
        }
        Ok(Some(wound))
    }

    fn is_wounded(&self, deed: Deed) -> bool {
        let part = match deed {
            Deed::PurgeRabbit => Wound::Rabbit.part(),
            Deed::FlushRedis => Wound::Redis.part(),
            _ => return false,
        };
        self.wounds.iter().any(|(_, wound)| wound.part() == part)
    }

    async fn mend(&mut self, wound: Wound) -> Result<()> {
        let site = &mut self.site;
        match wound {
            Wound::Member(at) => site.cluster.start_again(at)?,
            Wound::FrozenMember(at) => site.cluster.members[at].signal(Signal::CONT)?,
            Wound::Builder(at) => site.builders[at].start_again()?,
            Wound::FrozenBuilder(at) => site.builders[at].signal(Signal::CONT)?,
            Wound::Cable(at) => site.builders[at].host().map_or(Ok(()), |host| host.heal())?,
            Wound::Postgres => site.postgres.restart().await?,
            Wound::Rabbit => site.rabbit.restart().await?,
            Wound::FrozenRabbit => site.rabbit.freeze(false)?,
            Wound::Redis => site.redis.restart().await?,
            Wound::FrozenRedis => site.redis.signal(Signal::CONT)?,
            Wound::Store => site.s3.heal(ALL).await?,
            Wound::DatabaseWay => site.database.set(Mode::Pass),
            Wound::BrokerWay => site.broker.set(Mode::Pass),
        }
        self.site.told(&format!("mended {wound:?}"));
        Ok(())
    }
}

impl Wound {
    /// What is broken; one thing is broken in one way at a time.
    const fn part(self) -> (u8, usize) {
        match self {
            Self::Member(at) | Self::FrozenMember(at) => (0, at),
            Self::Builder(at) | Self::FrozenBuilder(at) | Self::Cable(at) => (1, at),
            Self::Postgres => (2, 0),
            Self::Rabbit | Self::FrozenRabbit => (3, 0),
            Self::Redis | Self::FrozenRedis => (4, 0),
            Self::Store => (5, 0),
            Self::DatabaseWay => (6, 0),
            Self::BrokerWay => (7, 0),
        }
    }
}
