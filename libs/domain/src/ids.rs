//! Newtypes for every id, so that a `JobId` can never be passed where a `BuildId` is meant.
//! New values are made by `runtime`, which owns randomness.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Anything that is one UUID underneath.
pub trait Id: From<Uuid> + Copy {
    /// The UUID itself.
    fn uuid(self) -> Uuid;
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl Id for $name {
            fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id!(/** Who pays. */ TenantId);
id!(/** One API token of a person or a program. */ TokenId);
id!(/** A tenant's link to one forge instance. */ ConnectionId);
id!(/** A tenant's credential for one image registry. */ RegistryId);
id!(/** A secret of a project or a tenant. */ SecretId);
id!(/** One repository of a connection, with its build rules. */ ProjectId);
id!(/** A GitHub App of a tenant, and the opaque last part of its hook's URL; random. */ GithubAppId);
id!(/** The opaque last part of a receiving URL; random, never time-ordered. */ HookId);
id!(/** One stored request that came in on a hook. */ DeliveryId);
id!(/** One commit of one project, for one trigger. */ BuildId);
id!(/** A part of a build that is placed on its own. */ JobId);
id!(/** One agent process's lasting identity. */ BuilderId);
id!(/** A builder's registration, which holds the lease. */ SessionId);
id!(/** An operator-made token that lets builders join one pool. */ JoinTokenId);
id!(/** Made by the builder for one claim; repeating it repeats the answer. */ ClaimId);
id!(/** 128 random bits that name one dispatch of one job; void after its deadline. */ DispatchId);
id!(/** One running process of a role, as the owner of leases. */ ProcessId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_json() {
        let id = JobId::from(Uuid::from_u128(7));
        assert_eq!(id.to_string().parse::<JobId>().ok(), Some(id));
        let json = serde_json::to_string(&id).expect("an id is a JSON string");
        assert_eq!(json, "\"00000000-0000-0000-0000-000000000007\"");
        assert!("not-an-id".parse::<JobId>().is_err());
    }
}
