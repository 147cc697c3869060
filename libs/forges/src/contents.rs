//! Reading one file at a commit through the forge, quickly or not at all: the builder reads it from the
//! checkout when we could not.

use std::time::Duration;

use slipway_domain::event::ForgeKind;
use slipway_domain::git_ref::is_commit_id;

use crate::transport::{ForgeError, Transport};
use crate::{bitbucket, bitbucket_dc, coding, gitea, gitee, github, gitlab};

/// How long intake waits for a file, everything included.
pub(crate) const LIMIT: Duration = Duration::from_secs(3);

/// Which file.
#[derive(Debug, Clone, Copy)]
pub struct FileAt<'a> {
    /// The repository's full path.
    pub repo: &'a str,
    /// Full commit id.
    pub commit: &'a str,
    /// Path from the repository's root, with `/`.
    pub path: &'a str,
}

pub(crate) async fn read_file(
    kind: ForgeKind,
    transport: &Transport,
    file: &FileAt<'_>,
    limit: Duration,
) -> Result<Option<String>, ForgeError> {
    check(file)?;
    let read = async {
        match kind {
            ForgeKind::Github => github::contents::read_file(transport, file).await,
            ForgeKind::Gitlab => gitlab::contents::read_file(transport, file).await,
            ForgeKind::Bitbucket => bitbucket::client::read_file(transport, file).await,
            ForgeKind::BitbucketDc => bitbucket_dc::client::read_file(transport, file).await,
            ForgeKind::Gitea => gitea::client::read_file(transport, file).await,
            ForgeKind::Gitee => gitee::client::read_file(transport, file).await,
            ForgeKind::Coding => coding::client::read_file(transport, file).await,
        }
    };
    tokio::time::timeout(limit, read)
        .await
        .map_err(|_| ForgeError::Transient(format!("no file within {} ms", limit.as_millis())))?
}

/// The file's text; anything but UTF-8 is left to the builder.
pub(crate) fn text(bytes: Vec<u8>) -> Result<String, ForgeError> {
    String::from_utf8(bytes).map_err(|_| ForgeError::Invalid("the file is not UTF-8 text".to_owned()))
}

fn check(file: &FileAt<'_>) -> Result<(), ForgeError> {
    if !is_commit_id(file.commit) {
        return Err(ForgeError::Invalid("the commit is not a full object id".to_owned()));
    }
    if file.path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(ForgeError::Invalid("the path must be relative, without . and ..".to_owned()));
    }
    Ok(())
}
