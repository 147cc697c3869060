//! Who belongs to a tenant, and how its projects stand.

use crate::text_enum::text_enum;

text_enum! {
    /// What a member of a tenant may do; each role may do all that the later ones may.
    Role {
        /// Everything, tokens and members included.
        Owner = "owner",
        /// Projects, credentials and builds.
        Maintainer = "maintainer",
        /// Look.
        Viewer = "viewer",
    }
}

text_enum! {
    /// Who sees a project's builds and logs.
    Visibility {
        /// Members of the tenant.
        Private = "private",
        /// Everybody; never deliveries, arguments or secret names.
        Public = "public",
    }
}

text_enum! {
    /// Whether deliveries make builds.
    ProjectState {
        /// They do.
        Active = "active",
        /// They end as ignored; asking for a build still works.
        Paused = "paused",
    }
}
