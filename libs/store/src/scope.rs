//! Who asks. Every read of tenant data takes a [`Scope`]; what it does not cover does not exist for it.

use slipway_domain::ids::TenantId;
use slipway_domain::tenant::Role;

/// What a caller may see. Deny by default: the weakest is `Public`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Runs the installation: sees every tenant.
    Operator,
    /// Belongs to one tenant.
    Member {
        /// The tenant.
        tenant: TenantId,
        /// What they may do there.
        role: Role,
    },
    /// Nobody in particular: sees public projects, their builds, logs and badge.
    Public,
}

/// How a scope looks in a `where` clause: `($all or tenant_id = $tenant or visibility = 'public')`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Sees everything.
    pub all: bool,
    /// Sees this tenant.
    pub tenant: Option<TenantId>,
}

impl Scope {
    pub(crate) fn sight(&self) -> Sight {
        match self {
            Self::Operator => Sight { all: true, tenant: None },
            Self::Member { tenant, .. } => Sight { all: false, tenant: Some(*tenant) },
            Self::Public => Sight { all: false, tenant: None },
        }
    }

    /// True if the caller belongs to this tenant or runs the installation.
    pub fn covers(&self, tenant: TenantId) -> bool {
        match self {
            Self::Operator => true,
            Self::Member { tenant: own, .. } => *own == tenant,
            Self::Public => false,
        }
    }

    /// True for whoever runs the installation.
    pub fn is_operator(&self) -> bool {
        *self == Self::Operator
    }

    /// True if the caller may give others a right in this tenant.
    pub fn may_admin(&self, tenant: TenantId) -> bool {
        match self {
            Self::Operator => true,
            Self::Member { tenant: own, role } => *own == tenant && *role == Role::Owner,
            Self::Public => false,
        }
    }

    /// True if the caller may change projects and credentials of this tenant, and start or stop its builds.
    pub fn may_write(&self, tenant: TenantId) -> bool {
        match self {
            Self::Operator => true,
            Self::Member { tenant: own, role } => *own == tenant && *role != Role::Viewer,
            Self::Public => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sees_or_changes_another_tenant() {
        let (own, other) = (TenantId::from(uuid::Uuid::from_u128(1)), TenantId::from(uuid::Uuid::from_u128(2)));
        let viewer = Scope::Member { tenant: own, role: Role::Viewer };
        let owner = Scope::Member { tenant: own, role: Role::Owner };
        assert!(viewer.covers(own) && !viewer.covers(other) && !viewer.may_write(own));
        assert!(owner.may_write(own) && !owner.may_write(other));
        assert!(Scope::Operator.may_write(other) && !Scope::Public.covers(own));
        assert!(owner.may_admin(own) && !owner.may_admin(other) && !viewer.may_admin(own));
    }
}
