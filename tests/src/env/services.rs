//! The services that all tests of one run share. The supervisor (`slipway-testenv`) starts them and tells
//! the tests by variables where they are.

use std::env;
use std::fmt::Write as _;

use anyhow::{Result, bail};
use futures_util::join;

use super::base_image::{self, BASE_IMAGE};
use super::engine::Engine;
use super::postgres::Postgres;
use super::rabbitmq::RabbitMq;
use super::redis::Redis;
use super::registry::{Access, PASSWORD, Registry, USER};
use super::s3::S3;

/// Address of the PostgreSQL server's maintenance database.
pub const POSTGRES: &str = "TEST_POSTGRES_URL";
/// Address of the Docker engine.
pub const ENGINE: &str = "TEST_DOCKER_HOST";
/// `host:port` of the open registry.
pub const REGISTRY: &str = "TEST_REGISTRY";
/// `host:port` of the registry that asks for a password.
pub const REGISTRY_AUTH: &str = "TEST_REGISTRY_AUTH";
/// Its user.
pub const REGISTRY_AUTH_USER: &str = "TEST_REGISTRY_AUTH_USER";
/// Its password.
pub const REGISTRY_AUTH_PASSWORD: &str = "TEST_REGISTRY_AUTH_PASSWORD";
/// Address of the Redis server, without a prefix.
pub const REDIS: &str = "TEST_REDIS_URL";
/// URL of a bucket; its credentials are in the variables of AWS.
pub const S3_URL: &str = "TEST_S3_URL";
/// Where buckets are made and faults are switched ([`crate::s3_server`]).
pub const S3_CONTROL: &str = "TEST_S3_CONTROL";
/// Address of the RabbitMQ broker's default vhost, with every right.
pub const AMQP: &str = "TEST_AMQP_URL";
/// The same for a user that may only read the queue of [`READABLE_POOL`](super::rabbitmq::READABLE_POOL).
pub const AMQP_READER: &str = "TEST_AMQP_READER_URL";
/// The same for a user that may nothing.
pub const AMQP_STRANGER: &str = "TEST_AMQP_STRANGER_URL";
/// The same as [`AMQP`] over TLS.
pub const AMQP_TLS: &str = "TEST_AMQP_TLS_URL";
/// How to command the broker ([`Control`](super::rabbitmq::Control)).
pub const AMQP_CONTROL: &str = "TEST_AMQP_CONTROL";
/// Set to 1 where a missing component must fail the run.
pub const REQUIRED: &str = "REQUIRE_BACKENDS";

/// The services of one run; ended on drop, in the order of the fields.
#[derive(Debug, Default)]
pub struct Services {
    engine: Option<Engine>,
    registry: Option<Registry>,
    registry_auth: Option<Registry>,
    postgres: Option<Postgres>,
    rabbitmq: Option<RabbitMq>,
    redis: Option<Redis>,
    s3: Option<(S3, String)>,
    /// What could not be started, and what to do about it.
    missing: Vec<String>,
}

impl Services {
    /// Starts what this host has. A component that is not installed is noted as missing; one that is
    /// installed and does not start is an error.
    pub async fn start() -> Result<Self> {
        let mut services = Self::default();
        let missing =
            [Engine::missing(), Registry::missing(), Postgres::missing(), Redis::missing(), RabbitMq::missing()];
        let [has_engine, has_registry, has_postgres, has_redis, has_rabbitmq] = missing.each_ref().map(Option::is_none);
        services.missing = missing.into_iter().flatten().collect();
        let (engine, registry, registry_auth, postgres, rabbitmq, redis, s3) = join!(
            start_if(has_engine, async {
                let engine = Engine::start().await?;
                base_image::import(&engine.host(), BASE_IMAGE).await?;
                Ok(engine)
            }),
            start_if(has_registry, Registry::start(Access::Open)),
            start_if(has_registry, Registry::start(Access::Password)),
            start_if(has_postgres, Postgres::start()),
            start_if(has_rabbitmq, RabbitMq::start()),
            start_if(has_redis, Redis::start()),
            async {
                let s3 = S3::start().await?;
                let url = s3.bucket("slipway-test").await?;
                anyhow::Ok((s3, url))
            },
        );
        services.engine = engine?;
        services.registry = registry?;
        services.registry_auth = registry_auth?;
        services.postgres = postgres?;
        services.rabbitmq = rabbitmq?;
        services.redis = redis?;
        services.s3 = Some(s3?);
        Ok(services)
    }

    /// What could not be started, as text for people; `None` when everything runs.
    pub fn missing(&self) -> Option<String> {
        let mut text = String::new();
        for missing in &self.missing {
            let _ = writeln!(text, "  - {missing}");
        }
        (!text.is_empty()).then_some(text)
    }

    /// The variables by which tests find the services.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = Vec::new();
        variables.extend(self.postgres.as_ref().map(|postgres| (POSTGRES, postgres.url().to_owned())));
        variables.extend(self.redis.as_ref().map(|redis| (REDIS, redis.url())));
        if let Some((s3, url)) = &self.s3 {
            variables.push((S3_URL, url.clone()));
            variables.push((S3_CONTROL, s3.control_url()));
            variables.push(("AWS_ACCESS_KEY_ID", s3.credentials().access_key.clone()));
            variables.push(("AWS_SECRET_ACCESS_KEY", s3.credentials().secret_key.clone()));
        }
        if let Some(rabbitmq) = &self.rabbitmq {
            variables.push((AMQP, rabbitmq.url()));
            variables.push((AMQP_READER, rabbitmq.reader_url()));
            variables.push((AMQP_STRANGER, rabbitmq.stranger_url()));
            variables.push((AMQP_TLS, rabbitmq.tls_url()));
            variables.push((AMQP_CONTROL, rabbitmq.control().to_text()));
        }
        variables.extend(self.engine.as_ref().map(|engine| (ENGINE, engine.host())));
        variables.extend(self.registry.as_ref().map(|registry| (REGISTRY, registry.address())));
        if let Some(registry) = &self.registry_auth {
            variables.push((REGISTRY_AUTH, registry.address()));
            variables.push((REGISTRY_AUTH_USER, USER.to_owned()));
            variables.push((REGISTRY_AUTH_PASSWORD, PASSWORD.to_owned()));
        }
        variables
    }
}

async fn start_if<T>(wanted: bool, start: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    if wanted { start.await.map(Some) } else { Ok(None) }
}

/// The address of a shared service. `None`, said loudly, when the run goes on without it; an error when
/// the run requires it.
pub fn shared(variable: &str) -> Result<Option<String>> {
    match env::var(variable) {
        Ok(value) if !value.is_empty() => Ok(Some(value)),
        _ if is_required() => bail!("{variable} is not set although {REQUIRED}=1; run the tests by `make test`"),
        _ => {
            eprintln!("SKIPPED: {variable} is not set; run the tests by `make test`");
            Ok(None)
        }
    }
}

/// True when a missing component must fail the run.
pub fn is_required() -> bool {
    env::var(REQUIRED).is_ok_and(|value| value == "1")
}
