//! What a build built, and how it differs from the one before: of the same ref, or else of the main branch.

use std::collections::BTreeMap;

use serde::Serialize;
use slipway_domain::git_ref::{GitRef, MAIN_BRANCHES};
use slipway_domain::ids::{BuildId, JobId};
use slipway_domain::image::{self, Base, BuiltImage, Difference, Growth, Layer, LayerMark};
use slipway_runtime::problem::ApiError;
use slipway_store::builds::BuildView;
use utoipa::ToSchema;

use crate::caller::Caller;
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// What the jobs of a build built.
pub type Outputs = BTreeMap<JobId, Vec<Output>>;

/// One image, with what it is compared with.
#[derive(Debug, Clone)]
pub struct Output {
    /// What was built.
    pub image: BuiltImage,
    /// The earlier build and its image.
    pub earlier: Option<(BuildId, BuiltImage)>,
}

/// One image that was built, pushed or not.
#[derive(Debug, Serialize, ToSchema)]
pub struct BuiltJson {
    /// The stage that was built; null for the last one.
    target: Option<String>,
    /// Digest of its manifest, as in `images`; null where nothing was pushed.
    digest: Option<String>,
    /// All layers together, unpacked.
    size_bytes: i64,
    /// The lowest first.
    layers: Vec<LayerJson>,
    /// What its stages were built upon.
    bases: Vec<BaseJson>,
    /// How it differs from the newest successful build before, of this ref or else of the main branch; null without one.
    difference: Option<DifferenceJson>,
}

/// An image that a FROM names.
#[derive(Debug, Serialize, ToSchema)]
pub struct BaseJson {
    /// Its whole name.
    name: String,
    /// Digest of the manifest that the name showed then; null of an image that no registry has.
    digest: Option<String>,
}

/// One layer.
#[derive(Debug, Serialize, ToSchema)]
pub struct LayerJson {
    /// Digest of what is pushed; null where it was not.
    digest: Option<String>,
    /// Digest of what it holds, unpacked.
    diff_id: String,
    /// Unpacked.
    size_bytes: i64,
    /// As pushed.
    compressed_bytes: Option<i64>,
    /// What made it; empty where nobody knows.
    instruction: String,
    /// Whether the earlier image has it not; null without one.
    new: Option<bool>,
}

/// How an image differs from an earlier one.
#[derive(Debug, Serialize, ToSchema)]
pub struct DifferenceJson {
    /// The earlier build.
    #[schema(value_type = uuid::Uuid)]
    build: BuildId,
    /// Unpacked; negative where it became smaller.
    size_bytes_change: i64,
    shared_layers: usize,
    new_layers: usize,
    gone_layers: usize,
    /// The instruction whose layers grew most; null where none grew.
    grew_most: Option<GrowthJson>,
}

/// What grew.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrowthJson {
    instruction: String,
    size_bytes_change: i64,
}

impl Output {
    /// How it differs from the earlier one, if there is one.
    pub fn difference(&self) -> Option<(BuildId, Difference)> {
        let (build, earlier) = self.earlier.as_ref()?;
        Some((*build, image::difference(&self.image, earlier)))
    }

    /// Its layers, each with its mark if there is an earlier image.
    pub fn layers(&self) -> Vec<(&Layer, Option<LayerMark>)> {
        let marks = self.earlier.as_ref().map(|(_, earlier)| image::marks(&self.image, earlier));
        let mark = |place| marks.as_ref().and_then(|marks: &Vec<LayerMark>| marks.get(place).copied());
        self.image.layers.iter().enumerate().map(|(place, layer)| (layer, mark(place))).collect()
    }
}

impl From<Output> for BuiltJson {
    fn from(output: Output) -> Self {
        let difference = output.difference().map(|(build, difference)| {
            let Difference { size_bytes_change, shared_layers, new_layers, gone_layers, grew_most } = difference;
            let grew_most = grew_most
                .map(|Growth { instruction, size_bytes_change }| GrowthJson { instruction, size_bytes_change });
            DifferenceJson { build, size_bytes_change, shared_layers, new_layers, gone_layers, grew_most }
        });
        let layer = |(layer, mark): (&Layer, Option<LayerMark>)| LayerJson {
            digest: layer.digest.clone(),
            diff_id: layer.diff_id.clone(),
            size_bytes: layer.size_bytes,
            compressed_bytes: layer.compressed_bytes,
            instruction: layer.instruction.clone(),
            new: mark.map(|mark| mark == LayerMark::New),
        };
        Self {
            size_bytes: output.image.size_bytes(),
            layers: output.layers().into_iter().map(layer).collect(),
            difference,
            bases: output.image.bases.into_iter().map(|Base { name, digest }| BaseJson { name, digest }).collect(),
            target: output.image.target,
            digest: output.image.digest,
        }
    }
}

/// What a build that the caller sees has built so far.
pub async fn outputs(state: &ApiState, caller: Caller, view: &BuildView) -> Result<Outputs, ApiError> {
    let earlier = earlier(state, view).await?;
    outputs_against(state, caller, view, earlier).await
}

/// The same, compared with this build.
pub async fn outputs_against(
    state: &ApiState,
    caller: Caller,
    view: &BuildView,
    earlier: Option<BuildId>,
) -> Result<Outputs, ApiError> {
    let built = state.db.built_images(&caller.scope, view.build.id).await.or_problem()?;
    if built.values().all(Vec::is_empty) {
        return Ok(Outputs::new());
    }
    let earlier = match earlier {
        Some(build) => Some((build, state.db.built_images(&caller.scope, build).await.or_problem()?)),
        None => None,
    };
    let compared = |image: BuiltImage| {
        let earlier = earlier.as_ref().and_then(|(build, jobs)| {
            let mut images = jobs.values().flatten();
            images.find(|earlier| earlier.target == image.target).map(|earlier| (*build, earlier.clone()))
        });
        Output { image, earlier }
    };
    Ok(built.into_iter().map(|(job, images)| (job, images.into_iter().map(compared).collect())).collect())
}

/// What to compare with; always of the same project. Where its default branch has another name, its refs are compared with
/// their own past.
pub async fn earlier(state: &ApiState, view: &BuildView) -> Result<Option<BuildId>, ApiError> {
    let (project, build) = (view.build.project_id, view.build.id);
    let main = MAIN_BRANCHES.iter().filter_map(|name| GitRef::parse(name).ok());
    for git_ref in view.build.git_ref.clone().into_iter().chain(main) {
        if let Some(found) = state.db.earlier_built(project, &git_ref, build).await.or_problem()? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
