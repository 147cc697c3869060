//! Projects come with connection and hook or not at all, and are private unless they say otherwise.

use slipway_domain::build::BuildState;
use slipway_domain::event::ForgeKind;
use slipway_domain::spec::BuildOptions;
use slipway_domain::tenant::{ProjectState, Role, Visibility};
use slipway_store::projects::{NewProject, ProjectConnection, ProjectFilter, ProjectImage, ProjectPatch};
use slipway_store::{Scope, StoreError};

use crate::env::{both, commit, later, new_project, start};

fn all() -> ProjectFilter {
    ProjectFilter { limit: 100, ..ProjectFilter::default() }
}

both! {
    async fn a_project_reads_back_as_it_was_made(env) {
        let tenant = env.tenant("own").await;
        let tags = Some(vec!["latest".to_owned(), "stable".to_owned()]);
        let image = ProjectImage { repository: "registry.example/app".to_owned(), tags, target: Some("run".to_owned()) };
        let debug = ProjectImage { repository: "registry.example/debug".to_owned(), tags: None, target: None };
        let images = vec![image, debug];
        let new = NewProject { images: images.clone(), region: Some("eu".to_owned()), ..new_project(tenant, "team/app") };
        let made = env.db.create_project(&env.key, &new).await.unwrap();
        let member = Scope::Member { tenant, role: Role::Viewer };
        let project = env.db.project(&member, new.id).await.unwrap();
        assert_eq!(project, made);
        assert_eq!(env.db.project_by_name(&member, tenant, "team/app").await.unwrap(), made);
        assert_eq!(project.images(), images);
        assert_eq!(project.options.0, new.options);
        assert_eq!((project.forge, project.state, project.visibility), (ForgeKind::Github, ProjectState::Active, Visibility::Private));
        assert_eq!((project.region.as_deref(), project.created_at, project.updated_at), (Some("eu"), start(), start()));
        assert_eq!(env.db.hooks_of_project(&member, new.id).await.unwrap(), [new.hook.id]);
    }
}

both! {
    async fn a_taken_name_leaves_nothing_behind(env) {
        let (own, other) = (env.tenant("own").await, env.tenant("other").await);
        env.db.create_project(&env.key, &new_project(own, "app")).await.unwrap();
        let again = env.db.create_project(&env.key, &new_project(own, "app")).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))));
        assert_eq!(env.db.list_connections(&Scope::Operator, Some(own)).await.unwrap().len(), 1);
        env.db.create_project(&env.key, &new_project(other, "app")).await.unwrap();
    }
}

both! {
    async fn another_tenants_connection_cannot_be_used(env) {
        let (own, other) = (env.tenant("own").await, env.tenant("other").await);
        let foreign = env.db.create_project(&env.key, &new_project(other, "app")).await.unwrap();
        let stolen = NewProject { connection: ProjectConnection::Existing(foreign.connection_id), ..new_project(own, "app") };
        assert!(matches!(env.db.create_project(&env.key, &stolen).await, Err(StoreError::NotFound("connection"))));
        let mine = env.db.create_project(&env.key, &new_project(own, "first")).await.unwrap();
        let second = NewProject { connection: ProjectConnection::Existing(mine.connection_id), ..new_project(own, "second") };
        assert_eq!(env.db.create_project(&env.key, &second).await.unwrap().connection_id, mine.connection_id);
    }
}

both! {
    async fn private_projects_are_invisible_without_rights_and_public_ones_readable(env) {
        let (own, other) = (env.tenant("own").await, env.tenant("other").await);
        let private = env.db.create_project(&env.key, &new_project(own, "private")).await.unwrap();
        let open = NewProject { visibility: Visibility::Public, ..new_project(own, "public") };
        let public = env.db.create_project(&env.key, &open).await.unwrap();
        let foreign = Scope::Member { tenant: other, role: Role::Owner };
        for scope in [foreign, Scope::Public] {
            assert!(matches!(env.db.project(&scope, private.id).await, Err(StoreError::NotFound(_))));
            assert!(matches!(env.db.project_by_name(&scope, own, "private").await, Err(StoreError::NotFound(_))));
            assert_eq!(env.db.project(&scope, public.id).await.unwrap().id, public.id);
            assert_eq!(env.db.project_by_name(&scope, own, "public").await.unwrap().id, public.id);
            assert!(env.db.hooks_of_project(&scope, public.id).await.unwrap().is_empty());
            let patched = env.db.patch_project(&scope, public.id, &ProjectPatch::default(), later(1)).await;
            assert!(matches!(patched, Err(StoreError::NotFound(_))));
            let paused = env.db.set_project_state(&scope, public.id, ProjectState::Paused, later(1)).await;
            assert!(matches!(paused, Err(StoreError::NotFound(_))));
        }
        let listed = async |scope: Scope| env.db.list_projects(&scope, &all()).await.unwrap().len();
        assert_eq!(listed(foreign).await, 0);
        assert_eq!(listed(Scope::Public).await, 1);
        assert_eq!(listed(Scope::Operator).await, 2);
    }
}

both! {
    async fn a_list_goes_on_after_its_cursor(env) {
        let tenant = env.tenant("own").await;
        let mut made = Vec::new();
        for name in ["a", "b", "c"] {
            made.push(env.db.create_project(&env.key, &new_project(tenant, name)).await.unwrap().id);
        }
        let member = Scope::Member { tenant, role: Role::Viewer };
        let page = env.db.list_projects(&member, &ProjectFilter { limit: 2, ..all() }).await.unwrap();
        let rest = env.db.list_projects(&member, &ProjectFilter { after: Some(made[1]), limit: 2, ..all() }).await.unwrap();
        let ids: Vec<_> = page.iter().chain(&rest).map(|project| project.id).collect();
        assert_eq!(ids, made);
    }
}

both! {
    async fn a_patch_changes_what_it_names(env) {
        let tenant = env.tenant("own").await;
        let project = env.db.create_project(&env.key, &new_project(tenant, "app")).await.unwrap();
        let member = Scope::Member { tenant, role: Role::Maintainer };
        let options = BuildOptions { no_cache: Some(true), ..BuildOptions::default() };
        let patch = ProjectPatch { options: Some(options.clone()), ..ProjectPatch::default() };
        let patched = env.db.patch_project(&member, project.id, &patch, later(1)).await.unwrap();
        assert_eq!((&patched.options.0, patched.images(), patched.updated_at), (&options, project.images(), later(1)));

        let patch = ProjectPatch {
            visibility: Some(Visibility::Public),
            images: Some(Vec::new()),
            region: Some(Some("eu".to_owned())),
            ..ProjectPatch::default()
        };
        let patched = env.db.patch_project(&member, project.id, &patch, later(2)).await.unwrap();
        assert_eq!((patched.images(), patched.region.as_deref()), (Vec::new(), Some("eu")));
        assert_eq!((patched.visibility, &patched.options.0), (Visibility::Public, &options));

        let paused = env.db.set_project_state(&member, project.id, ProjectState::Paused, later(3)).await.unwrap();
        assert_eq!(paused.state, ProjectState::Paused);
        let again = env.db.set_project_state(&member, project.id, ProjectState::Paused, later(4)).await.unwrap();
        assert_eq!(again.state, ProjectState::Paused);
    }
}

both! {
    async fn projects_are_found_by_what_is_asked_for(env) {
        let world = env.world("own").await;
        let public = NewProject { visibility: Visibility::Public, ..new_project(world.tenant, "Team/50%_Off") };
        let public = env.db.create_project(&env.key, &public).await.unwrap();
        env.build(&world, "push:1", commit('a')).await;
        let names = async |filter: ProjectFilter| {
            let found = env.db.list_projects(&Scope::Operator, &filter).await.unwrap();
            found.into_iter().map(|project| project.name).collect::<Vec<_>>().join(" ")
        };
        let text = |text: &str| ProjectFilter { text: Some(text.to_owned()), ..all() };
        assert_eq!(names(text("team/50%_o")).await, public.name);
        assert_eq!(names(text("ACME/")).await, "app Team/50%_Off", "by the repository, too");
        assert_eq!((names(text("5__")).await, names(text("\\")).await), (String::new(), String::new()));
        let last_build = |state| ProjectFilter { last_build: Some(state), ..all() };
        assert_eq!(names(last_build(BuildState::Pending)).await, "app");
        assert_eq!(names(last_build(BuildState::Failed)).await, "");
        let visibility = Some(Visibility::Public);
        assert_eq!(names(ProjectFilter { visibility, forge: Some(ForgeKind::Github), ..all() }).await, public.name);
        assert_eq!(names(ProjectFilter { forge: Some(ForgeKind::Gitlab), ..all() }).await, "");
        env.db.set_project_state(&Scope::Operator, public.id, ProjectState::Paused, later(1)).await.unwrap();
        assert_eq!(names(ProjectFilter { state: Some(ProjectState::Active), ..all() }).await, "app");
        let foreign = Scope::Member { tenant: env.tenant("other").await, role: Role::Owner };
        assert!(env.db.list_projects(&foreign, &text("app")).await.unwrap().is_empty());
    }
}
