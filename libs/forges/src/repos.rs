//! Repositories as a forge lists them, for choosing one.

/// A repository on a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRepo {
    /// The forge's own key of it, which survives renaming.
    pub id: String,
    /// Its full path, of any depth.
    pub full_path: String,
    /// Where git fetches it over https.
    pub clone_url: String,
    /// Its page.
    pub web_url: Option<String>,
    /// Short name of the branch that its pages show.
    pub default_branch: Option<String>,
    /// Whether strangers cannot see it; none where the forge does not say.
    pub private: Option<bool>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoPage {
    /// In the forge's order.
    pub items: Vec<RemoteRepo>,
    /// What asks for the next part; none after the last.
    pub next: Option<String>,
}
